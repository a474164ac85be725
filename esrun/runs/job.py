"""From a composed configuration to a run: what Hydra's section says of the process around it."""

import functools
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from hydra.core.utils import env_override
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf._utils import get_omega_conf_dumper

from esrun.config import hydra
from esrun.config.compose import Composed
from esrun.config.schema.run import Config
from esrun.config.trees import flat
from esrun.runs.folder import Made
from esrun.runs.opening import Order
from esrun.runs.run import carry_out
from esrun.runs.secrets import masked, masked_word
from esrun.runs.sweep_show import Place


def order(one: Composed, config: Config, made: Made, going_on: bool) -> Order:
    """-> the order for a composed and checked configuration in a folder."""
    chosen = one.hydra.runtime.choices.items()
    return Order(
        config=config,
        given=one.config,
        made=made.absolute(),
        choices={group: str(x) for group, x in chosen if "/" not in group and x},
        going_on=going_on,
        secret=frozenset(
            key for key, x in flat(one.written).items() if isinstance(x, str) and "oc.env" in x
        ),
    )


def run_composed(
    one: Composed,
    config: Config,
    made: Made,
    going_on: bool,
    place: Place | None = None,
    retries: bool = False,
) -> int:
    """Run one composed and checked configuration in its folder, at its place in a sweep -> the exit
    code. It `retries` as in `Order`.

    Raises ConfigError.
    """
    asked = order(one, config, made, going_on)
    with read_write(one.hydra), open_dict(one.hydra):
        one.hydra.runtime.output_dir = str(asked.made.folder)
    with _surroundings(one.hydra, asked.made.folder):
        return carry_out(asked._replace(hydra=_hydras_record(one), place=place, retries=retries))


def environment(one: Composed) -> AbstractContextManager:
    """-> the environment variables that Hydra's section asks for."""
    return env_override(one.hydra.job.env_set)


@contextmanager
def _surroundings(section: DictConfig, place: Path) -> Iterator[None]:
    """The working directory and the environment variables that Hydra's section asks for."""
    before = Path.cwd()
    with env_override(section.job.env_set):
        try:
            if section.job.chdir:
                os.chdir(place)
            yield
        finally:
            if section.job.chdir:
                with suppress(OSError):  # it may have gone meanwhile
                    os.chdir(before)


def _hydras_record(one: Composed) -> dict[str, bytes]:
    """-> the files of `.hydra`, as Hydra writes them but for secrets."""
    given = hydra.words_of(one.hydra, "task")
    words = [masked_word(word) for word in given]
    section: Any = OmegaConf.to_container(one.hydra, enum_to_str=True)
    for word, hidden in zip(given, words, strict=True):  # they stand there in one string
        section["job"]["override_dirname"] = section["job"]["override_dirname"].replace(
            word, hidden
        )
    return {
        "config.yaml": yaml_of(one.written),
        "hydra.yaml": yaml_of({"hydra": section}),
        "overrides.yaml": yaml_of(words),
    }


def yaml_of(tree) -> bytes:
    """-> a tree as yaml, its secrets masked."""
    return yaml.dump(masked(tree), Dumper=_dumper(), allow_unicode=True, sort_keys=False).encode()


@functools.cache
def _dumper() -> type:
    """-> what writes yaml as OmegaConf does, in C where PyYAML has it: ten times as fast."""

    base: Any = getattr(yaml, "CDumper", yaml.Dumper)
    dumper: Any = type("Dumper", (base,), {})
    dumper.add_representer(str, get_omega_conf_dumper().str_representer)
    return dumper
