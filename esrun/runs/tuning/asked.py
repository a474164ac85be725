"""What a study was asked: its space, checked; what makes it the same study when typed again."""

import json
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from esrun.config import compose
from esrun.config.check import KINDS, checked
from esrun.config.loader import PRIMARY, Source
from esrun.config.quoting import quoted
from esrun.config.schema.run import Config
from esrun.config.space import EXAMPLE, Space
from esrun.config.trees import flat
from esrun.errors import ConfigError, as_typed
from esrun.runs import folder, sweep_record
from esrun.runs.folder import HYDRAS_SWEEP, SWEEP, Made, shown
from esrun.runs.job import yaml_of
from esrun.runs.places import asked_in
from esrun.runs.record import what_it_computes
from esrun.runs.secrets import HIDDEN, masked_word
from esrun.runs.tuning.spaces import check

NINTH = 9
"""The first rung is such a part of all generations, where nothing else is asked for: earlier, what
begins slowly and ends well would be left."""
LAST_SEED = 2**32 - 1
LIMIT, PLACE = "tune.seconds=", "hydra.sweep.dir="
"""Words that are of a command, not of the study."""


class Asked(NamedTuple):
    """A study."""

    words: list[str]
    """As they were typed."""
    source: Source
    space: Space
    config: Config
    """Of the default setting."""
    default: dict[str, Any]
    """Its values by their keys, as far as the space has them."""
    rungs: list[int]
    """Generations after which a trial is judged; the last ones are its end."""
    sameness: dict[str, Any]
    """By keys what must not change when the study goes on."""
    target: Path
    """The folder that is asked for."""
    hydras_yaml: bytes
    alone: bool
    """Whether a run changes what all of the process share."""

    @property
    def seeds(self) -> list[int]:
        """-> those of every trial."""
        return [self.config.seed + i for i in range(self.config.tune.seeds)]

    @property
    def fresh_seeds(self) -> list[int]:
        """-> those that no trial has."""
        tune, first = self.config.tune, self.config.seed
        return [first + tune.seeds + i for i in range(tune.fresh_seeds)]

    @property
    def final_seeds(self) -> list[int]:
        """-> those that the finalists have besides; of one there are none."""
        count = self.config.tune.fresh_seeds if self.config.tune.finalists > 1 else 0
        first = self.config.seed + self.config.tune.seeds + count
        return [first + i for i in range(count)]


def asked(words: list[str], source: Source) -> Asked:
    """-> the study that words ask for. JAX is not imported. Raises ConfigError."""
    space = compose.space(words, source)
    if not space.dimensions:
        raise ConfigError(f"tune needs a key to search: write for example esrun tune {EXAMPLE}")
    sweep = compose.sweep(space.plain, source)
    if sweep.plugin:
        raise ConfigError(
            "esrun tune searches and runs by itself: leave hydra/sweeper and hydra/launcher out"
        )
    for key, instead in (("hydra.sweep.subdir", None), ("hydra.run.dir", "hydra.sweep.dir")):
        if folder.is_typed(key, words):
            remedy = f"write {instead}=..." if instead else "leave it out"
            raise ConfigError(f"esrun tune names the folders of its runs, got {key}: {remedy}")
    one = compose.composed(space.plain, source)
    config = checked(one.config)
    if config.resume not in (None, "auto"):
        raise ConfigError(
            f"resume must be null or auto for a study, got {config.resume}: esrun tune goes on "
            "with the study that the same words have begun"
        )
    if config.runtime.hosts is not None:
        raise ConfigError("runtime.hosts is for one run, and a study has many: leave it out")
    if config.runtime.driver == "ray":
        raise ConfigError("runtime.driver=ray is for one run, and a study has many: leave it out")
    check(space, config, source)
    rungs, tune = _rungs(config), config.tune
    if config.seed + tune.seeds + 2 * tune.fresh_seeds - 1 > LAST_SEED:
        raise ConfigError(f"seed must leave room for those of the study below 2^32, got "
                          f"{config.seed}: write a smaller one")  # fmt: skip
    target = Path(os.path.abspath(compose.path_of(sweep.whole.hydra, "sweep.dir")))
    job = asked_in(one, config, target / "default")
    same = what_it_computes(job.config, ("generations", "stop"))
    leaves = flat(one.config) | {kind: one.hydra.runtime.choices[kind] for kind in KINDS}
    same |= {
        x.key: f"{x.typed.partition('=')[2]}, by default {as_typed(leaves.get(x.key))}"
        for x in space.dimensions
    }
    same |= {f"tune.{key}": getattr(tune, key) for key in ("seeds", "sampler", "pruner")}
    same["tune.rungs"] = ",".join(map(str, rungs))
    hydras = yaml_of(OmegaConf.to_container(sweep.whole, enum_to_str=True))
    default = {x.key: x.of(leaves.get(x.key)) for x in space.dimensions}
    default = {key: value for key, value in default.items() if value is not None}
    alone = bool(one.hydra.job.chdir or one.hydra.job.env_set)
    return Asked(words, source, space, config, default, rungs, same, target, hydras, alone)


