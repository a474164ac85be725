"""Policies: forward passes against NumPy by hand, first weights, memory, parameter counts."""

from functools import partial
from itertools import pairwise

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import quickly
from defaults import make_policy

from esrun.policies.cnn import pooled
from esrun.policies.layers import ACTIVATIONS
from esrun.policies.products import OneHot

pytestmark = pytest.mark.usefixtures("quick_to_compile")

KEY = jax.random.key(0)

BY_HAND = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "gelu": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "elu": lambda x: np.where(x > 0, x, np.exp(x) - 1),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.log(1 + np.exp(x)),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "sin": np.sin,
    "identity": lambda x: x,
    "step": lambda x: np.where(x > 0, 1.0, 0.0),
    "sign": np.sign,
}


VECTOR = {"input_shape": (3,), "output_size": 2}
IMAGE = {"input_shape": (6, 5, 2), "output_size": 3}
mlp = partial(make_policy, "mlp", **VECTOR, hidden=[5, 4], activation="tanh", init="normal")
cnn = partial(make_policy, "cnn", **IMAGE, channels=[4, 3], kernel=2, hidden=[7], init="normal")
rnn = partial(make_policy, "rnn", **VECTOR, hidden=[4])


def count(params):
    return sum(x.size for x in jax.tree.leaves(params))


def run(policy, params, inputs):
    """The outputs for a sequence of inputs, from a fresh carry."""
    carry, outputs = policy.initial_carry(), []
    for x in inputs:
        output, carry = policy.apply(params, carry, x)
        outputs.append(np.asarray(output))
    return np.stack(outputs)


# ---- mlp -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_mlp_is_the_product_of_its_layers(activation):
    policy = mlp(activation=activation)
    params = jax.tree.map(np.asarray, policy.init(KEY))
    x = np.array([0.5, -1.0, 2.0], np.float32)
    first = BY_HAND[activation](x @ params["linear"]["w"] + params["linear"]["b"])
    second = BY_HAND[activation](first @ params["linear_1"]["w"] + params["linear_1"]["b"])
    expected = second @ params["linear_2"]["w"] + params["linear_2"]["b"]
    output, carry = policy.apply(params, (), x)
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)
    assert carry == ()


def test_step_and_sign_at_zero_are_zero():
    assert ACTIVATIONS["step"](jnp.zeros(1))[0] == 0
    assert ACTIVATIONS["sign"](jnp.zeros(1))[0] == 0


def test_mlp_without_hidden_layers_is_linear():
    policy = mlp(hidden=[], activation="relu")
    params = policy.init(KEY)
    assert list(params) == ["linear"]
    x = np.array([-3.0, -2.0, -1.0], np.float32)
    output, _ = policy.apply(params, (), x)
    np.testing.assert_allclose(output, x @ params["linear"]["w"] + params["linear"]["b"], rtol=1e-5)


def test_mlp_flattens_its_input_row_by_row():
    policy = mlp(input_shape=(2, 3), hidden=[])
    params = policy.init(KEY)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    output, _ = policy.apply(params, (), x)
    np.testing.assert_allclose(
        output, np.arange(6) @ params["linear"]["w"] + params["linear"]["b"], rtol=1e-5
    )


def test_mlp_without_bias_has_none_and_maps_zero_to_zero():
    policy = mlp(bias=False)
    params = policy.init(KEY)
    assert {name for layer in params.values() for name in layer} == {"w"}
    np.testing.assert_array_equal(policy.apply(params, (), jnp.zeros(3))[0], np.zeros(2))


@pytest.mark.parametrize(
    ("hidden", "bias"), [([], True), ([48], True), ([5, 4], True), ([5, 4], False)]
)
def test_mlp_has_a_weight_for_every_pair_and_a_bias_for_every_unit(hidden, bias):
    widths = [3, *hidden, 2]
    expected = sum(a * b + b * bias for a, b in pairwise(widths))
    assert count(mlp(hidden=hidden, bias=bias).init(KEY)) == expected


# ---- first weights -------------------------------------------------------------------------------


