"""What a run shows: a panel, a line of progress, a closing table; the same as plain lines in
`esrun.log`.

A terminal gets a line that is rewritten after every chunk, and one that stays at every held-out
evaluation. Without one (a pipe, a batch job, TERM=dumb) plain lines come, one every `log.every`
generations, without control characters.
"""

import sys
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from esrun import files
from esrun.errors import printable
from esrun.stdio import patient
from esrun.training.loop import Progress
from esrun.training.score import Score


class Show:
    """The console and the log of one run; a context manager."""

    def __init__(self, log: Path, every: int, generations: int):
        """`every`: generations between plain lines. The log is appended to."""
        self._file = patient(files.open_log(log))
        self._terminal = Console(file=patient(sys.stdout), highlight=False)
        self._rewrites = self._terminal.is_terminal and not self._terminal.is_dumb_terminal
        self._log = Console(
            file=self._file,
            width=100,
            color_system=None,
            highlight=False,
            legacy_windows=False,
        )
        self._live: Live | None = None
        self._every, self._generations = every, generations
        self._held_out: float | None = None
        self._before: Progress | None = None

    def __enter__(self):
        """-> itself."""
        return self

    def __exit__(self, *error):
        """Leave the last line of progress standing."""
        self._stop_live()
        self._file.close()

    def say(self, what) -> None:
        """Print a line or anything that rich can show, on the console and in the log."""
        what = clean(what) if isinstance(what, str) else what
        for console in (self._terminal, self._log):
            console.print(what, markup=False, soft_wrap=isinstance(what, str))

    def note(self, line: str) -> None:
        """Write a line to the log alone."""
        self._log.print(clean(line), markup=False, soft_wrap=True)

    def panel(self, title: str, rows: dict[str, str], below: dict[str, str]) -> None:
        """Figures in a box; `below` it what is copied to a shell and must not be broken into
        lines."""
        self._stop_live()
        self.say(Panel(figures(rows), title=title, title_align="left", expand=False))
        for name, value in below.items():
            for console in (self._terminal, self._log):
                console.print(Text(clean(f"{name}: {value}")), soft_wrap=True)

    def progress(self, progress: Progress) -> None:
        """One chunk further."""
        pace = self._pace(progress)
        for row in progress.rows:
            last = row is progress.rows[-1]
            evaluated = last and progress.score is not None
            if progress.score and evaluated:
                self._held_out = progress.score.mean
            line = self._line(row, pace)
            due = row["generation"] % self._every == 0 or row["generation"] == self._generations
            if (due and not self._rewrites) or (evaluated and self._rewrites):
                self._terminal.print(line, soft_wrap=True)
            if due:
                self._log.print(line, soft_wrap=True)
            if last:
                self.status(line)
        self._before = progress

    def status(self, line: Text | str) -> None:
        """The line at the bottom of a terminal; nothing without one."""
        if self._rewrites:
            if self._live is None:
                self._live = Live(console=self._terminal, auto_refresh=False)
                self._live.start()
            self._live.update(line, refresh=True)

    def _stop_live(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _line(self, row: dict, pace: list[str]) -> Text:
        shown = [
            f"generation {row['generation']:>{len(str(self._generations))}}/{self._generations}",
            f"best {row['fitness_best']:.4g}",
            f"mean {row['fitness_mean']:.4g}",
            f"sigma {row['sigma']:.3g}",
            f"held-out {'-' if self._held_out is None else format(self._held_out, '.4g')}",
        ]
        return Text("  ".join(shown + pace))

    def _pace(self, now: Progress) -> list[str]:
        """The speed since the last chunk and what is left of the run, once there is something to
        tell it from."""
        if self._before is None or now.seconds <= self._before.seconds:
            return []
        seconds = now.seconds - self._before.seconds
        generation = now.generation - self._before.generation
        left = seconds / max(generation, 1) * (self._generations - now.generation)
        return [
            f"{(now.env_steps - self._before.env_steps) / seconds:.3g} env steps/s",
            f"{left:.0f} s left",
        ]


def held_out(score: Score) -> str:
    """-> a score in words."""
    interval = f"{score.mean:.4g} ± {score.ci95:.2g}"
    text = f"{interval} (95 %, {score.episodes} episodes, std {score.std:.3g})"
    return text + "".join(
        f", {name.replace('_', ' ')} {x:.4g}" for name, x in score.measures.items()
    )


def figures(rows: dict[str, str]) -> Table:
    """-> names and values in two columns."""
    table = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        table.add_row(Text(clean(name), style="dim"), Text(clean(value)))
    return table


def clean(text: str) -> str:
    """-> the text, line by line, without what could steer a terminal: a run folder may say
    anything."""
    return "\n".join(printable(line) for line in text.expandtabs().split("\n"))
