"""Composing a configuration with Hydra, and one line of explanation where it cannot be composed.
JAX is not imported.

Every complaint is a ConfigError: what must hold, what was given, what to write instead.
"""

import copy
import os
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from hydra import version
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import (
    _run_hydra,
    create_config_search_path,
    get_args_parser,
    run_and_report,
)
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from esrun.config import CONF_DIR, trust
from esrun.errors import ConfigError, nearest

BASIC = "hydra._internal.core_plugins.basic_"
"""How the names of Hydra's own launcher and sweeper begin."""


class Source(NamedTuple):
    """Where a configuration comes from: what Hydra's command line says besides the overrides."""

    name: str = "esrun"
    directory: str | None = None
    """An extra directory of options (`--config-dir`)."""
    tree: str | None = None
    """A directory in the place of esrun's own options (`--config-path`)."""


PRIMARY = Source()


class Composed(NamedTuple):
    """A configuration as Hydra composed it."""

    config: dict
    """Resolved."""
    hydra: DictConfig
    """Hydra's own section, its interpolations in force."""
    text: DictConfig
    """The configuration unresolved, as Hydra records it."""


def composed(overrides: list[str], source: Source = PRIMARY, job: int | None = None) -> Composed:
    """-> the configuration of one run, of a sweep's `job` if it is one.

    Raises ConfigError for whatever Hydra cannot compose, and for a configuration that names code
    (see `esrun.config.trust`).
    """
    cfg = _whole(overrides, source, RunMode.RUN)
    with open_dict(cfg.hydra):
        if job is not None:
            cfg.hydra.job.num, cfg.hydra.job.id = job, str(job)
    text = copy.deepcopy(cfg)
    with open_dict(text):
        del text["hydra"]
    try:
        HydraConfig.instance().set_config(cfg)  # for interpolations such as ${hydra:job.num}
        OmegaConf.set_readonly(cfg.hydra, False)
        config: Any = OmegaConf.to_container(text, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(_explain(error, overrides, source)) from error
    return Composed(config, cfg.hydra, text)


class Sweep(NamedTuple):
    """What a sweep runs, and who runs it."""

    whole: DictConfig
    """The configuration of the sweep, Hydra's section included."""
    jobs: list[list[str]]
    """The overrides of each job; none where a plug-in's sweeper chooses them as it goes."""
    plugin: bool
    """Whether a plug-in launches or chooses the jobs."""


def sweep(overrides: list[str], source: Source = PRIMARY) -> Sweep:
    """-> the sweep. Jobs are expanded as Hydra's basic sweeper does, `hydra.sweeper.params` first.

    Raises ConfigError for what cannot be composed. What a plug-in's sweeper may choose is composed
    here, choice by choice, and so checked.
    """
    whole = _whole(overrides, source, RunMode.MULTIRUN)
    hydra = whole.hydra
    try:
        with _loaded(source) as loaded:
            params = [
                f"{key}={value}" for key, value in (hydra.sweeper.get("params") or {}).items()
            ]
            parser = OverridesParser.create(config_loader=loaded.config_loader)
            words = parser.parse_overrides([*params, *hydra.overrides.task])
        if any(word.is_hydra_override() for word in words):
            raise ConfigError(
                "hydra.sweeper.params must name keys of the run, not Hydra's own: leave those out"
            )
        if hydra.sweeper._target_.startswith(BASIC):
            (jobs,) = BasicSweeper.split_arguments(words, None)
            jobs = [[*hydra.overrides.hydra, *job] for job in jobs]
            return Sweep(whole, jobs, plugin=not hydra.launcher._target_.startswith(BASIC))
        fixed = [str(word.input_line) for word in words if not word.is_sweep_override()]
        for word in words:
            if word.is_discrete_sweep():
                for value in word.sweep_string_iterator():
                    _whole(
                        [*hydra.overrides.hydra, *fixed, f"{word.get_key_element()}={value}"],
                        source,
                        RunMode.RUN,
                    )
        return Sweep(whole, [], plugin=True)
    except HydraException as error:
        raise ConfigError(_explain(error, overrides, source)) from error


def is_sweep(overrides: list[str], source: Source = PRIMARY) -> bool:
    """Whether the configuration itself asks for a sweep (`hydra.mode=MULTIRUN`)."""
    try:
        return _whole(overrides, source, RunMode.MULTIRUN).hydra.mode == RunMode.MULTIRUN
    except ConfigError:
        return False


def sweep_by_hydra(
    overrides: list[str], source: Source, job: Callable[[DictConfig], Any]
) -> list[JobReturn]:
    """Have Hydra run a sweep by the plug-ins that `sweep` has checked -> what it tells of the jobs,
    if anything.

    Hydra's own record is left to the job, which masks secrets and follows no links.
    """
    with _loaded(source) as hydra:
        words = [*overrides, "hydra.output_subdir=null"]
        found = run_and_report(lambda: hydra.multirun(source.name, job, words))
    return [one for batch in found for one in batch] if isinstance(found, list) else []


def parser_of_flags() -> ArgumentParser:
    """-> the very parser that Hydra's command lines have."""
    return get_args_parser()


def show_by_hydra(parsed: Namespace, source: Source) -> None:
    """Print what `--help`, `--cfg`, `--info` and tab completion show. What they compose is checked
    first."""
    if not parsed.shell_completion:
        composed(parsed.overrides, source)
    version.setbase("1.3")
    parsed.config_path = None  # Hydra would look for it beside this file
    _run_hydra(
        args=parsed,
        args_parser=get_args_parser(),
        task_function=lambda cfg: None,
        config_path=os.path.abspath(source.tree or CONF_DIR),
        config_name=source.name,
    )


def _whole(overrides: list[str], source: Source, mode: RunMode) -> DictConfig:
    """-> everything composed, Hydra's section checked."""
    try:
        with _loaded(source) as hydra:
            trust.check_search_path(hydra.config_loader, source.name, overrides)
            cfg = hydra.compose_config(source.name, list(overrides), mode, from_shell=False)
        if source != PRIMARY or trust.needs_a_check(overrides):
            trust.check(cfg, overrides, lambda words: _trusted_hydra(words, mode))
        return cfg
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_explain(error, overrides, source)) from error