def wide(init, scale):
    """[200, 300] weights and [300] biases."""
    layer = mlp(input_shape=(200,), output_size=300, hidden=[], init=init, init_scale=scale).init(
        KEY
    )["linear"]
    return np.asarray(layer["w"]), np.asarray(layer["b"])


def test_uniform_weights_and_biases_fill_plus_minus_scale():
    for x in wide("uniform", 0.3):
        assert np.abs(x).max() <= 0.3
        assert x.min() < -0.29
        assert x.max() > 0.29
        assert x.std() == pytest.approx(0.3 / 3**0.5, rel=0.1)


def test_normal_weights_and_biases_have_the_scale_as_deviation():
    for x in wide("normal", 0.5):
        assert x.std() == pytest.approx(0.5, rel=0.1)
        assert x.mean() == pytest.approx(0, abs=0.1)


def test_zeros_are_zero():
    for x in wide("zeros", 1.0):
        np.testing.assert_array_equal(x, np.zeros_like(x))


@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_lecun_normal_has_deviation_scale_over_root_of_fan_in_and_zero_biases(scale):
    w, b = wide("lecun_normal", scale)
    assert w.std() == pytest.approx(scale / 200**0.5, rel=0.02)
    np.testing.assert_array_equal(b, np.zeros(300))


def test_orthogonal_weights_are_orthogonal_times_scale_and_biases_zero():
    w, b = wide("orthogonal", 2.0)
    np.testing.assert_allclose(w @ w.T, 4 * np.eye(200), atol=1e-4)
    np.testing.assert_array_equal(b, np.zeros(300))


