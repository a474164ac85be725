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
"""What it keeps of a trial whose runs failed, or that was refused."""
CHOSEN = "chosen"
"""What it keeps of itself: the trial that the finalists' seeds have chosen, and of how many."""
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


def loaded(folder: Path) -> "optuna.Study":
    """-> a study; nothing is written. Raises ConfigError."""
    optuna, path = optuna_here(), folder / JOURNAL
    try:
        with files.open_to_read(path, LARGEST):
            pass
        journal = optuna.storages.journal.JournalFileBackend(str(path))
        storage = optuna.storages.JournalStorage(journal)
        return optuna.load_study(study_name=NAME, storage=storage)
    except Exception as error:  # a file may say anything
        raise ConfigError(f"{shown(path)} cannot be read as a study: {why(error)}") from error


def ended(study: "optuna.Study") -> "list[optuna.trial.FrozenTrial]":
    """-> the trials that came to their end, the best score first."""
    trials = study.get_trials(deepcopy=False)
    complete = [x for x in trials if x.state.name == "COMPLETE" and x.value is not None]
    return sorted(complete, key=lambda x: (-(x.value or 0), x.number))


def choose(study: "optuna.Study", trial: int) -> None:
    """Note which of the trials that have ended is the best."""
    study.set_user_attr(CHOSEN, {"trial": trial, "of": len(ended(study))})


def best(study: "optuna.Study") -> "optuna.trial.FrozenTrial | None":
    """-> the trial that was chosen or, where none was since another one ended, the one with the
    best score; None where none has ended."""
    found, chosen = ended(study), study.user_attrs.get(CHOSEN)
    if isinstance(chosen, dict) and chosen.get("of") == len(found):
        found = [x for x in found if x.number == chosen.get("trial")] or found
    return found[0] if found else None


def opened(optuna: Any, folder: Path) -> Any:
    """-> the storage of a study. Raises ConfigError for a journal that cannot be read, and for a
    link, which Optuna would follow."""
    path = folder / JOURNAL
    try:
        with files.open_binary(path) as file:
            content = file.seek(0, os.SEEK_END)
            if content > LARGEST:
                raise files.RefusedError(f"it has more than {LARGEST} bytes")
        mend(folder)
        journal = optuna.storages.journal
        # a plain file, which a folder that is copied or moved keeps
        lock = journal.JournalFileOpenLock(str(path))
        return optuna.storages.JournalStorage(journal.JournalFileBackend(str(path), lock))
    except Exception as error:  # a file may say anything
        raise ConfigError(f"{shown(path)} cannot be read as a study: {why(error)}") from error


def mend(folder: Path) -> None:
    """Cut off a last line that is not whole: what was killed, or had no more disk, in writing it
    had told nobody. Nobody else writes meanwhile. Raises OSError."""
    with files.open_binary(folder / JOURNAL) as file:
        size = file.seek(0, os.SEEK_END)
        tail = min(size, 2**16)
        file.seek(size - tail)
        last = file.read(tail)
        if last and not last.endswith(b"\n"):
            file.truncate(size - tail + last.rfind(b"\n") + 1)
