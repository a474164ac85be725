"""Evaluations that CMA-ES needs on BBOB functions beside those published for BIPOP-CMA-ES (Hansen
2009), as Markdown.

    python scripts/bbob.py [KEY=VALUE ...] [--table NAME] [--functions 1 8 ...] [--dimensions 5 10
    20] [--trials 15]

A trial has its own instance and seed, starts in U(-4, 4) with step size 2 as the published ones do,
and ends when a member comes within 1e-8 of the optimum or the budget is spent. The published counts
are in the data of the package cocopp: pip install 'esrun[bbob,bench]'.
"""

import argparse
import functools
import gzip
import importlib.util
import pickle
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from esrun.config.check import checked
from esrun.config.compose import composed
from esrun.training.build import build
from esrun.training.restarts import search_until


class Table(NamedTuple):
    functions: tuple[int, ...]
    budget: int
    """Evaluations a dimension after which a trial gives up."""
    overrides: tuple[str, ...] = ()


TABLES = {
    "single": Table((1, 2, 5, 8, 10), 10_000),  # one search is enough, but for some on f8
    "multimodal": Table((3, 15, 20, 22), 50_000),
}

SETTINGS = (
    "strategy=cma_es",
    "strategy.population_size=auto",
    "strategy.sigma=2",
    "strategy.restarts=bipop",
    "runtime.precision=float64",
    "runtime.devices=1",  # a generation is too little work to share
    "stop.fitness=-1e-8",
    f"generations={2**31 - 1}",
    f"eval.every={2**31 - 1}",
    "eval.episodes=2",
)


class Counts(NamedTuple):
    """What the trials of one function took."""

    evaluations: np.ndarray  # [trials] to the target, all that there were where it was not reached
    solved: np.ndarray  # [trials] bool

    def median(self) -> float:
        return float(np.median(np.where(self.solved, self.evaluations, np.inf)))

    def expected(self) -> float:
        """BBOB's expected running time: all evaluations, the failures' too, for every success."""
        return (
            float(np.sum(self.evaluations) / np.sum(self.solved)) if self.solved.any() else np.inf
        )

    def row(self) -> str:
        needed = self.evaluations[self.solved]
        extremes = f"{needed.min():.0f} to {needed.max():.0f}" if len(needed) else "–"
        solved = f"{len(needed)} of {len(self.solved)}"
        return f"{self.median():.0f} | {extremes} | {solved} | {self.expected():.0f}"


def measured(table: Table, function: int, dimension: int, trials: int) -> Counts:
    def trial(number):
        task = [
            "task=bbob",
            f"task.function={function}",
            f"task.dimension={dimension}",
            f"task.instance={number}",
        ]
        limits = [f"seed={number}", f"stop.env_steps={table.budget * dimension}"]
        run = build(checked(composed([*task, *limits, *SETTINGS, *table.overrides]).config))
        outcome = search_until(run, lambda progress: None)
        # a step is an evaluation, and a run ends with the generation that reaches the target
        return outcome.progress.env_steps, outcome.reason.name == "fitness"

    evaluations, solved = zip(*map(trial, range(1, trials + 1)), strict=True)
    return Counts(np.array(evaluations), np.array(solved))


class Arrays(pickle.Unpickler):
    """Loads numbers and NumPy's arrays and nothing else."""

    def find_class(self, module_name, global_name):
        if module_name.partition(".")[0] != "numpy" or global_name not in (
            "ndarray",
            "dtype",
            "_reconstruct",
        ):
            raise pickle.UnpicklingError(f"{module_name}.{global_name} is no part of an array")
        return super().find_class(module_name, global_name)


@functools.cache
def _bipop() -> dict:
    found = importlib.util.find_spec("cocopp")
    if found is None or found.origin is None:
        sys.exit("scripts/bbob.py needs the package cocopp: pip install 'esrun[bench]'")
    with gzip.open(Path(found.origin).parent / "pprldistr2009_1e-8.pickle.gz") as file:
        return Arrays(file, encoding="latin1").load()["BIPOP-CMA-ES"]


def published(function: int, dimension: int) -> Counts:
    """BIPOP-CMA-ES in the data of BBOB-2009, 15 trials."""
    (_, *reached), lengths = _bipop()[function][
        dimension
    ]  # of each trial: evaluations to 1e-8 or NaN, and in all
    solved = np.isfinite(reached)
    return Counts(np.where(solved, reached, lengths), solved)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="of the configuration")
    parser.add_argument("--table", choices=TABLES, default="single")
    parser.add_argument(
        "--functions", type=int, nargs="+", metavar="F", help="default: the table's"
    )
    parser.add_argument("--dimensions", type=int, nargs="+", metavar="D", default=[5, 10, 20])
    parser.add_argument("--trials", type=int, default=15)
    options = parser.parse_args()
    table = TABLES[options.table]
    table = table._replace(overrides=(*table.overrides, *options.overrides))
    columns = "median | range | solved | expected"
    print(
        f"| f | D | {columns} | BIPOP: {columns} | ratio of medians | of expected |\n|{'---|' * 12}"
    )
    for function in options.functions or table.functions:
        for dimension in options.dimensions:
            bipop = published(function, dimension)
            ours = measured(table, function, dimension, options.trials)
            ratios = (
                f"{ours.median() / bipop.median():.2f} | {ours.expected() / bipop.expected():.2f}"
            )
            print(
                f"| f{function} | {dimension} | {ours.row()} | {bipop.row()} | {ratios} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
