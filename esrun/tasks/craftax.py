# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
"""Craftax and Craftax-Classic (Matthews et al. 2024, https://github.com/MichaelTMatthews/Craftax)
as tasks: to survive in a world with nine floors, or with one, and achieve what there is."""

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np

from esrun.backend.deferred import deferred
from esrun.tasks.environment import Environment, Step, in_32_bits
from esrun.tasks.episodes import Rollout
from esrun.tasks.packages import parameters, refuse_unknown, refusing
from esrun.tasks.rollout import make_rollout
from esrun.tasks.spaces import Box, Discrete
from esrun.types import Task

KINDS = ("Symbolic", "Pixels", "Classic-Symbolic", "Classic-Pixels")
TILE = 16
"""Pixels of a square in a film: those of its textures."""


def make_craftax(*, env: str, env_params: dict, **rollout: Unpack[Rollout]) -> Task:
    """The environment `env` with Craftax's parameters, and those that say how large its world is,
    but for `env_params`."""
    game, params = opened(env, json.dumps(env_params), rollout["episode_length"])

    def reset(key):
        observation, state = game.reset_env(key, params)
        return Step(state, observation, jnp.zeros(()), jnp.bool_(False))

    def step(key, state, action):
        observation, state, reward, ended, _ = game.step_env(key, state, action, params)
        return Step(state, observation, reward, ended)

    observation = Box(tuple(game.observation_space(params).shape))
    action = Discrete(game.action_space(params).n)
    environment = Environment(reset, step, observation, action, frame=make_frame("Classic" in env))
    return make_rollout(environment, **rollout)


@functools.cache
def opened(env: str, env_params: str, episode_length: int) -> tuple[Any, Any]:
    """-> (Craftax's environment, its parameters), which are its own but for `env_params`, in JSON.
    Raises ValueError for what there is not."""
    refuse_unknown(env, [f"Craftax-{kind}-v1" for kind in KINDS], "craftax")
    with loading("Classic" in env):
        from craftax.craftax_env import make_craftax_env_from_name

        game: Any = make_craftax_env_from_name(env, auto_reset=False)
        own, shapes = game.default_params, game.default_static_params()
        given = json.loads(env_params)
        given = parameters(env, given, vars(own) | vars(shapes), "max_timesteps")
        chosen = [{x: given[x] for x in vars(these) if x in given} for these in (own, shapes)]
        params = own.replace(max_timesteps=episode_length, **chosen[0])
        if given:
            with refusing(env, given, "craftax"):
                game = type(game)(shapes.replace(**chosen[1]))
                jax.eval_shape(game.reset_env, jax.random.key(0), params)
    return game, params


@contextmanager
def loading(classic: bool) -> Iterator[Any]:
    """-> Craftax's module of renderers. Inside, textures are made as they are needed.

    Craftax itself would make them in three sizes, which takes minutes, say so on the console, and
    keep them as a pickle in its own installed folder.
    """
    # its modules make arrays when they are imported, and one imports pyplot for a picture of noise
    with jax.ensure_compile_time_eval(), jax.enable_x64(False), deferred("matplotlib.pyplot"):
        package = f"craftax.craftax{'_classic' if classic else ''}"
        constants = import_module(f"{package}.constants")
        renderer: Any = import_module(f"{package}.renderer")

        class Textures:
            def __getitem__(self, size: int) -> Any:
                return constants.load_all_textures_given_size(size)

        own = renderer.load_all_textures
        renderer.load_all_textures = Textures
        try:
            yield renderer
        finally:
            renderer.load_all_textures = own


@functools.cache
def make_frame(classic: bool) -> Callable[[Any], np.ndarray]:
    """-> what draws a state as the players of the pixels see it, with larger squares."""

    @functools.cache
    def drawing() -> Callable:
        with loading(classic) as renderer:
            return jax.jit(in_32_bits(renderer.make_craftax_pixel_renderer(TILE)))

    return lambda state: np.asarray(drawing()(state)).clip(0, 255).astype(np.uint8)
