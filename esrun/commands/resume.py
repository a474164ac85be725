"""`esrun resume RUN|SWEEP [KEY=VALUE ...]`: going on from the newest valid checkpoint, with what is
missing or interrupted of a sweep, and what has failed where that is asked for."""

import os
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from esrun.commands.flags import parsers
from esrun.commands.words import KINDS
from esrun.config.check import checked
from esrun.config.quoting import to_be_quoted
from esrun.config.trees import flat
from esrun.errors import ConfigError, first_line
from esrun.results.where import LATEST, latest
from esrun.runs.folder import Made, earlier_run, is_sweep
from esrun.runs.opening import Order
from esrun.runs.paths import RunFolder
from esrun.runs.run import carry_out
from esrun.runs.secrets import HIDDEN


def resume(arguments: list[str]) -> int:
    """`esrun resume RUN|SWEEP [KEY=VALUE ...] [--force] [--retry-failed]` -> the exit code."""
    flags = parsers()["resume"].read(arguments)
    folder = latest() if flags.folder == LATEST else Path(flags.folder)
    if "=" in flags.folder and not folder.is_dir():
        raise ConfigError(
            f"resume needs a run folder before KEY=VALUE, got {flags.folder}: write esrun resume "
            f"outputs/DATE/TIME {flags.folder}"
        )
    if not os.path.lexists(RunFolder(folder).record) and is_sweep(folder):
        from esrun.runs.sweep import resume_sweep

        return resume_sweep(
            folder,
            lambda config: with_overrides(config, flags.overrides),
            flags.force,
            flags.retry_failed,
        )
    record = earlier_run(folder)
    if record is None:
        raise ConfigError(f"{folder} is not a run folder: it has no run.json")
    given = with_overrides(record.config, flags.overrides)
    made = Made(folder.resolve())
    order = Order(checked(given), given, made, record.choices, going_on=True, force=flags.force)
    return carry_out(order._replace(retries=flags.retry_failed))


def with_overrides(config: dict, overrides: list[str]) -> dict:
    """-> the configuration with KEY=VALUE set. Raises ConfigError for a key that it does not
    have."""
    known = flat(config)
    try:
        cfg = OmegaConf.create(config)
        for override in OverridesParser.create().parse_overrides(overrides):
            key = override.key_or_group
            if override.is_sweep_override() or override.is_delete():
                raise ConfigError(f"resume takes KEY=VALUE alone, got {override.input_line}")
            if key in KINDS.values():
                raise ConfigError(
                    f"{key} is chosen by a run's own command: write that again with "
                    f"{override.input_line} and resume=auto"
                )
            if key not in known and not override.is_add():
                raise ConfigError(f"{key} is not a key of this run: see config in its run.json")
            OmegaConf.update(cfg, key, override.value(), force_add=True)
        changed: Any = OmegaConf.to_container(cfg)
    except HydraException as error:
        line = to_be_quoted(overrides) or f"cannot read the command line: {first_line(error)}"
        raise ConfigError(line) from error
    except OmegaConfBaseException as error:  # run.json may say anything
        raise ConfigError(f"config in run.json cannot be read: {first_line(error)}") from error
    hidden = [key for key, value in flat(changed).items() if value == HIDDEN]
    if hidden:
        raise ConfigError(
            f"{hidden[0]} was a secret and is not in the run's record: write {hidden[0]}=... again"
        )
    return changed
