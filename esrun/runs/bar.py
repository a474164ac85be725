"""How far a run is, and the line at the bottom of a terminal that shows it."""

from collections.abc import Iterator
from typing import NamedTuple

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from esrun.config.schema.run import Stop
from esrun.training.loop import Progress

WIDTHS = (10, 40)
"""Columns of a bar, at least and at most; none where there is no room for it."""
GAP = "  "


class Goal(NamedTuple):
    """What a run ends at, as far as it can be foreseen."""

    generations: int
    stop: Stop | None = None

    def _stands(self, now: Progress) -> Iterator[tuple[float, float]]:
        """-> (how far it is, how far it is to come) by every limit."""
        yield now.generation, self.generations
        if self.stop and self.stop.env_steps:
            yield now.env_steps, self.stop.env_steps
        if self.stop and self.stop.seconds:
            yield now.seconds, self.stop.seconds

    def share(self, now: Progress) -> float:
        """-> how much of the run is done, from 0 to 1."""
        return min(1.0, max(done / limit for done, limit in self._stands(now)))

    def left(self, before: Progress, now: Progress) -> float:
        """-> the seconds that are left, at the pace between two reports."""
        seconds, limits = (
            now.seconds - before.seconds,
            zip(self._stands(before), self._stands(now), strict=True),
        )
        return min(
            max(0.0, limit - done) / (done - earlier) * seconds
            for (earlier, _), (done, limit) in limits
            if done > earlier
        )


def duration(seconds: float) -> str:
    """-> a time in words, rounded."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


class Line(NamedTuple):
    """What is said of a generation, part by part, and how important each is: 0 is said always."""

    parts: list[tuple[int, str]]

    def without(self, rank: int) -> "Line":
        """-> the line without the parts that are so important."""
        return Line([part for part in self.parts if part[0] != rank])

    def fitted(self, width: int | None = None) -> str:
        """-> as many of the parts as fit into so many columns, the least important ones left out
        first; all of them for None."""
        parts = list(self.parts)
        while width is not None and len(GAP.join(x for _, x in parts)) > width and len(parts) > 1:
            parts.remove(max(parts, key=lambda part: part[0]))
        return GAP.join(x for _, x in parts)


class Bar(NamedTuple):
    """A bar that fills, and behind it what there is room for."""

    share: float
    line: Line

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """-> one line as wide as the terminal at most."""
        room = options.max_width - 1  # a cursor behind the last column would make a second line
        width = max(WIDTHS[0], min(room // 4, WIDTHS[1]))
        text = self.line.fitted(max(room - width - len(GAP), 0))
        if len(text) > room - width - len(GAP):
            yield Text(text[:room], no_wrap=True)
            return
        # colours that are seen on light and on dark
        bar = ProgressBar(
            total=1.0, completed=self.share, width=width,
            style="dim", complete_style="cyan", finished_style="cyan",
        )  # fmt: skip
        row = Table.grid(padding=(0, len(GAP), 0, 0))
        row.add_row(bar, Text(text, no_wrap=True))
        yield row
