"""(l) A function's minimum, from the start of a process to its end: esrun's whole command beside
scripts of pycma and cmaes.

All begin at U(-5, 5) with a step size of 2 and the default population, and end when a member comes
within TARGET of the optimum, by their own termination tests where nothing restarts, or after BUDGET
evaluations a dimension. A round is a seed. Cold: esrun's folder for compiled programs is empty;
warm: the same command has filled it.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from measure import PAUSE, Options, Table, Timing, ratio
from worker import WorkerError

TARGET = 1e-4
BUDGET = 50_000
"""Evaluations a dimension."""
FUNCTIONS = ("sphere", "rosenbrock", "ellipsoid", "rastrigin")
DIMENSIONS = (10, 40)

NOTES = [
    f"from process start to its end, medians over seeds; target {TARGET:g}, at most {BUDGET} "
    "evaluations a dimension",
    "restarts: esrun and pycma BIPOP; cmaes the IPOP loop of its manual",
    "solved: seeds that reached the target; what did not has ended by its own tests or the budget",
    "pycma ×: how many times as long as pycma it takes",
]

Run = Callable[[int], dict]
"""Seed -> evaluations and the best value of a process that has ended."""


def blackbox(options: Options) -> Table:
    """Four functions in 10 and 40 dimensions, with and without restarts."""
    notes, rows = list(NOTES), []
    functions = options.functions or options.size(FUNCTIONS, FUNCTIONS[:1])
    for function in functions:
        for n in options.size(DIMENSIONS, (3,)):
            for restarts in options.size((False, True), (True,)):
                rows += compared(function, n, restarts, options, notes)
    return Table("Black-box functions, the whole process", notes, rows)


def compared(
    function: str, n: int, restarts: bool, options: Options, notes: list[str]
) -> list[dict]:
    """-> a row for each side, which take turns seed by seed."""
    seconds: dict[str, list[float]] = {}
    found: dict[str, list[dict]] = {}
    given_up: set[str] = set()
    for seed in range(1, options.rounds + 1):
        with tempfile.TemporaryDirectory() as cache:
            for name, run in sides(function, n, restarts, Path(cache)).items():
                if name in given_up:
                    continue
                time.sleep(PAUSE)
                began = time.perf_counter()
                try:
                    found.setdefault(name, []).append(run(seed))
                except WorkerError as error:
                    notes.append(f"{name} left out: {error}")
                    given_up.add(name)
                    continue
                taken = time.perf_counter() - began
                seconds.setdefault(name, []).append(taken)
                if taken > options.limit:
                    given_up.add(name)
    timings = {name: Timing(taken[0], taken) for name, taken in seconds.items()}
    return [
        {
            "function": function,
            "n": n,
            "restarts": "yes" if restarts else "no",
            "side": name,
            "seconds in all": timing.median,
            "pycma ×": ratio(timing, timings["pycma"]) if "pycma" in timings else None,
            "evaluations": statistics.median(one["evaluations"] for one in found[name]),
            "solved": f"{sum(one['best'] <= TARGET for one in found[name])} of {len(found[name])}",
            "seconds": timing.seconds,
        }
        for name, timing in timings.items()
    ]


def sides(function: str, n: int, restarts: bool, cache: Path) -> dict[str, Run]:
    """-> the programs by name. esrun's second run finds in the `cache` what its first has left."""

    def esrun(seed: int) -> dict:
        with tempfile.TemporaryDirectory() as folder:
            words = [
                *(f"task={function}", f"task.dimension={n}", "policy.low=-5", "policy.high=5"),
                *("strategy=cma_es", "strategy.population_size=auto", "strategy.sigma=2"),
                f"strategy.restarts={'bipop' if restarts else 'null'}",
                *(f"stop.fitness={-TARGET}", f"stop.env_steps={BUDGET * n}"),
                *("generations=1000000", f"seed={seed}", f"hydra.run.dir='{folder}'"),
            ]
            environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
            finished([sys.executable, "-m", "esrun", *words], environment)
            summary = json.loads((Path(folder) / "summary.json").read_text())
        return {"evaluations": summary["evaluations"], "best": -summary["best_fitness"]}

    def peer(package: str) -> Run:
        script = str(Path(__file__).with_name("blackbox_peers.py"))

        def run(seed: int) -> dict:
            arguments = {"function": function, "n": n, "restarts": restarts, "seed": seed}
            arguments |= {"target": TARGET, "budget": BUDGET * n}
            words = [sys.executable, script, package, json.dumps(arguments)]
            return json.loads(finished(words, dict(os.environ)).splitlines()[-1])

        return run

    return {
        "esrun cold": esrun,
        "esrun warm": esrun,
        "pycma": peer("pycma"),
        "cmaes": peer("cmaes"),
    }


def finished(words: list[str], environment: dict[str, str]) -> str:
    """-> what a process has said. Raises WorkerError with its last line where it failed."""
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise WorkerError((done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1])
    return done.stdout
