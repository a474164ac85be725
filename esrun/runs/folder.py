"""Run folders: which ones esrun writes to, how a new one is made, and how it is unmade when nothing
came of it.

esrun writes to a folder that is not there yet, that is empty, or that holds a run (or a sweep) of
esrun's. It deletes single files that it made itself and folders that it made itself and that are
empty; nothing else, and nothing with what is in it.
"""

import itertools
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import yaml

from esrun import files
from esrun.errors import ConfigError
from esrun.runs.record import Record, read_record

SWEEP = "multirun.yaml"
"""What makes a folder a sweep's."""


class RunFolder(NamedTuple):
    """Where everything of a run lies."""

    path: Path

    @property
    def record(self) -> Path:
        """What ran, and where; what makes a folder a run's."""
        return self.path / "run.json"

    @property
    def summary(self) -> Path:
        """How it ended."""
        return self.path / "summary.json"

    @property
    def metrics(self) -> Path:
        """A line a generation."""
        return self.path / "metrics.jsonl"

    @property
    def log(self) -> Path:
        """What the console showed."""
        return self.path / "esrun.log"

    @property
    def policy(self) -> Path:
        """The trained policy."""
        return self.path / "policy.safetensors"

    @property
    def checkpoints(self) -> Path:
        """The folder of the training states."""
        return self.path / "checkpoints"

    @property
    def hydra(self) -> Path:
        """The folder of Hydra's own record."""
        return self.path / ".hydra"

    @property
    def lock(self) -> Path:
        """Held by the process that works here."""
        return self.path / ".lock"


IN_PLACE = (".lock", "metrics.jsonl", "esrun.log")
"""Files that are changed where they are, so that a second name of theirs would show the change."""
PARTIAL = re.compile(r"(run\.json|multirun\.yaml)\.[0-9a-f]{8}\.partial")
"""What a start that was killed may leave before it has a record."""
SWEEP_LIMIT = 2**20
"""Bytes that a sweep's record may have."""


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


def is_by_the_clock(folder: Path) -> bool:
    """Whether a folder is named by the time of day, as Hydra names them."""
    return re.fullmatch(r"\d\d-\d\d-\d\d", folder.name) is not None


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
                return Made(candidate, made)
        if not folder.is_dir():
            raise NotADirectoryError("it is no folder")
    except (OSError, ValueError) as error:  # ValueError: a character that no path may have
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"the folder {shown(folder)} cannot be made: {reason}") from error
    return Made(folder)


def _made(folder: Path) -> tuple[Path, ...]:
    """Make a folder and those above it -> what was made, innermost first; nothing if it was
    there."""
    made = []
    for one in reversed(
        list(itertools.takewhile(lambda path: not path.exists(), (folder, *folder.parents)))
    ):
        with suppress(FileExistsError):  # by another process, just now
            one.mkdir()
            made.append(one)
    return tuple(reversed(made)) if folder in made else ()


def earlier_run(folder: Path) -> Record | None:
    """-> what is known of the run that `folder` holds, None for a folder that is free.

    Raises ConfigError for a folder that holds anything else than a run of esrun's, or a link.
    """
    if not os.path.lexists(folder):
        return None
    try:
        if not folder.is_dir():
            raise ConfigError(
                f"{shown(folder)} is no folder: write hydra.run.dir=... for another one"
            )
        for path, about in _inside(folder):
            wrong = files.complaint(about)
            if (
                wrong is None
                and about.st_nlink > 1
                and path.parent == folder
                and path.name in IN_PLACE
            ):
                wrong = "has a second name (a hard link)"
            if wrong:
                raise ConfigError(
                    f"{shown(path)} {wrong}, and esrun writes through none: copy the folder "
                    "without it (cp -rL)"
                )
        record = read_record(folder)
        if record is None and not all(_is_leftover(path) for path in folder.iterdir()):
            raise ConfigError(
                f"{shown(folder)} holds something else than a run, and esrun leaves that alone: "
                "write hydra.run.dir=... for another folder"
            )
        return record
    except OSError as error:
        raise ConfigError(
            f"the folder {shown(folder)} cannot be used: {error.strerror or error}"
        ) from error


def check_sweep(folder: Path) -> None:
    """Raise ConfigError for a sweep's folder that holds anything else than a sweep of esrun's."""
    try:
        if not os.path.lexists(folder) or all(
            PARTIAL.fullmatch(path.name) for path in folder.iterdir()
        ):
            return
        if not os.path.lexists(RunFolder(folder).record):
            content = files.read(folder / SWEEP, SWEEP_LIMIT)
            held = yaml.load(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
            if isinstance(held, dict) and {"hydra", "task", "strategy", "policy"} <= held.keys():
                return
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        pass
    raise ConfigError(
        f"{shown(folder)} holds something else than a sweep, and esrun leaves that alone: write "
        "hydra.sweep.dir=... "
        "for another folder"
    )


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
    return PARTIAL.fullmatch(path.name) is not None or (
        path.name == ".lock" and path.stat().st_size == 0
    )


def shown(path: Path) -> str:
    """-> a path as a user would type it: relative where that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)
