"""A study's journal: the file in which Optuna keeps it, and which `optuna-dashboard` opens.

Optuna is imported where a study is opened or read, not before.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esrun import files
from esrun.config.extras import installing_extra
from esrun.errors import ConfigError, why
from esrun.runs.folder import shown

if TYPE_CHECKING:
    import optuna

JOURNAL = "study.log"
"""Its name in the study's folder."""
NAME = "esrun"
"""Of the study in it."""
CAUSE = "cause"
"""What it keeps of a trial whose runs failed, or that was refused or out of time."""
DEFAULT = "default"
"""The name of the default setting, where others have the number of their trial."""
OLDEST = 5
"""The Optuna that a search needs."""
LARGEST = 2**28
"""Bytes of a journal."""


def optuna_here() -> Any:
    """-> the module. Raises ConfigError where it is not installed, or an old one."""
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            "a search needs the package optuna, which is not installed: pip install "
            f"'esrun[tune]', or {installing_extra('tune', 'optuna')}"
        ) from error
    if int(optuna.__version__.partition(".")[0]) < OLDEST:
        raise ConfigError(
            f"a search needs optuna {OLDEST} or newer, and {optuna.__version__} is installed: "
            "pip install 'esrun[tune]'"
        )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def run_name(trial: int | str, seed: int) -> str:
    """-> the name of a run's folder."""
    return f"{trial}-{seed}"


def read(folder: Path) -> "list[optuna.trial.FrozenTrial]":
    """-> the trials of a study by number; nothing is written. Raises ConfigError."""
    optuna, path = optuna_here(), folder / JOURNAL
    try:
        with files.open_to_read(path, LARGEST):
            pass
        journal = optuna.storages.journal.JournalFileBackend(str(path))
        storage = optuna.storages.JournalStorage(journal)
        return optuna.load_study(study_name=NAME, storage=storage).trials
    except Exception as error:  # a file may say anything
        raise ConfigError(f"{shown(path)} cannot be read as a study: {why(error)}") from error


def opened(optuna: Any, folder: Path) -> Any:
    """-> the storage of a study. Raises ConfigError for a journal that cannot be read, and for a
    link, which Optuna would follow."""
    path = folder / JOURNAL
    try:
        with files.open_binary(path) as file:
            content = file.seek(0, os.SEEK_END)
            if content > LARGEST:
                raise files.RefusedError(f"it has more than {LARGEST} bytes")
            _mend(file, content)
        journal = optuna.storages.journal
        # a plain file, which a folder that is copied or moved keeps
        lock = journal.JournalFileOpenLock(str(path))
        return optuna.storages.JournalStorage(journal.JournalFileBackend(str(path), lock))
    except Exception as error:  # a file may say anything
        raise ConfigError(f"{shown(path)} cannot be read as a study: {why(error)}") from error


def _mend(file: Any, size: int) -> None:
    """Cut off a last line that is not whole: what was killed, or had no more disk, in writing it
    had told nobody. Nobody else writes meanwhile."""
    tail = min(size, 2**16)
    file.seek(size - tail)
    last = file.read(tail)
    if last and not last.endswith(b"\n"):
        file.truncate(size - tail + last.rfind(b"\n") + 1)
