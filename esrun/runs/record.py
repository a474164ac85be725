"""What an earlier process left in a run folder, and what may be different when a run goes on."""

import functools
import platform
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, Field, ValidationError

from esrun import files
from esrun.backend import devices
from esrun.config.trees import flat
from esrun.errors import ConfigError, RecordError, printable
from esrun.files import STARTED_IN
from esrun.runs import git
from esrun.runs.paths import RunFolder
from esrun.runs.secrets import masked_word

FREE = (
    *("generations", "task.generations", "stop", "runtime.devices", "resume", "log", "logger"),
    *("runtime.workers", "runtime.parallel_runs", "runtime.hosts", "task.episodes_at_once"),
    *("runtime.engine", "runtime.driver", "runtime.worker_blocks"),
    *("checkpoint", "archive", "policy.keep_every", "progress", "sweep", "tune"),
)
"""Keys that a resumed run may change: how long it lasts, what it says and keeps, not its bits."""

PACKAGES = ("esrun", "jax", "jaxlib", "dm-haiku", "optax", "gymnax", "numpy")
"""Packages whose versions are recorded."""

FORMAT = 2
"""Of `run.json`, `summary.json`, `sweep.json` and `metrics.jsonl` beside them. Readers take every
earlier one, and files without a number, which are older."""

Model = TypeVar("Model", bound=BaseModel)
Digest = Annotated[str, Field(max_length=16)]


class Record(NamedTuple):
    """What an earlier process left in a run folder."""

    config: dict
    choices: dict[str, str]
    done: bool
    failed: bool
    stop_reason: str | None
    generations: int
    command: list[str]
    """The first one."""
    resumed: list[list[str]]
    """Those that went on with it."""
    devices: list[str]
    blocks: "Cut | None"
    start: str | None
    data: str | None
    """Digests: of the policy that it began with, where that was a file, and of the task's data."""
    jaxlib: str | None
    format: int


class Cut(BaseModel):
    """How the population was cut into blocks, on which the bits of a run depend."""

    count: int
    members: Annotated[int, Field(ge=1, lt=2**31)]
    by: Literal["configuration", "memory"]
    """What `runtime.population_chunk: auto` went by."""


def read_record(folder: Path) -> Record | None:
    """-> what the folder says of its run, None when it holds none. Raises ConfigError for a record
    that is damaged or another program's."""
    paths = RunFolder(folder)
    if not paths.record.exists():
        return None
    record, summary = read_json(paths.record), read_json(paths.summary)
    ending = _Ending() if summary is None else validated(_Ending, summary, paths.summary)
    return validated(_Read, record, paths.record).with_summary(ending)


