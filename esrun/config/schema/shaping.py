"""What strategies may say of what becomes of fitness before members are weighed by it."""

import math

from pydantic import model_validator

from esrun.config.schema.base import Count, Finite, NonNegative, Several, StrategyModel
from esrun.config.schema.names import FitnessDecay, Shaping


class Shaped(StrategyModel):
    """What strategies share that shape fitness before they weigh members by it."""

    population_size: Several
    shaping: Shaping
    # None where they are not said, as in the records of runs from before they could be
    shaping_offset: NonNegative | None = None
    rank_batches: Count | None = None

    @model_validator(mode="after")
    def _shaping(self):
        refuse_idle(self.shaping_offset, "shaping_offset", self.shaping, "z_score")
        refuse_idle(self.rank_batches, "rank_batches", self.shaping, "centered_ranks")
        unit = 2 if getattr(self, "antithetic", True) else 1
        if self.rank_batches and self.population_size % unit == 0:
            refuse_unequal(self.rank_batches, self.population_size, unit)
        return self


class Decaying(StrategyModel):
    """What strategies share whose members' fitness may pay for their parameters."""

    fitness_decay: FitnessDecay | None = None
    fitness_decay_coefficient: Finite | None = None

    @model_validator(mode="after")
    def _decay(self):
        decay, c = self.fitness_decay, self.fitness_decay_coefficient
        key = "strategy.fitness_decay_coefficient"
        if (decay is None) != (c is None):
            raise ValueError(
                f"strategy.fitness_decay and {key} must be given together, or neither, got {decay} "
                f"and {c}: write strategy.fitness_decay={decay or 'subtract_l2'} "
                f"{key}={1 if c is None else f'{c:g}'}"
            )
        if c is not None and decay != "subtract_l2" and c <= 0:
            raise ValueError(
                f"{key} must be greater than 0 with strategy.fitness_decay={decay}, which divides "
                f"by it, got {c:g}: write {key}=1 or strategy.fitness_decay=subtract_l2"
            )
        return self


def refuse_idle(value: float | None, key: str, shaping: str, fitting: str) -> None:
    """Raise ValueError for a key that the shaping does not read."""
    if value is not None and shaping != fitting:
        raise ValueError(
            f"strategy.{key} is of strategy.shaping={fitting} alone, got {value:g} with "
            f"strategy.shaping={shaping}: write strategy.shaping={fitting} or strategy.{key}=null"
        )


def refuse_unequal(batches: int, size: int, unit: int) -> None:
    """Raise ValueError for batches that are not all as large, or cut a unit, or hold one member,
    which has no rank."""

    def fits(batches: int) -> bool:
        return size % batches == 0 and size // batches >= 2 and size // batches % unit == 0

    if fits(batches):
        return
    small = [x for x in range(1, math.isqrt(size) + 1) if size % x == 0]
    fitting = [x for x in (*small, *(size // x for x in small)) if fits(x)]
    members = "whole pairs of members" if unit == 2 else "at least 2 members"
    raise ValueError(
        "strategy.rank_batches must divide strategy.population_size into equal batches of "
        f"{members}, got {batches} batches of {size} members: write "
        f"strategy.rank_batches={min(fitting, key=lambda x: (abs(x - batches), x))}"
    )
