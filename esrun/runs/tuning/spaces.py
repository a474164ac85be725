"""Whether every setting of a space may be trained, as far as that shows before anything runs."""

import re
from itertools import islice, product

from esrun.config import compose
from esrun.config.check import checked
from esrun.config.loader import Source
from esrun.config.schema.base import TaskModel
from esrun.config.schema.run import Config
from esrun.config.space import Dimension, Space
from esrun.errors import ConfigError
from esrun.runs.record import what_it_computes

MOST = 100
"""Values of a choice, and combinations of options, that are looked at."""


def check(space: Space, base: Config, source: Source) -> None:
    """Raise ConfigError for a value at either end of a key, with any of the options that are
    searched as well, that no run may have; and for a key by which settings cannot be compared."""
    options = [x for x in space.dimensions if "." not in x.key]
    keys = [x for x in space.dimensions if "." in x.key]
    for key in keys:
        _check_key(key)
    chosen = list(islice(product(*([x.word(value) for value in x.ends] for x in options)), MOST))
    with compose.composing(source, space.plain) as one:

        def look(typed: str, words: list[str], remedy: str = "") -> None:
            try:
                config = checked(one(space.setting(words), 0).config)
            except ConfigError as error:
                raise ConfigError(f"{typed}: {error}{_whole(remedy, str(error))}") from error
            if (config.eval, config.stop) != (base.eval, base.stop):
                raise ConfigError(
                    f"{typed} changes eval or stop, by which settings are compared: write these "
                    "keys, each with one value"
                )

        for group in chosen:
            if group:
                look(" ".join(x.typed for x in options), list(group))
            beside = f" with {' '.join(group)}" if group else ""
            for key in keys:
                for value in key.ends[:MOST]:
                    look(f"{key.typed}{beside}", [*group, key.word(value)], _as_whole(key))


def _check_key(key: Dimension) -> None:
    section, _, name = key.key.partition(".")
    if not what_it_computes({key.key: None}):
        raise ConfigError(f"{key.key} changes nothing of what is computed: write one value")
    if section == "task" and name.partition(".")[0] not in TaskModel.how:
        raise ConfigError(
            f"{key.typed} changes the task, and settings are compared by what they reach on one: "
            f"write {key.key} with one value"
        )


def _as_whole(key: Dimension) -> str:
    """-> how to search whole numbers, where numbers are searched."""
    return f"'{key.key}=int(interval({key.low:g},{key.high:g}))'" if key.kind == "float" else ""


def _whole(remedy: str, complaint: str) -> str:
    whole = remedy and re.search("whole number|integer", complaint)
    return f"; as whole numbers: {remedy}" if whole else ""
