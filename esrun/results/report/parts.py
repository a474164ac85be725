"""What a section of a report is made of: words, tables, figures."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from esrun.errors import printable
from esrun.results import charts
from esrun.results.canvas import canvas, encoded
from esrun.results.canvas import said as as_text

WIDTH = 4.1
"""Inches of a figure: as wide as a telephone."""
MOST_DRAWN = 10
"""Settings that are drawn in one pair of axes."""
POINTS = 150
"""Most points of a curve."""
TEXT = {"svg.fonttype": "none"}
"""Letters stay letters: a small file, in which words can be found and changed."""


class Table(NamedTuple):
    """Figures in rows."""

    name: str
    """Of its files."""
    says: str
    shown: pd.DataFrame
    """As it is read: text."""
    raw: pd.DataFrame
    """As it goes on to other programs: numbers."""


class Figure(NamedTuple):
    """A picture."""

    name: str
    """Of its file."""
    says: str
    svg: bytes


class Command(NamedTuple):
    """What was typed."""

    line: str


class Section(NamedTuple):
    """A part of the page; what it shows comes in order."""

    title: str
    blocks: list[str | Table | Figure | Command]
    """A string is a paragraph."""


class Cell(NamedTuple):
    """A figure of a table: as it is read, and the numbers behind it, by the ending of their
    column."""

    shown: str
    raw: Mapping[str, Any]


def table(name: str, says: str, rows: Iterable[Mapping[str, Any]]) -> Table:
    """-> a table of rows of the same columns. A Cell has several numbers, anything else is one."""
    shown: list[dict[str, str]] = []
    raw: list[dict[str, Any]] = []
    for row in rows:
        cells = {k: x if isinstance(x, Cell) else Cell(said(x), {"": x}) for k, x in row.items()}
        shown.append({key: printable(cell.shown) for key, cell in cells.items()})
        raw.append({key + end: x for key, cell in cells.items() for end, x in cell.raw.items()})
    if len({row.get("task") for row in shown}) == 1 and len(shown[0]) > 1:
        for row in shown:
            row.pop("task", None)  # the title says it
    return Table(name, says, pd.DataFrame(shown), pd.DataFrame(raw))


def said(value: Any) -> str:
    """-> a value as it is read: four digits, thousands apart."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "–"
    if isinstance(value, (bool, str)):
        return str(value)
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    is_whole = float(value).is_integer() or abs(value) >= 1000
    text = f"{value:,.0f}" if is_whole and abs(value) < 1e12 else f"{value:.4g}"
    return text.replace("-", "−") if text.startswith("-") else text


def with_interval(value: float, low: float, high: float, as_rate: bool = False) -> Cell:
    """-> a figure and its interval, which may be unknown."""
    raw = {"": value, " low": low, " high": high}
    show = (lambda x: "–" if np.isnan(x) else f"{x:.2f}") if as_rate else said
    if np.isnan(low) or np.isnan(high) or np.isinf(low):
        return Cell(show(value), raw)
    return Cell(f"{show(value)} [{show(low)}, {show(high)}]", raw)


@contextmanager
def axes(height: float) -> Iterator[tuple[Any, list[bytes]]]:
    """-> (a pair of axes to draw on, a list that has the picture as SVG once that is done)."""
    made: list[bytes] = []
    with canvas(WIDTH, height, TEXT) as figure:
        figure.get_layout_engine().set(h_pad=0.08)  # of a legend's last line
        yield figure.add_subplot(), made
        made.append(encoded(figure, "svg"))


def log_scale(ax: Any, which: Literal["x", "y"]) -> None:
    """Make an axis logarithmic, with labels that have room: at 1, 2 and 5, at 1 alone where there
    are decades."""
    from matplotlib.ticker import LogFormatterSciNotation, LogLocator

    axis = {"x": ax.xaxis, "y": ax.yaxis}[which]
    ax.set(**{f"{which}scale": "log"})
    axis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
    axis.set_minor_formatter(LogFormatterSciNotation(minor_thresholds=(2, 2)))


def legend(ax: Any, labels: Sequence[str]) -> None:
    """Below the axes, a line for each of the looks that were drawn in this order."""
    from matplotlib.lines import Line2D

    ax.legend(
        [Line2D([], [], **charts.look_of(i)) for i in range(len(labels))],
        [as_text(label) for label in labels],
        loc="upper left",
        bbox_to_anchor=(0, -0.28),
        borderaxespad=0,
        frameon=False,
        fontsize=7.5,
    )


def file_name(*words: str) -> str:
    """-> a name for a file of those words."""
    text = "-".join(words).lower()
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in text)[:100]
