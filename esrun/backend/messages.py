"""What processes say to each other before they are let in: a dictionary as JSON behind its length,
over a socket whose other end may be anybody's."""

import json
import socket
import time
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Any

LONGEST = 2**22
"""Bytes of what somebody says who comes: a configuration, or those of all."""
SAYING = 5.0
"""Seconds that somebody may take to say it, or to hear it."""
HEAD, PIECE = 4, 2**16
"""Bytes of the length, and those that are read at a time."""


def send(one: socket.socket, what: dict[str, Any]) -> None:
    """Send a message, if somebody is there."""
    content = json.dumps(what).encode()
    with suppress(OSError):
        one.settimeout(SAYING)
        one.sendall(len(content).to_bytes(HEAD, "big") + content)
        one.settimeout(None)


class Incoming:
    """A message that may come in pieces."""

    def __init__(self, one: socket.socket):
        """`one`: where it comes from."""
        self._socket, self._content, self._whole = one, bytearray(), HEAD
        self.until = time.monotonic() + SAYING
        """When it should be there."""

    @property
    def begun(self) -> bool:
        """Whether some of it has come."""
        return bool(self._content)

    def more(self) -> dict[str, Any] | None:
        """Read a piece, which must have come -> the message, None as long as it is not whole; what
        comes behind it is left. Raises OSError, ValueError or RecursionError where it is none."""
        piece = self._socket.recv(min(self._whole - len(self._content), PIECE))
        if not piece:
            raise ConnectionError("the other end is gone")
        self._content += piece
        if len(self._content) == HEAD:
            length = int.from_bytes(self._content, "big")
            if length > LONGEST:
                raise ValueError(f"at most {LONGEST} bytes are expected, not {length}")
            self._whole += length
        if len(self._content) <= HEAD or len(self._content) < self._whole:
            return None
        said = json.loads(self._content[HEAD:])
        if not isinstance(said, dict):
            raise ValueError("a dictionary is expected")
        return said


def receive(one: socket.socket, seconds: float) -> dict[str, Any] | None:
    """-> the next message, None where there is none in time; where there can be none, or is
    something else, or half of one, the socket is closed too."""
    message, until = Incoming(one), time.monotonic() + seconds
    with suppress(OSError, ValueError, RecursionError):
        while wait([one], max(0.0, until - time.monotonic())):
            if (said := message.more()) is not None:
                return said
            until = max(until, message.until)
        if not message.begun:
            return None
    one.close()
    return None
