"""(b) A generation of the strategy alone, by parameters n and members p, on the sphere function.

esrun runs its program on `task=sphere`; evosax scans over ask, esrun's sphere and tell; pycma and
cmaes run as their manuals show. Evaluating the sphere costs next to nothing on every side.
"""

from measure import Options, Table, in_turn, ratio
from worker import open_all

from esrun.config.compose import composed
from esrun.strategies.cma_es import interval
from esrun.strategies.parts.constants import constants

SIGMA = 0.3
SIZES = {
    "cma_es": [(10, 10), (100, 20), (241, 100), (1000, 100), (2000, 128)],
    "openai_es": [(1000, 100), (10_000, 256), (100_000, 256)],
}
"""(n, p) for every strategy."""

NOTES = [
    "one generation: ask, a negligible evaluation (the sphere function), tell; each package in a "
    "process of its own, "
    "with all of OpenBLAS's threads for the peers",
    "esrun ×: how many times longer a generation takes than esrun's",
]


def asktell(options: Options) -> Table:
    """CMA-ES against all three peers, OpenAI-ES against evosax."""
    notes, rows = list(NOTES), []
    for strategy, sizes in SIZES.items():
        for n, p in options.size(sizes, sizes[:1]):
            rows += compared(strategy, n, p, options, notes)
    return Table("Strategies alone, by parameters and members", notes, rows)


def compared(strategy: str, n: int, p: int, options: Options, notes: list[str]) -> list[dict]:
    """-> a row for each package."""
    config = composed(
        [
            "task=sphere",
            f"task.dimension={n}",
            f"strategy={strategy}",
            f"strategy.population_size={p}",
            f"strategy.sigma={SIGMA}",
            "policy.low=0.5",
            "policy.high=1.5",
        ]
    ).config
    specs = {name: {"program": f"{name}_program", "config": config} for name in ("esrun", "evosax")}
    if strategy == "cma_es":
        for name, package in {"pycma": "cma", "cmaes": "cmaes"}.items():
            specs[name] = {"program": "numpy_programs", "package": package}
            specs[name] |= {"n": n, "population_size": p, "sigma": SIGMA}
    generations = {name: options.in_round(in_a_round(strategy, n, p, name)) for name in specs}
    with open_all(specs, notes.append) as workers:
        timings = in_turn(
            {name: worker.turn(generations[name]) for name, worker in workers.items()}, options
        )
    return [
        {
            "strategy": strategy,
            "n": n,
            "p": p,
            "side": name,
            "first s": timing.first,
            "ms a generation": 1e3 * timing.median / generations[name],
            "esrun ×": None
            if name == "esrun"
            else ratio(timing, timings["esrun"], scale=generations["esrun"] / generations[name]),
            "rounds": len(timing.seconds),
            "generations": generations[name],
            "seconds": timing.seconds,
        }
        for name, timing in timings.items()
    ]


def in_a_round(strategy: str, n: int, p: int, name: str) -> int:
    """-> the generations of a round: many where they are short, few where they take seconds.

    Where C is decomposed at intervals, rounds are whole intervals, so that none goes without.
    """
    if n <= 300 or (strategy == "openai_es" and n <= 1000):
        return 100
    if strategy == "openai_es":
        return 10
    if name in ("esrun", "pycma"):
        table_1 = constants(n, p, p / 2, active=True)
        return 2 * interval(n, table_1.c_1, table_1.c_mu)
    return 4 if name == "evosax" else 1
