"""What is shown of jobs that run side by side: on a terminal a bar for each, without one a line of
each from time to time. Which job it is stands before all that is said of one."""

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from esrun.errors import printable
from esrun.runs.bar import Bar
from esrun.runs.sweep_show import Place, SweepShow
from esrun.stdio import patient

EVERY = 30.0
"""Seconds between two lines of a job where there is no terminal."""


class Board(SweepShow):
    """The show of a sweep whose jobs run in threads; a context manager."""

    def __init__(self, names: list[str], clock: Callable[[], float] = time.monotonic):
        """`names`: what is swept in each job."""
        super().__init__(names, clock)
        self._lock = threading.RLock()
        self._console = Console(file=patient(sys.stdout), highlight=False)
        self._bars: dict[Any, Bar | Text] = {}
        self._told: dict[Any, float] = {}
        self._live: Live | None = None

    def __enter__(self):
        """-> itself."""
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *error):
        """The bars are gone."""
        if self._live is not None:
            self._live.stop()

    def begins(self, job: int) -> None:
        """As in SweepShow."""
        with self._lock:
            self._told[job] = self._clock()
            super().begins(job)

    def ends(self, job: int, how: str = "") -> None:
        """As in SweepShow; `how` it ended is said."""
        with self._lock:
            seconds = self._clock() - self._began[job]
            super().ends(job)
            self._bars.pop(job, None)
            self.say(job, f"{how}, {seconds:.1f} s")
            self._refresh()

    def place(self, job: int) -> Place | None:
        """As in SweepShow, with what the run tells shown here."""
        place = super().place(job)

        def left(seconds: float) -> float:
            with self._lock:
                return place.left(seconds) if place else seconds

        def say(line: str) -> None:
            self.say(job, line)

        def tell(line: Bar | str) -> None:
            self.tell(job, line)

        return Place(self._name(job), left, say, tell)

    def say(self, job: Any, line: str) -> None:
        """A line that stays."""
        with self._lock:
            self._print(f"{self._name(job)}: {line}")

    def tell(self, job: Any, line: Bar | str) -> None:
        """How far a run is."""
        with self._lock:
            if self._live is not None:
                shown = line if isinstance(line, Bar) else Text(f"{self._name(job)}  {line}")
                self._bars[job] = shown
                self._refresh()
            elif isinstance(line, Bar) and self._clock() - self._told[job] >= EVERY:
                self._told[job] = self._clock()
                self._print(line.line.fitted())

    def _print(self, line: str) -> None:
        self._console.print(Text(printable(line)), soft_wrap=True)

    def _refresh(self) -> None:
        if self._live is not None:
            bars = (self._bars[job] for job in sorted(self._bars))
            self._live.update(Group(*bars), refresh=True)
