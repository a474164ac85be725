"""The signals of a process that is esrun's own, from the first line of the command until Python is
gone."""

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from select import select
from typing import NamedTuple

from esrun.runs import interrupts
from esrun.runs.interrupts import AGAIN, AT_ONCE, SIGNALS, Interrupts, Leave, wanted

PATIENCE = 1.5
"""Seconds that leaving may take where nothing is there to be saved."""
SILENCE = 2.0
"""Seconds after which somebody at a terminal is told that the first signal was heard."""
SHOW_CURSOR = b"\x1b[?25h"


class Phase(NamedTuple):
    """What a thread is at."""

    saving: bool
    leaving: list[Leave]


class OfProcess(Interrupts):
    """Those of a process that is esrun's own, which may be ended.

    Python runs handlers between its own instructions only, which a long compilation has none of,
    and the end of Python neither. So a thread that needs none reads the bytes that signals leave,
    and it is the thread that ends the process.
    """

    def __init__(self):
        """Answer signals from here on."""
        super().__init__()
        self._lock = threading.RLock()
        self._code, self._ctrl_c = None, 0
        self.patience: float | None = None
        """Seconds that Python's own end may take, None for as long as it likes."""
        self._phases: dict[int, Phase] = {}
        self._reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in wanted():
            signal.signal(number, self._hear)
        self._ending = threading.Event()
        # both now: a process that is short of memory may begin no thread later
        for work in (self._listen, self._end_late):
            threading.Thread(target=work, name="signals", daemon=True).start()
        atexit.register(_ignore_all)  # the first to be registered is the last to be called
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_forget)

    def __enter__(self):
        """-> itself, which is listening all the time."""
        return self

    def __exit__(self, *error):
        """Go on listening."""

    @contextlib.contextmanager
    def saving(self, leave: Leave | None = None) -> Iterator[None]:
        """As in Interrupts."""
        with self._phase(True, leave):
            yield

    @contextlib.contextmanager
    def at_once(self, leave: Leave) -> Iterator[None]:
        """As in Interrupts."""
        with self._phase(False, leave):
            yield

    @contextlib.contextmanager
    def _phase(self, saving: bool, leave: Leave | None) -> Iterator[None]:
        thread = threading.get_ident()
        with self._lock:
            before = self._phases.get(thread)
            leaving = before.leaving if before else []
            self._phases[thread] = Phase(saving, [*leaving, *([leave] if leave else [])])
            if self.name and not self._saving():
                self._end(signal.Signals[self.name])
        try:
            yield
        finally:
            with self._lock:
                self._phases.pop(thread)
                self._phases |= {thread: before} if before else {}

    def _saving(self) -> bool:
        return any(phase.saving for phase in self._phases.values())

    def close(self, code: int) -> None:
        """The command is over: a signal ends what is left of the process with its exit code."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or none at all
                stream.flush()
        self._code = code
        if self.patience == 0:
            os._exit(code)
        if self.patience:
            bound = threading.Timer(self.patience, os._exit, [code])
            bound.daemon = True
            bound.start()

    def _listen(self) -> None:
        told = not os.isatty(2)
        while True:
            if self.name and not told and not select([self._reader], [], [], SILENCE)[0]:
                _write("")  # below a line of progress
                _write(f"esrun: {self.name}: saving when what runs is over; Ctrl-C ends at once")
                told = True
            for number in os.read(self._reader, 64):
                if number in SIGNALS:
                    self._answer(signal.Signals(number))

    def _answer(self, number: signal.Signals) -> None:
        self._ctrl_c += number == signal.SIGINT
        if self._code is not None:
            os._exit(self._code)
        if self._ctrl_c > 1:
            end(AT_ONCE, "esrun: ended at once")
        with self._lock:
            self.name = self.name or number.name
            if not self._saving():
                self._end(number)

    def _end_late(self) -> None:
        self._ending.wait()
        time.sleep(PATIENCE)
        os._exit(AGAIN)

    def _end(self, number: signal.Signals) -> None:
        """End the process, in whatever thread; what is to be left is left in time."""
        leaving = [leave for phase in self._phases.values() for leave in phase.leaving]
        code = AT_ONCE if number == signal.SIGINT and not leaving else AGAIN
        self._ending.set()
        line = f"ended by {number.name}"
        for leave in reversed(leaving):
            with contextlib.suppress(Exception):  # a disk may refuse; there is nobody to be told
                line = leave(number.name) or line
        end(code, f"esrun: {line}")


_process: OfProcess | None = None


def take_over() -> OfProcess | None:
    """Answer the signals of this process until it is gone -> None outside the main thread, where
    that is not possible."""
    global _process
    if _process is None and threading.current_thread() is threading.main_thread():
        _process = interrupts.own = OfProcess()
    return _process


def end_in_time() -> None:
    """Have this process wait no longer for what a library does at Python's end than PATIENCE."""
    if _process and _process.patience is None:
        _process.patience = PATIENCE


def end_at_once() -> None:
    """Have this process not wait at all for what libraries do at Python's end."""
    if _process:
        _process.patience = 0.0


def end(code: int, line: str) -> None:
    """End the process with a last line, whatever its other threads do."""
    with contextlib.suppress(OSError):
        if os.isatty(1):
            os.write(1, SHOW_CURSOR + b"\n")  # a line of progress hides it
    _write(line)
    os._exit(code)


def _write(line: str) -> None:
    with contextlib.suppress(OSError):
        shown = "".join(c if c.isprintable() else "?" for c in line)
        os.write(2, f"{shown}\n".encode(errors="replace"))


def _ignore_all() -> None:
    """Python's own end gives signals back to the system, whose answer is to kill; what it leaves
    alone is those that are ignored."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _forget() -> None:
    """A forked process is none of ours, and writes no bytes to our thread."""
    global _process
    _process = interrupts.own = None
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(
                number,
                signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL,
            )
