"""Going on with a run: what its folder records, and what may be different this time."""

import json
import sys
from pathlib import Path
from typing import NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from esrun.config import ConfigError, flat
from esrun.rundir import HIDDEN

FREE = ("generations", "task.generations", "stop", "log", "logger", "checkpoint", "resume")
"""Keys that a resumed run may change: how long it lasts and what it says, never what it computes."""


class Record(NamedTuple):
    """What an earlier process left in a run folder."""

    config: dict
    choices: dict[str, str]
    done: bool
    stop_reason: str | None
    generations: int


def read_record(folder: Path) -> Record | None:
    """-> what the folder says of its run, None when it holds none. Raises ConfigError for a record that is damaged."""
    path = folder / "run.json"
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text())
        summary = json.loads((folder / "summary.json").read_text()) if (folder / "summary.json").is_file() else {}
        return Record(
            config=dict(record["config"]),
            choices={str(k): str(v) for k, v in record["choices"].items()},
            done=summary.get("status") == "done",
            stop_reason=summary.get("stop_reason"),
            generations=int(summary.get("generations") or 0),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def refuse_changes(old: dict, new: dict, force: bool) -> None:
    """Raise ConfigError when `new` would compute something else than `old` did, with the difference."""
    before, after = flat(old), flat(new)
    changed = [
        f"{key}: {before.get(key, 'unset')} -> {after.get(key, 'unset')}"
        for key in sorted(before | after)
        if before.get(key) != after.get(key) and not any(key == free or key.startswith(f"{free}.") for free in FREE)
    ]
    if changed and not force:
        raise ConfigError(
            f"a resumed run must compute what it began, got {'; '.join(changed)}: leave that as it was, "
            "start a new run, or write --force"
        )


def resume(arguments: list[str]) -> int:
    """`esrun resume RUN [KEY=VALUE ...] [--force]` -> the exit code."""
    from esrun.run import run

    force = "--force" in arguments
    words = [word for word in arguments if word != "--force"]
    try:
        if not words or "=" in words[0] or words[0].startswith("-"):
            raise ConfigError(
                "resume needs a run folder: write esrun resume outputs/DATE/TIME [KEY=VALUE ...] [--force]"
            )
        folder = Path(words[0])
        record = read_record(folder)
        if record is None:
            raise ConfigError(f"{folder} is not a run folder: it has no run.json")
        cfg = with_overrides(record.config, words[1:])
        refuse_changes(record.config, cfg, force)
    except ConfigError as error:
        print(f"esrun: {error}", file=sys.stderr)
        return 2
    return run(cfg, folder.resolve(), record.choices, going_on=True, force=force)


def with_overrides(config: dict, overrides: list[str]) -> dict:
    """-> the configuration with KEY=VALUE set. Raises ConfigError for a key that it does not have."""
    cfg = OmegaConf.create(config)
    known = flat(config)
    try:
        for override in OverridesParser.create().parse_overrides(overrides):
            key = override.key_or_group
            if override.is_sweep_override() or override.is_delete():
                raise ConfigError(f"resume takes KEY=VALUE alone, got {override.input_line}")
            if key not in known and not override.is_add():
                raise ConfigError(f"{key} is not a key of this run: see config in its run.json")
            OmegaConf.update(cfg, key, override.value(), force_add=True)
    except HydraException as error:
        raise ConfigError(f"cannot read the command line: {str(error).splitlines()[0]}") from error
    changed: dict = OmegaConf.to_container(cfg)  # type: ignore[assignment]
    hidden = [key for key, value in flat(changed).items() if value == HIDDEN]
    if hidden:
        raise ConfigError(f"{hidden[0]} was a secret and is not in the run's record: write {hidden[0]}=... again")
    return changed


def unfinished(config: dict, root: Path) -> Path | None:
    """-> the newest run folder at most two levels below `root` with this very configuration, for `resume=auto`.

    How long the run lasts may differ; a finished run counts too, and then has nothing left to do.
    """
    folders = sorted({path.parent for path in root.glob("*/*/run.json")}, key=lambda path: str(path), reverse=True)
    for folder in folders:
        try:
            record = read_record(folder)
            if record is not None:
                refuse_changes(record.config, config, force=False)
                return folder
        except ConfigError:
            continue
    return None
