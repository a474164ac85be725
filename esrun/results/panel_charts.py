"""Panels of final scores over a key's values, as a picture. JAX is not imported here."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from esrun.errors import ConfigError, clipped
from esrun.results.canvas import canvas, encoded, said, wong
from esrun.results.charts import HEIGHT, WIDTH, set_scale
from esrun.results.groups import LONGEST_VALUE
from esrun.results.panels import SCORES, Panel

SEED = "seed"
MOST, COLUMNS = 12, 4
"""Panels of a picture, and of a row."""
FACTOR = 50
"""Positive numbers that differ by more than this are on a logarithmic axis."""
TICKS = 12
"""Most values that are named below a panel where they are no numbers."""
LETTERS = 34
"""Of all such values together that stand side by side."""
LINES = 3
"""Most of a title."""


def picture(panels: Sequence[Panel], score: str, kind: str) -> bytes:
    """-> the panels as a file of a kind of `esrun.results.canvas.FORMATS`, on one y axis.

    Raises ConfigError where nothing has a score, or where there are more than fit.
    """
    if len(panels) > MOST:
        raise ConfigError(f"at most {MOST} panels fit into a picture, got {len(panels)} keys")
    if not any(len(point.scores) for panel in panels for point in panel.points):
        raise ConfigError("nothing to draw: no job of these is done")
    with canvas(*size(panels)) as figure:
        draw(figure, panels, score)
        return encoded(figure, kind)


def size(panels: Sequence[Panel]) -> tuple[float, float]:
    """-> width and height of a picture in inches."""
    rows = -(-len(panels) // COLUMNS)
    return WIDTH * max(1.0, 0.8 * min(len(panels), COLUMNS)), rows * (HEIGHT + 0.4) + 0.5


def draw(figure: Any, panels: Sequence[Panel], score: str) -> None:
    """Draw the panels on a Figure."""
    columns = min(len(panels), COLUMNS)
    rows = -(-len(panels) // columns)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    every = np.concatenate([point.scores for panel in panels for point in panel.points])
    for i, (ax, panel) in enumerate(zip(axes, panels, strict=False)):
        _draw(ax, panel)
        set_scale(ax, every)
        if i % columns == 0:
            ax.set_ylabel(SCORES[score])
    names = panels[0].jobs[0].run.names
    about = ", ".join(names[kind] for kind in ("task", "strategy", "policy"))
    figure.suptitle(
        f"{said(about)}\nmedian and quartiles over seeds, a dot a seed", fontsize="medium"
    )


def _draw(ax: Any, panel: Panel) -> None:
    numbers = panel.numbers
    x = np.arange(len(panel.points), dtype=float) if numbers is None else numbers
    there = [i for i, point in enumerate(panel.points) if len(point.scores)]
    scores = [panel.points[i].scores for i in there]
    if there:
        low, middle, high = np.array([np.quantile(y, [0.25, 0.5, 0.75]) for y in scores]).T
        line = "-" if panel.is_ordered and panel.key != SEED else "none"  # it is no quantity
        look: dict[str, Any] = {"color": wong.BLUE, "linewidth": 1.4}
        ax.plot(x[there], middle, **look, linestyle=line, marker="_", markersize=14)
        ax.vlines(x[there], low, high, color=wong.BLUE, linewidth=4, alpha=0.35)
        spots = np.repeat(x[there], [len(y) for y in scores])
        ax.plot(spots, np.concatenate(scores), "o", color="black", ms=3, alpha=0.5, mew=0)
    if numbers is None:
        _name_values(ax, panel)
    elif panel.key != SEED and np.all(numbers > 0) and numbers.max() > FACTOR * numbers.min():
        ax.set_xscale("log")
    elif np.all(numbers == np.round(numbers)):
        ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlabel(said(clipped(panel.key, LONGEST_VALUE)))
    ax.set_title(said(_folded(panel.others)), fontsize="small")


def _name_values(ax: Any, panel: Panel) -> None:
    every = -(-len(panel.points) // TICKS)
    texts = [said(point.text) for point in panel.points[::every]]
    ax.set_xticks(range(0, len(panel.points), every), texts)
    ax.set_xlim(-0.5, len(panel.points) - 0.5)
    if sum(map(len, texts)) > LETTERS:
        ax.tick_params("x", labelrotation=90)


def _folded(words: Sequence[str]) -> str:
    """-> words in lines that are as wide as a panel."""
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) > LETTERS:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join([*lines[:LINES], *["..."] * (len(lines) > LINES)])
