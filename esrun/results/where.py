"""Which runs the words of a command name, and with which configuration they are looked at. JAX is
not imported here."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from esrun.config.check import checked
from esrun.config.schema.run import Config
from esrun.errors import ConfigError
from esrun.runs import sweep_record
from esrun.runs.folder import going_on, is_sweep, shown
from esrun.runs.paths import RECORDS, RunFolder
from esrun.runs.record import read_record

Thing = TypeVar("Thing")
Found = TypeVar("Found")

LATEST = "latest"
"""The run in `outputs/` or `multirun/` that was begun or gone on with last."""


def run_folders(words: Iterable[str]) -> list[RunFolder]:
    """-> the run folders that are named, those of a sweep one by one. Of several words those that
    are plain files are passed over: `outputs/DATE/*` may name some. Raises ConfigError."""
    found: list[RunFolder] = []
    for word in folders_of(words):
        place = Path(word)
        if word != LATEST and not os.path.exists(RunFolder(place).record) and is_sweep(place):
            jobs = [RunFolder(job.folder) for job in sweep_record.read(place.resolve())]
            begun = [job for job in jobs if os.path.exists(job.record)]
            if not begun:
                raise ConfigError(f"{shown(place)} is a sweep, and none of its runs has a run.json")
            found += begun
        else:
            found.append(run_folder(place))
    return found


def folders_of(words: Iterable[str]) -> list[str]:
    """-> the words but for those that are plain files beside others."""
    words = list(words)
    return [word for word in words if not os.path.isfile(word)] or words


def good_ones(
    things: Iterable[Thing], look: Callable[[Thing], Found]
) -> tuple[list[tuple[Thing, Found]], list[str]]:
    """-> (each of several things with what was found when it was looked at, the complaints about
    the others). Raises ConfigError where there is no good one."""
    found, complaints = [], []
    for thing in things:
        try:
            found.append((thing, look(thing)))
        except ConfigError as error:
            complaints.append(str(error))
    if complaints and not found:
        raise ConfigError(complaints[0])
    return found, complaints


def run_folder(place: str | Path) -> RunFolder:
    """-> the run folder that is named. Raises ConfigError."""
    folder = RunFolder(latest() if str(place) == LATEST else Path(place))
    if os.path.exists(folder.record):
        return folder
    if is_sweep(folder.path):
        raise ConfigError(f"{shown(folder.path)} is a sweep: write {shown(folder.path / '0')}")
    raise ConfigError(f"{shown(folder.path)} is not a run folder: it has no run.json")


def latest() -> Path:
    """-> the run of the working directory that was begun or gone on with last. Raises
    ConfigError."""
    records = [path for pattern in RECORDS for path in Path().glob(pattern)]
    if not records:
        raise ConfigError(
            "latest is the newest run below outputs/ and multirun/, and there is none: write the "
            "folder of a run"
        )
    return max(records, key=lambda path: (path.stat().st_mtime_ns, path)).parent


def config_of(folder: RunFolder, episodes: int | None, file: str | None = None) -> Config:
    """-> a run's configuration as far as an evaluation goes: it logs nothing, and how many devices
    there are here is no matter of bits. `file`: where its task's data lie now. Raises
    ConfigError."""
    record = read_record(folder.path)
    if record is None:
        raise ConfigError(f"{shown(folder.path)} is not a run folder: it has no run.json")
    changes = {
        "runtime": {"devices": "auto", "population_chunk": "auto"},
        "eval": {} if episodes is None else {"episodes": episodes},
        "task": {} if file is None else {"file": file},
    }
    config: dict[str, Any] = record.config | {"logger": {}}
    for section, change in changes.items():
        if isinstance(config.get(section), dict):
            config[section] = config[section] | change
    try:
        return checked(config)
    except ConfigError as error:
        raise ConfigError(f"{shown(folder.record)}: {error}") from error


def kept_generations(folder: RunFolder) -> list[int]:
    """-> the generations whose policies were kept. Raises ConfigError where none was."""
    found = folder.kept_generations()
    if not found:
        raise ConfigError(
            f"{shown(folder.path)} keeps no policies: a run with policy.keep_every=10 or "
            "checkpoint.keep_at=[25,50] does"
        )
    return found


def policy_file(run: str | Path, best: bool) -> Path:
    """-> the file of the policy that a run has trained, or of its best one. Raises ConfigError."""
    if Path(run).suffix == ".safetensors":
        return Path(run)
    folder = run_folder(run)
    path = folder.policy_best if best else folder.policy
    if not os.path.exists(path):
        there = folder.kept_generations() + folder.saved_generations()
        earlier = f", and --generation {max(there)} takes one that is there" if there else ""
        raise ConfigError(
            f"{shown(folder.path)} has no {path.name}, which a run leaves at its end: "
            f"{going_on(folder.path)} goes on with it{earlier}"
        )
    return path
