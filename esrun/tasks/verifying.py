"""Whether an environment that esrun does not know is one: its functions are traced once, and what
does not fit together is said before anything is compiled."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from esrun.errors import first_line
from esrun.tasks.environment import Environment, Step, in_32_bits
from esrun.tasks.spaces import decoding, encoding


def verified(environment: Environment) -> Environment:
    """-> the environment. Raises ValueError, which says what is wrong with it."""
    encoded = _traced("observation", encoding, environment.observation)
    decoded = _traced("action", decoding, environment.action, "clip")
    agents = () if environment.agents is None else (environment.agents,)
    if agents == (0,):
        raise ValueError("it must have an agent at least, got agents=0")

    def each(function: Callable) -> Callable:
        return jax.vmap(function) if agents else function

    def begun() -> Step:
        return in_32_bits(environment.reset)(jax.random.key(0))

    first = _step("reset", begun)
    seen = _shape("observation", each(encoded.encode), first.observation)
    if seen != (*agents, *encoded.shape):
        raise ValueError(
            f"its reset observes what becomes an input of shape {seen}, its space says "
            f"{(*agents, *encoded.shape)}"
        )
    output = jnp.zeros((*agents, decoded.size))
    masks = () if first.mask is None else (first.mask,)
    action = _traced("mask", jax.eval_shape, each(decoded.decode), output, *masks)

    def went_on(state: Any, action: Any) -> Step:
        return in_32_bits(environment.step)(jax.random.key(0), state, action)

    then = _step("step", went_on, first.state, action)
    for name in ("state", "observation", "mask"):
        one, other = (_shapes(getattr(now, name)) for now in (first, then))
        if one != other:
            raise ValueError(
                f"its {name} must stay of one form, got {one} after reset and {other} after step"
            )
    return environment


def _step(name: str, function: Callable, *arguments: Any) -> Step:
    """-> the shapes of what a function of it returns."""
    now = _traced(name, jax.eval_shape, function, *arguments)
    if not isinstance(now, Step):
        raise ValueError(f"its {name} must return a Step, got {type(now).__name__}")
    for what in ("reward", "ended"):
        value = getattr(now, what)
        shape = getattr(value, "shape", None)
        if shape != ():
            got = type(value).__name__ if shape is None else f"shape {shape}"
            raise ValueError(f"its {name} must return one number as {what}, got {got}")
    if jnp.issubdtype(now.reward.dtype, jnp.complexfloating):
        raise ValueError(f"its {name} must return a real reward, got {now.reward.dtype}")
    return now


def _traced(name: str, function: Callable, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except (Exception, SystemExit) as error:  # whatever a user's own code raises
        raise ValueError(
            f"its {name} fails: {type(error).__name__}: {first_line(error)}"
        ) from error


def _shape(name: str, function: Callable, *arguments: Any) -> tuple[int, ...]:
    return _traced(name, jax.eval_shape, function, *arguments).shape


def _shapes(tree: Any) -> str:
    """-> the shapes of a tree's arrays, as they are told."""
    return str(jax.tree.map(jnp.shape, tree))
