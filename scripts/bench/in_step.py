"""(o) Processes in step: what a second one, on a core of its own, costs a generation.

The whole command, with one process on one core, and with two that are each kept to a core; what a
generation takes is read off `metrics.jsonl`, between two lines of the run's steady state.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import Options, Table
from worker import WorkerError

from esrun.backend.relay import free_port

TINY = ("task=sphere", "strategy=openai_es", "strategy.population_size=16")
LARGER = ("task=pendulum", "strategy=openai_es", "strategy.population_size=256")
RUNS = {"sphere, 16 members": (TINY, 20_000), "pendulum, 256 members": (LARGER, 200)}
QUICK = 20
"""Generations that have a steady state, of a test of the script."""
SETTLED = 0.25
"""Of the generations, after which a run counts as steady."""
NOTES = [
    "ms: of a generation, metrics and checkpoints included; medians of the rounds, in turn",
    "each process is kept to one core (taskset), so the second one brings a core with it",
]


def hosts(options: Options) -> Table:
    """A row for every run."""
    rows = []
    for name, (words, generations) in RUNS.items():
        took, long = {1: [], 2: []}, options.generations or options.size(generations, QUICK)
        for _ in range(options.rounds):
            for count, seconds in took.items():
                seconds.append(generation_of(words, long, count))
        one, two = (1e3 * statistics.median(took[count]) for count in (1, 2))
        rows.append({
            "run": name,
            "one process, ms": one,
            "two, ms": two,
            "two cost, ms": two - one,
            "times as fast": one / two,
            "raw": [*took[1], *took[2]],
        })  # fmt: skip
    return Table("Processes in step, one machine", NOTES, rows)


def generation_of(words: tuple[str, ...], generations: int, count: int) -> float:
    """-> the seconds of a generation, of so many processes."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < count:
        raise WorkerError(f"{count} processes want as many cores, and here are {len(cores)}")
    with tempfile.TemporaryDirectory() as folder:
        line = [*words, f"generations={generations}", f"eval.every={generations}"]
        line.append("hydra.run.dir=run")
        address = f"127.0.0.1:{free_port()}"
        begun = [
            subprocess.Popen(
                ["taskset", "-c", str(cores[i]), sys.executable, "-m", "esrun", *line]
                + ([f"runtime.hosts={address}/{i}/{count}"] if count > 1 else []),
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for i in range(count)
        ]
        try:
            said = [process.communicate()[1] for process in begun]
        finally:
            for process in begun:
                process.kill()
        if any(process.returncode for process in begun):
            raise WorkerError((said[0].strip().splitlines() or ["it failed"])[-1])
        lines = Path(folder, "run", "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    first, last = rows[int(SETTLED * len(rows))], rows[-2]
    return (last["wall_seconds"] - first["wall_seconds"]) / (
        last["generation"] - first["generation"]
    )
