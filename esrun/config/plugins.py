"""Options as Hydra finds them beside esrun's own: files of the user's, and what installed packages
add by an entry point alone.

An entry point's name is the option's, its factory's defaults are what a yaml file would hold: an
installed option needs no file. A package is imported when one of its options is chosen.
"""

import functools
import inspect
import re
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import yaml
from omegaconf import DictConfig

from esrun.backend import devices
from esrun.errors import ConfigError, first_line

PLURAL = {"task": "tasks", "strategy": "strategies", "policy": "policies", "logger": "loggers"}

GIVEN: dict[str, set[str]] = {
    "task": set(),
    "strategy": {"n", "name", "unravel", "members", "least"},
    "policy": {"input_shape", "output_size"},
    "logger": {"folder"},
}
"""Arguments of factories that no configuration sets: they follow from the other parts. A policy and
a logger are given all of theirs, a strategy those that it asks for."""


def points(kind: str) -> list[EntryPoint]:
    """-> the options of a kind that installed packages add; none of them is imported."""
    return list(_installed(tuple(sys.path)).select(group=f"esrun.{PLURAL[kind]}"))


@functools.cache
def _installed(places: tuple[str, ...]) -> Any:
    """Looked for once in the same places: Hydra asks for every option and group, and looking opens
    a file of every package that is installed."""
    return entry_points()


def names(kind: str) -> list[str]:
    """-> the names of a kind's options that installed packages add; none of other groups."""
    return [point.name for point in points(kind)] if kind in PLURAL else []


def is_named(path: str) -> bool:
    """Whether "task/dock" is the option of an installed package."""
    kind, _, name = path.removesuffix(".yaml").partition("/")
    return name in names(kind)


def origin(point: EntryPoint) -> str:
    """-> the package that an option comes from, with its version."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an installed package"


def factory_of(kind: str, point: EntryPoint) -> Callable:
    """-> the function that makes the option, imported. Raises ConfigError where that fails."""
    where = f"the {kind} {point.name} of {origin(point)}, {point.value},"
    devices.announce()  # its module may import what starts JAX
    try:
        found = point.load()
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise ConfigError(f"{where} cannot be imported: {reason}") from error
    if not inspect.isroutine(found) and not inspect.isclass(found):
        raise ConfigError(f"{where} must be a function, got {type(found).__name__}")
    return found


def option(path: str) -> tuple[dict[str, str | None], dict] | None:
    """-> (header, content) of "task/dock" as a yaml file of it would have them, from its factory's
    defaults; None unless an installed package has it."""
    kind, _, name = path.removesuffix(".yaml").partition("/")
    for point in points(kind) if kind in PLURAL else ():
        if point.name == name:
            arguments = inspect.signature(factory_of(kind, point)).parameters.values()
            defaults = {
                x.name: "???" if x.default is x.empty else x.default
                for x in arguments
                if x.name not in GIVEN[kind]
            }
            package = f"logger.{name}" if kind == "logger" else kind
            return {"package": package}, {"name": name, **defaults}
    return None


def check_file(file: str, path: str, found: Any) -> None:
    """Raise ConfigError for a user's file that could not mean what it says."""
    group, _, name = path.removesuffix(".yaml").rpartition("/")
    if not isinstance(found.config, DictConfig):
        raise ConfigError(f"{file} must hold KEY: VALUE lines, got a list")
    package = {"experiment": "_global_", "logger": f"logger.{name}"}.get(group)
    if package and found.header.get("package") is None:
        raise ConfigError(f"{file} must begin with the line # @package {package}")


def flaw_of(error: Exception) -> str:
    """-> what is wrong with a yaml file, and where."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark, problem = error.problem_mark, error.problem or "it is not yaml"
        if "'\\t'" in problem:
            problem = "a tab stands where yaml wants spaces"
        return f"{problem}, line {mark.line + 1}" if mark else problem
    if isinstance(error, UnicodeDecodeError):
        return f"it must be UTF-8, and byte {error.start + 1} is not: save it as UTF-8"
    text = first_line(error)
    if re.search("Expected.*(list|dict)|must be.*Dict", text, re.IGNORECASE):
        return f"it must hold KEY: VALUE lines ({text})"
    return text
