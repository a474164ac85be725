"""Signals: the first one asks a run to save its state and end, a second Ctrl-C ends it at once.

SIGTERM comes from schedulers that take a machine back, SIGUSR1 and SIGUSR2 from Slurm before a time
limit, SIGHUP from a terminal that is closed, SIGINT from Ctrl-C.

A process that is esrun's own answers from the first line of the command until Python is gone; a
caller of the library keeps their handlers, and lends them while a run is open.
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
]
AT_ONCE, AGAIN = 130, 75
"""Exit codes of what a signal ends before anything is there to be saved: after a Ctrl-C, and after
any other, whose sender may want to run it again."""
SHOW_CURSOR = b"\x1b[?25h"


class Interrupts:
    """Listens while it is open; a context manager. `name` is the signal that came first, None
    before."""

    def __init__(self):
        """Nothing heard yet."""
        self.name: str | None = None
        self._earlier: dict = {}

    def __enter__(self):
        """-> itself, listening. Outside the main thread signals cannot be caught, and none are."""
        if threading.current_thread() is threading.main_thread():
            self._earlier = {number: signal.signal(number, self._hear) for number in _wanted()}
        return self

    def __exit__(self, *error):
        """Give the signals back to whoever had them."""
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame) -> None:
        again = self.name is not None
        self.name = self.name or signal.Signals(number).name
        earlier = self._earlier.get(number)
        if callable(earlier) and (again or earlier is not signal.default_int_handler):
            earlier(number, frame)


class OfProcess(Interrupts):
    """Those of a process that is esrun's own, which may be ended.

    Python runs handlers between its own instructions only, which a long compilation has none of,
    and the end of Python neither. So a thread that needs none reads the bytes that signals leave,
    and it is the thread that ends the process.
    """

    def __init__(self):
        """Answer signals from here on."""
        super().__init__()
        self._saving, self._code, self._ctrl_c = False, None, 0
        self._reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in _wanted():
            signal.signal(number, self._hear)
        threading.Thread(target=self._listen, name="signals", daemon=True).start()
        atexit.register(_ignore_all)  # the first to be registered is the last to be called
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_forget)

    @contextlib.contextmanager
    def saving(self) -> Iterator["OfProcess"]:
        """-> itself; a first signal inside is only remembered: whoever is inside asks for it."""
        self._saving = True
        try:
            yield self
        finally:
            self._saving = False

    def close(self, code: int) -> None:
        """The command is over: a signal ends what is left of the process with its exit code."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        self._code = code

    def _listen(self) -> None:
        while received := os.read(self._reader, 64):
            for number in received:
                if number in SIGNALS:
                    self._answer(number)

    def _answer(self, number: int) -> None:
        self._ctrl_c += number == signal.SIGINT
        if self._code is not None:
            os._exit(self._code)
        if not self._saving or self._ctrl_c > 1:
            name = signal.Signals(number).name
            end(AT_ONCE if number == signal.SIGINT else AGAIN, f"esrun: ended by {name}")


_process: OfProcess | None = None


def take_over() -> OfProcess | None:
    """Answer the signals of this process until it is gone -> None outside the main thread, where
    that is not possible."""
    global _process
    if _process is None and threading.current_thread() is threading.main_thread():
        _process = OfProcess()
    return _process


def listening() -> contextlib.AbstractContextManager[Interrupts]:
    """-> what a run that saves its state asks; a context manager."""
    return _process.saving() if _process else Interrupts()


def end(code: int, line: str) -> None:
    """End the process with a last line, whatever its other threads do."""
    with contextlib.suppress(OSError):
        if os.isatty(1):
            os.write(1, SHOW_CURSOR + b"\n")  # a line of progress hides it
    with contextlib.suppress(OSError):
        os.write(2, f"{line}\n".encode())
    os._exit(code)


def _wanted() -> list[signal.Signals]:
    """-> the signals to hear: a SIGHUP that `nohup` had ignored stays so."""
    hup = getattr(signal, "SIGHUP", None)
    return [x for x in SIGNALS if x != hup or signal.getsignal(x) != signal.SIG_IGN]


def _ignore_all() -> None:
    """Python's own end gives signals back to the system, whose answer is to kill; what it leaves
    alone is those that are ignored."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _forget() -> None:
    """A forked process is none of ours, and writes no bytes to our thread."""
    global _process
    _process = None
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(
                number,
                signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL,
            )
