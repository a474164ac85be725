"""The files of a run folder, held on a cluster: where machines share no disk, whoever goes on with
a run has them from there.
"""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from esrun import files
from esrun.errors import ConfigError
from esrun.runs.folder import IN_PLACE, earlier_run
from esrun.runs.paths import CHECKPOINT, RunFolder
from esrun.runs.record import refuse_changes

LEFT_OUT = ("wandb",)
"""Folders that are a tracker's own, of this machine."""
TAIL = 64
"""Bytes by which a file is known that was only appended to."""
LARGEST = 2**40
"""Bytes of a file."""

Ask = Callable[..., bytes]
"""(method of a Holder, question, contents ...) -> its answer."""


class Holder:
    """Holds them in memory. It is asked with JSON, and bytes beside it."""

    def __init__(self, content: bytes):
        """Nothing is held yet; the `content` is of no account."""
        self._files: dict[str, bytearray] = {}
        self._marks: dict[str, Any] | None = None
        self._note = b""

    def marks(self, question: bytes) -> bytes:
        """-> {name: what tells its versions apart} of all files, null before there was a folder."""
        return json.dumps(self._marks).encode()

    def write(self, question: bytes, content: bytes) -> bytes:
        """Put content into the file of a `name`, in the place of what stands behind `at`."""
        asked = json.loads(question)
        self._files.setdefault(asked["name"], bytearray())[asked["at"] :] = content
        return b""

    def keep(self, question: bytes) -> bytes:
        """The folder is whole, and these are its marks; other files are gone."""
        marks = self._marks = json.loads(question)
        self._files = {name: x for name, x in self._files.items() if name in marks}
        return b""

    def read(self, question: bytes) -> bytes:
        """-> the content of the file of a name."""
        return bytes(self._files[json.loads(question)])

    def note(self, content: bytes) -> bytes:
        """Have a few bytes kept beside the files."""
        self._note = content
        return b""

    def noted(self, question: bytes) -> bytes:
        """-> those bytes, none before."""
        return self._note


class Mirror:
    """A run folder of this machine, and the files that are held of it."""

    def __init__(self, folder: Path, ask: Ask):
        """`ask` a Holder; what it raises is passed on."""
        self._folder, self._ask = folder, ask
        self._sent: dict[str, tuple[int, bytes]] = {}
        """Of files that grow: their length when they were sent, and the last bytes of that."""

    def there(self) -> bool:
        """Whether a folder is held."""
        return self._marks() is not None

    def _marks(self) -> dict[str, Any] | None:
        return json.loads(self._ask("marks", b""))

    def send(self) -> None:
        """Have the files held as they are. Checkpoints come last: what they need is there before
        them."""
        known, found = self._marks(), self._found()
        if found == known:
            return
        for name in sorted(found, key=lambda name: name.startswith("checkpoints/")):
            if known is None or known.get(name) != found[name]:
                try:
                    self._send(name, whole=known is None or name not in known)
                except FileNotFoundError:  # a checkpoint that is not kept any more
                    del found[name]
        self._ask("keep", json.dumps(found).encode())

    def _send(self, name: str, whole: bool) -> None:
        with files.open_to_read(self._folder / name, LARGEST) as file:
            at, tail = (0, b"") if whole else self._sent.get(name, (0, b""))
            file.seek(max(at - TAIL, 0))
            if file.read(min(at, TAIL)) != tail:  # it was cut, and has grown again
                at = 0
                file.seek(0)
            content = file.read()
        if name in IN_PLACE:
            last = (tail + content)[-TAIL:] if at else content[-TAIL:]
            self._sent[name] = at + len(content), last
        self._ask("write", json.dumps({"name": name, "at": at}).encode(), content)

    def _found(self) -> dict[str, Any]:
        """-> the marks of the files, of checkpoints first: what comes later is not older."""
        found = {}
        for path, about in _below(self._folder):
            found[path.relative_to(self._folder).as_posix()] = [about.st_size, about.st_mtime_ns]
        return found

    def fetch(self) -> None:
        """Have the files that are held on this machine. Raises ConfigError where the folder holds
        another run."""
        marks = self._marks() or {}
        if any(Path(name).is_absolute() or ".." in Path(name).parts for name in marks):
            raise ConfigError("files of a run must lie in its folder")
        self._refuse_another_run(marks)
        here = self._found()
        for name in here:
            if name not in marks and CHECKPOINT.fullmatch(Path(name).name):
                (self._folder / name).unlink(missing_ok=True)  # ahead of the metrics that are held
        for name, mark in marks.items():
            if here.get(name) != mark:
                path = self._folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                files.write(path, self._ask("read", json.dumps(name).encode()))
                os.utime(path, ns=(mark[1], mark[1]))

    def _refuse_another_run(self, marks: dict[str, Any]) -> None:
        earlier, name = earlier_run(self._folder), RunFolder(self._folder).record.name
        if earlier is None:
            return
        if name not in marks:
            raise ConfigError(f"{self._folder} holds another run on this machine")
        refuse_changes(
            earlier.config, json.loads(self._ask("read", b'"run.json"'))["config"], False
        )


def _below(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """-> the files of a run folder, checkpoints first, but for those that are being written."""
    found = []
    for path in [*folder.glob("checkpoints/*"), *folder.rglob("*")]:
        inside = path.relative_to(folder).parts
        if inside[0] in LEFT_OUT or path.name == ".lock" or path.suffix == ".partial":
            continue
        try:
            about = path.lstat()
        except FileNotFoundError:
            continue
        if stat.S_ISREG(about.st_mode):
            found.append((path, about))
    return found
