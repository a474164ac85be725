"""Programs rewritten before XLA sees them: slow operations replaced, fixed work done once, choices
made that XLA would make by what stands around.

`tuned` traces a function and replaces just the operations that `esrun.backend.kernels` has rules
for; `settled` replaces those whose rounding is XLA's choice; `hoisted` takes out of a loop's body
what does not change in it.
"""

import functools
import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from esrun.backend import devices
from esrun.backend.kernels import RULES
from esrun.types import PyTree


def tuned(function: Callable) -> Callable:
    """-> the same function of arrays, faster. It must be batched already: vmap inside, not outside
    of it."""
    rules = RULES["cpu" if devices.on_cpu() else "accelerator"]

    def rewritten(*arguments):
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
        outputs = _evaluate(rules, closed.jaxpr, closed.consts, jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(shape), outputs)

    return _or_else(rewritten, function)


def settled(function: Callable, *examples) -> tuple[Callable, PyTree]:
    """-> (the same function, with one way to round; the shapes of its results), for arguments like
    the `examples`.

    XLA divides an array by a number where the number has another use and multiplies with its
    inverse where it has none, and takes 1 / sqrt(x) for rsqrt(x), which is rounded otherwise, where
    the root has no other use: by what it happens to know at that moment. Here arrays are multiplied
    with inverses, and roots stay roots.
    """
    closed, shape = jax.make_jaxpr(function, return_shape=True)(*examples)

    def evaluated(*arguments):
        leaves = jax.tree.leaves(arguments)
        outputs = _evaluate(SETTLING, closed.jaxpr, closed.consts, leaves, inside=True)
        return jax.tree.unflatten(jax.tree.structure(shape), outputs)

    return _or_else(evaluated, function), shape


def _times_inverse(parameters, x: jax.Array, y: jax.Array) -> jax.Array | None:
    del parameters
    # a number that the program gives to a function of its own is no array
    if jnp.size(x) == 1 or jnp.size(y) > 1 or not jnp.issubdtype(x.dtype, jnp.floating):
        return None
    return x * (1 / y)


def _root(parameters, x: jax.Array) -> jax.Array:
    return jax.lax.optimization_barrier(jax.lax.sqrt_p.bind(x, **parameters))


SETTLING = {"div": _times_inverse, "sqrt": _root}


def _or_else(quick: Callable, plain: Callable) -> Callable:
    """`quick`, or `plain` where it cannot make anything of a program: jaxprs come without promises,
    and what another version of JAX writes must cost speed, never a run."""

    def wrapped(*arguments):
        try:
            return quick(*arguments)
        except Exception as error:  # an error of the caller's own comes again from `plain`
            result = plain(*arguments)
            _warn(f"{type(error).__name__}: {error}")
            return result

    return wrapped


@functools.cache
def _warn(reason: str) -> None:
    warnings.warn(
        f"JAX {jax.__version__} writes programs that esrun cannot make faster ({reason}): rollouts "
        "are computed as they are, more slowly",
        stacklevel=2,
    )


def hoisted(function: Callable, fixed, *examples) -> Callable:
    """`function` (fixed, ...) -> a function (...) for the body of a loop in which `fixed` stays
    what it is.

    What depends on `fixed` alone and takes no more memory than what it is made of is computed here,
    once: XLA leaves slices and transposes of what does not change inside a loop. `examples` have
    the shapes of the other arguments.
    """

    def as_it_is(*arguments):
        return function(fixed, *arguments)

    body = _or_else(lambda: _hoisted(function, fixed, examples), lambda: as_it_is)()
    return _or_else(body, as_it_is)


def _hoisted(function: Callable, fixed, examples) -> Callable:
    closed, shape = jax.make_jaxpr(function, return_shape=True)(fixed, *examples)
    leaves = jax.tree.leaves(fixed)
    inputs, varying = closed.jaxpr.invars[: len(leaves)], closed.jaxpr.invars[len(leaves) :]
    known = dict(zip([*closed.jaxpr.constvars, *inputs], [*closed.consts, *leaves], strict=True))
    later = []
    for equation in closed.jaxpr.eqns:
        reads = [variable for variable in equation.invars if not isinstance(variable, Literal)]
        alone = reads and all(variable in known for variable in reads)
        if alone and _size(equation.outvars) <= _size(reads):
            known.update(
                zip(
                    equation.outvars, _outputs(equation, _read(known, equation.invars)), strict=True
                )
            )
        else:
            later.append(equation)

    def body(*arguments):
        values = known | dict(zip(varying, jax.tree.leaves(arguments), strict=True))
        for equation in later:
            values.update(
                zip(
                    equation.outvars,
                    _outputs(equation, _read(values, equation.invars)),
                    strict=True,
                )
            )
        return jax.tree.unflatten(jax.tree.structure(shape), _read(values, closed.jaxpr.outvars))

    return body


def _size(variables) -> int:
    return sum(variable.aval.size * variable.aval.dtype.itemsize for variable in variables)


def _read(values: dict, variables) -> list:
    return [
        variable.val if isinstance(variable, Literal) else values[variable]
        for variable in variables
    ]


def _outputs(equation, inputs: list) -> list:
    """-> what an operation makes of its inputs, as a list."""
    outputs = equation.primitive.bind(
        *inputs, **equation.primitive.get_bind_params(equation.params)
    )
    return outputs if equation.primitive.multiple_results else [outputs]


def _evaluate(
    rules: dict[str, Callable], jaxpr: Jaxpr, constants, arguments, inside: bool = False
) -> list:
    """Run a jaxpr, operation by operation, with the replacements of `rules`, `inside` loops and
    branches too."""
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *arguments], strict=True))
    for equation in jaxpr.eqns:
        inputs = _read(values, equation.invars)
        inner = equation.params.get("jaxpr") or equation.params.get("call_jaxpr")
        if (
            equation.primitive.name in ("jit", "pjit", "closed_call", "custom_jvp_call")
            and inner is not None
        ):
            closed = inner if isinstance(inner, ClosedJaxpr) else ClosedJaxpr(inner, ())
            outputs = _evaluate(rules, closed.jaxpr, closed.consts, inputs, inside)
        else:
            rule = rules.get(equation.primitive.name)
            replaced = rule(equation.params, *inputs) if rule else None
            if replaced is not None:
                outputs = [replaced]
            else:
                outputs = _outputs(_within(rules, equation) if inside else equation, inputs)
        values.update(zip(equation.outvars, outputs, strict=True))
    return _read(values, jaxpr.outvars)


def _within(rules: dict[str, Callable], equation: JaxprEqn) -> JaxprEqn:
    """-> the equation, with the replacements in the jaxprs of its parameters."""

    def rewritten(part):
        if isinstance(part, tuple):
            return tuple(map(rewritten, part))
        if not isinstance(part, ClosedJaxpr):
            return part
        return jax.make_jaxpr(
            lambda *inputs: _evaluate(rules, part.jaxpr, part.consts, inputs, inside=True)
        )(*part.in_avals)

    if equation.primitive.name not in ("scan", "while", "cond"):
        return equation
    return equation.replace(params={k: rewritten(part) for k, part in equation.params.items()})
