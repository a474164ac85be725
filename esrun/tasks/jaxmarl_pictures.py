"""Pictures of JaxMARL's environments by the package's own drawings, without a window and without
matplotlib's global state."""

import copy
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

SIDE = 420
"""Pixels of a plot's side."""


def picture_of(env: str, game: Any) -> Callable[[Any], np.ndarray] | None:
    """-> what draws where an episode of `env` stands [height, width, 3] uint8; None where the
    package draws nothing, only into a web page, or by what matplotlib no longer has."""
    kinds = {
        "MPE_": particles,
        "SMAX": battle,
        "HeuristicEnemySMAX": battle,
        "jaxnav": map_of,
        "overcooked_v2": kitchen_2,
        "overcooked": kitchen,
        "storm": storm,
    }
    draw = next((draw for start, draw in kinds.items() if env.startswith(start)), None)
    if draw is None:
        return None
    return lambda now: draw(game, jax.tree.map(jnp.asarray, now.state))


def plotted(draw: Callable[[Any], None]) -> np.ndarray:
    """-> the pixels of what is drawn on matplotlib's axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(SIDE / 100, SIDE / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    draw(figure.add_subplot())
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def particles(game: Any, state: Any) -> np.ndarray:
    """What `MPEVisualizer` draws: agents, landmarks, and letters that are sent."""
    from matplotlib.patches import Circle

    def draw(axes: Any) -> None:
        axes.set(xlim=(-2, 2), ylim=(-2, 2), aspect="equal")
        radii, colours = np.asarray(game.rad), np.asarray(game.colour) / 255
        for place, radius, colour in zip(np.asarray(state.p_pos), radii, colours, strict=True):
            axes.add_patch(Circle(place, radius, color=colour))
        axes.text(-1.95, 1.95, f"Step: {int(state.step)}", va="top")
        speaking = np.flatnonzero(np.asarray(game.silent) == 0)
        for line, i in enumerate(speaking):
            letter = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[int(np.argmax(state.c[i]))]
            axes.text(-1.95, -1.95 + line * 0.17, f"{game.agents[i]} sends {letter}")

    return plotted(draw)


def battle(game: Any, state: Any) -> np.ndarray:
    """What `SMAXVisualizer` draws of the units (its code compiles anew for each of them): allies
    blue, enemies green, those lighter that are shot at."""
    from matplotlib.patches import Circle

    state, world = getattr(state, "state", state), getattr(game, "_env", game)
    kinds, alive, places = (
        np.asarray(x) for x in (state.unit_types, state.unit_alive, state.unit_positions)
    )
    radii = np.asarray(world.unit_type_radiuses)[kinds]
    shot = {int(x) for x in shot_at(world, np.asarray(state.prev_attack_actions), alive)}

    def draw(axes: Any) -> None:
        axes.set(xlim=(0, world.map_width), ylim=(0, world.map_height), aspect="equal")
        axes.set_title(f"Step {int(state.step)}")
        for i in np.flatnonzero(alive):
            colours = ("blue", "cornflowerblue") if i < world.num_allies else ("green", "limegreen")
            axes.add_patch(Circle(places[i], radii[i], color=colours[i in shot]))
            letter, middle = world.unit_type_shorthands[kinds[i]], {"ha": "center", "va": "center"}
            axes.text(*places[i], letter, fontsize="xx-small", color="white", **middle)

    return plotted(draw)


def shot_at(world: Any, actions: np.ndarray, alive: np.ndarray) -> np.ndarray:
    """-> the numbers of the units that are aimed at by units [units] who live; allies count their
    enemies from the first, enemies from the last ally."""
    aim = actions - world.num_movement_actions
    ally = np.arange(len(actions)) < world.num_allies
    targets = np.where(ally, world.num_allies + aim, world.num_allies - 1 - aim)
    return targets[(aim >= 0) & alive]


def map_of(game: Any, state: Any) -> np.ndarray:
    """What JaxNav draws of its map, robots and goals."""
    return plotted(lambda axes: game.init_render(axes, state, lidar=False))


def kitchen(game: Any, state: Any) -> np.ndarray:
    """What `OvercookedVisualizer` animates."""
    from jaxmarl.viz.overcooked_visualizer import OvercookedVisualizer

    border = game.agent_view_size - 2
    grid = np.asarray(state.maze_map)[border:-border, border:-border]
    facing, holding = np.asarray(state.agent_dir_idx), np.asarray(state.agent_inv)
    drawn = OvercookedVisualizer._render_grid(grid, agent_dir_idx=facing, agent_inv=holding)
    return np.asarray(drawn, np.uint8)


def kitchen_2(game: Any, state: Any) -> np.ndarray:
    """What `OvercookedV2Visualizer` animates."""
    return np.asarray(visualizer()._render_state(state), np.uint8)


@functools.cache
def visualizer() -> Any:
    """-> the one that has its compiled function."""
    from jaxmarl.viz.overcooked_v2_visualizer import OvercookedV2Visualizer

    return OvercookedV2Visualizer()


def storm(game: Any, state: Any) -> np.ndarray:
    """What STORM draws itself, without the bars of time below, which NumPy 2 refuses to draw; the
    time is in the caption."""
    bare = copy.copy(game)
    bare.render_time = lambda state, width: np.zeros((0, width, 3), np.uint8)
    return np.asarray(bare.render(state), np.uint8)