def _trusted_hydra(overrides: list[str], mode: RunMode) -> DictConfig:
    """-> Hydra's section as the packaged tree and the installed plug-ins make it."""
    with _loaded(PRIMARY) as hydra:
        return hydra.compose_config(PRIMARY.name, overrides, mode, from_shell=False).hydra


@contextmanager
def _loaded(source: Source) -> Iterator[Hydra]:
    """Hydra, ready to compose from a source."""
    version.setbase("1.3")
    for flag, given in (("--config-dir", source.directory), ("--config-path", source.tree)):
        if given and not os.path.isdir(given):
            raise ConfigError(f"{flag} must be a folder, got {given}")
    path = create_config_search_path(os.path.abspath(source.tree or CONF_DIR))
    if source.directory:
        where = SearchPathQuery(provider="schema", path=None)
        path.prepend("command-line", f"file://{os.path.abspath(source.directory)}", where)
    try:
        yield Hydra.create_main_hydra2("esrun", path)
    finally:
        GlobalHydra.instance().clear()


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
        return f"{group}={given} is not a choice{nearest(given, choices)}: write one of {', '.join(sorted(choices))}"
    if isinstance(error, ConfigCompositionException) and (
        found := re.search(r"Could not (?:override|append to|delete) '([^']+)'", text)
    ):
        key = found[1].split("@")[0]
        rest = [override for override in overrides if key not in override]
        known = keys(composed(rest, source).config) if len(rest) < len(overrides) else []
        near = nearest(key, [*known, *groups()])
        return f"{key} is not a key of this configuration{near}: `esrun --cfg job` shows them all, +{key}=... adds one"
    if "missing" in text.lower() and (found := re.search(r"(?:full_key: |value: )(\S+)", text)):
        return f"{found[1]} must be given: write {found[1]}=..."
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"cannot read the command line: {lines[0] if lines else type(error).__name__} (in {' '.join(overrides)})"


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


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """-> the leaves of nested dictionaries by their dotted key."""
    if isinstance(tree, dict) and tree:
        return {
            name: x
            for key, value in tree.items()
            for name, x in flat(value, f"{prefix}{key}.").items()
        }
    return {prefix[:-1]: tree}
