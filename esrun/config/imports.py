"""Modules of the user's own that this very command names with `--import`.

A yaml file, a run folder or a checkpoint may say what of such a module it wants, never which
modules are imported.
"""

import hashlib
import importlib
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from esrun.backend import devices
from esrun.errors import ConfigError, first_line

_ALLOWED: list[str] = []


def allow(*modules: str) -> None:
    """Let configurations name what is in these modules, such as task.env=my_envs:Pond. They are
    imported when one does, from the working directory too. Raises ConfigError for what is no
    module's name."""
    for module in modules:
        if not all(part.isidentifier() for part in module.split(".")):
            raise ConfigError(
                f"--import takes the name of a module, such as my_envs of my_envs.py, got {module}"
            )
        _ALLOWED.append(module)


def allowed() -> list[str]:
    """-> the modules that were named."""
    return list(dict.fromkeys(_ALLOWED))


def flags() -> list[str]:
    """-> the words that name them on a command line."""
    return [word for module in allowed() for word in ("--import", module)]


def digests() -> dict[str, str]:
    """-> the digest of the file of each module that was named, which is not imported for it."""
    return {module: _digest(module) for module in allowed()}


def _digest(module: str) -> str:
    path, spec, parts = [str(Path.cwd()), *sys.path], None, module.split(".")
    for i in range(len(parts)):
        spec = PathFinder.find_spec(".".join(parts[: i + 1]), path)
        path = (spec and spec.submodule_search_locations) or []
    try:
        content = Path(spec.origin if spec and spec.origin else module).read_bytes()
    except OSError:  # whoever needs it says so
        return "no file"
    return f"digest {hashlib.sha256(content).hexdigest()[:16]}"


def check(where: str, name: str) -> None:
    """Raise ConfigError unless `name`, "MODULE:NAME", is in a module that this command named;
    `where` is the key that says it."""
    module, _, inside = name.partition(":")
    if not module or not inside:
        raise ConfigError(f"{where} must be MODULE:NAME, such as my_envs:Pond, got {name}")
    if module not in _ALLOWED:
        raise ConfigError(
            f"{where}={name} is in a module of your own, which only a command line may name: write "
            f"--import {module}"
        )


def find(where: str, name: str) -> Any:
    """-> what `name`, "MODULE:NAME", is, imported. Raises ConfigError where the command has not
    named the module, where that fails or has no such thing of its own."""
    check(where, name)
    module, _, inside = name.partition(":")
    devices.announce()  # it may import what starts JAX
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), inside, None)
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise ConfigError(f"--import {module}: it cannot be imported: {reason}") from error
    # what it has from elsewhere was not meant by whoever named it
    if not callable(found) or getattr(found, "__module__", None) != module:
        raise ConfigError(f"{where}={name}: {module} has no function or class {inside} of its own")
    return found
