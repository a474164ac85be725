"""Consoles and logs that may refuse: a reader that leaves, a full disk, an alphabet without "±".

What is shown is never worth a run: what a stream cannot take is left out. A reader that has left is
no error at all; that something else was lost can be asked.
"""

import errno
import os
import sys
from typing import IO, Any, cast

GONE = (errno.EPIPE, errno.EIO, errno.ESHUTDOWN)
"""What writing to a reader that has left, or to a terminal that was closed, is answered with."""


class Patient:
    """A stream of text that raises nothing when it is written to; else it is the one below it."""

    def __init__(self, below: IO[str]):
        """Written to `below`."""
        self._below, self._gone = below, False
        self.refused: OSError | ValueError | None = None
        """Why something was lost, but for a reader that has left."""

    def write(self, text: str) -> int:
        """Write what can be written -> the length of all of it."""
        if not self._gone:
            encoding = getattr(self._below, "encoding", None) or "utf-8"
            try:
                self._below.write(text.encode(encoding, "replace").decode(encoding))
            except (OSError, ValueError) as error:  # ValueError: it is closed
                self._note(error)
        return len(text)

    def flush(self) -> None:
        """Have written what waits."""
        try:
            self._below.flush()
        except (OSError, ValueError) as error:
            self._note(error)

    def close(self) -> None:
        """Close the stream below."""
        try:
            self._below.close()
        except OSError as error:
            self._note(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)

    def _note(self, error: OSError | ValueError) -> None:
        if getattr(error, "errno", None) in GONE:
            self._gone = True
        else:
            self.refused = self.refused or error


def patient(stream: IO[str] | None) -> IO[str]:
    """-> the stream, patient; one that takes everything for a process that was started without."""
    if isinstance(stream, Patient):
        return cast(IO[str], stream)
    return cast(IO[str], Patient(stream or open(os.devnull, "w", encoding="utf-8")))


def take_over() -> None:
    """Make those of the process patient. A descriptor that it was started without leads nowhere, so
    that no file gets its number and the messages of a library with it."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout, sys.stderr = patient(sys.stdout), patient(sys.stderr)


def lost() -> str | None:
    """-> why some of the standard output is missing, None where nothing is or nobody reads it."""
    sys.stdout.flush()
    refused = getattr(sys.stdout, "refused", None)
    return refused and str(getattr(refused, "strerror", None) or refused)
