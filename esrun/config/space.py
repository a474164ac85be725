"""The space of a search, in Hydra's own grammar: `interval`, `range`, `choice`, `tag(log, ...)`.

Words that say several values are the space, all others are what every setting has.
"""

import math
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from hydra.core.override_parser.types import IntervalSweep, Override, OverrideType, RangeSweep

from esrun.config import hydra
from esrun.config.check import KINDS
from esrun.config.loader import Source
from esrun.errors import ConfigError, as_typed, clipped

LOG, INT = "log", "int"
"""What `tag` may say of an interval or a range."""
LARGEST_STEPS = 2**31
"""Values that a range may have."""
EXAMPLE = "'strategy.sigma=tag(log,interval(0.01,1))'"


class Dimension(NamedTuple):
    """A key that is searched."""

    key: str
    typed: str
    """The word that says so."""
    kind: Literal["float", "int", "choice"]
    low: float = 0
    high: float = 0
    """Both are values that it may have."""
    step: float | None = None
    log: bool = False
    choices: tuple[str, ...] = ()
    """Of a choice its values, as they are typed."""

    def word(self, value: Any) -> str:
        """-> KEY=VALUE."""
        return f"{self.key}={as_typed(value)}"

    def value(self, value: Any) -> Any:
        """-> a value as this key has it: an integer is none of a library's."""
        return {"float": float, "int": int, "choice": str}[self.kind](value)

    def of(self, value: Any) -> Any:
        """-> the value of a configuration as the space has it, None where it does not."""
        if self.kind == "choice":
            return as_typed(value) if as_typed(value) in self.choices else None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        steps = (value - self.low) / self.step if self.step else 0
        is_one = self.low <= value <= self.high and math.isclose(steps, round(steps))
        return self.value(value) if is_one else None

    @property
    def ends(self) -> tuple[Any, ...]:
        """-> values at which a mistake would show."""
        return self.choices or (self.value(self.low), self.value(self.high))


class Space(NamedTuple):
    """The words of a command, taken apart."""

    plain: list[str]
    """Those that every setting has; of a key that is searched they say the default."""
    dimensions: list[Dimension]

    def setting(self, values: Iterable[str]) -> list[str]:
        """-> the words of a setting, by the words of its values: in the place of those of their
        keys."""
        values = list(values)
        said = {_key(word) for word in values}
        return [*(x for x in self.plain if _key(x) not in said), *values]


def taken_apart(words: list[str], source: Source) -> tuple[list[str], list[Dimension]]:
    """-> (the words that say one value, what those that say several search). Raises ConfigError,
    and what Hydra's parser raises."""
    parsed = hydra.parsed(words, source, words)
    several = [x for x in parsed if x.is_sweep_override()]
    found = [dimension(x) for x in several]
    keys = [one.key for one in found]
    for one in found:
        if keys.count(one.key) > 1:
            raise ConfigError(f"{one.key} is searched twice: leave {one.typed} or the other out")
    return [str(x.input_line) for x in parsed if not x.is_sweep_override()], found


def with_preset(plain: list[str], typed: list[Dimension], preset: list[str], source: Source):
    """-> the space with what a preset's `tune.space` searches besides: a word that is typed, of one
    value or several, takes the place of its key's. Raises ConfigError."""
    own, found = taken_apart(preset, source)
    if own:
        raise ConfigError(
            f"tune.space must say several values of each key, got {own[0]}: write it as a key"
        )
    said = {_key(word) for word in plain} | {one.key for one in typed}
    return Space(plain, [*typed, *(one for one in found if one.key not in said)])


def _key(word: str) -> str:
    return word.lstrip("+").partition("=")[0]


def dimension(word: Override) -> Dimension:
    """-> what a word searches. Raises ConfigError."""
    key, typed, said = word.key_or_group, str(word.input_line), word.value()
    if key.partition(".")[0] not in KINDS or key == "task" or word.type != OverrideType.CHANGE:
        raise ConfigError(
            f"what is searched must be a key of strategy, policy or task, or one of these groups "
            f"but task, got {clipped(typed, 200)}: write one value, or search another key"
        )
    if word.package is not None:
        raise ConfigError(f"{typed} names a package, which a search does not: write {key}=...")
    if isinstance(said, IntervalSweep):
        return _interval(key, typed, said)
    if isinstance(said, RangeSweep):
        return _range(key, typed, said)
    # Hydra writes Python's True
    texts = (x.lower() if x in ("True", "False") else x for x in word.sweep_string_iterator())
    values = tuple(dict.fromkeys(texts))
    if tags := getattr(said, "tags", None):
        raise ConfigError(f"{typed} is tagged {', '.join(sorted(tags))}, which a choice has no "
                          "use for: write it without tag")  # fmt: skip
    if len(values) < 2:
        raise ConfigError(
            f"{typed} must have at least two values: write for example {key}=choice(1,2)"
        )
    return Dimension(key, typed, "choice", choices=values)


def _interval(key: str, typed: str, said: IntervalSweep) -> Dimension:
    tags = _tags(typed, said.tags)
    low, high = said.start or 0, said.end or 0
    whole = INT in tags or (isinstance(low, int) and isinstance(high, int))
    _check_bounds(typed, low, high, LOG in tags)
    if whole and not (float(low).is_integer() and float(high).is_integer()):
        raise ConfigError(f"{typed} is of whole numbers, and so must be its bounds")
    if whole:
        return Dimension(key, typed, "int", int(low), int(high), 1, LOG in tags)
    return Dimension(key, typed, "float", float(low), float(high), None, LOG in tags)


def _range(key: str, typed: str, said: RangeSweep) -> Dimension:
    tags = _tags(typed, said.tags)
    numbers = [x or 0 for x in (said.start, said.stop, said.step)]
    whole = all(isinstance(x, int) for x in numbers)
    if not all(map(math.isfinite, numbers)) or numbers[2] == 0:
        raise ConfigError(f"{typed} must be of finite numbers, and its step not 0")
    start, stop, step = (Decimal(str(x)) for x in numbers)  # as Hydra counts
    count = math.ceil((stop - start) / step)
    if not 1 < count < LARGEST_STEPS:
        raise ConfigError(
            f"{typed} must have at least two values, with a step from the first to the second "
            f"bound: write for example {key}=range(1,10)"
        )
    low, high = map(float, sorted((start, start + (count - 1) * step)))
    _check_bounds(typed, low, high, LOG in tags)
    if LOG in tags and not (whole and abs(step) == 1):
        raise ConfigError(
            f"{typed} is tagged log, and so its step must be 1: leave the step or the tag out"
        )
    if INT in tags and not whole:
        raise ConfigError(f"{typed} is of whole numbers, and so must be its bounds and step")
    if whole:
        return Dimension(key, typed, "int", int(low), int(high), int(abs(step)), LOG in tags)
    return Dimension(key, typed, "float", low, high, float(abs(step)))


def _tags(typed: str, tags: set[str]) -> set[str]:
    if unknown := sorted(tags - {LOG, INT}):
        raise ConfigError(f"{typed} is tagged {unknown[0]}: the tags are {LOG} and {INT}")
    return tags


def _check_bounds(typed: str, low: float, high: float, log: bool) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(
            f"{typed} must have a finite lower bound, and above it a finite upper one"
        )
    if log and low <= 0:
        raise ConfigError(
            f"{typed} is tagged log, and so its bounds must be above 0, got {low:g}: write "
            f"another bound, or leave tag(log,...) out"
        )
