"""(k) `esrun report` of many runs, which are made up: folders as runs leave them, with scores that
are drawn."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from measure import Options, Table, counted

from esrun.config.check import KINDS
from esrun.config.compose import composed
from esrun.runs.paths import RunFolder
from esrun.runs.record import FORMAT
from esrun.runs.sweep_record import Asked, write

NOTES = ["from process start to its end; runs of 60 generations, 7 held-out evaluations each"]
FIRST, STEPS = -1500.0, 25_600
"""The first policy's score; env steps of a generation."""
FIGURES = ("best_so_far", "fitness_best", "fitness_mean", "fitness_std", "mean_abs_sum", "mean_max",
           "mean_min", "non_finite", "sigma", "step_per_mean", "step_per_sigma", "tied",
           "top_k_mean")  # fmt: skip
"""The others of a line of metrics."""
SETTINGS = [
    [f"strategy={strategy}", f"strategy.sigma={0.01 * 1.3**i:.4g}"]
    for strategy in ("cma_es", "openai_es")
    for i in range(25)
]


def report(options: Options) -> Table:
    """50 settings of 1, 10 and 100 seeds."""
    rows = []
    for seeds in options.size((1, 10, 100), (1, 2)):
        with tempfile.TemporaryDirectory() as place:
            sweep = Path(place) / "sweep"
            made_up(sweep, SETTINGS, range(seeds))

            def seconds(first: bool, sweep: Path = sweep) -> float:
                began = time.perf_counter()
                words = [sys.executable, "-m", "esrun", "report", str(sweep)]
                subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
                return time.perf_counter() - began

            times = counted({"esrun": seconds}, options)["esrun"]
            size = os.path.getsize(sweep / "report" / "index.html")
        rows.append(
            {
                "runs": seeds * len(SETTINGS),
                "seconds": float(np.median(times)),
                "page, KB": size / 1e3,
                "raw": times,
            }
        )
    return Table("The report of a sweep", NOTES, rows)


def made_up(
    sweep: Path,
    settings: Sequence[Sequence[str]],
    seeds: Sequence[int],
    shared: Sequence[str] = ("task=pendulum", "generations=60", "eval.every=10"),
    means: Sequence[float] | None = None,
) -> list[Path]:
    """Make a sweep's folder as if its jobs had run, setting by setting, seed by seed -> their
    folders. Their held-out means are those that are given, or drawn."""
    jobs = []
    sweep.mkdir(parents=True, exist_ok=True)
    for words in settings:
        one = composed([*shared, *words])
        choices = {kind: one.hydra.runtime.choices[kind] for kind in KINDS}
        for seed in seeds:
            overrides = [*words, f"seed={seed}"]
            config = one.config | {"seed": seed}
            jobs.append(Asked(sweep / str(len(jobs)), overrides, config, choices))
    chance = np.random.default_rng(0)
    drawn = -200 - 400 * chance.gamma(2.0, size=len(jobs)) if means is None else means
    for job, mean in zip(jobs, drawn, strict=True):
        _leave(job, float(mean))
    write(sweep, jobs)
    return [job.folder for job in jobs]


def _leave(job: Asked, final: float) -> None:
    """Write what a run leaves: scores that come from FIRST to `final`."""
    folder = RunFolder(job.folder)
    folder.path.mkdir(parents=True, exist_ok=True)
    generations, every = job.config["generations"], job.config["eval"]["every"]
    lines = []
    for g in range(1, generations + 1):
        score = FIRST + (final - FIRST) * g / generations
        has = g % every == 0 or g in (1, generations)
        line = {"generation": g, "evaluations": 32 * g, "env_steps": STEPS * g}
        line |= {"wall_seconds": 0.01 * g, "eval_mean": score if has else None}
        line |= dict.fromkeys(FIGURES, -0.123456789012345) | ({"eval_std": 90.5} if has else {})
        lines.append(json.dumps(line))
    evaluation = {"std": 90.5, "ci95": 15.7, "episodes": job.config["eval"]["episodes"]}
    summary = {
        "format": FORMAT, "status": "done", "stop_reason": "generations",
        "generations": generations, "evaluations": 32 * generations,
        "env_steps": STEPS * generations, "wall_seconds": 0.02 * generations,
        "compile_seconds": 0.5, "eval": {"mean": final} | evaluation,
        "eval_initial": {"mean": FIRST} | evaluation, "num_params": 241,
        "peak_memory_bytes": 2**24,
    }  # fmt: skip
    record = {
        "format": FORMAT, "config": job.config, "choices": job.choices,
        "command": ["esrun", *job.overrides], "versions": {"esrun": "0.1.0", "jax": "0.10.2"},
        "devices": ["cpu:0 cpu"], "platform": "Linux", "git": None,
    }  # fmt: skip
    folder.metrics.write_text("".join(f"{line}\n" for line in lines))
    folder.summary.write_text(json.dumps(summary, indent=2))
    folder.record.write_text(json.dumps(record, indent=2))
