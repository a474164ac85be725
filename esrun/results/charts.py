"""Learning curves as a picture. JAX is not imported here."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from esrun.errors import ConfigError
from esrun.results.canvas import canvas, encoded, said, wong
from esrun.results.curves import (
    FIGURES,
    FITNESS,
    POINTS,
    Curve,
    Curves,
    beyond,
    middle,
    names_in,
    thinned,
)
from esrun.results.groups import Group

COLOURS = (
    wong.BLUE, wong.RED, wong.GREEN, wong.PURPLE, wong.SKY, wong.ORANGE, wong.BLACK,
)  # fmt: skip
"""Okabe and Ito's, which the colour-blind tell apart (https://jfly.uni-koeln.de/color/), without
their yellow, which is lost on white."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
MOST = len(COLOURS) * len(DASHES)
"""Groups that can be told apart: the two lengths have no common divisor."""
X_LABELS = {"generations": "generation", "env_steps": "env steps", "seconds": "training time (s)"}
ALONE: dict[str, Any] = {"color": "black", "linewidth": 1.4}
"""What a curve looks like that has nothing beside it."""
THIN: dict[str, Any] = {"linestyle": "-", "linewidth": 0.6, "alpha": 0.5}
COLUMNS = 3
WIDTH, HEIGHT = 3.9, 2.7
"""Inches of one pair of axes."""
LETTERS = 15.0
"""Letters of a legend an inch."""
FEW_LINES = 20
"""Runs of a group that are drawn one by one where the middle of all of them ends."""
SPARSE = 40
"""Points that are marked, one by one, where there are no more."""
ORDERS = 1e4
"""Values of one sign that differ by more than this factor are drawn on a logarithmic axis."""
DECADES = 1e-40
"""Of the largest: what is smaller is 0 there."""


class Chart(NamedTuple):
    """The runs of one task."""

    task: str
    about: str
    """What all of them have in common."""
    groups: list[tuple[Group, list[Curves]]]

    @property
    def names(self) -> list[str]:
        """-> the figures that there are."""
        return names_in(curves for _, runs in self.groups for curves in runs)


def picture(charts: Sequence[Chart], axis: str, kind: str) -> bytes:
    """-> a picture with the charts one below the other, as a file of a kind of
    `esrun.results.canvas.FORMATS`.

    `axis` is one of `esrun.results.curves.AXES`. Raises ConfigError where more groups are asked for
    than can be told apart.
    """
    for chart in charts:
        if len(chart.groups) > MOST:
            raise ConfigError(
                f"at most {MOST} groups of runs can be told apart, got {len(chart.groups)} of "
                f"{chart.task}: name fewer runs"
            )
    with canvas(*size(charts)) as figure:
        draw(figure, charts, axis)
        return encoded(figure, kind)


def size(charts: Sequence[Chart]) -> tuple[float, float]:
    """-> width and height of a picture in inches."""
    return COLUMNS * WIDTH, sum(map(_height, charts))


def _height(chart: Chart) -> float:
    return _rows(chart) * HEIGHT + 1.1


def draw(figure: Any, charts: Sequence[Chart], axis: str) -> None:
    """Draw the charts on a Figure."""
    heights = [_height(chart) for chart in charts]
    parts = figure.subfigures(len(charts), 1, squeeze=False, height_ratios=heights)
    for part, chart in zip(parts[:, 0], charts, strict=True):
        _draw(part, chart, axis)


