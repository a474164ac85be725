"""Run folders: which ones esrun writes to, how a new one is made, and how it is unmade when nothing
came of it.

esrun writes to a folder that is not there yet, that is empty, or that holds a run (or a sweep) of
esrun's. It deletes single files that it made itself and folders that it made itself and that are
empty; nothing else, and nothing with what is in it.
"""

import itertools
import os
import re
import shlex
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from esrun import files
from esrun.config import imports
from esrun.errors import ConfigError
from esrun.runs.paths import RunFolder
from esrun.runs.record import Record, read_record

SWEEP, HYDRAS_SWEEP = "sweep.json", "multirun.yaml"
"""What makes a folder a sweep's, and Hydra's own record of it."""


IN_PLACE = (".lock", "metrics.jsonl", "esrun.log")
"""Files that are changed where they are, so that a second name of theirs would show the change."""
PLAIN = (
    *(*IN_PLACE, "run.json", "summary.json"),
    *("policy.safetensors", "policy_best.safetensors", "members_best.safetensors"),
)
"""Files of a run, where no folder may stand."""
PARTIAL = re.compile(r"(run\.json|sweep\.json|multirun\.yaml)\.[0-9a-f]{8}\.partial")
"""What a start that was killed may leave before it has a record."""


class Made(NamedTuple):
    """A folder to work in."""

    folder: Path
    made: tuple[Path, ...] = ()
    """What was made for it: the folder and those above it, innermost first; nothing if it was
    there."""

    def unmake(self) -> None:
        """Remove what was made, as far as it is empty."""
        for folder in self.made:
            try:
                folder.rmdir()
            except OSError:
                break

    def absolute(self) -> "Made":
        """-> the same, wherever the process goes."""
        return Made(self.folder.absolute(), tuple(path.absolute() for path in self.made))


def is_by_the_clock(folder: Path) -> bool:
    """Whether a folder is named by the time of day, as Hydra names them."""
    return re.fullmatch(r"[0-9]{2}-[0-9]{2}-[0-9]{2}", folder.name) is not None


def is_typed(key: str, overrides: list[str]) -> bool:
    """Whether a key was set on the command line."""
    return any(word.lstrip("+").startswith(f"{key}=") for word in overrides)


def make(folder: Path, fresh: bool = True) -> Made:
    """Make `folder` if it is not there. One that is named by the clock is made in any case, if it
    is to be `fresh`.

    Hydra names folders by the second and would put two runs of one second into the same: the second
    one gets the first free of `folder`-1, -2, ... Raises ConfigError where no folder can be made.
    """
    others = (folder.with_name(f"{folder.name}-{i}") for i in itertools.count(1))
    candidates = itertools.chain([folder], others if fresh and is_by_the_clock(folder) else [])
    try:
        for candidate in candidates:
            made = _made(candidate)
            if made:
                return Made(candidate, made).absolute()
        if not folder.is_dir():
            raise NotADirectoryError("it is no folder")
    except (OSError, ValueError) as error:  # ValueError: a character that no path may have
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"the folder {shown(folder)} cannot be made: {reason}") from error
    return Made(folder.absolute())


def _made(folder: Path) -> tuple[Path, ...]:
    """Make a folder and those above it -> what was made, innermost first; nothing if it was
    there."""
    missing = itertools.takewhile(lambda path: not path.exists(), (folder, *folder.parents))
    made: list[Path] = []
    try:
        for one in reversed(list(missing)):
            with suppress(FileExistsError):  # by another process, just now
                one.mkdir()
                made.insert(0, one)
    except OSError:
        Made(folder, tuple(made)).unmake()
        raise
    return tuple(made) if folder in made else ()


