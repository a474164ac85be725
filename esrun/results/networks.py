"""The architectures in NumPy, for `esrun.numpy_policy`: what each computes, and the shapes of its
parameters. Nothing else is imported here."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Array = np.ndarray
Shapes = Iterator[tuple[str, tuple[int, ...]]]
"""Names of parameters, without `params/`, and their shapes."""


def _sigmoid(x: Array) -> Array:
    return np.exp(-np.logaddexp(0, -x))


def _gelu(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi).astype(x.dtype) * (x + 0.044715 * x**3)))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "gelu": _gelu,
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "silu": lambda x: x * _sigmoid(x),
    "sigmoid": _sigmoid,
    "softplus": lambda x: np.logaddexp(x, 0),
    "leaky_relu": lambda x: np.where(x >= 0, x, 0.01 * x),
    "sin": np.sin,
    "identity": lambda x: x,
    "step": lambda x: (x > 0).astype(x.dtype),
    "sign": np.sign,
}
"""As `esrun.policies.layers` has them."""


def _module(name: str, number: int) -> str:
    """-> the name that haiku gives to the module of that number."""
    return f"{name}_{number}" if number else name


def _linear(params: dict, module: str, x: Array) -> Array:
    y = x @ params[f"{module}/w"]
    return y + params[f"{module}/b"] if f"{module}/b" in params else y


NORMS = {None: None, "layer": "layer_norm", "virtual_batch": "virtual_batch_norm"}
"""haiku's name of the module."""
EPSILON = 1e-5
"""As `esrun.policies.layers` has it."""


def _activated(options: dict, params: dict, number: int, x: Array) -> Array:
    """X [k, ..., features], from the `number`-th hidden layer, normalised and activated.

    Of a virtual batch normalisation without statistics the inputs are the references, and what they
    come to joins the `params`.
    """
    if (name := NORMS[options.get("norm")]) is not None:
        module = _module(name, number)
        if name == "layer_norm":
            mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        else:
            if f"{module}/mean" not in params:
                axes = tuple(range(x.ndim - 1))
                params[f"{module}/mean"], params[f"{module}/variance"] = x.mean(axes), x.var(axes)
            mean, variance = params[f"{module}/mean"], params[f"{module}/variance"]
        x = (x - mean) / np.sqrt(variance + x.dtype.type(EPSILON))
        x = x * params[f"{module}/scale"] + params[f"{module}/offset"]
    return ACTIVATIONS[options["activation"]](x)


def _norm_shapes(options: dict, number: int, features: int) -> Shapes:
    if (name := NORMS[options.get("norm")]) is not None:
        yield from ((f"{_module(name, number)}/{x}", (features,)) for x in ("scale", "offset"))


def _dense(options: dict, params: dict, x: Array, before: int = 0) -> Array:
    """X [k, i] -> [k, o], `before` hidden layers of another kind."""
    for number in range(len(options["hidden"])):
        x = _linear(params, _module("linear", number), x)
        x = _activated(options, params, before + number, x)
    return _linear(params, _module("linear", len(options["hidden"])), x)


def _dense_shapes(options: dict, inputs: int, outputs: int, before: int = 0) -> Shapes:
    for number, width in enumerate([*options["hidden"], outputs]):
        module = _module("linear", number)
        yield f"{module}/w", (inputs, width)
        if options["bias"]:
            yield f"{module}/b", (width,)
        if number < len(options["hidden"]):
            yield from _norm_shapes(options, before + number, width)
        inputs = width


def _mlp_of(options: dict, params: dict, x: Array) -> Array:
    return _dense(options, params, x.reshape(len(x), -1))


def _mlp(options: dict, params: dict, x: Array, carry: Any) -> tuple[Array, Any]:
    return _mlp_of(options, params, x[None])[0], ()


def _mlp_shapes(options: dict, shape: tuple, outputs: int) -> Shapes:
    return _dense_shapes(options, int(np.prod(shape, dtype=int)), outputs)


def _as_mlp(options: dict) -> dict:
    return {"hidden": [], "activation": "identity", **options}


def _linear_policy(options: dict, params: dict, x: Array, carry: Any) -> tuple[Array, Any]:
    return _mlp(_as_mlp(options), params, x, carry)


def _linear_policy_shapes(options: dict, shape: tuple, outputs: int) -> Shapes:
    return _mlp_shapes(_as_mlp(options), shape, outputs)


def _padding(options: dict, side: int) -> tuple[int, int]:
    """-> the zeros before and behind a side of so many pixels, as XLA's "SAME" has them."""
    kernel, stride = options["kernel"], options["stride"]
    if options.get("padding") is None:
        return 0, 0
    whole = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
    return whole // 2, whole - whole // 2


