"""Composing a configuration with Hydra, and one line of explanation where it cannot be composed.
JAX is not imported.

Every complaint is a ConfigError: what must hold, what was given, what to write instead.
"""

import functools
import re
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from esrun.config import CONF_DIR, hydra
from esrun.config.loader import PRIMARY, Source
from esrun.config.space import EXAMPLE, Space, taken_apart, with_preset
from esrun.errors import ConfigError, first_line


@dataclass(frozen=True)
class Composed:
    """A configuration as Hydra composed it."""

    config: dict
    """Resolved."""
    hydra: DictConfig
    """Hydra's own section, its interpolations in force."""
    whole: DictConfig
    """The configuration unresolved, as Hydra records it; Hydra's own section may be in it."""

    @functools.cached_property
    def written(self) -> dict:
        """-> the configuration unresolved, without Hydra's section."""
        return hydra.container(self.whole, enum_to_str=True)


class Sweep(NamedTuple):
    """What a sweep runs, and who runs it."""

    whole: DictConfig
    """The configuration of the sweep, Hydra's section included."""
    jobs: list[list[str]]
    """The overrides of each job; none where a plug-in's sweeper chooses them as it goes."""
    plugin: bool
    """Whether a plug-in launches or chooses the jobs."""


def composed(overrides: list[str], source: Source = PRIMARY) -> Composed:
    """-> the configuration of one run.

    Raises ConfigError for whatever Hydra cannot compose, and for a configuration that names code
    (see `trust`).
    """
    with _one_line(overrides, source):
        return _taken_apart(hydra.whole(overrides, source, RunMode.RUN), overrides)


@contextmanager
def composing(source: Source, typed: list[str]) -> Iterator[Callable[[list[str], int], Composed]]:
    """What composes the jobs of a sweep: (words, number) -> as `composed`, in a tenth of its time
    for a job that differs only in values from an earlier one."""

    def one(overrides: list[str], job: int) -> Composed:
        with _one_line(overrides, source):
            return _taken_apart(whole(overrides), overrides, job)

    with hydra.composing(source, typed) as whole:
        yield one


def _taken_apart(cfg: DictConfig, overrides: list[str], job: int | None = None) -> Composed:
    for word in overrides:
        if several := re.fullmatch(r"(task|strategy|policy)=\[(.*)\]", word):
            raise ConfigError(
                f"{several[1]} must be one option, and several are a sweep, got {word}: write "
                f"esrun -m {several[1]}={several[2]}"
            )
    if job is not None:
        with open_dict(cfg.hydra):
            cfg.hydra.job.num, cfg.hydra.job.id = job, str(job)
    return Composed(hydra.resolved(cfg), cfg.hydra, cfg)


def sweep(overrides: list[str], source: Source = PRIMARY) -> Sweep:
    """-> the sweep, its jobs expanded as Hydra's basic sweeper does, `hydra.sweeper.params` first.

    Raises ConfigError for what cannot be composed.
    """
    with _one_line(overrides, source):
        whole = hydra.whole(overrides, source, RunMode.MULTIRUN)
        section = whole.hydra
        params = [f"{key}={value}" for key, value in (section.sweeper.get("params") or {}).items()]
        own_launcher = section.launcher._target_.startswith(hydra.BASIC)
        if not section.sweeper._target_.startswith(hydra.BASIC):
            if "optuna" in section.sweeper._target_:
                from esrun.config.explained import of_old_plugin

                if line := of_old_plugin():
                    raise ConfigError(line)
            return Sweep(whole, [], plugin=True)
        task_words = [*params, *hydra.words_of(section, "task")]
        words = hydra.parsed(task_words, source, overrides)
        always = hydra.words_of(section, "hydra")
        jobs = [[*always, *job] for job in hydra.expanded(words)]
        if not jobs:
            from esrun.config.explained import is_empty, of_empty

            raise ConfigError(of_empty(next(x for x in words if is_empty(x))))
        return Sweep(whole, jobs, plugin=not own_launcher)


def space(words: list[str], source: Source = PRIMARY) -> Space:
    """-> what a command searches, that of a preset's `tune.space` included. Raises ConfigError."""
    with _one_line(words, source):
        plain, typed = taken_apart(words, source)
    preset = composed(plain, source).config["tune"]["space"]
    if not isinstance(preset, list) or not all(isinstance(word, str) for word in preset):
        raise ConfigError(f"tune.space must be a list of words such as {EXAMPLE}, got {preset}")
    with _one_line(preset, source):
        return with_preset(plain, typed, preset, source)


def as_written(words: list[str], source: Source = PRIMARY) -> dict:
    """-> the configuration of options as their files have it: unresolved, with `???` where a key is
    to be given. Raises ConfigError."""
    with _one_line(words, source):
        return hydra.container(hydra.whole(words, source, RunMode.RUN), resolve=False)


def is_sweep(overrides: list[str], source: Source = PRIMARY) -> bool:
    """Whether the configuration itself asks for a sweep (`hydra.mode=MULTIRUN`)."""
    try:
        with _one_line(overrides, source):
            whole = hydra.whole(overrides, source, RunMode.MULTIRUN)
            return whole.hydra.mode == RunMode.MULTIRUN
    except ConfigError:
        return False


def show(flags: Namespace, source: Source) -> None:
    """Print what `--help`, `--cfg`, `--info` and tab completion show. Raises ConfigError."""
    with _one_line(flags.overrides, source):
        if flags.info or flags.hydra_help:  # these print before they compose, or without it
            composed(flags.overrides, source)
        hydra.show(flags, source)


def path_of(section: DictConfig, key: str) -> str:
    """-> a path in Hydra's section, such as "run.dir". Raises ConfigError if it leads nowhere."""
    try:
        value = OmegaConf.select(section, key, throw_on_missing=True)
        return str(value if value is not None else "")
    except OmegaConfBaseException as error:
        raise ConfigError(f"hydra.{key} cannot be resolved: {first_line(error)}") from error


@contextmanager
def _one_line(overrides: list[str], source: Source) -> Iterator[None]:
    """Whatever goes wrong in composing is one line: files and words come from anywhere."""
    try:
        yield
    except (ConfigError, BrokenPipeError):
        raise
    except Exception as error:
        from esrun.config.explained import explained  # help need not wait for it

        raise ConfigError(explained(error, overrides, source)) from error


def options(group: str) -> list[str]:
    """-> the names of a group's options."""
    return sorted(path.stem for path in (CONF_DIR / group).glob("*.yaml"))


def keys(tree: dict, prefix: str = "") -> Iterator[str]:
    """-> the dotted keys of nested dictionaries, inner nodes too."""
    for key, value in tree.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from keys(value, f"{prefix}{key}.")
