"""Signals: the first one asks a run to save its state and end, a second Ctrl-C ends it at once.

SIGTERM comes from schedulers that take a machine back, SIGUSR1 and SIGUSR2 from Slurm before a time
limit, SIGHUP from a terminal that is closed, SIGINT from Ctrl-C.

A process that is esrun's own answers from the first line of the command until Python is gone (see
`process_signals`); a caller of the library keeps their handlers, and lends them while a run is
open.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar

SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
]
AT_ONCE, AGAIN = 130, 75
"""Exit codes: of what a Ctrl-C ends, and of what can be run again to go on."""
Leave = Callable[[str], str]
"""(a signal's name) -> the last line, "" for that of whoever left before; leaves what is to be left
when the process is ended."""


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
            self._earlier = {number: signal.signal(number, self._hear) for number in wanted()}
        return self

    def __exit__(self, *error):
        """Give the signals back to whoever had them."""
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def saving(self, leave: Leave | None = None) -> Iterator[None]:
        """A first signal inside is only remembered, since there is something to be saved: whoever
        is inside asks for `name`. `leave` is for an end that comes deeper inside."""
        yield

    @contextlib.contextmanager
    def at_once(self, leave: Leave) -> Iterator[None]:
        """Nothing is there inside that is not on the disk: where the process may be ended, a signal
        ends it, also one that came before."""
        yield

    def _hear(self, number: int, frame) -> None:
        again = self.name is not None
        self.name = self.name or signal.Signals(number).name
        earlier = self._earlier.get(number)
        if callable(earlier) and (again or earlier is not signal.default_int_handler):
            earlier(number, frame)


class Lent(Interrupts):
    """Another's, for a thread beside the one that listens."""

    def __init__(self, owner: Interrupts):
        """To be entered and left any number of times."""
        self._owner = owner

    @property
    def name(self) -> str | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """-> the owner's."""
        return self._owner.name

    def __enter__(self):
        """-> itself."""
        return self

    def __exit__(self, *error):
        """The owner goes on listening."""


own: Interrupts | None = None
"""Those of a process that is esrun's own (see `process_signals`)."""
lent: ContextVar[Interrupts | None] = ContextVar("what this thread asks for signals", default=None)


def listening() -> Interrupts:
    """-> what a run asks for signals; a context manager."""
    return own or lent.get() or Interrupts()


def wanted() -> list[signal.Signals]:
    """-> the signals to hear: a SIGHUP that `nohup` had ignored stays so."""
    hup = getattr(signal, "SIGHUP", None)
    return [x for x in SIGNALS if x != hup or signal.getsignal(x) != signal.SIG_IGN]
