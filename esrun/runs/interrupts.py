"""Signals: the first one asks a run to save its state and end, a second Ctrl-C ends it at once.

SIGTERM comes from schedulers that take a machine back, SIGUSR1 and SIGUSR2 from Slurm before a time
limit, SIGINT from Ctrl-C.
"""

import contextlib
import os
import signal
import socket
import threading

SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
]


class Interrupts:
    """Listens while it is open; a context manager. `name` is the signal that came first, None
    before."""

    def __init__(self):
        """Nothing heard yet."""
        self.name: str | None = None
        self._earlier: dict = {}
        self._wakeup = -1

    def __enter__(self):
        """-> itself, listening. Outside the main thread signals cannot be caught, and none are."""
        if threading.current_thread() is threading.main_thread():
            self._earlier = {number: signal.signal(number, self._hear) for number in SIGNALS}
            # Python runs handlers between its own instructions only, which a long compilation has
            # none of. The bytes that signals leave here are read by a thread that needs none.
            self._reader, self._writer = socket.socketpair()
            self._writer.setblocking(False)
            self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
            threading.Thread(
                target=_end_at_second_interrupt, args=(self._reader,), daemon=True
            ).start()
        return self

    def __exit__(self, *error):
        """Give the signals back to whoever had them."""
        for number, handler in self._earlier.items():
            signal.signal(number, handler)
        if self._earlier:
            signal.set_wakeup_fd(self._wakeup)
            self._writer.close()

    def _hear(self, number: int, frame) -> None:
        self.name = self.name or signal.Signals(number).name
        earlier = self._earlier[number]
        if callable(earlier) and earlier is not signal.default_int_handler:
            earlier(number, frame)


def _end_at_second_interrupt(reader: socket.socket) -> None:
    interrupts = 0
    with contextlib.suppress(OSError), reader:
        while received := reader.recv(64):
            interrupts += received.count(signal.SIGINT)
            if interrupts >= 2:
                os._exit(130)
