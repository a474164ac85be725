"""What a run shows: a panel, its progress, a closing table; the same as plain lines in `esrun.log`.

A terminal gets a bar that fills, and a line that stays at every held-out evaluation. Without one (a
pipe, a batch job, TERM=dumb) plain lines come, one every `log.every` generations, without control
characters. The first one tells of the policy before the first generation.
"""

import sys
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from esrun import files
from esrun.config.schema.run import Stop
from esrun.errors import printable
from esrun.runs.bar import Bar, Goal, Line, duration
from esrun.runs.sweep_show import Place
from esrun.stdio import patient
from esrun.training.loop import Progress
from esrun.training.score import Score

ALWAYS, PLACE, LEFT, ALL_LEFT, HELD_OUT, MEAN, BEST, SIGMA, SPEED = range(9)
"""Parts of a line, the most important ones first."""


class Show:
    """The console and the log of one run; a context manager."""

    def __init__(
        self,
        log: Path,
        every: int,
        generations: int,
        stop: Stop | None = None,
        progress: str = "auto",
        place: Place | None = None,
    ):
        """`every`: generations between plain lines; `progress`: "off" leaves them, and the bar, to
        the log, which is appended to; `place`: of a run in a sweep, which the bar tells."""
        self._file = patient(files.open_log(log))
        self._terminal = Console(file=patient(sys.stdout), highlight=False)
        self._beside = place if place and place.say else None
        self._shows = progress != "off" and self._beside is None
        can_rewrite = self._terminal.is_terminal and not self._terminal.is_dumb_terminal
        self._rewrites = self._shows and can_rewrite
        self._live: Live | None = None
        self._every, self._goal, self._place = every, Goal(generations, stop), place
        self._held_out: float | None = None
        self._before: Progress | None = None

    def __enter__(self):
        """-> itself."""
        return self

    def __exit__(self, *error):
        """Leave the last line of progress standing."""
        self._stop_live()
        self._file.close()

    def say(self, line: str) -> None:
        """Print a line, on the console and in the log."""
        line = clean(line)
        self.note(line)
        if self._beside is None:
            self._terminal.print(line, markup=False, soft_wrap=True)
        elif self._beside.say:
            self._beside.say(line)

    def note(self, line: str) -> None:
        """Write a line to the log alone."""
        print(f"{clean(line)}\n", end="", file=self._file, flush=True)

    def panel(self, title: str, rows: dict[str, str], below: dict[str, str]) -> None:
        """Figures in a box; `below` it what is copied to a shell and must not be broken into lines.
        The log has a line for each."""
        self._stop_live()
        lines, width = [f"{name}: {value}" for name, value in below.items()], max(map(len, rows))
        for line in [title, *(f"  {name:{width}}  {x}" for name, x in rows.items()), *lines]:
            self.note(line)
        if self._beside is None:
            box = Panel(figures(rows), title=title, title_align="left", expand=False)
            self._terminal.print(box)
            for line in lines:
                self._terminal.print(Text(clean(line)), soft_wrap=True)

    def resume(self, progress: Progress) -> None:
        """A run goes on from here."""
        score = progress.score or progress.initial
        self._held_out = score and score.mean

    def progress(self, progress: Progress) -> None:
        """The score of the first policy, or one chunk further."""
        pace = self._pace(progress)
        for row in progress.rows or [{"generation": progress.generation}]:
            last = row["generation"] == progress.generation
            evaluated = last and progress.score is not None
            if progress.score and evaluated:
                self._held_out = progress.score.mean
            if progress.rows or not progress.generation:
                self._show(self._line(row, pace), row["generation"], evaluated)
            if last:
                line = self._placed(self._line(row, pace), progress)
                self.status(Bar(self._goal.share(progress), line))
        self._before = progress

    def _show(self, line: Line, generation: int, evaluated: bool) -> None:
        """A line that stays, where it is time for one."""
        due = generation % self._every == 0 or generation == self._goal.generations
        if evaluated and self._rewrites:
            text = line.without(LEFT).fitted(self._terminal.width)  # it is over when it is read
            self._terminal.print(Text(text), soft_wrap=True)
        elif due and self._shows and not self._rewrites:
            self._terminal.print(Text(line.fitted()), soft_wrap=True)
        if due:
            self.note(line.fitted())

    def status(self, line: Bar | str) -> None:
        """The line at the bottom of a terminal; nothing without one."""
        if self._beside and self._beside.tell:
            self._beside.tell(line)
        if isinstance(line, str) and self._place:
            line = f"{self._place.name}  {line}"
        if self._rewrites:
            if self._live is None:
                self._live = Live(console=self._terminal, auto_refresh=False)
                self._live.start()
            self._live.update(line, refresh=True)

    def _stop_live(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _line(self, row: dict, pace: list[tuple[int, str]]) -> Line:
        generations = self._goal.generations
        parts = [(ALWAYS, f"generation {row['generation']:>{len(str(generations))}}/{generations}")]
        if "fitness_best" in row:
            parts += [
                (BEST, f"best {row['fitness_best']:.4g}"),
                (MEAN, f"mean {row['fitness_mean']:.4g}"),
                (SIGMA, f"sigma {row['sigma']:.3g}"),
            ]
        score = "-" if self._held_out is None else format(self._held_out, ".4g")
        return Line([*parts, (HELD_OUT, f"held-out {score}"), *pace])

    def _placed(self, line: Line, now: Progress) -> Line:
        """-> the line, with where the run stands in a sweep and what is left of that."""
        if self._place is None:
            return line
        parts, left = [(PLACE, self._place.name), *line.parts], self._left(now)
        of_all = 0.0 if left is None else self._place.left(left)
        if left is not None and of_all > left:  # another job waits
            parts.append((ALL_LEFT, f"{duration(of_all)} left of all"))
        return Line(parts)

    def _pace(self, now: Progress) -> list[tuple[int, str]]:
        """The speed since the last chunk and what is left of the run, once there is something to
        tell it from."""
        before, left = self._before, self._left(now)
        if before is None or left is None:
            return []
        speed = (now.env_steps - before.env_steps) / (now.seconds - before.seconds)
        return [(SPEED, f"{speed:.3g} env steps/s"), (LEFT, f"{duration(left)} left")]

    def _left(self, now: Progress) -> float | None:
        """-> the seconds that are left, None before there is something to tell it from."""
        before = self._before
        if before is None or now.seconds <= before.seconds or now.generation <= before.generation:
            return None
        return self._goal.left(before, now)


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
