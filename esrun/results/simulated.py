"""What happens in environments that processes step: episodes are played as training's evaluation
plays them, and stepped again here to be drawn."""

import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from esrun.backend import machine
from esrun.errors import ConfigError, first_line
from esrun.tasks.rollout import Watched
from esrun.tasks.simulators import together
from esrun.tasks.stepping import as_sent, made
from esrun.training.build import Run
from esrun.training.hosted import pool_of, seeds_of
from esrun.training.pieces import Pieces
from esrun.types import Moments, PyTree


def watching(run: Run, episodes: int, block: int) -> Callable[[jax.Array, Any, int], Watched]:
    """-> (mean [n], normaliser, seed) -> the first `episodes` held-out episodes of that seed,
    played in a `block` as evaluations play them."""
    pieces = Pieces(run.program.parts)
    parts, size = pieces.parts(run.hyper), max(block, episodes)
    simulators, workers = parts.task.simulators, run.config.runtime.workers

    def watched(mean: jax.Array, normalizer: Moments | None, seed: int) -> Watched:
        params = jax.tree.map(lambda x: x[None], parts.unravel(mean))
        act = pieces.acting(pieces.act_of(normalizer), run.hyper, params, (1, size))
        rows: list[tuple[PyTree, np.ndarray]] = []

        def noted(observations: PyTree, alive: np.ndarray, kept: Any) -> tuple[np.ndarray, Any]:
            if kept is None:  # the first step, perhaps once more
                rows.clear()
            actions, kept = act(observations, alive, kept)
            rows.append(jax.tree.map(lambda x: np.array(x[:episodes]), (observations, actions)))
            return actions, kept

        seeds = seeds_of(pieces.held_out(jnp.uint32(seed), np.arange(size)))
        real, pool = np.arange(size) < episodes, pool_of(simulators, workers)
        (played,) = together([lambda number: pool.play(number, seeds, real, noted)])
        observations, actions = jax.tree.map(lambda *x: np.stack([*x, x[-1]]), *rows)
        steps = played.steps[:episodes]
        totals = [
            returns_of(simulators.order, seeds[i], actions[: steps[i], i], len(actions))
            for i in range(episodes)
        ]
        states = {"seed": np.tile(seeds[:episodes], (len(actions), 1)), "action": actions}
        returns = played.totals[:episodes]
        return Watched(states, observations, np.stack(totals, 1), steps, returns)  # type: ignore

    return watched


def returns_of(order: dict[str, Any], seed: Any, actions: np.ndarray, rows: int) -> np.ndarray:
    """-> the return so far [rows], before each step and behind the last."""
    env = made(order)
    env.reset(seed=int(seed))
    rewards = [env.step(as_sent(env.action_space, action))[1] for action in actions]
    env.close()
    totals = np.cumsum([0.0, *map(float, rewards)])  # type: ignore[arg-type]
    return np.pad(totals, (0, rows - len(totals)), mode="edge")


def drawing(order: dict[str, Any]) -> Callable[[Watched], Callable[[int], np.ndarray]]:
    """-> episode -> row -> its picture, by the environment itself. Raises ConfigError where it
    cannot draw."""
    offscreen()
    env = drawn(order)
    at: dict[str, Any] = {"episode": None, "row": 0}

    def draw(episode: Watched) -> Callable[[int], np.ndarray]:
        seeds, actions = episode.states["seed"], episode.states["action"]

        def frame(t: int) -> np.ndarray:
            if at["episode"] is not episode or at["row"] > t:
                env.reset(seed=int(seeds[0]))
                at.update(episode=episode, row=0)
            for action in actions[at["row"] : t]:
                env.step(as_sent(env.action_space, action))
            at["row"] = t
            return np.asarray(env.render())

        return frame

    return draw


def drawn(order: dict[str, Any]) -> Any:
    """-> the environment, which has drawn its first picture. Raises ConfigError."""
    name = order["env"]
    try:
        env = made(order, render_mode="rgb_array")
        env.reset(seed=0)
        picture = env.render()
    except Exception as error:  # drivers, packages, anybody's environment
        reason = first_line(error) or type(error).__name__
        if "gl" in reason.lower():
            reason += ". Without a screen MuJoCo needs EGL or OSMesa: apt-get install libegl1"
        raise ConfigError(f"{name} cannot be drawn here: {reason}") from error
    if not isinstance(picture, np.ndarray) or picture.ndim != 3:
        raise ConfigError(f"{name} has no pictures to be drawn")
    return env


def offscreen() -> None:
    """Let MuJoCo and pygame draw without a screen, unless the user has said how they draw."""
    quiet = {"PYGAME_HIDE_SUPPORT_PROMPT": "1", "SDL_VIDEODRIVER": "dummy"}
    quiet["SDL_AUDIODRIVER"] = "dummy"
    if (opengl := machine.opengl_without_a_screen()) is not None:
        quiet["MUJOCO_GL"] = opengl
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
