"""Pictures of environments: what their adapter draws; of gymnax its own renderers where it has one
for a screen, the same drawing where that needs a window's state; and a plot of what is observed for
the rest."""

import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from PIL import Image

from esrun.config.schema.environments import CLASSIC
from esrun.results.canvas import panel, wong
from esrun.results.traces import trace
from esrun.tasks.adapting import FEEDBACK, Trial
from esrun.tasks.gymnax import opened
from esrun.tasks.rollout import Watched
from esrun.types import Task

Frame = Callable[[int], np.ndarray]
"""Row of an episode -> its picture [height, width, 3], uint8."""

SIDE = 400
"""Pixels of a square picture."""


def drawing(option: Any, task: Task) -> Callable[[Watched], Frame]:
    """-> what draws one episode of a task, whose arrays are NumPy's and have lost the axis [k];
    `option` is the task's configuration."""
    if option.name == "gymnax":
        environment, params = opened(option.env, dict(option.env_params), option.episode_length)
        return lambda episode: make_frames(environment, params, _bare(episode), option.env)
    if task.simulators:
        from esrun.results import simulated

        return simulated.drawing(task.simulators.order)
    if task.frame is None:
        return lambda episode: lambda t: trace(option.env, _bare(episode), t)
    draw = task.frame
    return lambda episode: lambda t: draw(jax.tree.map(lambda x: x[t], episode.states))


def _bare(episode: Watched) -> Watched:
    """-> the episode as the environment itself knows it, without what `tasks.adapting` adds."""
    states, seen = episode.states, episode.observations
    if isinstance(states, Trial):
        states = states.inner
    shown = isinstance(seen, dict) and seen.keys() == FEEDBACK
    return episode._replace(states=states, observations=seen["observation"] if shown else seen)


def make_frames(environment: Any, params: Any, episode: Watched, name: str) -> Frame:
    """-> the pictures of one episode, whose arrays are NumPy's and have lost the axis [k].

    Nothing is shown on a screen, and nothing is kept in matplotlib's global state.
    """

    def state(t: int) -> Any:
        fields = {key: x[t] for key, x in vars(episode.states).items()}
        return type(episode.states)(**fields)

    if name in CLASSIC:
        classic = make_classic(name, params)
        return lambda t: classic(state(t))
    if name.endswith("-MinAtar") or name == "Pong-misc":
        return lambda t: coloured(np.asarray(episode.observations[t]))
    if name in DRAWN:
        draw = DRAWN[name]
        return lambda t: draw(environment, state(t), params)
    return lambda t: trace(name, episode, t)


def make_classic(name: str, params: Any) -> Callable[[Any], np.ndarray]:
    """-> state -> gymnasium's picture of it, as `gymnax.visualize` asks for it, with one window for
    all."""
    quiet = {"PYGAME_HIDE_SUPPORT_PROMPT": "1", "SDL_VIDEODRIVER": "dummy"}
    os.environ |= quiet | {"SDL_AUDIODRIVER": "dummy"}
    import gymnasium
    from gymnax.visualize import vis_gym

    window: Any = gymnasium.make(name, render_mode="rgb_array", disable_env_checker=True).unwrapped
    window.reset(seed=0)
    vis_gym.set_gym_params(window, name, params)

    def frame(state: Any) -> np.ndarray:
        window.state = vis_gym.get_gym_state(state, name)
        if name == "Pendulum-v1":
            window.last_u = np.asarray(state.last_u, np.float64)
        return np.asarray(window.render())

    return frame


def coloured(observation: np.ndarray) -> np.ndarray:
    """Channels [h, w, c] -> a picture: a cell has the colour of its highest channel, in the palette
    of `gymnax.visualize` (seaborn's "cubehelix")."""
    channels = observation.shape[-1]
    cells = np.max(observation * (np.arange(channels) + 1), axis=2).astype(int)
    return enlarged(cubehelix(channels)[cells])


def cubehelix(colours: int) -> np.ndarray:
    """-> uint8 [colours + 1, 3]: black, then equally spaced ones of matplotlib's map without its
    ends."""
    from matplotlib import colormaps

    inner = np.linspace(0, 1, colours + 2)[1:-1]
    own = colormaps["cubehelix"](inner)[:, :3]
    return np.round(255 * np.concatenate([np.zeros((1, 3)), own])).astype(np.uint8)


