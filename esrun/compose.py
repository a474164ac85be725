"""Composing a configuration with Hydra, and one line of explanation where it cannot be composed. JAX is not imported.

Every complaint is a ConfigError: what must hold, what was given, what to write instead.
"""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

_PACKAGED = Path(__file__).parent / "conf"
CONF_DIR = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parent.parent / "conf"
"""`esrun/conf` in an installed wheel, the top-level `conf` in a checkout."""


class ConfigError(ValueError):
    """The configuration is wrong; the message is one line for the user."""


class Source(NamedTuple):
    """Where a configuration comes from: what Hydra's command line says besides the overrides."""

    name: str = "esrun"
    directory: str | None = None
    """An extra directory of options (`--config-dir`)."""


PRIMARY = Source()


def composed(overrides: list[str], source: Source = PRIMARY) -> tuple[dict, Any]:
    """-> (the resolved configuration, Hydra's own). Raises ConfigError for whatever Hydra cannot compose."""
    search = [f"hydra.searchpath=[file://{Path(source.directory).resolve()}]"] if source.directory else []
    try:
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            cfg = compose(source.name, overrides=[*overrides, *search], return_hydra_config=True)
        hydra = cfg.hydra
        _refuse_foreign_code(hydra)
        OmegaConf.set_struct(cfg, False)
        del cfg["hydra"]
        return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True), hydra  # type: ignore[return-value]
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_explain(error, overrides, source)) from error


def _explain(error: Exception, overrides: list[str], source: Source) -> str:
    """One line for an exception of Hydra's or OmegaConf's."""
    text = str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and "/" in error.missing_cfg_file:
        group, _, given = error.missing_cfg_file.rpartition("/")
        choices = options(group)
        return f"{group}={given} is not a choice{nearest(given, choices)}: write one of {', '.join(sorted(choices))}"
    if isinstance(error, ConfigCompositionException) and (
        found := re.search(r"Could not (?:override|append to|delete) '([^']+)'", text)
    ):
        key = found[1].split("@")[0]
        rest = [override for override in overrides if key not in override]
        known = keys(composed(rest, source)[0]) if len(rest) < len(overrides) else []
        near = nearest(key, [*known, *groups()])
        return f"{key} is not a key of this configuration{near}: `esrun --cfg job` shows them all, +{key}=... adds one"
    if "missing" in text.lower() and (found := re.search(r"(?:full_key: |value: )(\S+)", text)):
        return f"{found[1]} must be given: write {found[1]}=..."
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"cannot read the command line: {lines[0] if lines else type(error).__name__} (in {' '.join(overrides)})"


TRUSTED = ("hydra._internal.core_plugins.", "hydra._internal.grammar", "hydra_plugins.", "logging.")


def _refuse_foreign_code(hydra: Any) -> None:
    """Hydra instantiates what its own section names: only parts of Hydra and of installed plug-ins may stand there."""
    for key, value in flat(OmegaConf.to_container(hydra, resolve=False)).items():
        names_code = key.rpartition(".")[2] in ("_target_", "()", "class", "_convert_")
        if names_code and isinstance(value, str) and not value.startswith(TRUSTED):
            raise ConfigError(f"hydra.{key} must name a part of Hydra or of an installed plug-in, got {value}")


def groups() -> list[str]:
    """-> the names of the configuration groups."""
    return sorted(path.name for path in CONF_DIR.iterdir() if path.is_dir() and path.name != "hydra")


def options(group: str) -> list[str]:
    """-> the names of a group's options."""
    return sorted(path.stem for path in (CONF_DIR / group).glob("*.yaml"))


def keys(tree: dict, prefix: str = "") -> Iterator[str]:
    """-> the dotted keys of nested dictionaries, inner nodes too."""
    for key, value in tree.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from keys(value, f"{prefix}{key}.")


def nearest(given: str, names) -> str:
    """-> " (did you mean ...?)" with the names like `given`, nothing where there are none."""
    near = get_close_matches(given, {str(name) for name in names}, n=2, cutoff=0.6)
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """-> the leaves of nested dictionaries by their dotted key."""
    if isinstance(tree, dict) and tree:
        return {name: x for key, value in tree.items() for name, x in flat(value, f"{prefix}{key}.").items()}
    return {prefix[:-1]: tree}


def sweep_jobs(overrides: list[str]) -> Iterator[list[str]]:
    """-> the overrides of every job of a sweep, as Hydra's basic sweeper expands them."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    choices = [
        [f"{o.get_key_element()}={value}" for value in o.sweep_string_iterator()]
        if o.is_sweep_override()
        else [o.input_line]
        for o in parsed
    ]
    for job in product(*choices):
        yield [override for override in job if override is not None]