def _rungs(config: Config) -> list[int]:
    tune, every, last = config.tune, config.eval.every, config.generations
    if tune.pruner == "none":
        return [last]
    rung = tune.first_rung
    if rung == "auto":
        rung = math.ceil(last / NINTH / every) * every
    elif rung % every or rung >= last:
        raise ConfigError(
            f"tune.first_rung must be a multiple of eval.every ({every}), where every run is "
            f"evaluated, and below generations ({last}), got {rung}: write another one"
        )
    rungs = []
    while rung < last:
        rungs.append(rung)
        rung *= tune.reduction
    return [*rungs, last]


# ---- where it lies ---------------------------------------------------------------------------


def study_folder(asked: Asked) -> Made:
    """-> the folder to go on in, or a new one. Raises ConfigError."""
    target, words = asked.target, asked.words
    typed = folder.is_typed("hydra.sweep.dir", words)
    by_clock = folder.is_by_the_clock(target)
    anew = folder.is_typed("resume", words) and asked.config.resume is None
    if not typed and by_clock and not anew:
        for place in sorted(target.parent.parent.glob("*/*/"), key=str, reverse=True):
            with suppress(ConfigError):  # another program's, or damaged
                folder.check_sweep(place)
                if _sameness(place) == _as_read(asked.sameness):
                    return Made(place)
    if typed or not by_clock:
        if anew and os.path.lexists(target / SWEEP):
            raise ConfigError(
                f"resume=null begins another study, and {shown(target)} holds one: write another "
                "hydra.sweep.dir, or leave resume=null out to go on with it"
            )
        folder.check_sweep(target)
        refuse_others(target, asked)
    return folder.make(target, fresh=not typed)


def refuse_others(place: Path, asked: Asked) -> None:
    """Raise ConfigError for a folder that has another study, or a sweep that is none."""
    if not os.path.lexists(place / SWEEP):
        if os.path.lexists(place / HYDRAS_SWEEP):
            raise ConfigError(_not_a_study(place))
        return
    known, new = _sameness(place), _as_read(asked.sameness)
    if known is None:
        raise ConfigError(_not_a_study(place))
    changed = [
        f"{key}: {known.get(key, 'unset')} -> {new.get(key, 'unset')}"
        for key in sorted(known | new)
        if known.get(key) != new.get(key)
    ]
    if changed:
        raise ConfigError(
            f"the study in {shown(place)} must go on with what it began, got "
            f"{'; '.join(changed)}: leave that as it was, or write hydra.sweep.dir=... for another "
            "folder"
        )


def _not_a_study(place: Path) -> str:
    return (
        f"{shown(place)} holds a sweep that esrun tune has not made: write hydra.sweep.dir=... for "
        "another folder"
    )


def _sameness(place: Path) -> dict | None:
    search = sweep_record.search(place)
    known = search and search.get("sameness")
    return known if isinstance(known, dict) else None


def _as_read(content: Any) -> Any:
    return json.loads(json.dumps(content))


def record(place: Path, asked: Asked) -> None:
    """Note what the folder's study was asked. Raises OSError, ConfigError."""
    search = {
        "words": [masked_word(word) for word in asked.words if not word.startswith(LIMIT)],
        "options": asked.source != PRIMARY,
        "sameness": asked.sameness,
        "fresh_seeds": asked.fresh_seeds,
    }
    sweep_record.write(place, [], search)


def going_on(place: Path, asked: Asked) -> str:
    """-> what to type to go on with a study."""
    if asked.source != PRIMARY or _needs_its_command(asked.words):
        return f"its command again, with hydra.sweep.dir={quoted(shown(place))}"
    return folder.going_on(place)


def words_of(place: Path) -> list[str]:
    """-> the words that a study was begun with, but for its folder. Raises ConfigError where they
    do not suffice, or would have more than the study's own keys to say."""
    search = sweep_record.search(place) or {}
    words = search.get("words")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ConfigError(f"{shown(place)} does not say what it searches: type its command again")
    if search.get("options") or _needs_its_command(words):
        raise ConfigError(
            f"the study in {shown(place)} was given options of your own, keys of Hydra's or a "
            f"secret: type its command again, with hydra.sweep.dir={quoted(shown(place))}"
        )
    return [word for word in words if not word.startswith(PLACE)]


def _needs_its_command(words: list[str]) -> bool:
    """Whether a command says what no file may."""
    return any(
        not word.startswith(PLACE) and (HIDDEN in word or word.lstrip("+~").startswith("hydra"))
        for word in map(masked_word, words)
    )