def enlarged(cells: np.ndarray) -> np.ndarray:
    """Cells [h, w, 3] -> the picture whose longer side has SIDE pixels."""
    scale = max(1, SIDE // max(cells.shape[:2]))
    size = cells.shape[1] * scale, cells.shape[0] * scale
    return np.asarray(Image.fromarray(cells).resize(size, Image.Resampling.NEAREST))


def catch(environment: Any, state: Any, params: Any) -> np.ndarray:
    """gymnax's own picture of Catch: a ball B and a paddle P."""
    from gymnax.visualize import vis_catch

    with panel(SIDE, SIDE) as (axes, pixels):
        vis_catch.init_catch(axes, environment, state, params)
        return pixels()


def maze(environment: Any, state: Any, params: Any) -> np.ndarray:
    """gymnax's own picture of its mazes: an agent A and a goal G."""
    from gymnax.visualize import vis_maze

    with panel(SIDE, SIDE) as (axes, pixels):
        vis_maze.init_maze(axes, environment, state, params)
        return pixels()


def point_robot(environment: Any, state: Any, params: Any) -> np.ndarray:
    """What gymnax draws of PointRobot; its own function works on pyplot's current figure."""
    with panel(SIDE, int(0.6 * SIDE)) as (axes, pixels):
        angles = np.linspace(0, np.pi, 100)
        axes.plot(params.circle_radius * np.cos(angles), params.circle_radius * np.sin(angles), "k")
        disc(axes, state.goal, params.goal_radius, wong.GREEN, "goal", alpha=0.4)
        limits = (-1.25, 1.25), (-0.25, 1.25)
        moving(axes, state.pos, limits, "robot")
        framed(axes, *limits)
        return pixels()


def reacher(environment: Any, state: Any, params: Any) -> np.ndarray:
    """An arm of unit links, whose angles are each from the x axis, and its goal."""
    ends = np.cumsum(np.stack([np.cos(state.angles), np.sin(state.angles)], 1), axis=0)
    points, reach = np.concatenate([np.zeros((1, 2)), ends]), len(ends) + 0.3
    with panel(SIDE, SIDE) as (axes, pixels):
        axes.plot(*points.T, "o-", color=wong.BLUE, linewidth=5, markersize=9, label="arm")
        disc(axes, state.goal_xy, 0.12, wong.GREEN, "goal")
        framed(axes, (-reach, reach), (-reach, reach))
        return pixels()


def swimmer(environment: Any, state: Any, params: Any) -> np.ndarray:
    """A point among urchins, and its goal."""
    with panel(SIDE, SIDE) as (axes, pixels):
        axes.plot(*state.urchin_xys.T, "*", color=wong.BLACK, markersize=11, label="urchins")
        disc(axes, state.goal_xy, 0.07, wong.GREEN, "goal")
        limits = (-1.5, 1.5), (-1.5, 1.5)
        moving(axes, state.xy, limits, "swimmer")
        framed(axes, *limits)
        return pixels()


def frozen_lake(environment: Any, state: Any, params: Any) -> np.ndarray:
    """The map (start, ice, holes, goal) and the agent."""
    tiles = np.asarray(environment.desc)
    row, column = divmod(int(state.position), tiles.shape[1])
    colours = [wong.ORANGE, wong.WHITE, wong.SKY, wong.GREEN]
    marks = {(r, c): "S HG"[tiles[r, c]] for r, c in np.ndindex(*tiles.shape)}
    return grid(tiles, colours, marks | {(row, column): "A"})


def deep_sea(environment: Any, state: Any, params: Any) -> np.ndarray:
    """The sea, a step deeper each time; the treasure T lies at the bottom right."""
    size = environment.size
    cells = np.zeros((size, size), int)
    marks = {(size - 1, size - 1): "T"}
    if int(state.row) < size:
        marks[int(state.row), int(state.column)] = "A"
        cells[int(state.row), int(state.column)] = 1
    return grid(cells, [wong.WHITE, wong.ORANGE], marks)


def grid(cells: np.ndarray, colours: list[str], marks: dict[tuple[int, int], str]) -> np.ndarray:
    """Numbers of `colours` [h, w], letters at (row, column) -> a picture of squares."""
    from matplotlib.colors import to_rgb

    height, width = cells.shape
    with panel(SIDE, SIDE) as (axes, pixels):
        axes.imshow(np.array([to_rgb(x) for x in colours])[cells])
        for (row, column), letter in marks.items():
            axes.text(column, row, letter, ha="center", va="center", fontsize=150 / height)
        axes.set_xticks(np.arange(width + 1) - 0.5, labels=[""] * (width + 1))
        axes.set_yticks(np.arange(height + 1) - 0.5, labels=[""] * (height + 1))
        axes.grid(color="0.6")
        axes.tick_params(length=0)
        return pixels()


def disc(axes: Any, centre: Any, radius: float, colour: str, label: str, **more: Any) -> None:
    """Draw a disc with an entry in the legend."""
    from matplotlib.patches import Circle

    axes.add_patch(Circle(tuple(np.asarray(centre)), radius, color=colour, label=label, **more))


def moving(axes: Any, at: Any, limits: tuple, label: str) -> None:
    """Draw a point; one that has left the picture is a hollow one at the nearest edge."""
    low, high = np.array(limits).T
    inside = np.clip(np.asarray(at), low, high)
    gone = bool(np.any(inside != np.asarray(at)))
    axes.plot(
        *inside,
        "o",
        color=wong.RED,
        markersize=11,
        fillstyle="none" if gone else "full",
        markeredgewidth=2,
        clip_on=False,
        label=f"{label}, outside" if gone else label,
    )


def framed(axes: Any, x: tuple[float, float], y: tuple[float, float]) -> None:
    """Show this part of the plane, and the legend."""
    axes.set(xlim=x, ylim=y, aspect="equal", xlabel="x", ylabel="y")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=8, frameon=False)


DRAWN = {
    "Catch-bsuite": catch,
    "FourRooms-misc": maze,
    "MetaMaze-misc": maze,
    "PointRobot-misc": point_robot,
    "Reacher-misc": reacher,
    "Swimmer-misc": swimmer,
    "FrozenLake-misc": frozen_lake,
    "DeepSea-bsuite": deep_sea,
}
"""Environments and what draws a state of theirs."""
