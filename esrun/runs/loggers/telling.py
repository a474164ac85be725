"""The loggers of a run, told what happens: each in a thread of its own, none of which the run waits
for."""

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from queue import Full, Queue
from typing import Any, NamedTuple

from esrun.config import registry
from esrun.errors import ConfigError, first_line
from esrun.runs import process_signals
from esrun.runs.loggers.tracker import earlier_lines

BEGINNING = 10.0
"""Seconds that training waits for loggers to begin, and so for what is wrong with their keys: one
that takes longer is told later what it has missed."""
CLOSING = 20.0
"""Seconds that a run waits for its loggers at the end."""
SHORTLY = 0.5
"""Seconds that a process waits which a signal ends before there is anything to be saved."""
WAITING = 2**16
"""Generations that may wait for a logger."""


class Loggers:
    """The loggers of one run. One that fails, whenever that is, is named once with the reason and
    is not called again; it neither stops nor delays the training."""

    def __init__(self, say: Callable[[str], None]):
        """None yet. `say` shows a line."""
        self._say, self._all = say, []

    def begin(self, folder: Path, options: Mapping[str, Any]) -> None:
        """Begin with those that the configuration names, by their options. Raises ConfigError for
        what is wrong with these."""
        until = time.monotonic() + BEGINNING
        for option in options.values():  # in turn: they import packages that share some
            factory = registry.factory("logger", option.name)
            make = partial(factory, folder=folder, **option.model_dump(exclude={"name"}))
            teller = _Teller(option.name, make)
            teller.begun.wait(max(0.0, until - time.monotonic()))
            if teller.wrong:
                raise ConfigError(str(teller.wrong)) from teller.wrong
            self._all.append(teller)
        self._show()

    def go_on(self, metrics: Path, generation: int) -> None:
        """The run goes on after `generation`: what a logger lacks until then it is told from
        `metrics.jsonl`."""
        for teller in self._all:
            teller.tell(_Earlier(metrics, generation))

    def log(self, line: dict) -> None:
        """Tell a generation's line of metrics."""
        for teller in self._all:
            teller.tell(dict(line))  # a late score is added to the line itself
        self._show()

    def close(self, seconds: float = CLOSING) -> None:
        """End all of them, and wait no longer than `seconds`."""
        for teller in self._all:
            teller.tell(None)
        until = time.monotonic() + seconds
        for teller in self._all:
            teller.join(max(0.0, until - time.monotonic()))
        self._show()
        late = [teller.name for teller in self._all if teller.is_alive()]
        for name in late:
            self._say(f"logger {name} has not ended after {seconds:g} s: the end of it may be lost")
        if late:
            process_signals.end_in_time()
        self._all = []

    def _show(self) -> None:
        """Say what there is to be said; threads do not write to a console."""
        for teller in self._all:
            while teller.said:
                self._say(teller.said.pop(0))


class _Earlier(NamedTuple):
    """What stands in `metrics.jsonl` already."""

    metrics: Path
    generation: int


class _Teller(threading.Thread):
    """One logger, made, told and ended in this thread alone."""

    def __init__(self, name: str, make: Callable[[], Callable[[dict], None]]):
        super().__init__(name=name, daemon=True)
        self.begun = threading.Event()
        self.wrong: ValueError | None = None
        self.said: list[str] = []
        self._make, self._left_out = make, False
        self._waiting: Queue[dict | _Earlier | None] = Queue(WAITING)
        self.start()

    def run(self) -> None:
        try:
            log = self._begin()
            while (told := self._waiting.get()) is not None and not self._left_out:
                for line in _lines(told, log):
                    log(line)
            if not self._left_out and (close := getattr(log, "close", None)):
                close()
        except (Exception, SystemExit) as error:
            cause: BaseException = error
            while cause.__cause__ is not None:  # what others say of it is longer and says less
                cause = cause.__cause__
            self._leave_out(f"{type(cause).__name__}: {first_line(cause)}")

    def _begin(self) -> Callable[[dict], None]:
        try:
            log = self._make()
            if note := getattr(log, "note", ""):
                self.said.append(note)
            return log
        except ValueError as error:
            # others' errors may be ValueErrors too, of a server's answer for example
            if isinstance(error, ConfigError) or type(error) is ValueError:
                self.wrong = error
            raise
        finally:
            self.begun.set()

    def tell(self, what: dict | _Earlier | None) -> None:
        """Have something told when its turn comes; None: nothing comes any more."""
        if not self._left_out:
            try:
                self._waiting.put_nowait(what)
            except Full:
                self._leave_out(f"it is {WAITING} generations late")

    def _leave_out(self, why: str) -> None:
        if not self._left_out:
            self._left_out = True
            self.said.append(f"logger {self.name} is left out: {why}; training goes on")


def _lines(told: dict | _Earlier, log: Callable[[dict], None]):
    """-> the lines to be told; of those before, what a logger says that it lacks."""
    if not isinstance(told, _Earlier):
        return [told]
    last = getattr(log, "last", None)
    return [] if last is None else earlier_lines(told.metrics, max(1, last), told.generation)
