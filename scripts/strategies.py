"""Which strategy for what: each with its defaults on two control tasks and three functions, as
Markdown.

    python scripts/strategies.py [STRATEGY ...] [--seeds N] [--folder DIR]

CartPole and Pendulum: held-out return of the mean policy, median and range over seeds. Functions:
median of the evaluations to a value of 1e-8 in float64 from U(-4, 4) with step size 1, or the value
that the budget led to. Runs that are there already in the folder are not run again.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from esrun.config.check import checked
from esrun.config.compose import composed, options
from esrun.training.build import build
from esrun.training.loop import advance_until

STRATEGIES = [name for name in options("strategy") if name != "evosax"]
CONTROL = ("cartpole", "pendulum")
FUNCTIONS = (("ellipsoid", 20), ("rosenbrock", 20), ("sphere", 100))
BUDGET = 100_000
"""Evaluations."""
SETTINGS = (
    "policy.low=-4", "policy.high=4", "strategy.sigma=1.0", "runtime.precision=float64",
    "runtime.devices=1", "stop.fitness=-1e-8", f"stop.env_steps={BUDGET}",
    f"generations={2**31 - 1}", f"eval.every={2**31 - 1}", "eval.episodes=2",
)  # fmt: skip


def controlled(strategy: str, task: str, seeds: int, folder: Path) -> str:
    """-> the cell of a control task."""
    sweep = (folder / f"{task}-{strategy}").resolve()
    command = [
        sys.executable,
        "-m",
        "esrun",
        "-m",
        f"task={task}",
        f"strategy={strategy}",
        f"seed=range({seeds})",
    ]
    subprocess.run([*command, f"hydra.sweep.dir={sweep}"], check=True, stdout=subprocess.DEVNULL)
    found = [json.loads(path.read_text()) for path in sorted(sweep.glob("*/summary.json"))]
    means = sorted(summary["eval"]["mean"] for summary in found)
    return f"{statistics.median(means):.4g} ({means[0]:.4g} to {means[-1]:.4g})"


def minimised(strategy: str, function: str, dimension: int, seeds: int) -> str:
    """-> the cell of a function."""
    outcomes = []
    for seed in range(seeds):
        task = [
            f"task={function}",
            f"task.dimension={dimension}",
            f"strategy={strategy}",
            f"seed={seed}",
        ]
        run = build(checked(composed([*task, *SETTINGS]).config))
        outcomes.append(advance_until(run.program, run.hyper, run.config, lambda progress: None))
    if sum(outcome.reason.name == "fitness" for outcome in outcomes) > seeds / 2:
        return f"{statistics.median(outcome.progress.evaluations for outcome in outcomes):.0f}"
    return f"f = {statistics.median(-outcome.progress.best_fitness for outcome in outcomes):.2g}"


def main() -> None:
    """Run what is missing, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "strategies", nargs="*", metavar="STRATEGY", default=STRATEGIES, help=", ".join(STRATEGIES)
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("outputs/strategies"))
    options = parser.parse_args()
    columns = [
        "strategy",
        *CONTROL,
        *(f"{function} {dimension}" for function, dimension in FUNCTIONS),
    ]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    for strategy in options.strategies:
        cells = [controlled(strategy, task, options.seeds, options.folder) for task in CONTROL]
        cells += [
            minimised(strategy, function, dimension, options.seeds)
            for function, dimension in FUNCTIONS
        ]
        print(f"| `{strategy}` | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
