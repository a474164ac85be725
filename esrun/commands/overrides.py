"""KEY=VALUE behind the folder of a run: what is set in the configuration that it has recorded."""

from collections.abc import Iterable
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from esrun.commands.words import KINDS
from esrun.config.quoting import to_be_quoted
from esrun.config.trees import flat
from esrun.errors import ConfigError, first_line
from esrun.runs.secrets import HIDDEN

FILE = "task.file"


def moved(words: Iterable[str]) -> tuple[list[str], str | None]:
    """-> (the words but for task.file=PATH, that path): where the data of runs lie now, None where
    nothing is said of it. Raises ConfigError."""
    words = list(words)
    said = [word for word in words if word.startswith(f"{FILE}=")]
    file = with_overrides({"task": {"file": None}}, said)["task"]["file"]
    return [word for word in words if word not in said], None if file is None else str(file)


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
