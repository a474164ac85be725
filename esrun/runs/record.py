"""What an earlier process left in a run folder, and what may be different when a run goes on."""

import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from esrun import files
from esrun.config.compose import flat
from esrun.errors import ConfigError
from esrun.runs import git
from esrun.runs.secrets import masked_word

FREE = ("generations", "task.generations", "stop", "log", "logger", "checkpoint", "resume")
"""Keys that a resumed run may change: how long it lasts and what it says, never what it
computes."""


PACKAGES = ("jax", "jaxlib", "dm-haiku", "optax", "gymnax", "numpy")
"""Packages whose versions are recorded."""

FORMAT = 1
"""Of `run.json` and `summary.json`; a reader takes every earlier one, and files without a number."""


class Record(NamedTuple):
    """What an earlier process left in a run folder."""

    config: dict
    choices: dict[str, str]
    done: bool
    stop_reason: str | None
    generations: int


def read_record(folder: Path) -> Record | None:
    """-> what the folder says of its run, None when it holds none. Raises ConfigError for a record
    that is damaged."""
    path = folder / "run.json"
    try:
        record = json.loads(files.read(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    try:
        summary = json.loads(files.read(folder / "summary.json"))
    except FileNotFoundError:
        summary = {}
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{folder / 'summary.json'} cannot be read: {error}") from error
    try:
        record["versions"]["esrun"]  # other programs' folders have a run.json too
        return Record(
            config=dict(record["config"]),
            choices={str(k): str(v) for k, v in record["choices"].items()},
            done=summary.get("status") == "done",
            stop_reason=summary.get("stop_reason"),
            generations=int(summary.get("generations") or 0),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ConfigError(f"{path} is not a run's record of esrun's: {error!r}") from error


def refuse_changes(old: dict, new: dict, force: bool) -> None:
    """Raise ConfigError when `new` would compute something else than `old` did, with the
    difference."""
    before, after = flat(old), flat(new)
    changed = [
        f"{key}: {before.get(key, 'unset')} -> {after.get(key, 'unset')}"
        for key in sorted(before | after)
        if before.get(key) != after.get(key)
        and not any(key == free or key.startswith(f"{free}.") for free in FREE)
    ]
    if changed and not force:
        raise ConfigError(
            f"a resumed run must compute what it began, got {'; '.join(changed)}: leave that as it "
            "was, "
            "start a new run, or write --force"
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


def describe(
    config: dict, choices: dict[str, str], arguments: list[str], local_devices: tuple
) -> dict:
    """-> what `run.json` holds: all that is needed to know what ran, and where; `config` has its
    secrets masked."""
    return {
        "format": FORMAT,
        "config": config,
        "choices": choices,
        "command": [masked_word(word) for word in arguments],
        "versions": {"python": platform.python_version(), "esrun": version("esrun")} | _versions(),
        "devices": [
            f"{device.platform}:{device.id} {device.device_kind}" for device in local_devices
        ],
        "platform": f"{platform.system()}-{platform.release()}-{platform.machine()}",  # .platform() starts `uname`
        "git": git.commit(Path.cwd()),
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "?"
    return found


def command_line() -> list[str]:
    """-> the command that was typed."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]
