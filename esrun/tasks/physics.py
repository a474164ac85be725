# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
"""What Brax and MuJoCo Playground share: the form of their environments, and MuJoCo's pictures."""

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from esrun.backend.machine import opengl_without_a_screen
from esrun.errors import ConfigError, first_line
from esrun.tasks.environment import Environment, Step
from esrun.tasks.packages import quiet_mujoco
from esrun.tasks.spaces import Box
from esrun.types import Key

try:
    mujoco: Any = importlib.import_module("mujoco")  # a type checker cannot see its compiled parts
except AttributeError as error:  # PyOpenGL's, for a library that is missing
    raise ConfigError(
        f"MUJOCO_GL={os.environ.get('MUJOCO_GL')} asks for an OpenGL that is not here "
        f"({first_line(error)}): install it, or leave that variable out"
    ) from error

WIDTH, HEIGHT = 400, 300
"""Pixels of a picture; a model may allow fewer."""


def environment_of(
    simulated: Any, repeats: int = 1, frame: Callable[[Any], np.ndarray] | None = None
) -> Environment:
    """-> an environment whose `State` holds what is observed, the reward and the end, and whose
    actions are numbers from -1 to 1; each is taken `repeats` times, and the rewards are added.

    Raises ValueError where it cannot be traced.
    """

    def shown(state: Any, reward: jax.Array) -> Step:
        return Step(state, observed(state.obs), reward, state.done)

    def reset(key: Key) -> Step:
        state = simulated.reset(jax.random.key_data(key))  # their own keys are plain numbers
        return shown(state, state.reward)

    def step(key: Key, state: Any, action: jax.Array) -> Step:
        reward = jnp.zeros(())
        for _ in range(repeats):
            state = simulated.step(state, action)
            reward += state.reward
        return shown(state, reward)

    actions, key = Box((simulated.action_size,), -1.0, 1.0), jax.random.key(0)
    try:
        first = jax.eval_shape(reset, key)
        jax.eval_shape(step, key, first.state, jnp.zeros(actions.shape))
    except (TypeError, AttributeError) as error:
        raise ValueError(
            f"it was written for another JAX than {jax.__version__} ({first_line(error)})"
        ) from error
    spaces = jax.tree.map(lambda x: Box(x.shape), first.observation)
    return Environment(reset, step, spaces, actions, frame=frame)


def observed(obs: Any) -> Any:
    """-> of several observations what a policy is given, "state"; the others are for critics."""
    return obs["state"] if isinstance(obs, Mapping) and "state" in obs else obs


def drawn_by_mujoco(model: Any, placed: Callable[[Any, Any], None]) -> Callable[[Any], np.ndarray]:
    """-> state -> its picture, [height, width, 3] uint8; `placed` (MuJoCo's data, state) writes the
    state into the data. Nothing is opened before the first."""
    opened = []

    def frame(state: Any) -> np.ndarray:
        with quiet_mujoco():
            if not opened:
                opened.extend((renderer_of(model), mujoco.MjData(model)))
            renderer, data = opened
            placed(data, state)
            mujoco.mj_forward(model, data)
            renderer.update_scene(data, camera=min(0, model.ncam - 1))  # the first, or the free one
            return renderer.render()

    return frame


def renderer_of(model: Any) -> Any:
    """-> what draws the model, without a screen.

    Raises ConfigError where the system lacks what that needs.
    """
    sizes = model.vis.global_
    try:
        by = opengl_without_a_screen()
        if by is not None and not os.environ.get("MUJOCO_GL"):
            # not before: MuJoCo reads it when it is imported, and fails then if EGL is missing
            os.environ["MUJOCO_GL"] = by
            importlib.reload(sys.modules[mujoco.Renderer.__module__].gl_context)
        return mujoco.Renderer(model, min(HEIGHT, sizes.offheight), min(WIDTH, sizes.offwidth))
    except Exception as error:  # PyOpenGL raises an AttributeError for a library that is missing
        raise ConfigError(
            f"MuJoCo draws with OpenGL, which could not be opened ({first_line(error)}): install "
            "EGL with software rendering (Debian and Ubuntu: apt-get install libegl1 "
            "libgl1-mesa-dri), or write MUJOCO_GL=osmesa before the command and install libosmesa6"
        ) from error