def _cnn_of(options: dict, params: dict, x: Array) -> Array:
    x = x.reshape(*x.shape[:3], -1)
    kernel, stride, convolutions = options["kernel"], options["stride"], len(options["channels"])
    for number in range(convolutions):
        module = _module("conv2_d", number)
        around = [_padding(options, side) for side in x.shape[1:3]]
        windows = np.pad(x, [(0, 0), *around, (0, 0)])
        windows = sliding_window_view(windows, (kernel, kernel), (1, 2))[:, ::stride, ::stride]
        x = np.einsum("khwcij,ijco->khwo", windows, params[f"{module}/w"], optimize=True)
        x = x + params[f"{module}/b"] if options["bias"] else x
        x = _activated(options, params, number, x)
        if pool := options.get("pool"):
            x = sliding_window_view(x, (pool, pool), (1, 2))[:, ::pool, ::pool].max((-2, -1))
    if over := options.get("global_pool"):
        x = getattr(x, over)((1, 2))
    return _dense(options, params, x.reshape(len(x), -1), convolutions)


def _cnn(options: dict, params: dict, x: Array, carry: Any) -> tuple[Array, Any]:
    return _cnn_of(options, params, x[None])[0], ()


def _cnn_shapes(options: dict, shape: tuple, outputs: int) -> Shapes:
    height, width, features = *shape[:2], int(np.prod(shape[2:], dtype=int))
    kernel, stride = options["kernel"], options["stride"]
    for number, channels in enumerate(options["channels"]):
        module = _module("conv2_d", number)
        yield f"{module}/w", (kernel, kernel, features, channels)
        if options["bias"]:
            yield f"{module}/b", (channels,)
        yield from _norm_shapes(options, number, channels)
        height, width = (
            ((side + sum(_padding(options, side)) - kernel) // stride + 1)
            // (options.get("pool") or 1)
            for side in (height, width)
        )
        features = channels
    places = 1 if options.get("global_pool") else height * width
    yield from _dense_shapes(options, places * features, outputs, len(options["channels"]))


def _gru(params: dict, module: str, x: Array, h: Array) -> tuple[Array, Array]:
    k = 2 * len(h)
    w_h, b = params[f"{module}/w_h"], params[f"{module}/b"]
    gates = x @ params[f"{module}/w_i"]
    z, r = np.split(_sigmoid(gates[:k] + h @ w_h[:, :k] + b[:k]), 2)
    a = np.tanh(gates[k:] + (r * h) @ w_h[:, k:] + b[k:])
    h = (1 - z) * h + z * a
    return h, h


def _lstm(params: dict, module: str, x: Array, state: tuple) -> tuple[Array, tuple]:
    h, c = state
    i, g, f, o = np.split(_linear(params, f"{module}/linear", np.concatenate([x, h])), 4)
    c = _sigmoid(f + 1) * c + _sigmoid(i) * np.tanh(g)
    h = _sigmoid(o) * np.tanh(c)
    return h, (h, c)


def _vanilla(params: dict, module: str, x: Array, h: Array) -> tuple[Array, Array]:
    h = np.maximum(
        _linear(params, f"{module}/linear", x) + _linear(params, f"{module}/linear_1", h), 0
    )
    return h, h


CELLS = {"gru": ("gru", _gru), "lstm": ("lstm", _lstm), "vanilla": ("vanilla_rnn", _vanilla)}
"""haiku's name of the cell, and a step of it."""


def _rnn(options: dict, params: dict, x: Array, carry: Any) -> tuple[Array, Any]:
    name, step = CELLS[options["cell"]]
    x = x.ravel()
    if carry is None:
        fresh = [np.zeros(width, x.dtype) for width in options["hidden"]]
        carry = tuple((h, h) for h in fresh) if options["cell"] == "lstm" else tuple(fresh)
    after = []
    for number, state in enumerate(carry):
        x, state = step(params, _module(name, number), x, state)
        after.append(state)
    return _linear(params, "linear", ACTIVATIONS[options["activation"]](x)), tuple(after)


def _rnn_shapes(options: dict, shape: tuple, outputs: int) -> Shapes:
    inputs, cell = int(np.prod(shape, dtype=int)), options["cell"]
    for number, k in enumerate(options["hidden"]):
        module = _module(CELLS[cell][0], number)
        if cell == "gru":
            parts = {"w_i": (inputs, 3 * k), "w_h": (k, 3 * k), "b": (3 * k,)}
        elif cell == "lstm":
            parts = {"linear/w": (inputs + k, 4 * k), "linear/b": (4 * k,)}
        else:
            parts = {"linear/w": (inputs, k), "linear/b": (k,)}
            parts |= {"linear_1/w": (k, k), "linear_1/b": (k,)}
        yield from ((f"{module}/{part}", size) for part, size in parts.items())
        inputs = k
    yield from (("linear/w", (inputs, outputs)), ("linear/b", (outputs,)))


def _vector(options: dict, params: dict, x: Array, carry: Any) -> tuple[Array, Any]:
    return params["~/x"], ()


def _vector_shapes(options: dict, shape: tuple, outputs: int) -> Shapes:
    yield "~/x", (outputs,)


NETWORKS = {
    "linear": (_linear_policy, _linear_policy_shapes),
    "mlp": (_mlp, _mlp_shapes),
    "cnn": (_cnn, _cnn_shapes),
    "rnn": (_rnn, _rnn_shapes),
    "vector": (_vector, _vector_shapes),
}

OF_MANY = {"mlp": _mlp_of, "cnn": _cnn_of}
"""(options, params, inputs [k, *input_shape]) -> outputs [k, output_size]."""
