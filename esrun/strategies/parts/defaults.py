"""Sizes that the CMA family shares: how many members, how many of them are parents."""

import math


def whole_population(population_size: int | str, n: int) -> int:
    """-> the population size; "auto" is 4 + floor(3 ln n) (Hansen's tutorial, eq. 48)."""
    return 4 + int(3 * math.log(n)) if population_size == "auto" else int(population_size)


def checked_parents(parents: int | None, p: int, default: float) -> float:
    """-> how many of p members are parents. Raises ValueError when there are more of them than
    members."""
    mu = default if parents is None else parents
    if mu > p:
        raise ValueError(f"strategy.parents must be at most the population size {p}, got {mu}")
    return mu
