"""Any octax game (Radji et al. 2025, https://github.com/riiswa/octax) as a task: CHIP-8 consoles,
which an emulator in JAX runs."""

import functools
import json
import re
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Unpack

import jax
import jax.numpy as jnp

from esrun.backend.deferred import deferred
from esrun.tasks.environment import Environment, Step
from esrun.tasks.episodes import Rollout
from esrun.tasks.packages import arguments, mixing_types, parameters, refuse_unknown, refusing
from esrun.tasks.rollout import make_rollout
from esrun.tasks.spaces import Box, Discrete
from esrun.types import Task

# it makes arrays when it is imported, and OpenCV, which writes its videos, would be a fifth of a
# second
with jax.enable_x64(False), deferred("cv2"):
    from octax import environments
    from octax.env import OctaxEnv
    from octax.rendering import create_color_scheme


def make_octax(*, env: str, env_params: dict, **rollout: Unpack[Rollout]) -> Task:
    """The game `env`, with octax's parameters but for `env_params`. What is observed are the frames
    of a step, [height, width, frames]."""
    game = opened(env, json.dumps(env_params))
    advance = mixing_types(game.step)

    def reset(key):
        state, frames, _ = game.reset(key)
        return Step(state, image(frames), jnp.zeros(()), jnp.bool_(False))

    def step(key, state, action):
        # octax's own limit on the steps is the fifth, which `episode_length` replaces
        state, frames, reward, terminated, _, _ = advance(state, action)
        return Step(state, image(frames), reward, terminated)

    with refusing(env, env_params, "octax"):
        shape = jax.eval_shape(reset, jax.random.key(0)).observation.shape
    environment = Environment(
        reset, step, Box(shape), Discrete(game.num_actions), frame=game.render
    )
    return make_rollout(environment, **rollout)


def image(frames: jax.Array) -> jax.Array:
    """Frames [k, width, height], as octax has them -> [height, width, k]."""
    return frames.transpose(2, 1, 0)


@functools.cache
def opened(env: str, env_params: str) -> Any:
    """-> octax's environment with its parameters but for `env_params`, in JSON. Raises ValueError
    for what there is not."""
    refuse_unknown(env, games(), "octax")
    given = json.loads(env_params)
    free = {key: x for key, x in arguments(OctaxEnv).items() if key not in SET}
    given = parameters(env, given, free, "max_num_steps_per_episodes")
    make = mixing_types(environments.create_environment)
    # the first state is computed here, once
    with jax.ensure_compile_time_eval(), jax.enable_x64(False), refusing(env, given, "octax"):
        game, _ = make(env, "rgb_array", **given)
        create_color_scheme(game.color_scheme)  # octax would only look when it draws
    return game


SET = {"action_set", "custom_startup", "disable_delay", "render_mode", "startup_instructions"}
"""The arguments of OctaxEnv that a game itself says."""


def games() -> list[str]:
    """-> the names: a game that comes in levels has none without a number."""
    modules = {module.name for module in iter_modules(environments.__path__)}
    roms = [path.stem for path in Path(environments.get_rom_path("")).glob("*.ch8")]
    found = [re.fullmatch(r"(.*?)\d+", rom) for rom in roms]
    levels = [match for match in found if match and match[1] in modules]
    return sorted(modules - {match[1] for match in levels} | {match[0] for match in levels})
