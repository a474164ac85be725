"""Programs rewritten before XLA sees them: slow operations replaced, fixed work done once.

`tuned` traces a function and replaces just the operations that `esrun.backend.kernels` has rules
for; `hoisted` takes out of a loop's body what does not change in it.
"""

import functools
import warnings
from collections.abc import Callable

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from esrun.backend import devices
from esrun.backend.kernels import RULES


def tuned(function: Callable) -> Callable:
    """-> the same function of arrays, faster. It must be batched already: vmap inside, not outside
    of it."""
    rules = RULES["cpu" if devices.on_cpu() else "accelerator"]

    def rewritten(*arguments):
        flat, tree = jax.tree.flatten(arguments)
        closed, shape = jax.make_jaxpr(
            lambda *leaves: function(*jax.tree.unflatten(tree, leaves)), return_shape=True
        )(*flat)
        return jax.tree.unflatten(
            jax.tree.structure(shape), _evaluate(rules, closed.jaxpr, closed.consts, flat)
        )

    return _or_else(rewritten, function)


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


def _evaluate(rules: dict[str, Callable], jaxpr: Jaxpr, constants, arguments) -> list:
    """Run a jaxpr, operation by operation, with the replacements of `rules`; what lies inside loops
    stays as it is."""
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *arguments], strict=True))
    for equation in jaxpr.eqns:
        inputs = _read(values, equation.invars)
        inner = equation.params.get("jaxpr") or equation.params.get("call_jaxpr")
        if (
            equation.primitive.name in ("jit", "pjit", "closed_call", "custom_jvp_call")
            and inner is not None
        ):
            closed = inner if isinstance(inner, ClosedJaxpr) else ClosedJaxpr(inner, ())
            outputs = _evaluate(rules, closed.jaxpr, closed.consts, inputs)
        else:
            rule = rules.get(equation.primitive.name)
            replaced = rule(equation.params, *inputs) if rule else None
            outputs = _outputs(equation, inputs) if replaced is None else [replaced]
        values.update(zip(equation.outvars, outputs, strict=True))
    return _read(values, jaxpr.outvars)
