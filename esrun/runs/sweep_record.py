"""`sweep.json`: what a sweep was asked, job by job, and in which folder each configuration lies."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, Field

from esrun import files
from esrun.config import registry
from esrun.config.trees import flat
from esrun.errors import ConfigError, RecordError
from esrun.runs.folder import SWEEP, shown
from esrun.runs.record import (
    FORMAT,
    Record,
    command_line,
    read_json,
    read_record,
    validated,
    what_it_computes,
)
from esrun.runs.secrets import masked_word


class Asked(NamedTuple):
    """A job, as it is recorded."""

    folder: Path
    overrides: list[str]
    config: dict
    """As it may be written."""
    choices: dict[str, str]

    @property
    def identity(self) -> str:
        """-> the same for all jobs that compute the same."""
        return json.dumps(what_it_computes(self.config), sort_keys=True)


class _Job(BaseModel):
    folder: str
    overrides: list[str] = []
    own: dict[str, Any] | None = None


class _Sweep(BaseModel):
    """What is read of `sweep.json`. A value that all jobs have is written once."""

    format: Annotated[int, Field(ge=0, le=FORMAT)] = 0
    esrun: Literal["sweep"]
    command: list[str] = []
    resumed: list[list[str]] = []
    shared: dict[str, Any] = {}
    jobs: list[_Job] = []


def read(sweep: Path) -> list[Asked]:
    """-> the jobs of a sweep whose configuration is known; a run knows its own, unless its record
    is damaged.

    Raises ConfigError for a record of the sweep that is.
    """
    jobs = ((job, _known(job.folder)) for job in asked(sweep))
    own = (
        job if own is None else job._replace(config=own.config, choices=own.choices)
        for job, own in jobs
    )
    return [job for job in own if job.config]


def _known(folder: Path) -> Record | None:
    """-> what is known of a run, None where its record is damaged: its own turn tells of that."""
    try:
        return read_record(folder)
    except RecordError:
        return None


def asked(sweep: Path) -> list[Asked]:
    """-> the jobs of a sweep as its own record has them, without a look into their folders;
    `config` is empty where it has none.

    Raises ConfigError for a record that is damaged.
    """
    record = _read(sweep)
    if record is None or not record.jobs:  # of an earlier version
        names = sorted(path.parent.name for path in sweep.glob("*/run.json"))
        record = _Sweep(esrun="sweep", jobs=[_Job(folder=name) for name in names])
    found = []
    for job in record.jobs:
        place = Path(os.path.normpath(sweep / job.folder))
        if sweep not in place.parents or place.name == SWEEP:
            raise ConfigError(f"{shown(sweep / SWEEP)} names a job outside of the sweep's folder")
        whole = {} if job.own is None else _tree(record.shared | job.own)
        config, choices = whole.get("config"), whole.get("choices")
        if not isinstance(config, dict) or not isinstance(choices, dict):
            config, choices = {}, {}
        found.append(Asked(place, job.overrides, config, {k: str(x) for k, x in choices.items()}))
    return found


def begun_with(folder: Path, config: dict) -> tuple[Path, str] | None:
    """-> (a run, the digest of the data that it began with): the run in `folder`, or a job beside
    it in its sweep whose task reads the same by its `config`; None where none is known.

    Raises ConfigError for a record that is damaged.
    """
    sweep = next((x for x in folder.parents if os.path.lexists(x / SWEEP)), None)
    beside = [job.folder for job in asked(sweep)] if sweep else []
    for place in [folder, *(beside if folder in beside else [])]:
        record = _known(place)
        if record and record.data and _reads(record.config) == _reads(config):
            return place, record.data
    return None


def where_begun(folder: Path, config: dict, given: dict) -> dict:
    """-> what is `given` of a run that goes on, as it is to be recorded: with the task's file where
    it was in the run's own `config`. Files may be moved, and a digest tells whether they are the
    same; a run that knows none keeps what is given.

    Raises ConfigError for a record that is damaged.
    """
    task, begun = given.get("task"), config.get("task")
    if not (isinstance(task, dict) and isinstance(begun, dict) and "file" in begun):
        return given
    return given | {"task": task | {"file": begun["file"]}} if begun_with(folder, config) else given


def _reads(config: dict) -> dict[str, Any]:
    """-> the keys of a configuration's task that say what is read."""
    task = config.get("task")
    return registry.read_by(task) if isinstance(task, dict) else {}


def commands(sweep: Path) -> list[list[str]]:
    """-> what was typed for a sweep, secrets masked. Raises ConfigError."""
    record = _read(sweep)
    return [] if record is None else [x for x in (record.command, *record.resumed) if x]


def _read(sweep: Path) -> _Sweep | None:
    content = read_json(sweep / SWEEP)
    return None if content is None else validated(_Sweep, content, sweep / SWEEP)


def write(sweep: Path, jobs: Iterable[Asked]) -> None:
    """Write what makes a folder a sweep's; jobs that it has had stay in it. Raises OSError, and
    ConfigError where it has a record that is damaged."""
    earlier, typed = _read(sweep), [masked_word(word) for word in command_line()]
    jobs = list(jobs)
    present = {job.folder for job in jobs}
    jobs += [job for job in (read(sweep) if earlier else []) if job.folder not in present]
    flats = [flat({"config": job.config, "choices": job.choices}) for job in jobs]
    shared = {
        key: value
        for key, value in (flats[0].items() if flats else ())
        if all(key in x and _same(x[key], value) for x in flats)
    }
    content = {
        "format": FORMAT,
        "esrun": "sweep",
        "command": earlier.command if earlier else typed,
        "resumed": [*earlier.resumed, typed] if earlier else [],
        "shared": shared,
        "jobs": [
            {
                "folder": str(job.folder.relative_to(sweep)),
                "overrides": job.overrides,
                "own": {key: value for key, value in one.items() if key not in shared},
            }
            for job, one in zip(jobs, flats, strict=True)
        ],
    }
    files.write_json(sweep / SWEEP, content)


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same in JSON, where 1 and true are not."""
    return json.dumps(one) == json.dumps(other)


def _tree(leaves: dict[str, Any]) -> dict[str, Any]:
    """-> nested dictionaries, the inverse of `flat`. Raises ConfigError for a file's nonsense."""
    tree: dict[str, Any] = {}
    for key, value in leaves.items():
        *path, last = key.split(".")
        node: Any = tree
        for name in path[: files.DEPTH]:
            node = node.setdefault(name, {}) if isinstance(node, dict) else None
        if not isinstance(node, dict) or len(path) > files.DEPTH:
            raise ConfigError(f"{SWEEP} has a key that cannot be: {key[:80]}")
        node[last] = value
    return tree
