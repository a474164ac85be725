"""A black-box function's film: its contours, and the distribution that moves over them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from esrun.results.canvas import panel, wong
from esrun.results.replay import Moment
from esrun.training.build import Run

CELLS = 121
"""Points of a side of the grid that contours are drawn from."""
LEVELS = 24
MARGIN = 0.12
WIDTH, HEIGHT = 500, 430


def function_frames(
    run: Run, moments: list[Moment]
) -> tuple[Callable[[int], np.ndarray], list[str]]:
    """-> (number of the moment -> its picture, a caption for each).

    Beyond two dimensions it is the plane through the last mean along the first two coordinates;
    members and ellipses are projected onto it.
    """
    last = moments[-1].mean
    returned = make_returned(run)
    x, y = window(moments)
    xs, ys = np.linspace(*x, CELLS), np.linspace(*y, CELLS)
    plane = np.repeat(last[None], CELLS * CELLS, 0)
    across, up = np.meshgrid(xs, ys)
    plane[:, 0] = across.ravel()
    if len(last) > 1:
        plane[:, 1] = up.ravel()
    heights = -returned(plane).reshape(CELLS, CELLS)
    positive = heights[np.isfinite(heights) & (heights > 0)]
    least = float(max(positive.min(initial=np.inf), positive.max(initial=1) * 1e-10))
    logs = np.log10(np.maximum(heights, least if np.isfinite(least) else 1e-10))

    def picture(number: int) -> np.ndarray:
        return drawn(moments[number], (xs, ys, logs), (x, y), len(last))

    scores = returned(np.stack([one.mean for one in moments]))
    captions = [
        f"generation {one.generation}: fitness of the mean {score:.6g}"
        for one, score in zip(moments, scores, strict=True)
    ]
    return picture, captions


def make_returned(run: Run) -> Callable[[np.ndarray], np.ndarray]:
    """-> points [k, n] -> the returns [k] that an evaluation of theirs gives."""

    @jax.jit
    def one(hyper: Any, points: jax.Array) -> jax.Array:
        parts = run.program.parts(hyper)
        params = jax.vmap(parts.unravel)(points)
        keys = jax.random.split(jax.random.key(0), 1)  # it is deterministic
        return parts.task.evaluate(keys, parts.policy, params, None).returns[:, 0]

    def returned(points: np.ndarray) -> np.ndarray:
        parts = [points[i : i + CELLS] for i in range(0, len(points), CELLS)]
        return np.concatenate([np.asarray(one(run.hyper, jnp.asarray(x))) for x in parts])

    return returned


def window(moments: list[Moment]) -> tuple[tuple[float, float], tuple[float, float]]:
    """-> ((x from, to), (y from, to)), a square that holds most of what is drawn."""
    points = np.concatenate([shadow(one.members) for one in moments])
    means = np.concatenate([shadow(one.mean[None]) for one in moments])
    points = points[np.isfinite(points).all(1)]
    low = np.minimum(np.percentile(points, 1, axis=0), means.min(0))
    high = np.maximum(np.percentile(points, 99, axis=0), means.max(0))
    centre, half = (low + high) / 2, (1 + 2 * MARGIN) / 2 * max(float(np.max(high - low)), 1e-9)
    return tuple((float(c - half), float(c + half)) for c in centre)  # type: ignore[return-value]


def shadow(points: np.ndarray) -> np.ndarray:
    """Points [k, n] -> [k, 2]: the first two coordinates, 0 where there is no second."""
    return np.pad(points[:, :2], [(0, 0), (0, max(0, 2 - points.shape[1]))])


def drawn(moment: Moment, surface: tuple, limits: tuple, n: int) -> np.ndarray:
    """-> the picture of a moment over the `surface` (xs, ys, log10 of f [y, x])."""
    with panel(WIDTH, HEIGHT) as (axes, pixels):
        heights = axes.contourf(*surface, levels=LEVELS, cmap="viridis")
        bar = axes.figure.colorbar(heights, ax=axes, label="log10 of f(x) above the optimum")
        bar.ax.tick_params(labelsize=8)
        members, mean = shadow(moment.members), shadow(moment.mean[None])[0]
        axes.plot(*members.T, ".", color="white", markersize=5, label="members")
        for k, style in ((1, "-"), (2, "--")):
            around = ellipse(mean, moment.covariance, k)
            axes.plot(*around.T, style, color=wong.ORANGE, label=f"{k} sigma")
        axes.plot(*mean, "X", color=wong.RED, markeredgecolor="white", markersize=9, label="mean")
        others = f" (x3 to x{n} as in the last mean)" if n > 2 else ""
        axes.set(xlim=limits[0], ylim=limits[1], aspect="equal")
        axes.set(xlabel=f"x1{others}", ylabel="x2" if n > 1 else "")
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=4,
            fontsize=8,
            facecolor="0.6",
            handletextpad=0.3,
            columnspacing=1,
        )
        return pixels()


def ellipse(mean: np.ndarray, covariance: np.ndarray, k: float) -> np.ndarray:
    """-> points [101, 2] at k standard deviations in every direction."""
    square = np.zeros((2, 2))
    square[: len(covariance), : len(covariance)] = covariance
    values, axes = np.linalg.eigh(np.nan_to_num(square))
    turn = np.linspace(0, 2 * np.pi, 101)
    circle = np.stack([np.cos(turn), np.sin(turn)], 1)
    return mean + k * (circle * np.sqrt(np.maximum(values, 0))) @ axes.T
