"""What a configuration may make Hydra do. Reading a yaml file, whoever wrote it, never runs code.

Hydra instantiates what its own section names: launchers, sweepers, callbacks, logging handlers; it
sets environment variables and imports the packages of its search path. esrun's own options are
looked up by name and need none of it.

A yaml file may therefore set the keys of FREE in Hydra's section, and numbers of a launcher or a
sweeper. Whatever else stands there must be as the packaged tree and the installed plug-ins have it,
or typed on this command line; and what names code must be as they have it in any case. Names of
code are compared before and after interpolation.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from esrun.errors import ConfigError

FREE = (
    "run.dir", "sweep.dir", "sweep.subdir", "output_subdir", "mode", "verbose", "job.chdir", "job.config",
    "sweeper.params",
)  # fmt: skip
"""Keys of Hydra's section that decide where and what is run, and name no code."""

FILLED_IN = (
    "overrides",
    "runtime",
    "job.override_dirname",
    "job.num",
    "job.id",
    "job.config_name",
    "searchpath",
)
"""What Hydra itself writes there, and the search path, which is checked before anything is
composed."""

CODE = ("callbacks", "job_logging", "hydra_logging")
"""Sections that are nothing but names of code and its arguments."""

PLUGINS = ("launcher", "sweeper")


def needs_a_check(overrides: list[str]) -> bool:
    """Whether a command line says more of Hydra's section than where to run."""
    return any(
        word.lstrip("+~").startswith("hydra") and not _free(_key(word)) for word in overrides
    )


def check_search_path(loader: Any, name: str, overrides: list[str]) -> None:
    """Raise ConfigError unless every place that options are searched in is a folder.

    A package (pkg://...) would be imported, by the very composing that a later check would come too
    late for.
    """
    typed = [word for word in overrides if _key(word) == "searchpath"]
    for override in OverridesParser.create().parse_overrides(typed):
        _check_places(override.value())
    loaded = loader.repository.load_config(name)
    if loaded is None or not OmegaConf.is_dict(loaded.config):
        return
    raw: Any = OmegaConf.to_container(loaded.config, resolve=False)
    section = raw.get("hydra") or {}
    if not isinstance(section, dict):
        raise ConfigError(f"hydra must be written out in a primary configuration, got {section}")
    _check_places(section.get("searchpath"))


def _check_places(places: Any) -> None:
    if places is None:
        return
    for place in places if isinstance(places, list) else [places]:
        if not (isinstance(place, str) and place.startswith("file://")):
            raise ConfigError(
                f"hydra.searchpath must name folders, got {place}: write file:// before their paths"
            )


def check(
    cfg: DictConfig, overrides: list[str], trusted: Callable[[list[str]], DictConfig]
) -> None:
    """Raise ConfigError where Hydra's section of `cfg` says what no file may say.

    `trusted` composes the section from the packaged tree and the installed plug-ins alone, for
    given overrides.
    """
    choices = [f"{group}={name}" for group, name in _choices(cfg) if name is not None]
    try:
        shipped = _leaves(trusted(choices))
        typed = _leaves(trusted([*choices, *(word for word in overrides if _sets_hydra(word))]))
    except HydraException as error:  # a choice that is not in the packaged tree
        missing = re.search(r"'(hydra/[^']+)/([^'/]+)'", str(error))
        chosen = f"{missing[1]}={missing[2]}" if missing else " ".join(choices)
        raise ConfigError(
            f"{chosen} must be an option of Hydra or of an installed plug-in: type what is to be "
            "different from one, "
            "hydra.KEY=..."
        ) from error
    given = _leaves(cfg.hydra)
    for key in [*given, *(shipped.keys() - given.keys())]:
        value = given.get(key)
        if _is_under(key, FILLED_IN):
            continue
        if _names_code(key):
            if value != shipped.get(key):
                raise ConfigError(
                    f"hydra.{key} must name a part of Hydra or of an installed plug-in, as that "
                    "has it, got "
                    f"{_seen(value)}: leave it out"
                )
        elif not _free(key) and value != typed.get(key):
            is_number = value is not None and not isinstance(value[0], str)
            if not (is_number and _is_under(key, PLUGINS)):
                raise ConfigError(
                    f"hydra.{key} must not be set by a file, got {_seen(value)}: "
                    f"type it on the command line, hydra.{key}=..., if you want it"
                )


def _choices(cfg: DictConfig) -> Iterator[tuple[str, Any]]:
    """-> the options that were chosen in Hydra's own groups."""
    for group, name in cfg.hydra.runtime.choices.items():
        if str(group).startswith("hydra/"):
            yield str(group), name


def _leaves(section: DictConfig) -> dict[str, tuple[Any, Any]]:
    """-> every value by its dotted key, as it is written and, where it names code, as it is
    resolved as well."""
    found: dict[str, tuple[Any, Any]] = {}

    def walk(written: Any, node: Any, key: str) -> None:
        for name, value in written.items() if isinstance(written, dict) else enumerate(written):
            path = f"{key}.{name}".lstrip(".")
            if isinstance(value, (dict, list)) and value:
                walk(value, node[name], path)
            else:
                found[path] = (value, _resolved(node, name) if _names_code(path) else None)

    walk(OmegaConf.to_container(section, resolve=False), section, "")
    return found


def _resolved(node: Any, name: Any) -> Any:
    """-> what an interpolation leads to; a whole section where it leads to one, None where it leads
    nowhere."""
    try:
        value = node[name]
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except OmegaConfBaseException:
        return None


def _key(word: str) -> str:
    """-> the key of an override in Hydra's section, "" for any other."""
    key = word.lstrip("+~").partition("=")[0].strip()
    return key.removeprefix("hydra.") if key.startswith("hydra.") else ""


def _sets_hydra(word: str) -> bool:
    return bool(_key(word)) and not _is_under(_key(word), FILLED_IN)


def _is_under(key: str, prefixes: tuple[str, ...]) -> bool:
    return any(key == prefix or key.startswith(f"{prefix}.") for prefix in prefixes)


def _free(key: str) -> bool:
    return _is_under(key, FREE)


def _names_code(key: str) -> bool:
    return _is_under(key, CODE) or any(
        part.startswith("_") or part in ("()", "class") for part in key.split(".")
    )


def _seen(value: Any) -> str:
    return "nothing" if value is None else repr(value[0])
