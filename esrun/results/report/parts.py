"""What a section of a report is made of: words, tables, figures."""

import textwrap
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from esrun.errors import clipped, printable
from esrun.results import charts
from esrun.results.canvas import canvas, encoded
from esrun.results.canvas import said as as_text

WIDTH = 4.1
"""Inches of a figure: as wide as a telephone."""
MOST_DRAWN = 10
"""Settings that are drawn in one pair of axes."""
LETTERS, ROW = 66, 0.165
"""Letters in a row of a legend, and its height in inches."""
LONGEST = 300
"""Letters of a cell that is read."""
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


def table(
    name: str, says: str, rows: Iterable[Mapping[str, Any]], columns: Sequence[str] = ()
) -> Table:
    """-> a table of rows of the same columns, which are to be said where there may be no row. A
    Cell has several numbers, anything else is one."""
    shown: list[dict[str, str]] = []
    raw: list[dict[str, Any]] = []
    for row in rows:
        cells = {k: x if isinstance(x, Cell) else Cell(said(x), {"": x}) for k, x in row.items()}
        shown.append({key: clipped(printable(cell.shown), LONGEST) for key, cell in cells.items()})
        raw.append({key + end: x for key, cell in cells.items() for end, x in cell.raw.items()})
    if len({row.get("task") for row in shown}) == 1 and len(shown[0]) > 1:
        for row in shown:
            row.pop("task", None)  # the title says it
    if not shown:
        return Table(name, says, *[pd.DataFrame(columns=list(columns))] * 2)
    # a column that some rows have, such as a target of one task, is empty in the others
    return Table(name, says, pd.DataFrame(shown).fillna(""), pd.DataFrame(raw))


def label(one: Any) -> Cell:
    """-> what a setting is called."""
    return Cell(one.label, {"": one.whole})


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
def axes(
    height: float, labels: Mapping[str, int] | None = None
) -> Iterator[tuple[Any, list[bytes]]]:
    """-> (a pair of axes to draw on, a list that has the picture as SVG once that is done). Below
    stand labels with their looks, numbers of `charts.look_of`."""
    made: list[bytes] = []
    lines = {textwrap.fill(label, LETTERS): look for label, look in (labels or {}).items()}
    rows = sum(1 + one.count("\n") for one in lines)
    with canvas(WIDTH, height + ROW * rows, TEXT) as figure:
        figure.get_layout_engine().set(h_pad=0.08)  # of a legend's last line
        if lines:
            _legend(figure, lines)
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


def _legend(figure: Any, labels: Mapping[str, int]) -> None:
    from matplotlib.lines import Line2D

    figure.legend(
        [Line2D([], [], **charts.look_of(look)) for look in labels.values()],
        [as_text(label) for label in labels],
        loc="outside lower left",
        frameon=False,
        fontsize=7.5,
    )


def file_name(*words: str) -> str:
    """-> a name for a file of those words."""
    text = "-".join(words).lower().replace(".", "_").replace(" ", "-")
    name = "".join(c if c.isascii() and (c.isalnum() or c in "-_=") else "_" for c in text)[:100]
    return name if name == text else f"{name}-{zlib.crc32(text.encode()):08x}"
