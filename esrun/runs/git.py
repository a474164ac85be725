"""The commit of the working directory, read from git's own files.

git itself is not run: the configuration, the hooks and the filters of a repository name programs
that git starts, and a working directory may be anybody's. Layout:
https://git-scm.com/docs/gitrepository-layout.
"""

import re
from pathlib import Path

from esrun import files

COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
LIMIT = 64 * 2**20
"""Bytes of the list of packed references that are read at most."""


def commit(start: Path) -> str | None:
    """-> the commit that is checked out in the repository around `start`, None outside of one or
    where it is unclear.

    Uncommitted changes are not looked for: to compare files, git runs the filters that a repository
    names.
    """
    try:
        found = next(
            folder / ".git" for folder in (start, *start.parents) if (folder / ".git").exists()
        )
        # a work tree and a submodule have a file there, which names the folder
        folder = found if found.is_dir() else found.parent / _text(found).removeprefix("gitdir: ")
        head = _text(folder / "HEAD")
        return (
            _resolved(folder, head.removeprefix("ref: "))
            if head.startswith("ref: ")
            else _checked(head)
        )
    except (OSError, ValueError, StopIteration):
        return None


def _resolved(folder: Path, name: str) -> str | None:
    """-> the commit that a reference names. A work tree's own folder says where those of all work
    trees are."""
    common = folder / _text(folder / "commondir") if (folder / "commondir").is_file() else folder
    for candidate in (folder / name, common / name):
        if candidate.is_file():
            return _checked(_text(candidate))
    packed = _text(common / "packed-refs", LIMIT).splitlines()
    return next((_checked(line.split()[0]) for line in packed if line.endswith(f" {name}")), None)


def _checked(text: str) -> str | None:
    return text if COMMIT.fullmatch(text) else None


def _text(path: Path, limit: int = 4096) -> str:
    return files.read(path, limit).decode().strip()