def test_first_weights_differ_between_keys_and_not_for_one_key():
    one, again, other = (mlp().init(jax.random.key(seed))["linear"]["w"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.any(np.asarray(one) == np.asarray(other))


# ---- cnn -----------------------------------------------------------------------------------------


def convolved(x, w, b, stride):
    """Valid cross-correlation of x [height, width, features] with w [kernel, kernel, features,
    channels]."""
    k = len(w)
    rows, columns = ((size - k) // stride + 1 for size in x.shape[:2])
    out = np.empty((rows, columns, w.shape[-1]))
    for i in range(rows):
        for j in range(columns):
            patch = x[i * stride : i * stride + k, j * stride : j * stride + k]
            out[i, j] = np.einsum("hwf,hwfc->c", patch, w) + b
    return out


@pytest.mark.parametrize(("shape", "stride"), [((6, 5, 2), 1), ((7, 8, 2), 2), ((6, 5), 1)])
def test_cnn_is_its_convolutions_then_its_dense_layers(shape, stride):
    policy = cnn(input_shape=shape, stride=stride)
    params = jax.tree.map(np.asarray, policy.init(KEY))
    x = np.asarray(jax.random.normal(jax.random.key(1), shape))
    h = x if x.ndim == 3 else x[:, :, None]
    for layer in ("conv2_d", "conv2_d_1"):
        h = np.maximum(convolved(h, params[layer]["w"], params[layer]["b"], stride), 0)
    h = np.maximum(h.reshape(-1) @ params["linear"]["w"] + params["linear"]["b"], 0)
    expected = h @ params["linear_1"]["w"] + params["linear_1"]["b"]
    output, carry = policy.apply(params, (), x)
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-4)
    assert carry == ()


@pytest.mark.parametrize(("size", "kernel", "stride"), [(6, 3, 1), (7, 4, 2), (5, 2, 3)])
def test_a_padded_convolution_sees_zeros_around_the_picture(size, kernel, stride):
    policy = cnn(
        input_shape=(size, size), channels=[3], hidden=[], kernel=kernel, stride=stride,
        padding="same", activation="identity",
    )  # fmt: skip
    params = jax.tree.map(np.asarray, policy.init(KEY))
    x = np.asarray(jax.random.normal(jax.random.key(1), (size, size)))
    more = (-(-size // stride) - 1) * stride + kernel - size  # behind, where it is odd
    wide = np.pad(x, (more // 2, more - more // 2))[:, :, None]
    h = convolved(wide, params["conv2_d"]["w"], params["conv2_d"]["b"], stride)
    assert len(h) == -(-size // stride)
    expected = h.reshape(-1) @ params["linear"]["w"] + params["linear"]["b"]
    np.testing.assert_allclose(policy.apply(params, (), x)[0], expected, rtol=1e-4, atol=1e-4)


def test_pooling_takes_the_largest_of_each_square_and_drops_what_is_left_over():
    x = np.asarray(jax.random.normal(KEY, (5, 7, 2)))
    largest = [[x[i : i + 2, j : j + 2].max((0, 1)) for j in (0, 2, 4)] for i in (0, 2)]
    np.testing.assert_array_equal(pooled(jnp.asarray(x), 2), largest)


@pytest.mark.parametrize("over", ["max", "mean"])
def test_global_pooling_leaves_one_number_of_each_feature(over):
    policy = cnn(channels=[3], hidden=[], global_pool=over, activation="identity")
    params = jax.tree.map(np.asarray, policy.init(KEY))
    assert params["linear"]["w"].shape == (3, 3)
    x = np.asarray(jax.random.normal(jax.random.key(1), (6, 5, 2)))
    h = getattr(convolved(x, **params["conv2_d"], stride=1), over)((0, 1))
    expected = h @ params["linear"]["w"] + params["linear"]["b"]
    np.testing.assert_allclose(policy.apply(params, (), x)[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", [{"kernel": 7}, {"channels": [2] * 5}, {"pool": 6}])
def test_cnn_refuses_to_shrink_a_picture_to_nothing(options):
    with pytest.raises(ValueError, match=r"leaves no pixel of 6 x 5: write policy.padding=same"):
        cnn(**options).init(KEY)


def test_cnn_names_what_is_left_to_be_changed():
    with pytest.raises(ValueError, match=r"of 6 x 5: write a smaller policy.pool$"):
        cnn(padding="same", pool=6).init(KEY)


@pytest.mark.parametrize("bias", [True, False])
def test_cnn_parameter_count(bias):
    convolutions = (2 * 2 * 2 * 4 + 4 * bias) + (2 * 2 * 4 * 3 + 3 * bias)
    dense = (4 * 3 * 3 * 7 + 7 * bias) + (
        7 * 3 + 3 * bias
    )  # 6 x 5 pixels less two for two kernels of 2
    assert count(cnn(bias=bias).init(KEY)) == convolutions + dense


@pytest.mark.parametrize("shape", [(4,), ()])
def test_cnn_refuses_what_is_no_image(shape):
    with pytest.raises(
        ValueError,
        match=r"image-like input of rank 2 or 3, the task gives shape \(.*\): write policy=mlp",
    ):
        cnn(input_shape=shape)


# ---- rnn -----------------------------------------------------------------------------------------

HAIKU = {
    "gru": (hk.GRU, "gru"),
    "lstm": (hk.LSTM, "lstm"),
    "vanilla": (hk.VanillaRNN, "vanilla_rnn"),
}
SEQUENCE = np.asarray(jax.random.normal(jax.random.key(2), (5, 3)))


@pytest.mark.parametrize("cell", sorted(HAIKU))
def test_carry_starts_at_zero(cell):
    carry = rnn(cell=cell, hidden=[4, 6]).initial_carry()
    leaves = jax.tree.leaves(carry)
    assert sorted(x.size for x in leaves) == sorted([4, 6] * (2 if cell == "lstm" else 1))
    for x in leaves:
        np.testing.assert_array_equal(x, np.zeros(x.shape))


@pytest.mark.parametrize("cell", sorted(HAIKU))
def test_rnn_is_haikus_cell_stepped_by_a_loop(cell):
    policy = rnn(cell=cell, activation="tanh")
    params = policy.init(KEY)
    make, name = HAIKU[cell]
    one_step = hk.without_apply_rng(hk.transform(lambda x, state: make(4)(x, state)))
    state = hk.without_apply_rng(hk.transform(lambda: make(4).initial_state(None))).apply({})
    own = {path: layer for path, layer in params.items() if path.startswith(name)}
    expected = []
    for x in SEQUENCE:
        h, state = one_step.apply(own, x, state)
        expected.append(np.tanh(h) @ params["linear"]["w"] + params["linear"]["b"])
    np.testing.assert_allclose(run(policy, params, SEQUENCE), expected, rtol=1e-5, atol=1e-6)


def test_stacked_vanilla_rnn_by_hand():
    policy = rnn(cell="vanilla", hidden=[4, 6])
    params = jax.tree.map(np.asarray, policy.init(KEY))
    states, expected = [np.zeros(4), np.zeros(6)], []
    for x in SEQUENCE:
        for i, cell in enumerate(("vanilla_rnn", "vanilla_rnn_1")):
            to, back = params[f"{cell}/linear"], params[f"{cell}/linear_1"]
            x = states[i] = np.maximum(x @ to["w"] + to["b"] + states[i] @ back["w"] + back["b"], 0)
        expected.append(x @ params["linear"]["w"] + params["linear"]["b"])
    np.testing.assert_allclose(run(policy, params, SEQUENCE), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", sorted(HAIKU))
@pytest.mark.parametrize("hidden", quickly([[8], [8, 8]], [8, 8]))
def test_last_output_depends_on_the_first_input(cell, hidden):
    policy = rnn(cell=cell, hidden=hidden)
    params = policy.init(KEY)
    changed = SEQUENCE.copy()
    changed[0] += 1
    assert np.abs(run(policy, params, SEQUENCE)[-1] - run(policy, params, changed)[-1]).max() > 1e-5


@pytest.mark.parametrize("hidden", [[4], [4, 6]])
@pytest.mark.parametrize(
    ("cell", "formula"),
    [
        ("gru", lambda i, h: 3 * (i * h + h * h + h)),
        ("lstm", lambda i, h: 4 * (i * h + h * h + h)),
        ("vanilla", lambda i, h: i * h + h * h + 2 * h),
    ],
)
def test_rnn_parameter_count(cell, formula, hidden):
    cells = sum(formula(i, h) for i, h in zip([3, *hidden[:-1]], hidden, strict=True))
    assert count(rnn(cell=cell, hidden=hidden).init(KEY)) == cells + hidden[-1] * 2 + 2


# ---- inputs that are one of many -----------------------------------------------------------------

READERS = {cell: partial(rnn, cell=cell, hidden=[4, 6]) for cell in HAIKU} | {
    "mlp": mlp,
    "no hidden layer": partial(mlp, hidden=[]),
}


@pytest.mark.parametrize("name", READERS)
def test_a_one_hot_input_is_looked_up_as_it_would_be_multiplied(name):
    policy = READERS[name]()
    assert policy.looks_up
    params = jax.tree.map(lambda x: jax.random.normal(KEY, x.shape), policy.init(KEY))
    numbers = [2, 0, 1, 1]
    looked_up = run(policy, params, [OneHot(jnp.int32(i), 3) for i in numbers])
    expected = run(policy, params, np.eye(3)[numbers])
    np.testing.assert_allclose(looked_up, expected, rtol=1e-5, atol=1e-6)


# ---- vector --------------------------------------------------------------------------------------


def test_vector_outputs_its_parameters():
    policy = make_policy("vector", input_shape=(0,), output_size=3, low=-1.0, high=1.0)
    params = jax.tree.map(lambda x: jnp.array([1.0, -2.0, 30.0]), policy.init(KEY))
    output, carry = policy.apply(params, (), jnp.zeros(0))
    np.testing.assert_array_equal(output, [1, -2, 30])
    assert carry == ()


def test_vector_starts_inside_its_interval_and_fills_it():
    policy = make_policy("vector", input_shape=(0,), output_size=10_000, low=2.0, high=5.0)
    (x,) = jax.tree.leaves(policy.init(KEY))
    assert x.shape == (10_000,)
    assert 2 <= x.min() < 2.01
    assert 4.99 < x.max() < 5
    assert np.mean(x) == pytest.approx(3.5, abs=0.05)
