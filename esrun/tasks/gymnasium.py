"""Any environment of gymnasium (Towers et al. 2024, https://gymnasium.farama.org), MuJoCo's for
one, stepped by processes (see `esrun.tasks.simulators`)."""

import functools
import json
from pathlib import Path
from typing import Any

import gymnasium
import jax
import numpy as np
from gymnasium import spaces

from esrun.errors import first_line, nearest
from esrun.tasks.simulators import Simulators
from esrun.tasks.spaces import Box, Codes, Discrete, decoding, encoding, interface
from esrun.tasks.stepping import made
from esrun.types import Evaluation, Number, Task


def make_gymnasium(
    *,
    env: str,
    env_params: dict,
    episodes: int,
    episode_length: int,
    action: str,
    reward_offset: Number | None,
    alive_bonus: Number | None,
) -> Task:
    """The environment `gymnasium.make(env, **env_params)`, for at most `episode_length` steps.

    `reward_offset` and `alive_bonus` are those of `esrun.tasks.episodes.Rollout`. Raises ValueError
    for one that cannot be made, or whose spaces are none of numbers.
    """
    order = {"env": env, "params": env_params, "length": episode_length}
    if ":" in env:  # of a module that the command line names, see config.imports
        order["beside"] = str(Path.cwd())
    observation, act = spaces_of(json.dumps(order))
    seen = jax.tree.map(
        functools.partial(space_of, "observation"), _tree(observation), is_leaf=_is_space
    )
    encoded = encoding(seen)
    decoded = decoding(space_of("action", act), action)
    structure = jax.tree.structure(_tree(observation), is_leaf=_is_space)

    def paid(rewards: np.ndarray, terminated: np.ndarray) -> np.ndarray:
        if reward_offset is not None:
            rewards = rewards + float(reward_offset)
        return rewards if alive_bonus is None else rewards + float(alive_bonus) * ~terminated

    as_it_is = reward_offset is None and alive_bonus is None

    def evaluate(*_: Any) -> Evaluation:
        raise TypeError(f"{env} is stepped by processes, which training.hosted asks")

    return Task(
        encoded.shape,
        decoded.size,
        episodes,
        evaluate,
        steps=episodes * episode_length,
        interface=interface(encoded, decoded),
        simulators=Simulators(
            order, observation, act, structure.unflatten, episode_length, None if as_it_is else paid
        ),
    )


@functools.lru_cache(maxsize=8)
def spaces_of(order: str) -> tuple[spaces.Space, spaces.Space]:
    """-> the spaces of observations and actions of what is ordered, as JSON. Raises ValueError."""
    wanted = json.loads(order)
    env = wanted["env"]
    try:
        one = made(wanted)
    except (Exception, SystemExit) as error:  # whatever an environment of anybody's raises
        hint = "" if env in gymnasium.registry else nearest(env, gymnasium.registry)
        raise ValueError(f"task.env={env} cannot be made{hint}: {first_line(error)}") from error
    found = one.observation_space, one.action_space
    one.close()
    return found


def _is_space(x: Any) -> bool:
    return isinstance(x, spaces.Space)


def _tree(space: Any) -> Any:
    """-> a space of several parts as a tree of spaces."""
    if isinstance(space, spaces.Dict):
        return {key: _tree(part) for key, part in space.spaces.items()}
    return tuple(map(_tree, space.spaces)) if isinstance(space, spaces.Tuple) else space


def space_of(what: str, space: Any) -> Any:
    """-> one of gymnasium's spaces as one of ours. Raises ValueError for what is no numbers."""
    if isinstance(space, spaces.Box):
        return Box(tuple(space.shape), space.low, space.high)
    if isinstance(space, spaces.Discrete):
        return Discrete(int(space.n))
    if isinstance(space, spaces.MultiBinary) and what == "observation":
        return Box(tuple(space.shape or ()))
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1:
        return Codes(tuple(map(int, space.nvec)))
    if isinstance(space, spaces.MultiBinary) and len(space.shape or ()) == 1:
        return Codes((2,) * int(space.shape[0]))
    several = ", or a Dict or Tuple of such" if what == "observation" else ""
    raise ValueError(
        f"task.env's {what} must be a Box, Discrete, MultiBinary or MultiDiscrete{several}, got "
        f"{space}"
    )
