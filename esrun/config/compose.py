"""Composing a configuration with Hydra, and one line of explanation where it cannot be composed.
JAX is not imported.

Every complaint is a ConfigError: what must hold, what was given, what to write instead.
"""

import copy
import re
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from esrun.config import CONF_DIR, hydra
from esrun.config.hydra import PRIMARY, Source
from esrun.config.quoting import to_be_quoted
from esrun.errors import ConfigError, nearest


class Composed(NamedTuple):
    """A configuration as Hydra composed it."""

    config: dict
    """Resolved."""
    hydra: DictConfig
    """Hydra's own section, its interpolations in force."""
    text: DictConfig
    """The configuration unresolved, as Hydra records it."""


class Sweep(NamedTuple):
    """What a sweep runs, and who runs it."""

    whole: DictConfig
    """The configuration of the sweep, Hydra's section included."""
    jobs: list[list[str]]
    """The overrides of each job; none where a plug-in's sweeper chooses them as it goes."""
    plugin: bool
    """Whether a plug-in launches or chooses the jobs."""


def composed(
    overrides: list[str],
    source: Source = PRIMARY,
    *,
    job: int | None = None,
    typed: list[str] | None = None,
) -> Composed:
    """-> the configuration of one run, of a sweep's `job` if it is one.

    `typed` are the words of the command line, if the overrides are others. Raises ConfigError for
    whatever Hydra cannot compose, and for a configuration that names code (see `trust`).
    """
    with _one_line(overrides, source):
        cfg = hydra.whole(overrides, source, RunMode.RUN, typed)
        if job is not None:
            with open_dict(cfg.hydra):
                cfg.hydra.job.num, cfg.hydra.job.id = job, str(job)
        text = copy.deepcopy(cfg)
        with open_dict(text):
            del text["hydra"]
        return Composed(hydra.resolved(cfg, text), cfg.hydra, text)


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
            return Sweep(whole, [], plugin=True)
        task_words = [*params, *hydra.words_of(section, "task")]
        words = hydra.parsed(task_words, source, overrides)
        always = hydra.words_of(section, "hydra")
        jobs = [[*always, *job] for job in hydra.expanded(words)]
        if not jobs:
            raise ConfigError(f"a sweep must have a job, got none of {' '.join(task_words)}")
        return Sweep(whole, jobs, plugin=not own_launcher)


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
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_explain(error, overrides, source)) from error
    except Exception as error:  # of the yaml parser, of the resolvers, of Hydra itself
        raise ConfigError(f"the configuration cannot be read: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """-> the first line of an error that says something, or its name."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _explain(error: Exception, overrides: list[str], source: Source) -> str:
    """One line for an exception of Hydra's or OmegaConf's."""
    text = str(error)
    if (
        isinstance(error, MissingConfigException)
        and error.missing_cfg_file
        and "/" in error.missing_cfg_file
    ):
        group, _, given = error.missing_cfg_file.rpartition("/")
        choices = options(group)
        from esrun.config import registry  # pydantic, which help need not wait for

        if group in registry.PLURAL and any(x.name == given for x in registry.plugins(group)):
            return (
                f"{group}={given} is installed and its yaml was not found: write --config-dir=DIR "
                f"with the folder that holds {group}/{given}.yaml"
            )
        near, known = nearest(given, choices), ", ".join(sorted(choices))
        return f"{group}={given} is not a choice{near}: write one of {known}"
    if isinstance(error, ConfigCompositionException) and (
        found := re.search(r"Could not (?:override|append to|delete) '([^']+)'", text)
    ):
        key = found[1].split("@")[0]
        rest = [override for override in overrides if key not in override]
        known = keys(composed(rest, source).config) if len(rest) < len(overrides) else []
        near = nearest(key, [*known, *groups()])
        return (
            f"{key} is not a key of this configuration{near}: `esrun --cfg job` shows them all, "
            f"+{key}=... adds one"
        )
    if "missing" in text.lower() and (found := re.search(r"(?:full_key: |value: )(\S+)", text)):
        return f"{found[1]} must be given: write {found[1]}=..."
    if line := to_be_quoted(overrides):
        return line
    return f"cannot read the command line: {first_line(error)} (in {' '.join(overrides)})"


def groups() -> list[str]:
    """-> the names of the configuration groups."""
    return sorted(
        path.name for path in CONF_DIR.iterdir() if path.is_dir() and path.name != "hydra"
    )


def options(group: str) -> list[str]:
    """-> the names of a group's options."""
    return sorted(path.stem for path in (CONF_DIR / group).glob("*.yaml"))


def keys(tree: dict, prefix: str = "") -> Iterator[str]:
    """-> the dotted keys of nested dictionaries, inner nodes too."""
    for key, value in tree.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from keys(value, f"{prefix}{key}.")
