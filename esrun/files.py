"""Files that somebody else may have made or changed: plain files alone, none through a link,
reading with a bound.

A run folder may come from a stranger, and a folder on a shared disk is everybody's. Whatever esrun
reads or writes in one goes through here, so that a link cannot lead it to another file, a pipe or a
device cannot make it wait, and no size is believed before it is looked at. Links on the way *to* a
folder are followed.
"""

import json
import math
import os
import secrets
import stat
from io import FileIO
from pathlib import Path
from typing import IO, Any

try:
    STARTED_IN = Path.cwd()
except FileNotFoundError:
    STARTED_IN = Path("/")
"""The working directory that the command was typed in; `hydra.job.chdir` may leave it."""

SMALL = 16 * 2**20
"""Bytes that a file of settings or figures may have."""

DEPTH = 32
"""Levels that JSON may be nested."""

_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


class RefusedError(OSError):
    """A file that is not opened; the message says why."""


def named(word: str) -> Path:
    """-> the place of a file that a command names, from where it was typed."""
    return STARTED_IN / Path(word).expanduser()


def read(path: Path, limit: int = SMALL) -> bytes:
    """-> the content of a plain file of at most `limit` bytes.

    Raises FileNotFoundError where there is none, RefusedError for any other kind of file and for a
    larger one, and OSError as the system does.
    """
    with os.fdopen(_opened(path, os.O_RDONLY), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        # no more than it has, for the room is taken before; it may have grown meanwhile
        content = (file.read(min(size, limit) + 1) or b"") if size <= limit else b""
    if max(size, len(content)) > limit:
        raise RefusedError(f"{path} has more than the {limit} bytes that it may have")
    return content


def open_to_read(path: Path, limit: int) -> FileIO:
    """-> a plain file of at most `limit` bytes, unbuffered, to be read piece by piece. Raises as
    `read`."""
    file = FileIO(_opened(path, os.O_RDONLY), "r")
    if os.fstat(file.fileno()).st_size > limit:
        file.close()
        raise RefusedError(f"{path} has more than the {limit} bytes that it may have")
    return file


def read_json(path: Path, limit: int = SMALL) -> Any:
    """-> what a JSON file says, at most DEPTH levels deep. Raises as `read`, and ValueError."""
    try:
        content = json.loads(read(path, limit))
        deep = [content]
        for _ in range(DEPTH):
            inner = [x.values() if isinstance(x, dict) else x for x in deep if _is_nested(x)]
            deep = [y for x in inner for y in x]
        if deep:
            raise ValueError(f"{path} is nested more than {DEPTH} levels deep")
        json.dumps(content, ensure_ascii=False).encode()  # half a surrogate is no text
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deep") from error
    return content


def _is_nested(value: Any) -> bool:
    return isinstance(value, (dict, list))


def write(path: Path, content: bytes, *, flush: bool = True) -> None:
    """Write a file under a name that nobody has, flush it to the disk, then give it its own name.
    What may be lost with the machine's power need not be flushed, which takes milliseconds.

    What had that name before is replaced, if it was a plain file: RefusedError for anything else.
    """
    _refuse_what_is_no_file(path)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    file = os.fdopen(os.open(partial, _FLAGS | os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb")
    try:
        with file:
            file.write(content)
            file.flush()
            if flush:
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON; numbers that JSON does not have become null."""
    write(path, (json.dumps(plain(content), indent=2) + "\n").encode())


def open_binary(path: Path) -> FileIO:
    """-> a plain file, made if it is not there, unbuffered, to be read and written in its place.

    Raises RefusedError for any other kind of file and for one that has a second name, whose content
    would change too.
    """
    return FileIO(_opened(path, os.O_RDWR | os.O_CREAT, alone=True), "r+")


def open_log(path: Path) -> IO[str]:
    """-> a plain file, made if it is not there, to append text to. Raises RefusedError as
    `open_binary`."""
    return os.fdopen(
        _opened(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, alone=True), "a", encoding="utf-8"
    )


def make_folder(path: Path) -> None:
    """Make a folder if it is not there. Raises RefusedError for a link, OSError for whatever else
    has the name."""
    path.mkdir(exist_ok=True)
    if path.is_symlink():
        raise RefusedError(f"{path} is a link")


def complaint(about: os.stat_result) -> str | None:
    """-> what is wrong with a file or folder in a run folder, by its `lstat`; None for a plain
    one."""
    if stat.S_ISLNK(about.st_mode):
        return "is a link"
    if not (stat.S_ISREG(about.st_mode) or stat.S_ISDIR(about.st_mode)):
        return "is a pipe or a device"
    return None


def _refuse_what_is_no_file(path: Path) -> None:
    try:
        about = os.lstat(path)
    except FileNotFoundError:
        return
    if wrong := complaint(about) or ("is a folder" if stat.S_ISDIR(about.st_mode) else None):
        raise RefusedError(f"{path} {wrong}, not a plain file")


def _opened(path: Path, flags: int, alone: bool = False) -> int:
    """-> a descriptor; `alone`: of a file without a second name.

    What is wrong is seen before it is opened, since opening a device may already do something, and
    once more after.
    """
    _refuse_what_is_no_file(path)
    descriptor = os.open(path, flags | _FLAGS, 0o666)
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode) or (alone and about.st_nlink > 1):
        os.close(descriptor)
        kind = (
            "has a second name (a hard link)"
            if stat.S_ISREG(about.st_mode)
            else "is not a plain file"
        )
        raise RefusedError(f"{path} {kind}")
    return descriptor


def plain(value: Any) -> Any:
    """-> the same tree in JSON's types; NaN and infinities become None."""
    if isinstance(value, dict):
        return {str(key): plain(x) for key, x in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(x) for x in value]
    if hasattr(value, "tolist"):  # an array or a number of NumPy's
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