def _rows(chart: Chart) -> int:
    return -(-len(_panels(chart)) // COLUMNS)


def _panels(chart: Chart) -> list[list[str]]:
    """-> the figures that share a pair of axes: of one group those in the task's unit."""
    names = chart.names
    if len(chart.groups) > 1:
        return [[name] for name in names]
    fitness = [name for name in names if name in FITNESS]
    return [fitness] * bool(fitness) + [[name] for name in names if name not in FITNESS]


def _draw(part: Any, chart: Chart, axis: str) -> None:
    panels = _panels(chart)
    shares, alone = len(panels[0]) > 1, len(chart.groups) == 1
    widths = [1.6 if shares else 1.0, 1.0, 1.0][: len(panels)]
    axes = part.subplots(_rows(chart), len(widths), squeeze=False, width_ratios=widths).ravel()
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    for ax, names in zip(axes, panels, strict=False):
        drawn = [
            draw_line(ax, [curves[name] for curves in runs if name in curves], look)
            for i, (_, runs) in enumerate(chart.groups)
            for j, name in enumerate(names)
            for look in [ALONE if alone and len(names) == 1 else look_of(j if alone else i)]
        ]
        set_scale(ax, np.concatenate(drawn))
        ax.set_xlabel(X_LABELS[axis])
        ax.xaxis.get_major_locator().set_params(integer=axis == "generations")
        ax.set_ylabel("fitness, higher is better" if names[0] in FITNESS else "parameters' unit")
        ax.set_title("fitness" if len(names) > 1 else FIGURES[names[0]])
    part.suptitle(f"{said(chart.about)}\n{said(_caption(chart))}", fontsize="medium")
    labels = [FIGURES[x] for x in panels[0]] if shares else [x.label for x, _ in chart.groups]
    if shares or len(labels) > 1:
        _legend(part, labels)


def look_of(number: int) -> dict[str, Any]:
    """-> how the line of a group looks, by its number."""
    colour, dashes = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
    return {"color": colour, "linestyle": dashes, "linewidth": 1.4}


def draw_line(
    ax: Any, curves: list[Curve], look: dict[str, Any], points: int = POINTS
) -> np.ndarray:
    """Draw one figure of one group: a run, or the middle of several with what single ones have
    beyond -> the values that the axis has to hold."""
    if not curves:
        return np.empty(0)
    curve = curves[0] if len(curves) == 1 else middle(curves)
    for one in curves if 1 < len(curves) <= FEW_LINES else ():
        rest = thinned(beyond(one, curve.x[-1] if len(curve.x) else -np.inf), points)
        alone = "o" if len(rest.x) == 1 and not len(curve.x) else None
        ax.plot(rest.x, rest.y, **look | THIN, marker=alone, markersize=3)
    curve = thinned(curve, points)
    marker = "o" if len(curve.x) <= SPARSE else None
    ax.plot(curve.x, curve.y, **look, marker=marker, markersize=3)
    if curve.low is not None and curve.high is not None:
        band: dict[str, Any] = {"color": look["color"], "alpha": 0.18, "linewidth": 0}
        ax.fill_between(curve.x, curve.low, curve.high, **band)
    return np.concatenate([one.y for one in curves])


def set_scale(ax: Any, values: np.ndarray, which: str = "y") -> None:
    """A logarithmic axis, x or y, where values of one sign differ by orders of magnitude."""
    sizes = np.abs(values[values != 0])
    if len(sizes) == 0 or sizes.max() / ORDERS < sizes.min():
        return
    if np.all(values > 0):
        ax.set(**{f"{which}scale": "log"})
    elif np.all(values <= 0):
        least = max(sizes.min(), sizes.max() * DECADES)
        room = max(1.0, np.log10(sizes.max() / least) / 12)  # for the line's end and its label
        scale = {"x": ax.set_xscale, "y": ax.set_yscale}[which]
        scale("symlog", linthresh=least, linscale=room)
        end = values.max() / 2  # beyond 0 there is nothing
        ax.set_xlim(right=end) if which == "x" else ax.set_ylim(top=end)


def _caption(chart: Chart) -> str:
    """-> what is drawn, and of which seeds."""
    counts = [len(runs) for _, runs in chart.groups]
    words = [chart.groups[0][0].label] if len(counts) == 1 else []
    if max(counts) > 1:
        words.append("median and interquartile band as far as all seeds go, thin lines beyond")
    if min(counts) == 1:
        whose = " of a single run" if max(counts) > 1 else ""
        words.append(f"band{whose}: the held-out mean's 95 % interval")
    return "; ".join(words)


def _legend(part: Any, labels: list[str]) -> None:
    """Below the axes, in as many columns as there is room for."""
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], **look_of(i)) for i in range(len(labels))]
    fitting = int(COLUMNS * WIDTH * LETTERS / (max(map(len, labels)) + 8))
    part.legend(
        lines,
        [said(label) for label in labels],
        loc="outside lower center",
        ncols=max(1, min(fitting, len(labels))),
        frameon=False,
    )