def validated(model: type[Model], content: Any, path: Path) -> Model:
    """-> what a file of a run or a sweep holds. Raises ConfigError for anything else."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        wrong = f"{key} {first['msg']}".strip().lower()
        raise RecordError(f"{path} is no record of a run: {wrong}") from error


def read_json(path: Path) -> Any:
    """-> what a file holds, None where there is none. Raises ConfigError."""
    try:
        return files.read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} cannot be read: {error}") from error


class _Versions(BaseModel):
    esrun: str  # other programs' folders have a run.json too
    jaxlib: str | None = None


class _Read(BaseModel):
    """What is read of `run.json`."""

    format: Annotated[int, Field(ge=0, le=FORMAT)] = 0
    config: dict[str, Any]
    choices: dict[str, str]
    versions: _Versions
    command: list[str] = []
    resumed: list[list[str]] = []
    devices: list[str] = []
    blocks: Cut | None = None
    start: Digest | None = None
    data: Digest | None = None

    def with_summary(self, ending: "_Ending") -> Record:
        """-> both."""
        kept = {name: getattr(self, name) for name in Record._fields if hasattr(self, name)}
        return Record(
            **kept,
            done=ending.status == "done",
            failed=ending.status == "failed",
            stop_reason=ending.stop_reason and printable(ending.stop_reason),
            generations=ending.generations or 0,
            jaxlib=self.versions.jaxlib,
        )


class _Ending(BaseModel):
    """What is read of `summary.json`."""

    format: Annotated[int, Field(ge=0, le=FORMAT)] = 0
    status: str | None = None
    stop_reason: str | None = None
    generations: Annotated[int, Field(ge=0, lt=2**31)] | None = None


def what_it_computes(config: dict, also: Sequence[str] = ()) -> dict[str, Any]:
    """-> the keys of a configuration that a resumed run may not change, and those of sections that
    are named `also`."""
    return {k: x for k, x in flat(config).items() if not _is_free(k) or k.split(".")[0] in also}


@functools.cache
def _is_free(key: str) -> bool:
    return any(key == free or key.startswith(f"{free}.") for free in FREE)


def refuse_changes(old: dict, new: dict, force: bool) -> None:
    """Raise ConfigError when `new` would compute something else than `old` did, with the
    difference."""
    before, after = what_it_computes(old), what_it_computes(new)
    changed = [
        f"{key}: {before.get(key, 'unset')} -> {after.get(key, 'unset')}"
        for key in sorted(before | after)
        if before.get(key) != after.get(key)
    ]
    if changed and not force:
        raise ConfigError(
            f"a resumed run must compute what it began, got {'; '.join(changed)}: leave that as it "
            "was, start a new run, or write --force"
        )


def unfinished(config: dict, root: Path) -> Path | None:
    """-> the newest run folder at most two levels below `root` with this very configuration, for
    `resume=auto`.

    How long the run lasts may differ; a finished run counts too, and then has nothing left to do.
    """
    folders = sorted(
        {path.parent for path in root.glob("*/*/run.json")},
        key=lambda path: str(path),
        reverse=True,
    )
    for folder in folders:
        try:
            record = read_record(folder)
            if record is not None:
                refuse_changes(record.config, config, force=False)
                return folder
        except ConfigError:
            continue
    return None


def doubts(earlier: Record) -> list[str]:
    """-> why a resumed run may not have the bits of a run that was never interrupted."""
    lines, here = [], _versions()["jaxlib"]
    if earlier.jaxlib not in (None, here):
        lines.append(f"begun with jaxlib {earlier.jaxlib}, going on with {here}: bits may differ")
    if earlier.format < 2:
        lines.append(
            "begun by an earlier version of esrun, which added members in another order: from here "
            "on the last bits are this version's"
        )
    return lines


def describe(
    config: dict,
    choices: dict[str, str],
    earlier: Record | None,
    local_devices: tuple,
    blocks: Cut | None,
    digests: dict[str, str | None],
) -> dict:
    """-> what `run.json` holds: all that is needed to know what ran, and where; `config` has its
    secrets masked. Of an `earlier` record the command stays, and `digests` that are None now."""
    typed = [masked_word(word) for word in command_line()]
    return {
        "format": FORMAT,
        "config": config,
        "choices": choices,
        "command": earlier.command if earlier else typed,
        "resumed": [*earlier.resumed, typed] if earlier else [],
        "versions": _versions(),
        "devices": [
            f"{name} {device.device_kind}"
            for name, device in zip(devices.names(local_devices), local_devices, strict=True)
        ]
        or (earlier.devices if earlier else []),
        "blocks": blocks and blocks.model_dump(),
        **{name: x or (earlier and getattr(earlier, name)) for name, x in digests.items()},
        "platform": "-".join((platform.system(), platform.release(), platform.machine())),
        "git": git.commit(STARTED_IN),
    }


@functools.cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()} | dict.fromkeys(PACKAGES, "?")
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def command_line() -> list[str]:
    """-> the command that was typed."""
    name = Path(sys.argv[0]).name
    return ["esrun" if name == "__main__.py" else name, *sys.argv[1:]]
