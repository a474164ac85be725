"""Hydra's inside, which this file and `loader` alone know. Read from hydra-core 1.3.8.

Hydra composes for esrun, by way of `loader`; it runs nothing but the sweeps of plug-ins.
"""

import copy
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from hydra import version
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import get_args_parser, run_and_report
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.completion_plugin import CompletionPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from esrun.config.families import FamilyLoader
from esrun.config.loader import PRIMARY, CheckedLoader, GuardedRepository, Source, search_path

BASIC = "hydra._internal.core_plugins.basic_"
"""How the names of Hydra's own launcher and sweeper begin."""


@contextmanager
def loaded(
    source: Source, typed: list[str], loader: type[CheckedLoader] = CheckedLoader
) -> Iterator[Hydra]:
    """Hydra, ready to compose from a source for a command line."""
    version.setbase("1.3")
    before, present = HydraConfig.instance().cfg, GlobalHydra.instance()
    outer, present.hydra = present.hydra, None  # a complaint about a job composes it again
    hydra = Hydra("esrun", loader(search_path(source), source, typed))
    present.initialize(hydra)
    try:
        yield hydra
    finally:
        present.hydra = outer
        HydraConfig.instance().cfg = before


def whole(overrides: list[str], source: Source, mode: RunMode) -> DictConfig:
    """-> everything composed, Hydra's section included."""
    with loaded(source, overrides) as hydra:
        return hydra.compose_config(source.name, list(overrides), mode, from_shell=False)


@contextmanager
def composing(source: Source, typed: list[str]) -> Iterator[Callable[[list[str]], DictConfig]]:
    """What composes the jobs of a sweep from the words of each, with the same result as `whole`."""
    with loaded(source, typed, FamilyLoader) as hydra:
        yield lambda words: hydra.compose_config(
            source.name, list(words), RunMode.RUN, from_shell=False
        )


def resolved(cfg: DictConfig) -> Any:
    """-> the configuration without Hydra's section, resolved; `${hydra:...}` leads into that."""
    one: Any = HydraConfig.instance()
    before = one.cfg
    try:
        one.cfg = SimpleNamespace(hydra=cfg.hydra)  # `set_config` copies the section
        return container(cfg, resolve=True, throw_on_missing=True)
    finally:
        one.cfg = before


def container(cfg: DictConfig, **how: Any) -> Any:
    """-> as `OmegaConf.to_container`, without Hydra's section, which is most of a configuration."""
    content: Any = cfg.__dict__["_content"]
    section = content.pop("hydra", None)  # to delete it would take a copy of all the rest
    try:
        return OmegaConf.to_container(cfg, **how)
    finally:
        if section is not None:
            content["hydra"] = section


def words_of(section: DictConfig, kind: str) -> list[str]:
    """-> the overrides that Hydra has noted, of `kind` "task" or "hydra", as they were typed."""
    words: Any = OmegaConf.to_container(section.overrides[kind], resolve=False)
    return words


def listed(source: Source, group: str, groups: bool = False) -> list[str]:
    """-> the options of a group, the user's own too, or the groups in it."""
    wanted = ObjectType.GROUP if groups else ObjectType.CONFIG
    return GuardedRepository(search_path(source)).get_group_options(group, wanted)


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


def completed(source: Source, line: str) -> list[str]:
    """-> what the last word of `line` may become, as Hydra sees it."""
    found: Any = Plugins.instance().discover(CompletionPlugin)
    (plugin,) = (x for x in found if x.provides() == "bash")
    with loaded(source, []) as hydra:
        return plugin(hydra.config_loader)._query(source.name, line)


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
            HydraConfig.instance().set_config(cfg)
            page = cfg.hydra.hydra_help if flags.hydra_help else cfg.hydra.help
            kind = "hydra" if flags.hydra_help else "job"
            shown = hydra.get_sanitized_cfg(copy.deepcopy(cfg), kind)
            print(hydra.get_help(page, shown, get_args_parser(), resolve=flags.resolve))
