"""What a configuration may make Hydra do. Reading a yaml file, whoever wrote it, never runs code.

Hydra instantiates what its own section names: launchers, sweepers, callbacks, logging handlers; it
sets environment variables and imports the packages of its search path. esrun's own options are
looked up by name and need none of it.

A yaml file may therefore set the keys of FREE in Hydra's section, and numbers of a launcher or a
sweeper. Whatever else stands there must be as the packaged tree and the installed plug-ins have it,
or typed on this command line; and what names code must be as they have it in any case. The checks
are made by the loader, on the very object that is used, wherever it is composed (`hydra.py`).
"""

import re
from collections.abc import Callable
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from esrun.errors import ConfigError

Key = tuple[str, ...]

FREE: tuple[Key, ...] = (
    ("run", "dir"),
    ("sweep", "dir"),
    ("sweep", "subdir"),
    ("output_subdir",),
    ("mode",),
    ("verbose",),
    ("job", "chdir"),
    ("job", "config"),
    ("sweeper", "params"),
)
"""Keys of Hydra's section that decide where and what is run, and name no code."""

FILLED_IN: tuple[Key, ...] = (
    ("runtime",),
    ("job", "override_dirname"),
    ("job", "num"),
    ("job", "id"),
    ("job", "config_name"),
    ("searchpath",),
)
"""What Hydra itself writes there, and the search path, which is checked by `check_primary`."""

CODE: tuple[Key, ...] = (("callbacks",), ("job_logging",), ("hydra_logging",))
"""Sections that are nothing but names of code and its arguments."""

PLUGINS: tuple[Key, ...] = (("launcher",), ("sweeper",))
BASIC = "basic"
"""The name of Hydra's own launcher and sweeper."""


def concerns(overrides: list[str]) -> bool:
    """Whether a command line says more of Hydra's section than where to run."""
    return any(_is_hydras(word) and not _is_under(_key(word), FREE) for word in overrides)


def check_words(overrides: list[str], typed: list[str]) -> None:
    """Raise ConfigError for an override of Hydra's section that was not typed but comes from
    elsewhere, such as `hydra.sweeper.params`."""
    for word in overrides:
        if _is_hydras(word) and word not in typed:
            raise ConfigError(f"{word} must be typed on the command line, not set by a file")


def check_primary(load: Callable[[str], Any], name: str | None) -> None:
    """Raise ConfigError unless the places that a primary configuration has options searched in are
    folders. (Typed ones are checked as they are used.)

    A package (pkg://...) would be imported, by the very composing that a later check would come too
    late for.
    """
    found = load(name) if name else None
    if found is None or not OmegaConf.is_dict(found.config):
        return
    raw: Any = OmegaConf.to_container(found.config, resolve=False)
    section = raw.get("hydra") or {}
    if not isinstance(section, dict):
        raise ConfigError(f"hydra must be written out in a primary configuration, got {section}")
    places = section.get("searchpath")
    for place in places if isinstance(places, list) else [places] if places is not None else []:
        check_place(place)


def check_place(place: Any) -> None:
    """Raise ConfigError unless it is a folder that options may be searched in."""
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
    choices = {
        str(group): str(name)
        for group, name in cfg.hydra.runtime.choices.items()
        if str(group).startswith("hydra/") and name is not None
    }
    words = [f"{group}={name}" for group, name in choices.items()]
    try:
        shipped = _leaves(trusted(words))
        own = [word for word in overrides if _is_hydras(word) and "/" not in _name(word)]
        typed = _leaves(trusted([*words, *own]))
    except HydraException as error:  # a choice that is not in the packaged tree
        missing = re.search(r"'(hydra/[^']+)/([^'/]+)'", str(error))
        chosen = f"{missing[1]}={missing[2]}" if missing else " ".join(words)
        raise ConfigError(
            f"{chosen} must be an option of Hydra or of an installed plug-in: type what is to be "
            "different from one, hydra.KEY=..."
        ) from error
    _check_noted(cfg, overrides)
    check_words([str(key) for key in cfg.hydra.sweeper.get("params") or {}], overrides)
    given = _leaves(cfg.hydra)
    plugged = any(choices.get(f"hydra/{part}") != BASIC for (part,) in PLUGINS)
    for key in [*given, *(shipped.keys() - given.keys())]:
        if _is_under(key, FILLED_IN) or key[:1] == ("overrides",):
            continue
        _check_leaf(key, given.get(key), shipped.get(key), typed.get(key), plugged)


def _check_leaf(key: Key, given: Any, shipped: Any, typed: Any, plugged: bool) -> None:
    name = f"hydra.{'.'.join(key)}"
    seen = "nothing" if given is None else repr(given[0])
    if _names_code(key):
        if given != shipped:
            raise ConfigError(
                f"{name} must name a part of Hydra or of an installed plug-in, as that has it, got "
                f"{seen}: leave it out"
            )
        if key[-1] == "filename":
            raise ConfigError(
                f"hydra/{key[0]} must be one that writes no file, since esrun.log is esrun's own: "
                "leave it out"
            )
        return
    if given == typed:
        return
    if _is_under(key, FREE) and not (plugged and key == ("sweep", "subdir")):
        return
    if _is_under(key, PLUGINS) and given is not None and type(given[0]) in (int, float, bool):
        return
    raise ConfigError(
        f"{name} must not be set by a file, got {seen}: type it on the command line, {name}=..., "
        "if you want it"
    )


def _check_noted(cfg: DictConfig, overrides: list[str]) -> None:
    """What Hydra notes of the overrides must be the overrides: jobs are made of it."""
    noted: Any = OmegaConf.to_container(cfg.hydra.overrides, resolve=False)
    if sorted([*noted["hydra"], *noted["task"]]) != sorted(overrides):
        raise ConfigError("hydra.overrides must not be set by a file: leave it out")


def _leaves(section: DictConfig) -> dict[Key, tuple[Any, Any]]:
    """-> every value by its key, as it is written and, where it names code, as it is resolved as
    well."""
    found: dict[Key, tuple[Any, Any]] = {}

    def walk(written: Any, node: Any, key: Key) -> None:
        for name, value in written.items() if isinstance(written, dict) else enumerate(written):
            path = (*key, str(name))
            if isinstance(value, (dict, list)) and value:
                walk(value, node[name], path)
            else:
                found[path] = (value, _resolved(node, name) if _names_code(path) else None)

    walk(OmegaConf.to_container(section, resolve=False), section, ())
    return found


def _resolved(node: Any, name: Any) -> Any:
    """-> what an interpolation leads to; a whole section where it leads to one, None where it leads
    nowhere."""
    try:
        value = node[name]
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except OmegaConfBaseException:
        return None


def _name(word: str) -> str:
    """-> what an override sets, or chooses an option of."""
    return word.lstrip("+~").partition("=")[0].strip().partition("@")[0]


def _is_hydras(word: str) -> bool:
    """Whether an override is about Hydra's section."""
    return re.match(r"hydra\b", _name(word)) is not None


def _key(word: str) -> Key:
    """-> the key of an override in Hydra's section; () for all of it and for its options."""
    parts = _name(word).split(".")
    return tuple(parts[1:]) if parts[0] == "hydra" else ()


def _is_under(key: Key, prefixes: tuple[Key, ...]) -> bool:
    return any(key[: len(prefix)] == prefix for prefix in prefixes)


def _names_code(key: Key) -> bool:
    return _is_under(key, CODE) or any(
        part.startswith("_") or part in ("()", "class") for part in key
    )
