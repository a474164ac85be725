"""A function minimised by pycma or cmaes, as their manuals show: the script that `blackbox` times.

`python blackbox_peers.py pycma|cmaes '{"function": "sphere", "n": 10, ...}'` prints what it took.
"""

import json
import sys
from collections.abc import Callable

import numpy as np

SIGMA, LOW, HIGH = 2.0, -5.0, 5.0
RESTARTS = 9
"""That double the population."""

Function = Callable[[np.ndarray], float]


def sphere(x: np.ndarray) -> float:
    """Optimum 0 at 0."""
    return float(x @ x)


def ellipsoid(x: np.ndarray) -> float:
    """Axes from 1 to 10^6 in squared length; optimum 0 at 0."""
    return float(10 ** np.linspace(0, 6, len(x)) @ x**2)


def rosenbrock(x: np.ndarray) -> float:
    """Optimum 0 at (1, ..., 1)."""
    return float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))


def rastrigin(x: np.ndarray) -> float:
    """Optimum 0 at 0."""
    return float(10 * len(x) + np.sum(x**2 - 10 * np.cos(2 * np.pi * x)))


FUNCTIONS = {f.__name__: f for f in (sphere, ellipsoid, rosenbrock, rastrigin)}


def pycma(f: Function, n: int, restarts: bool, seed: int, target: float, budget: int) -> dict:
    """`fmin2`, with BIPOP where it restarts."""
    import cma

    drawn = np.random.default_rng(seed)
    options = {"ftarget": target, "maxfevals": budget, "seed": seed, "verbose": -9}
    again = {"restarts": RESTARTS, "bipop": True} if restarts else {}
    found = cma.fmin2(f, lambda: drawn.uniform(LOW, HIGH, n), SIGMA, options, **again)[1].result
    return {"evaluations": int(found.evaluations), "best": float(found.fbest)}


def cmaes(f: Function, n: int, restarts: bool, seed: int, target: float, budget: int) -> dict:
    """Ask and tell; a search that should stop is followed by one of twice as many members."""
    from cmaes import CMA

    drawn = np.random.default_rng(seed)
    evaluations, best, search = 0, np.inf, None
    while evaluations < budget and best > target:
        if search is None or search.should_stop():
            if search is not None and not restarts:
                break
            p = search and 2 * search.population_size
            search = CMA(
                mean=drawn.uniform(LOW, HIGH, n), sigma=SIGMA, population_size=p, seed=seed
            )
        asked = [search.ask() for _ in range(search.population_size)]
        told = [(x, f(x)) for x in asked]
        search.tell(told)
        evaluations += len(told)
        best = min(best, *(value for _, value in told))
    return {"evaluations": evaluations, "best": float(best)}


if __name__ == "__main__":
    given = json.loads(sys.argv[2])
    function = FUNCTIONS[given.pop("function")]
    print(json.dumps({"pycma": pycma, "cmaes": cmaes}[sys.argv[1]](function, **given)))
