"""The commit of the working directory, read from git's own files.

git itself is not run: the configuration, the hooks and the filters of a repository name programs
that git starts, and a working directory may be anybody's. Layout:
https://git-scm.com/docs/gitrepository-layout.
"""

import re
from pathlib import Path

from esrun import files

COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
REFERENCE = re.compile(r"refs/[^\x00-\x20\x7f~^:?*\[\\]+")
LIMIT = 16 * 2**20
"""Bytes of the list of packed references that are read at most."""


def commit(start: Path) -> str | None:
    """-> the commit that is checked out in the repository around `start`, None outside of one or
    where it is unclear.

    Uncommitted changes are not looked for: to compare files, git runs the filters that a repository
    names.
    """
    try:
        places = (folder / ".git" for folder in (start, *start.parents))
        found = next(place for place in places if place.exists())
        # a work tree and a submodule have a file there, which names the folder
        folder = found
        if not found.is_dir():
            folder = found.parent / _text(found).removeprefix("gitdir: ")
        return _resolved(folder, _text(folder / "HEAD"))
    except (OSError, ValueError, StopIteration):
        return None


def _resolved(folder: Path, head: str) -> str | None:
    """-> the commit that HEAD names. A work tree's own folder says where those of all lie."""
    if not head.startswith("ref: "):
        return _checked(head)
    name = head.removeprefix("ref: ")
    if not REFERENCE.fullmatch(name) or ".." in name:
        return None
    common = folder
    if (folder / "commondir").is_file():
        common = folder / "../.." if _text(folder / "commondir") == "../.." else folder
    for place in (folder, common):
        # a link could make any file with 40 such digits in it a commit
        inside = (place / name).resolve().is_relative_to(place.resolve())
        if (place / name).is_file() and inside:
            return _checked(_text(place / name))
    packed = _text(common / "packed-refs", LIMIT).split("\n")
    return next(
        (_checked(line.split(" ")[0]) for line in packed if line.endswith(f" {name}")), None
    )


def _checked(text: str) -> str | None:
    return text if COMMIT.fullmatch(text) else None


def _text(path: Path, limit: int = 4096) -> str:
    return files.read(path, limit).decode().rstrip("\n")
