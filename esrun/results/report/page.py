"""The report as files: the page, its tables as CSV and LaTeX, its figures as SVG."""

import base64
from collections.abc import Sequence
from typing import Any, NamedTuple

from esrun import __version__
from esrun.results.report import (
    cost,
    curves,
    pairs,
    protocol,
    provenance,
    scores,
    search,
    sensitivity,
    times,
)
from esrun.results.report.jobs import Jobs
from esrun.results.report.parts import Command, Figure, Section, Table
from esrun.results.report.study import Study

PAGE = "index.html"
MARK = "<!DOCTYPE html>\n<!-- esrun report: the next one replaces this file -->\n"
"""A page begins with it, and a folder that has one is a report's."""
MOST_ROWS = 100
"""Rows of a table that stand in the page; the others are in its file alone."""
ROOM = 1_800_000
"""Bytes of the page. A figure for which there is no more room is in its file alone."""
LATEX = {"∞": r"$\infty$", "−": "$-$", "–": "--", "×": r"$\times$", "<": "$<$", ">": "$>$"}
"""Signs that LaTeX does not know by themselves."""


class _Block(NamedTuple):
    """A block as the template takes it."""

    kind: str
    says: str
    name: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    left_out: int = 0
    source: str | None = None


def sections(found: Jobs, studies: list[Study]) -> list[Section]:
    """-> what the page says, in order."""
    return [
        *search.sections(found),
        protocol.section(studies),
        scores.section(studies),
        curves.section(studies),
        times.section(studies),
        pairs.section(studies),
        sensitivity.section(studies),
        cost.section(studies),
        provenance.missing(studies, found),
        provenance.section(found),
    ]


def made(found: Jobs, studies: list[Study]) -> dict[str, bytes]:
    """-> the files of a report by their names, the page last."""
    content = sections(found, studies)
    files: dict[str, bytes] = {}
    for section in content:
        for block in section.blocks:
            if isinstance(block, Table):
                files[f"tables/{block.name}.csv"] = block.raw.to_csv(index=False).encode()
                files[f"tables/{block.name}.tex"] = _latex(block).encode()
            elif isinstance(block, Figure):
                files[f"figures/{block.name}.svg"] = block.svg
    return files | {PAGE: _page(found, studies, content)}


def _latex(block: Table) -> str:
    text = block.shown.to_latex(index=False, escape=True)
    for sign, command in LATEX.items():
        text = text.replace(sign, command)
    return f"% {block.says}; needs \\usepackage{{booktabs}}\n{text}"


def _page(found: Jobs, studies: list[Study], content: list[Section]) -> bytes:
    from jinja2 import Environment, PackageLoader

    room = _Room(ROOM)
    page = Environment(
        loader=PackageLoader("esrun.results.report", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("page.html")
    text = page.render(
        title=", ".join(study.task for study in studies[:5]) + (" ..." if len(studies) > 5 else ""),
        runs=len(found.jobs),
        settings=sum(len(study.settings) for study in studies),
        version=__version__,
        sections=[(one.title, [_block(x, room) for x in one.blocks]) for one in content],
    )
    return (MARK + text).encode()


class _Room:
    """Of the page, as long as there is any."""

    def __init__(self, size: int):
        self._left = size

    def takes(self, size: int) -> bool:
        """Whether so many bytes still fit, which they take then."""
        fits = size <= self._left
        self._left -= size if fits else 0
        return fits


def _block(block: Any, room: _Room) -> _Block:
    if isinstance(block, Table):
        rows = block.shown.head(MOST_ROWS).to_numpy().tolist()
        room.takes(sum(len(cell.encode()) + 10 for row in rows for cell in row))
        left_out = len(block.shown) - len(rows)
        return _Block("table", block.says, block.name, list(block.shown.columns), rows, left_out)
    if isinstance(block, Figure):
        source = base64.b64encode(block.svg).decode()
        fits = room.takes(len(source))
        return _Block("figure", block.says, block.name, source=source if fits else None)
    if isinstance(block, Command):
        return _Block("command", block.line)
    return _Block("words", block)
