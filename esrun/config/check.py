"""Checking a configuration: every option by its own model, then what no single one can know."""

import os
from collections.abc import Collection, Iterable
from importlib.util import find_spec
from typing import Any

from pydantic import ValidationError

from esrun import files
from esrun.backend import devices
from esrun.backend.addresses import place_of
from esrun.config import registry
from esrun.config.complaints import complaint
from esrun.config.extras import installing_extra
from esrun.config.schema.base import Model, PolicyModel, TaskModel
from esrun.config.schema.run import Config
from esrun.errors import AwayError, ConfigError, nearest

KINDS = ("task", "strategy", "policy")

SHOWN = {
    "nothing": "nothing",
    "vector": "a vector",
    "image": "an image-like input",
    "sequence": "a sequence",
}
"""What a task shows, in words."""


def checked(cfg: dict) -> Config:
    """-> the configuration as models. Raises ConfigError for the first thing that is wrong.

    Does not import JAX.
    """
    try:
        config = Config.model_validate(cfg)
    except ValidationError as error:
        raise ConfigError(complaint(error, "", cfg, Config)) from error
    options: dict[str, Any] = {kind: option(kind, getattr(config, kind), kind) for kind in KINDS}
    options["logger"] = {
        name: option("logger", given, f"logger.{name}") for name, given in config.logger.items()
    }
    config = config.model_copy(update=options)
    _check_together(config)
    return config


def short(key: str, keys: Collection[str]) -> str:
    """-> the last word of an option's key, unless another one ends in the same."""
    if key.partition(".")[0] not in KINDS:
        return key
    last = key.rpartition(".")[2]
    return last if sum(x.rpartition(".")[2] == last for x in keys) == 1 else key


def option(kind: str, given: Any, where: str) -> Model:
    """-> the option that a group's `name` chooses, with its keys checked. Raises ConfigError."""
    name = str(given.get("name")) if isinstance(given, dict) else "None"
    try:
        schema = registry.find(kind, name).schema
    except KeyError:
        known = registry.names(kind)
        if kind == "logger" and name == "None":
            own = where.removeprefix("logger.")
            raise ConfigError(
                f"{where} has keys and is not chosen: write 'logger=[{own}]'"
            ) from None
        raise ConfigError(
            f"{where}.name must be a registered {kind}, got {name!r}{nearest(name, known)}: "
            f"write one of {', '.join(known)}"
        ) from None
    if schema.package and not find_spec(schema.package):
        group = f"{kind}=[{name}]" if kind == "logger" else f"{where}={name}"
        chosen = group if name == schema.extra else f"{where}.name={name}"
        raise ConfigError(
            f"{chosen} needs the package {schema.package}, which is not installed: "
            f"{installing_extra(schema.extra, str(schema.package))}"
        )
    try:
        return schema.model_validate(given).resolved()
    except ValidationError as error:
        raise ConfigError(complaint(error, f"{where}.", given, schema)) from error


def _check_together(config: Config) -> None:
    _check_view(config.task, config.policy)
    _check_file(config.task)
    requested = config.runtime.devices
    if config.runtime.hosts is not None:
        place_of(config.runtime.hosts)
    if config.runtime.engine == "ray":
        _check_ray(config)
    elif config.runtime.driver == "ray":
        raise ConfigError(
            "runtime.driver=ray is for runs with workers of Ray's: write runtime.engine=ray or "
            "runtime.driver=here"
        )
    if requested == "auto" or devices.may_have_accelerator() or requested <= devices.cores():
        return
    raise ConfigError(
        f"runtime.devices must be at most {devices.cores()}, the cores of this machine (no "
        f"accelerator is installed), got {requested}: write runtime.devices=auto"
    )


def _check_ray(config: Config) -> None:
    """Raise ConfigError for what workers of Ray's cannot do."""
    if not find_spec("ray"):
        raise ConfigError(
            "runtime.engine=ray needs the package ray, which is not installed: "
            f"{installing_extra('ray', 'ray')}"
        )
    if config.runtime.hosts is not None:
        raise ConfigError(
            "runtime.hosts is for processes in step, and workers of Ray's find each other by "
            "themselves: write runtime.hosts=null or runtime.engine=local"
        )


def _check_file(task: TaskModel) -> None:
    """Raise AwayError where the file or folder that a task is to read cannot be. A policy that
    was trained on it is loaded without."""
    file = getattr(task, "file", None) if task.reads else None
    if file is None:
        return
    path = files.named(file)
    wrong = None if path.exists() else "is not there"
    if wrong is None and not os.access(path, os.R_OK):
        wrong = "may not be read"
    if wrong:
        raise AwayError(
            f"task.file must be a file or folder of this machine, got {file}: it {wrong}: write "
            "task.file=PATH"
        )


def _check_view(task: TaskModel, policy: PolicyModel) -> None:
    """Raise ConfigError unless the policy can be shown what the task shows."""
    shows = task.shows()
    if shows in policy.takes:
        return
    models = {name: option.schema for name, option in registry.OPTIONS["policy"].items()}
    fitting = _named(name for name, model in models.items() if shows in model.takes)  # type: ignore
    if "nothing" in (shows, *policy.takes):
        blind = _named(name for name, model in models.items() if "nothing" in model.takes)  # type: ignore
        raise ConfigError(
            f"a black-box function needs {blind} and nothing else does, got task {task.name} with "
            f"policy={policy.name}: write {fitting}"
        )
    needs = " or ".join(SHOWN[x] for x in sorted(policy.takes))
    raise ConfigError(
        f"policy={policy.name} needs {needs}, the task shows {SHOWN[shows]}: write {fitting}"
    )


def _named(policies: Iterable[str]) -> str:
    return " or ".join(f"policy={name}" for name in policies)
