"""The sine tutorial's stages with its own settings, seeds 0 to 4, beside what it says of them, as
Markdown: docs/tutorial_story.md has the tables.

    python scripts/tutorial_story.py [STAGE ...] [--seeds N] [--folder DIR]

Runs that are there already in the folder are not run again.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

PLAIN = (
    "experiment=sine_advanced", "strategy.optimizer=sgd", "strategy.learning_rate=0.00042",
    "strategy.weight_decay=0",
)  # fmt: skip
"""advanced.py before Adam, its sum over 64 pairs with simple.py's factor of .007 / (64 * .03):
.007 * .03 * 2 of esrun's gradient."""
STAGES = {
    "simple": ["experiment=sine_simple"],
    "ranks": [
        *PLAIN, "strategy.fitness_decay=null", "strategy.fitness_decay_coefficient=null"
    ],
    "decay": [*PLAIN, "strategy.fitness_decay=divide_l1"],
    "advanced": ["experiment=sine_advanced"],
    "parallel": ["experiment=sine_parallel"],
}  # fmt: skip
OTHERS = {
    # the text's sum without the factor: .03^2 * 128 of esrun's gradient
    "decay, as printed": [*STAGES["decay"], "strategy.learning_rate=0.1152"],
    "parallel, .0434": ["experiment=sine_parallel", "strategy.weight_decay=0.0434"],
    "parallel, schedules": [
        "experiment=sine_parallel", "strategy.learning_rate_decay=0.9995",
        "strategy.learning_rate_limit=0.0001", "strategy.sigma_decay=0.9998",
        "strategy.sigma_limit=0.003",
    ],
}  # fmt: skip
"""What the tutorial does not show; only where they are named."""
ALL = STAGES | OTHERS
MUCH = 0.1
"""A total weight that changes by less than this share changes little."""


class Ran(NamedTuple):
    """One run."""

    error: float
    """Held-out mean absolute error of the last mean policy."""
    best: float
    """The same of the one with the best held-out score, on episodes that did not choose it."""
    weight: tuple[float, float]
    """Total weight, the sum of |w|, after the first generation and after the last."""
    extremes: tuple[float, float]
    """Least and greatest parameter after the last generation."""
    largest: float
    """Largest |w| after the first."""
    seconds: float

    @property
    def change(self) -> float:
        """Of the total weight, as a share."""
        return self.weight[1] / self.weight[0] - 1


class Claim(NamedTuple):
    """What the tutorial says of a stage."""

    stage: str
    says: str
    tested: str
    holds: Callable[[Ran, dict[str, Ran]], bool]
    """(the run, those of the same seed in all stages) -> whether it holds for that seed."""


CLAIMS = [
    Claim(
        "simple", "some parameters grow large", "largest size > at first",
        lambda own, _: max(map(abs, own.extremes)) > own.largest,
    ),
    Claim(
        "decay", "the total weight changes little", f"by less than {MUCH:.0%}",
        lambda own, _: abs(own.change) < MUCH,
    ),
    Claim(
        "advanced", "Adam ends with a better error", "error < that of decay",
        lambda own, others: own.error < others["decay"].error,
    ),
    Claim(
        "advanced", "and with much larger parameters, decay or not", f"total weight + {MUCH:.0%}",
        lambda own, _: own.change > MUCH,
    ),
    Claim(
        "parallel", "batches make it a little worse", "error of 1 to 2 times advanced's",
        lambda own, others: 1 < own.error / others["advanced"].error < 2,
    ),
    Claim(
        "parallel", "the total weight shrinks a lot", f"total weight - {MUCH:.0%}",
        lambda own, _: own.change < -MUCH,
    ),
]  # fmt: skip


def ran(folder: Path, best: float) -> Ran:
    """-> what is told of a finished run, whose `best` policy has that error."""
    summary = json.loads((folder / "summary.json").read_text())
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    first, last = json.loads(lines[0]), json.loads(lines[-1])
    return Ran(
        error=summary["eval"]["absolute_error"],
        best=best,
        weight=(first["mean_abs_sum"], last["mean_abs_sum"]),
        extremes=(last["mean_min"], last["mean_max"]),
        largest=max(-first["mean_min"], first["mean_max"]),
        seconds=summary["wall_seconds"],
    )


def runs_of(stage: str, seeds: int, folder: Path) -> list[Ran]:
    """-> the runs of all seeds, in their order."""
    place = (folder / stage.replace(", ", "-").replace(" ", "-")).resolve()
    sweep = [sys.executable, "-m", "esrun", "-m", *ALL[stage], f"seed=range({seeds})"]
    sweep += ["runtime.devices=1"]  # beside other work two would wait for each other
    subprocess.run([*sweep, f"hydra.sweep.dir={place}"], check=True, stdout=subprocess.DEVNULL)
    folders = [place / str(seed) for seed in range(seeds)]
    words = [sys.executable, "-m", "esrun", "eval", *map(str, folders), "--best", "--json"]
    told = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
    best = [one["absolute_error"] for one in json.loads(told)]
    return [ran(*pair) for pair in zip(folders, best, strict=True)]


def row(stage: str, runs: list[Ran]) -> str:
    """-> a line of the table."""
    errors, best = [run.error for run in runs], [run.best for run in runs]
    first, last = (statistics.median(run.weight[i] for run in runs) for i in (0, 1))
    cells = [
        stage,
        f"{statistics.median(errors):.5f}",
        f"{max(errors):.5f}",
        f"{statistics.median(best):.5f}",
        f"{max(best):.5f}",
        f"{first:.0f}",
        f"{last:.0f}",
        f"{min(run.extremes[0] for run in runs):.2f}",
        f"{max(run.extremes[1] for run in runs):.2f}",
        f"{statistics.median(run.seconds for run in runs):.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Run what is missing, print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stages", nargs="*", metavar="STAGE", help="; ".join(ALL))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("outputs/tutorial_story"))
    options = parser.parse_args()
    unknown = set(options.stages) - set(ALL)
    if unknown:
        parser.error(f"no stage {', '.join(sorted(unknown))}: there are {'; '.join(ALL)}")
    header = ["stage", "error, median", "worst", "of the best mean, median", "worst"]
    header += ["total weight, first", "last", "least parameter", "greatest", "seconds"]
    print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}", flush=True)
    found = {}
    for stage in options.stages or STAGES:
        found[stage] = runs_of(stage, options.seeds, options.folder)
        print(row(stage, found[stage]), flush=True)
    if not set(STAGES) <= set(found):
        return 0
    print(f"\n| stage | the tutorial says | tested as | seeds |\n|{'---|' * 4}")
    for claim in CLAIMS:
        of_seed = [{name: runs[i] for name, runs in found.items()} for i in range(options.seeds)]
        held = sum(claim.holds(others[claim.stage], others) for others in of_seed)
        print(f"| {claim.stage} | {claim.says} | {claim.tested} | {held} of {options.seeds} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
