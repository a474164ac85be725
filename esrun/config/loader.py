"""What Hydra composes from: the files of options, guarded, and the loader that checks what it made.

Wherever Hydra composes, here or in another process, it comes from `CheckedLoader`, so that what is
used has been checked (`trust`).
"""

import functools
import os
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.config_repository import (
    CachingConfigRepository,
    ConfigRepository,
    IConfigRepository,
)
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.default_element import ResultDefault
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from esrun.config import CONF_DIR, plugins, trust
from esrun.config.bounds import check_interpolations, check_yaml
from esrun.errors import ConfigError


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

    def _find_object_source(self, config_path: str, object_type: Any) -> Any:
        path = PurePosixPath(config_path or "")
        if path.is_absolute() or ".." in path.parts or "\\" in str(path) or "\0" in str(path):
            raise ConfigError(
                f"an option must lie below its group's folder, got {config_path}: put it there, "
                "or name its folder with --config-dir"
            )
        return super()._find_object_source(config_path, object_type)

    def load_config(self, config_path: str) -> ConfigResult | None:
        """-> the file of an option; of a plug-in without one, its factory's defaults.

        Raises ConfigError, with the file's name, for what is too large or no readable mapping.
        """
        source = self._find_object_source(config_path, ObjectType.CONFIG)
        if source is None:
            option = plugins.option(config_path)
            if option is None:
                return None
            package, content = option
            found = ConfigResult(
                provider="esrun", path="plugin", config=OmegaConf.create(content), header=package
            )
            found.defaults_list = []
            return found
        name = config_path if config_path.endswith((".yaml", ".yml")) else f"{config_path}.yaml"
        file = os.path.join(source.path, name)
        if source.scheme() == "file":
            check_yaml(file)
        try:
            found = super().load_config(config_path)
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(f"{file} cannot be read: {plugins.flaw_of(error)}") from error
        if found is not None and source.path != str(CONF_DIR):
            plugins.check_file(file, config_path, found)
        return found

    def config_exists(self, config_path: str) -> bool:
        """Whether there is an option, a plug-in's without a file too."""
        return super().config_exists(config_path) or plugins.is_named(config_path)

    def get_group_options(
        self, group_name: str, results_filter: ObjectType | None = ObjectType.CONFIG
    ) -> list[str]:
        """-> what a group has to choose from, or the groups in it."""
        names = super().get_group_options(group_name, results_filter)
        if results_filter == ObjectType.GROUP:
            return names
        return sorted({*names, *plugins.names(group_name)})


class CheckedLoader(ConfigLoaderImpl):
    """Composes, and refuses what names code. It goes with a sweep into other processes."""

    def __init__(self, path: ConfigSearchPath, source: Source, typed: list[str] | None):
        """`typed`: the overrides of the command line; None for what is trusted anyway."""
        super().__init__(path)
        self.repository = GuardedRepository(path)
        self._source, self._typed = source, typed
        self._asked: dict[tuple, CachingConfigRepository] = {}

    def get_group_options(
        self,
        group_name: str,
        results_filter: ObjectType | None = ObjectType.CONFIG,
        config_name: str | None = None,
        overrides: list[str] | None = None,
    ) -> list[str]:
        """-> as a repository's. The help asks for every group: one copy of the repository serves
        them all."""
        asked = config_name, tuple(overrides or [])
        if asked not in self._asked:
            made = self._parse_overrides_and_create_caching_repo(config_name, list(asked[1]))
            self._asked[asked] = made[1]
        return self._asked[asked].get_group_options(group_name, results_filter)

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

    def _compose_config_from_defaults_list(
        self, defaults: list[ResultDefault], repo: IConfigRepository
    ) -> DictConfig:
        """Leave what options and sections hold open to any key: which there are is their schema's
        to say, and a key needs no + before it."""
        cfg = super()._compose_config_from_defaults_list(defaults, repo)
        for key in cfg:
            node = cfg._get_node(key)
            if key != "hydra" and isinstance(node, DictConfig):
                OmegaConf.set_struct(node, False)
        return cfg


@functools.cache
def _shipped(overrides: tuple[str, ...], mode: RunMode) -> DictConfig:
    """-> Hydra's section as the packaged tree and the installed plug-ins make it: the same for all
    jobs of a sweep. To be read, not changed."""
    loader = CheckedLoader(search_path(PRIMARY), PRIMARY, typed=None)
    return loader.load_configuration(PRIMARY.name, [*overrides], mode).hydra


def override_dirname(words: list[Override], how: DictConfig) -> str:
    """-> `hydra.job.override_dirname` of overrides, made as `hydra.job.config` says."""
    names = how.override_dirname
    return get_overrides_dirname(words, names.exclude_keys, names.item_sep, names.kv_sep)


def search_path(source: Source) -> ConfigSearchPath:
    """-> where options are looked for. Raises ConfigError for what is no folder."""
    for flag, given in (("--config-dir", source.directory), ("--config-path", source.tree)):
        if given and not os.path.isdir(given):
            raise ConfigError(f"{flag} must be a folder, got {given}")
    path = create_config_search_path(os.path.abspath(source.tree or CONF_DIR))
    if source.directory:
        where = SearchPathQuery(provider="schema", path=None)
        path.prepend("command-line", f"file://{os.path.abspath(source.directory)}", where)
    return path
