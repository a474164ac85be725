"""What a run that is carried on has, on whatever machine: its folder, and a note of how it must
end. The disk is shared with who has typed the command, or all of it is held on the cluster."""

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from esrun import files
from esrun.backend import detached
from esrun.runs.holder import Mirror
from esrun.runs.paths import RunFolder

HELD = 120.0
"""Seconds for which what was there before may be waited for: files that are on their way, and the
process of a machine which was given up and lives, until it hears of that."""


class Job(NamedTuple):
    """What is to be carried on."""

    words: list[str]
    """Behind `esrun`, as they were typed."""
    own: list[str]
    """Behind those, so that the same words begin the run and go on with it."""
    folder: str
    """Of the run, absolute."""
    place: str
    """The working directory."""
    token: str
    """The name of a file in the folder, by which a machine with the same disk is known; the note is
    in it."""
    files: str
    """The name of the `Holder` of its files, for machines that have another one."""

    @property
    def content(self) -> bytes:
        """-> as it is sent."""
        return json.dumps(self._asdict()).encode()


class Belongings:
    """Of a job, as this machine has them."""

    def __init__(self, job: Job, own: Any):
        """`own`: a `detached.Own`, by which what is held is found."""
        self._job, self._own, self._mirror, self._held = job, own, None, None
        self.folder = RunFolder(Path(job.folder))
        self._token = self.folder.path / job.token
        self.shared = self._token.exists()
        """Whether the disk is that of who has typed the command."""

    def have(self) -> None:
        """Have the files of the run on this machine's disk. Raises RuntimeError where they are
        lost, and ConfigError as `Mirror.fetch`."""
        if self.shared:
            return
        until = time.monotonic() + HELD
        while time.monotonic() < until:
            with suppress(detached.GoneError):
                ask = self._own.other(self._job.files)
                if ask is not None and (mirror := Mirror(self.folder.path, ask)).there():
                    mirror.fetch()
                    self._mirror, self._held = mirror, ask
                    return
            time.sleep(0.2)
        raise RuntimeError("the files of the run are not on the cluster any more")

    def send(self, tries: int) -> None:
        """Have the files held as they are now. Raises GoneError after so many `tries`."""
        while self._mirror is not None and tries:
            try:
                return self._mirror.send()
            except detached.GoneError:  # it is begun again
                tries -= 1
                if not tries:
                    raise
                time.sleep(1.0)

    def note(self, code: int) -> None:
        """Note, as far as that is possible, that the run must end, or has ended, with a code."""
        content = str(code).encode()
        with suppress(detached.GoneError, OSError):
            if self.shared:
                files.write(self._token, content)
            elif self._held is not None:
                self._held("note", content)

    def noted(self) -> int | None:
        """-> the code that was noted, be it on another machine; None where there is none, as far as
        is known."""
        with suppress(detached.GoneError, OSError, ValueError):
            if self.shared:
                return int(files.read(self._token))
            if self._held is not None:
                return int(self._held("noted", b""))
        return None

    def leave(self) -> None:
        """It is over: the machine is not to be known any more."""
        with suppress(OSError):  # the folder may be another user's
            self._token.unlink(missing_ok=True)
