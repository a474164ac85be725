"""Hydra's inside: the one file that knows it. Read from hydra-core 1.3.8.

Hydra composes for esrun; it runs nothing but the sweeps of plug-ins. Whatever it composes, here or
in another process, comes from `CheckedLoader`, so that what is used has been checked (`trust`).
"""

import copy
import functools
import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser, run_and_report
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from esrun.config import CONF_DIR, trust
from esrun.config.bounds import check_interpolations, check_yaml
from esrun.errors import ConfigError

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


class GuardedRepository(ConfigRepository):
    """Where Hydra finds files of options: below the folders that were named for it alone."""

    def initialize_sources(self, config_search_path: ConfigSearchPath) -> None:
        """Look in these places."""
        for place in config_search_path.get_path():
            if place.provider and place.provider.startswith("hydra.searchpath"):
                trust.check_place(place.path)  # a package would be imported
        super().initialize_sources(config_search_path)

    def load_config(self, config_path: str) -> ConfigResult | None:
        """-> a file of options. Raises ConfigError for one that is too large."""
        source = self._find_object_source(config_path, ObjectType.CONFIG)
        if source is not None and source.scheme() == "file":
            name = config_path if config_path.endswith((".yaml", ".yml")) else f"{config_path}.yaml"
            check_yaml(os.path.join(source.path, name))
        return super().load_config(config_path)

    def _find_object_source(self, config_path: str, object_type: Any) -> Any:
        path = PurePosixPath(config_path or "")
        if path.is_absolute() or ".." in path.parts or "\\" in str(path) or "\0" in str(path):
            raise ConfigError(
                f"an option must lie below its group's folder, got {config_path}: put it there, "
                "or name its folder with --config-dir"
            )
        return super()._find_object_source(config_path, object_type)


class CheckedLoader(ConfigLoaderImpl):
    """Composes, and refuses what names code. It goes with a sweep into other processes."""

    def __init__(self, path: ConfigSearchPath, source: Source, typed: list[str] | None):
        """`typed`: the overrides of the command line; None for what is trusted anyway."""
        super().__init__(path)
        self.repository = GuardedRepository(path)
        self._source, self._typed = source, typed

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """Compose and check. Raises ConfigError."""
        if self._typed is not None:
            if self._source != PRIMARY:
                trust.check_primary(self.repository.load_config, config_name)
            trust.check_words(overrides, self._typed)
        cfg = super().load_configuration(
            config_name, overrides, run_mode, from_shell, validate_sweep_overrides
        )
        if self._typed is not None and (self._source != PRIMARY or trust.concerns(overrides)):
            check_interpolations(OmegaConf.to_container(cfg, resolve=False))
            trust.check(cfg, overrides, lambda words: _shipped(tuple(words), run_mode))
        return cfg


@functools.cache
def _shipped(overrides: tuple[str, ...], mode: RunMode) -> DictConfig:
    """-> Hydra's section as the packaged tree and the installed plug-ins make it: the same for all
    jobs of a sweep. To be read, not changed."""
    loader = CheckedLoader(_search_path(PRIMARY), PRIMARY, typed=None)
    return loader.load_configuration(PRIMARY.name, [*overrides], mode).hydra


def _search_path(source: Source) -> ConfigSearchPath:
    for flag, given in (("--config-dir", source.directory), ("--config-path", source.tree)):
        if given and not os.path.isdir(given):
            raise ConfigError(f"{flag} must be a folder, got {given}")
    path = create_config_search_path(os.path.abspath(source.tree or CONF_DIR))
    if source.directory:
        where = SearchPathQuery(provider="schema", path=None)
        path.prepend("command-line", f"file://{os.path.abspath(source.directory)}", where)
    return path


@contextmanager
def loaded(source: Source, typed: list[str]) -> Iterator[Hydra]:
    """Hydra, ready to compose from a source for a command line."""
    version.setbase("1.3")
    before = HydraConfig.instance().cfg
    hydra = Hydra("esrun", CheckedLoader(_search_path(source), source, typed))
    GlobalHydra.instance().initialize(hydra)
    try:
        yield hydra
    finally:
        GlobalHydra.instance().clear()
        HydraConfig.instance().cfg = before


def whole(
    overrides: list[str], source: Source, mode: RunMode, typed: list[str] | None = None
) -> DictConfig:
    """-> everything composed, Hydra's section included. `typed` are the words of the command line,
    if these are others."""
    with loaded(source, overrides if typed is None else typed) as hydra:
        return hydra.compose_config(source.name, list(overrides), mode, from_shell=False)


def resolved(cfg: DictConfig, text: DictConfig) -> Any:
    """-> the configuration `text` of `cfg`, resolved; `${hydra:...}` leads into Hydra's section."""
    before = HydraConfig.instance().cfg
    try:
        HydraConfig.instance().set_config(cfg)
        OmegaConf.set_readonly(cfg.hydra, False)
        return OmegaConf.to_container(text, resolve=True, throw_on_missing=True)
    finally:
        HydraConfig.instance().cfg = before


def words_of(section: DictConfig, kind: str) -> list[str]:
    """-> the overrides that Hydra has noted, of `kind` "task" or "hydra", as they were typed."""
    words: Any = OmegaConf.to_container(section.overrides[kind], resolve=False)
    return words


def parsed(overrides: list[str], source: Source, typed: list[str]) -> list[Override]:
    """-> the overrides by Hydra's own parser; a glob finds what the source has."""
    with loaded(source, typed) as hydra:
        parser = OverridesParser.create(config_loader=hydra.config_loader)
        return parser.parse_overrides(overrides)


def expanded(overrides: list[Override]) -> list[list[str]]:
    """-> the overrides of every job, as Hydra's basic sweeper expands them."""
    (jobs,) = BasicSweeper.split_arguments(overrides, None)
    return jobs


def run_sweep(
    overrides: list[str], source: Source, typed: list[str], job: Callable[[DictConfig], Any]
) -> list[JobReturn]:
    """Have Hydra run a sweep by a plug-in -> what it tells of the jobs, if anything.

    Hydra's own record is left to the job, which masks secrets and follows no links.
    """
    with loaded(source, [*typed, *overrides]) as hydra:
        found = run_and_report(lambda: hydra.multirun(source.name, job, overrides))
    return [one for batch in found for one in batch] if isinstance(found, list) else []


def parser_of_flags() -> ArgumentParser:
    """-> the very parser that Hydra's command lines have."""
    return get_args_parser()


def show(flags: Namespace, source: Source) -> None:
    """Print what `--help`, `--cfg`, `--info` and tab completion show. Nothing is instantiated."""
    words = flags.overrides
    if flags.hydra_help:  # it is about Hydra alone: no option has a say in it
        source, words = PRIMARY, []
    with loaded(source, words) as hydra:
        if flags.shell_completion:
            hydra.shell_completion(source.name, words)
        elif flags.cfg:
            hydra.show_cfg(source.name, words, flags.cfg, flags.package, flags.resolve)
        elif flags.info:
            hydra.show_info(flags.info, source.name, words)
        else:
            cfg = hydra.compose_config(source.name, words, RunMode.RUN)
            HydraConfig.instance().set_config(copy.deepcopy(cfg))
            page = cfg.hydra.hydra_help if flags.hydra_help else cfg.hydra.help
            kind = "hydra" if flags.hydra_help else "job"
            shown = hydra.get_sanitized_cfg(copy.deepcopy(cfg), kind)
            print(hydra.get_help(page, shown, get_args_parser(), resolve=flags.resolve))
