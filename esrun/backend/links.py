"""A connection between two processes that train in step (see `hosts`): messages of a kind and some
bytes, and queues in which they wait for whoever asks."""

import json
import queue
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

PIECE = 2**20
"""Bytes of an array that are sent at a time: whoever hears a long one hears that somebody lives,
too."""
LONGEST = 2**28
"""Bytes of any message at most."""

BEATS, WORD, GIVEN, ARRAY, SIGNAL, LEAVING, OVER = (bytes([kind]) for kind in b"bwgasl.")
"""The first byte of a message says what it is: a sign of life; what process 0 decides; what another
one says of itself; a piece of an array; a signal that came; that one cannot go on; that all is
done."""


def bytes_of(x: np.ndarray) -> memoryview:
    """-> the bytes of an array, where they lie."""
    return x.reshape(-1).view(np.uint8).data


class Link:
    """A connection, and what has come over it."""

    def __init__(self, connection: Connection):
        """Nothing has come yet."""
        self._connection, self._sending = connection, threading.Lock()
        self.heard, self.ended = time.monotonic(), threading.Event()
        self.words: queue.SimpleQueue[list | None] = queue.SimpleQueue()
        self._given: queue.SimpleQueue[list] = queue.SimpleQueue()
        self._arrays: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def send(self, kind: bytes, content: Any = b"") -> None:
        """Send a message. Raises OSError."""
        with self._sending:
            self._connection.send_bytes(kind + content)

    def beat(self, content: bytes) -> None:
        """Send a sign of life, unless something is being sent, which is one."""
        if self._sending.acquire(blocking=False):
            try:
                self._connection.send_bytes(BEATS + content)
            except OSError:  # the one that listens notices
                pass
            finally:
                self._sending.release()

    def receive(self) -> bytes:
        """-> the next message; what is waited for lies in its queue too."""
        message = self._connection.recv_bytes(LONGEST)
        self.heard = time.monotonic()
        if message[:1] == WORD:
            self.words.put(json.loads(message[1:]))
        elif message[:1] == GIVEN:
            self._given.put(json.loads(message[1:]))
        elif message[:1] == ARRAY:
            self._arrays.put(message[1:])
        return message

    def end(self) -> None:
        """Nothing more comes."""
        self.ended.set()
        self.words.put(None)

    def heard_of(self, topic: str, seconds: float) -> list | None:
        """-> the next word of that topic, whatever comes before it is forgotten; None where none
        comes within so many seconds."""
        until = time.monotonic() + seconds
        with suppress(queue.Empty):
            while said := self.words.get(timeout=max(0.0, until - time.monotonic())):
                if said[0] == topic:
                    return said
        return None

    def given(self, topic: str, seconds: float | None) -> list | None:
        """-> [what the other one says of the topic], None where it has not within the time."""
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            left = None if until is None else max(0.0, until - time.monotonic())
            try:
                said = self._given.get(timeout=left)
            except queue.Empty:
                return None
            if said[0] == topic:
                return said[1:]

    def array(self, x: np.ndarray) -> np.ndarray:
        """-> the array, filled with what comes."""
        content, at = bytes_of(x), 0
        while at < len(content):
            piece = self._arrays.get()
            content[at : at + len(piece)] = piece
            at += len(piece)
        return x
