"""Worker processes: a program for each core, asked over a socket in plain bytes.

They are processes of their own, started afresh, so that nothing of JAX is copied into them, and in
a group of their own, so that a Ctrl-C reaches only the one that decides. One that is not asked any
more, since whoever asks has died, ends.
"""

import atexit
import json
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

BUFFER = 2**20
"""Bytes of a socket. A worker must read questions while it answers (see `questions`), or both sides
may wait for the other to read."""

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
"""There is a worker for each core already."""


class LostError(Exception):
    """A worker has died, and with it what it knew; there are new ones."""


class Worker(NamedTuple):
    """One of them."""

    process: subprocess.Popen
    connection: Connection
    complaints: Any
    """A file of what it has said on stderr."""


def questions(connection: Connection) -> Iterator[bytes]:
    """-> what a worker is asked, which a thread reads as it comes. Ends when nobody asks any
    more."""
    waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def read() -> None:
        try:
            while True:
                waiting.put(connection.recv_bytes())
        except (EOFError, OSError):
            waiting.put(None)

    threading.Thread(target=read, daemon=True).start()
    yield from iter(waiting.get, None)


class Workers:
    """Processes that run a module, each given the same `order` first."""

    def __init__(self, module: str, order: dict[str, Any], count: int):
        """`count` of them, which are started when they are first asked."""
        self.count, self._module, self._order = count, module, order
        self._workers: list[Worker] = []
        self.lives = 0
        """How often they were started."""
        self.complaint = ""
        """The last line that one of those that died has said."""

    def ask(self, questions: Sequence[bytes]) -> None:
        """Send each worker its question. Raises LostError."""
        try:
            for worker, question in zip(self._running(), questions, strict=False):
                worker.connection.send_bytes(question)
        except OSError:
            self._lost()

    def answers(self, count: int) -> list[bytes]:
        """-> what the first `count` workers answer. Raises LostError."""
        try:
            return [worker.connection.recv_bytes() for worker in self._running()[:count]]
        except (EOFError, OSError):  # of which one says that an answer has no end
            return self._lost()

    def close(self) -> None:
        """End them."""
        for worker in self._workers:
            worker.connection.close()
            worker.process.kill()
            worker.process.wait()
            worker.complaints.close()
        self._workers = []

    def _running(self) -> list[Worker]:
        if not self._workers:
            atexit.register(self.close)
            self._workers = [self._started() for _ in range(self.count)]
            self.lives += 1
        return self._workers

    def _started(self) -> Worker:
        ours, its = socket.socketpair()
        for end in (ours, its):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed with its worker
        process = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", "-m", self._module, str(its.fileno())],
            pass_fds=[its.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=complaints,
            env=os.environ | ONE_THREAD,
            process_group=0,
        )
        its.close()
        connection = Connection(ours.detach())
        connection.send_bytes(json.dumps(self._order).encode())
        return Worker(process, connection, complaints)

    def _lost(self) -> Any:
        for worker in self._workers:
            worker.complaints.seek(0)
            lines = worker.complaints.read().decode(errors="replace").split("\n")
            said = [line for line in lines if line.strip()]
            self.complaint = said[-1] if said else self.complaint
        self.close()
        raise LostError
