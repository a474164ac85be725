"""JaxMARL's environments as their agents see them: dictionaries by agent become arrays.

Agents that differ in what they observe or do share one policy all the same: the shorter
observations and actions are padded, and each is shown its number, as JaxMARL's own
`CTRolloutManager` does.
"""

import io
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from esrun.tasks.spaces import Box, Codes, Discrete
from esrun.types import PyTree


class View(NamedTuple):
    """An environment as its agents see it, in the order of `agents`; all see and do as much."""

    observation: Any
    """A tree of spaces."""
    action: Discrete | Box
    seen: Callable[[Any, Any], tuple[PyTree, jax.Array | None]]
    """(observations, state), both JaxMARL's -> (observation [agents, ...] each, mask [agents, n] or
    None)."""
    joined: Callable[[jax.Array], Any]
    """actions [agents, ...] -> what JaxMARL takes for them."""


@contextmanager
def silent() -> Iterator[None]:
    """While this is open nothing is printed, not by JaxMARL either, which tells what it has found
    and meanwhile sets the streams to those that Python began with."""
    before = sys.stdout, sys.stderr, sys.__stdout__
    sys.stdout = sys.__stdout__ = io.StringIO()  # type: ignore[misc]
    try:
        yield
    finally:
        sys.stdout, sys.stderr, sys.__stdout__ = before  # type: ignore[misc]


def quiet(function: Callable) -> Callable:
    """-> the function traced without what JAX and Brax say of the package's ways: its authors can
    do something about it, a user cannot."""

    def wrapped(*given):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "scatter inputs have incompatible", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            return function(*given)

    return wrapped


def of_agent(each: Any, i: int, agent: Any) -> Any:
    """-> the part of agent number `i`: of a dictionary by agent, of arrays with an axis of agents,
    of parts such as STORM's, whose inventory has that axis last."""
    if not isinstance(each, dict):
        return each[i]
    if agent in each:
        return each[agent]
    return {part: x[..., i] if part == "inventory" else x[i] for part, x in each.items()}


def viewed(game: Any) -> View:
    """-> the view of JaxMARL's environment. Raises ValueError for actions of an unknown kind."""
    observed, _ = jax.eval_shape(quiet(game.reset), jax.random.key(0))
    agents = list(enumerate(game.agents))
    # the declared spaces are not always those of the arrays
    shapes = jax.eval_shape(lambda seen: [of_agent(seen, i, a) for i, a in agents], observed)
    spaces = [game.action_space(a) for a in game.agents]
    alike = len({str(x) for x in shapes}) == 1 and len({size_of(x) for x in spaces}) == 1

    def seen(observed: Any, state: Any) -> tuple[PyTree, jax.Array | None]:
        each = [of_agent(observed, i, a) for i, a in agents]
        mask = legal(game, spaces, state)
        if alike:
            return jax.tree.map(lambda *x: jnp.stack(x), *each), mask
        flat = [flattened(x) for x in each]
        longest = max(len(x) for x in flat)
        padded = jnp.stack([jnp.pad(x, (0, longest - len(x))) for x in flat])
        return (padded, jnp.arange(len(agents))), mask

    def joined(actions: jax.Array) -> Any:
        each = [fitted(x, space) for x, space in zip(actions, spaces, strict=True)]
        by_name = isinstance(game.agents[0], str)
        return dict(zip(game.agents, each, strict=True)) if by_name else each

    return View(observation_of(game, shapes, alike), action_of(spaces), seen, joined)


def flattened(tree: PyTree) -> jax.Array:
    """-> [n] of all parts."""
    return jnp.concatenate([jnp.ravel(x).astype(jnp.float32) for x in jax.tree.leaves(tree)])


def observation_of(game: Any, shapes: list, alike: bool) -> Any:
    """-> the space of what an agent sees."""
    if not alike:
        sizes = [sum(int(np.prod(x.shape)) for x in jax.tree.leaves(one)) for one in shapes]
        return Box((max(sizes),)), Discrete(len(shapes))
    declared = game.observation_space(game.agents[0])
    if hasattr(declared, "num_categories"):
        return Codes(tuple(np.asarray(declared.num_categories).tolist()))
    return jax.tree.map(lambda x: Box(x.shape), shapes[0])


def size_of(space: Any) -> tuple[int, ...]:
    """-> (how many actions) of a discrete space, the shape of another."""
    return (int(space.n),) if hasattr(space, "n") else tuple(space.shape)


def action_of(spaces: list) -> Discrete | Box:
    """-> the space of what an agent does, large enough for all."""
    largest = max(spaces, key=lambda x: np.prod(size_of(x)))
    if hasattr(largest, "n"):
        return Discrete(int(largest.n))
    if hasattr(largest, "low"):
        return Box(size_of(largest), largest.low, largest.high)
    raise ValueError(f"task.env has actions of an unknown kind: {type(largest).__name__}")


def fitted(action: jax.Array, space: Any) -> jax.Array:
    """-> an action, cut to what the agent's own space holds."""
    if hasattr(space, "n"):
        return action.astype(space.dtype)
    size = int(np.prod(space.shape))
    return jnp.clip(jnp.ravel(action)[:size].reshape(space.shape), space.low, space.high)


def legal(game: Any, spaces: list, state: Any) -> jax.Array | None:
    """-> [agents, n] bool, None where everything is legal."""
    if not hasattr(spaces[0], "n"):
        return None
    most = max(int(x.n) for x in spaces)
    if hasattr(game, "get_legal_moves"):
        each = game.get_legal_moves(state)
    elif _tells(game):
        each = game.get_avail_actions(state)
    else:
        each = {a: jnp.ones(int(x.n)) for a, x in zip(game.agents, spaces, strict=True)}
        if all(int(x.n) == most for x in spaces):
            return None
    rows = [jnp.ravel(each[a]) != 0 for a in game.agents]
    return jnp.stack([jnp.pad(x, (0, most - len(x))) for x in rows])


def _tells(game: Any) -> bool:
    """Whether the environment says what is legal; the class that all are made from does not."""
    own = type(game).get_avail_actions
    return own.__module__ != "jaxmarl.environments.multi_agent_env"