def earlier_run(folder: Path) -> Record | None:
    """-> what is known of the run that `folder` holds, None for a folder that is free.

    Raises ConfigError for a folder that holds anything else than a run of esrun's, or a link.
    """
    if not os.path.lexists(folder):
        return None
    try:
        if not folder.is_dir():
            raise ConfigError(f"{shown(folder)} is no folder: write the folder of a run instead")
        if not os.path.lexists(RunFolder(folder).record):
            if all(_is_leftover(path) for path in folder.iterdir()):
                return None
            raise ConfigError(
                f"{shown(folder)} holds something else than a run, and esrun leaves that alone: "
                "write hydra.run.dir=... for another folder"
            )
        for path, about in _inside(folder):
            if wrong := _complaint(path.relative_to(folder), about):
                raise ConfigError(
                    f"{shown(path)} {wrong}, and esrun writes through none: copy the folder "
                    "without it (cp -rL)"
                )
        return read_record(folder)
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"the folder {shown(folder)} cannot be used: {reason}") from error


def _complaint(path: Path, about: os.stat_result) -> str | None:
    """-> what is wrong with a file in a run folder, None for what may be there."""
    if wrong := files.complaint(about):
        return wrong
    if len(path.parts) == 1 and stat.S_ISDIR(about.st_mode) and path.name in PLAIN:
        return "is a folder"
    if len(path.parts) == 1 and stat.S_ISREG(about.st_mode) and about.st_nlink > 1:
        return "has a second name (a hard link)" if path.name in IN_PLACE else None
    return None


def is_sweep(folder: Path) -> bool:
    """Whether a folder is meant to be a sweep's."""
    return any(os.path.lexists(folder / name) for name in (SWEEP, HYDRAS_SWEEP))


def check_sweep(folder: Path) -> None:
    """Raise ConfigError for a sweep's folder that holds anything else than a sweep of esrun's."""
    try:
        if not os.path.lexists(folder) or all(_is_leftover(path) for path in folder.iterdir()):
            return
        record = folder / HYDRAS_SWEEP
        if not os.path.lexists(RunFolder(folder).record) and not record.is_symlink():
            if os.path.lexists(folder / SWEEP):
                held = files.read_json(folder / SWEEP)
                if isinstance(held, dict) and held.get("esrun") == "sweep":
                    return
            elif EARLIER.search(files.read(record)):
                return
    except (OSError, ValueError):
        pass
    raise ConfigError(
        f"{shown(folder)} holds something else than a sweep, and esrun leaves that alone: write "
        "hydra.sweep.dir=... for another folder"
    )


EARLIER = re.compile(rb"^    app_name: esrun$", re.MULTILINE)
"""In the record of a sweep before there was a sweep.json."""


def _inside(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """-> every file and folder in a run folder, at any depth, with its `lstat`; no link is
    followed.

    Not what lies in `wandb`: Weights & Biases links its logs and its newest run there, and writes
    through none of them.
    """
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # the run at work there has removed it
                    path = Path(entry.path)
                    yield path, entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False) and path != folder / "wandb":
                        waiting.append(path)


def _is_leftover(path: Path) -> bool:
    """Whether it is what a start that was killed leaves."""
    about, empty_lock = path.lstat(), path.name == ".lock" and path.lstat().st_size == 0
    return stat.S_ISREG(about.st_mode) and (empty_lock or bool(PARTIAL.fullmatch(path.name)))


def shown(path: Path) -> str:
    """-> a path as the user would type it: relative where that is shorter."""
    whole = os.path.join(files.STARTED_IN, path)
    return min(whole, os.path.relpath(whole, files.STARTED_IN), key=len)


def going_on(path: Path, *words: str) -> str:
    """-> what to type, in the directory that the command was typed in, to go on with a run or a
    sweep."""
    return to_type("resume", path, *words, *imports.flags())


def to_type(verb: str, path: Path, *words: str) -> str:
    """-> a command about a folder, to be typed in the directory that this one was typed in."""
    where = shown(path)
    where = f"./{where}" if where.startswith("-") else where  # it would be taken for a flag
    return shlex.join(["esrun", verb, where, *words])
