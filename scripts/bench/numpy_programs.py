"""pycma and cmaes as measured programs: CMA-ES on the sphere function, whose own cost is
negligible."""

import numpy as np


class Program:
    """`package` is cma (pycma) or cmaes."""

    def __init__(self, package: str, n: int, population_size: int, sigma: float):
        """Start at (1, ..., 1)."""
        self.generation = {"cma": make_pycma, "cmaes": make_cmaes}[package](
            np.ones(n), population_size, sigma
        )

    def advance(self, generations: int, keep: bool) -> None:
        """Go on for some generations; these packages keep their state themselves."""
        del keep
        for _ in range(generations):
            self.generation()

    def facts(self) -> dict:
        """-> nothing."""
        return {}


def sphere(x: np.ndarray) -> float:
    """Sum of squares."""
    return float(x @ x)


def make_pycma(start: np.ndarray, population_size: int, sigma: float):
    """-> a function that runs one generation."""
    import cma

    strategy = cma.CMAEvolutionStrategy(start, sigma, {"popsize": population_size, "verbose": -9})

    def generation():
        solutions = strategy.ask()
        strategy.tell(solutions, [sphere(x) for x in solutions])

    return generation


def make_cmaes(start: np.ndarray, population_size: int, sigma: float):
    """-> a function that runs one generation."""
    import cmaes

    strategy = cmaes.CMA(mean=start, sigma=sigma, population_size=population_size)

    def generation():
        solutions = [strategy.ask() for _ in range(population_size)]
        strategy.tell([(x, sphere(x)) for x in solutions])

    return generation
