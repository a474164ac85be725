"""(m) A sweep, from the start of its process to its end: runs side by side against the same runs
one after another. Programs are kept from an earlier process."""

import os
import sys
import tempfile
import time
from pathlib import Path

from blackbox import finished
from measure import Options, Table, Timing, counted, ratio

CASES = {
    "rosenbrock": (["task=rosenbrock", "task.dimension=10", "strategy=cma_es"], 10),
    "rosenbrock, many": (["task=rosenbrock", "task.dimension=10", "strategy=cma_es"], 50),
    "cartpole": (
        ["task=cartpole", "strategy=openai_es", "strategy.population_size=32", "generations=30"],
        10,
    ),
    "pendulum": (["task=pendulum", "strategy=openai_es", "generations=60"], 10),
}
NOTES = [
    "from process start to its end; an earlier process has filled the folder of compiled programs",
    "alone ×: how many times as long the same runs take one after another "
    "(runtime.parallel_runs=1)",
]


def sweeps(options: Options) -> Table:
    """Ten and fifty seeds of small runs."""
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        for name, (words, count) in list(CASES.items())[: options.size(None, 1)]:
            rows += compared(name, words, options.size(count, 2), Path(cache), options)
    return Table("Sweeps, the whole process", list(NOTES), rows)


def compared(name: str, words: list[str], count: int, cache: Path, options: Options) -> list[dict]:
    """-> a row for runs side by side, and one for those one after another."""

    def timed(parallel: str):
        def run(first: bool) -> float:
            with tempfile.TemporaryDirectory() as folder:
                asked = [*words, f"seed=range({count})", f"runtime.parallel_runs={parallel}"]
                began = time.perf_counter()
                finished(
                    [sys.executable, "-m", "esrun", "-m", *asked, f"hydra.sweep.dir='{folder}'"],
                    os.environ | {"XDG_CACHE_HOME": str(cache)},
                )
                return time.perf_counter() - began

        return run

    sides = {"side by side": timed("auto"), "one after another": timed("1")}
    for run in sides.values():
        run(True)  # fills the cache
    timings = {side: Timing(taken[0], taken) for side, taken in counted(sides, options).items()}
    together = timings["side by side"]
    return [
        {
            "sweep": name,
            "runs": count,
            "side": side,
            "seconds in all": timing.median,
            "alone ×": None if timing is together else ratio(timing, together),
            "seconds": timing.seconds,
        }
        for side, timing in timings.items()
    ]
