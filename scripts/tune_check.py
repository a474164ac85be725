"""Whether `esrun tune` finds back what was put wrong: sigma of openai_es ten times too large and
its learning rate ten times too small, on cartpole and pendulum, against random search with the same
budget. (Wrong in other ways, cartpole is solved all the same.)

    python scripts/tune_check.py                            # five studies a task, 8 minutes each
    python scripts/tune_check.py --tasks cartpole --studies 1 --seconds 120

Each study begins at another seed. Its best setting, that of a random search (without rungs) and the
task's own default are compared on seeds that no trial had. A score is told as a share of the way
from an untrained policy to the default.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from esrun.config.compose import composed
from esrun.runs.sweep_record import search
from esrun.runs.tuning.journal import best as chosen
from esrun.runs.tuning.journal import loaded, run_name

WRONG, AROUND = (10, 0.1), 30
"""How wrong the two keys are, and how far the space reaches around what is wrong."""
KEYS = ("strategy.sigma", "strategy.learning_rate")
"""In the order of `WRONG`."""
APART = 1000
"""Between the seeds of two studies."""
SEARCHES = {"tpe": [], "random": ["tune.sampler=random", "tune.pruner=none"]}


class Found(NamedTuple):
    """What came of a study."""

    task: str
    sampler: str
    seed: int
    seconds: float
    trials: int
    share: float
    """Of the way from an untrained policy to the default, in the median of fresh seeds."""
    best: float
    default: float
    untrained: float


def main() -> int:
    """Run the studies, and print the table -> 0 where all that is asked of them holds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", nargs="+", default=["cartpole", "pendulum"])
    parser.add_argument("--studies", type=int, default=5)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--out", type=Path, default=Path("tune_check"))
    asked = parser.parse_args()
    holds = True
    for task in asked.tasks:
        found: dict[str, list[Found]] = {sampler: [] for sampler in SEARCHES}
        for i in range(asked.studies):
            for sampler in SEARCHES:
                one = study(task, sampler, i * APART, asked)
                found[sampler].append(one)
                print("  ".join(f"{k}={x:.4g}" if isinstance(x, float) else f"{k}={x}"
                                for k, x in one._asdict().items()), flush=True)  # fmt: skip
        tuned, drawn = (median(x.share for x in found[name]) for name in SEARCHES)
        print(f"{task}: tpe {tuned:.3f} of the default, random {drawn:.3f}", flush=True)
        holds = holds and tuned >= 0.95 and tuned >= drawn
    return 0 if holds else 1


def study(task: str, sampler: str, seed: int, asked: argparse.Namespace) -> Found:
    """-> what a search from the wrong setting finds."""
    words = [f"task={task}", "strategy=openai_es", f"seed={seed}"]
    config = composed(words).config["strategy"]
    wrong = {key: by * config[key.partition(".")[2]] for key, by in zip(KEYS, WRONG, strict=True)}
    place = asked.out / f"{task}-{sampler}-{seed}"
    began = time.monotonic()
    esrun(
        *("tune", *words),
        *(f"{key}={value}" for key, value in wrong.items()),
        *(f"{key}=tag(log,interval({x / AROUND:g},{x * AROUND:g}))" for key, x in wrong.items()),
        *SEARCHES[sampler],
        f"tune.trials={asked.trials}",
        f"tune.seconds={asked.seconds}",
        f"hydra.sweep.dir={place}",
    )
    seconds = time.monotonic() - began
    fresh = (search(place.resolve()) or {})["fresh_seeds"]
    best = chosen(loaded(place))
    assert best is not None
    default = asked.out / f"{task}-{seed}"
    if not default.exists():
        seeds = ",".join(map(str, fresh))
        esrun("-m", *words[:-1], f"seed={seeds}", f"hydra.sweep.dir={default}")
    tuned = [summary(place / run_name(best.number, seed)) for seed in fresh]
    right = [summary(default / str(i)) for i in range(len(fresh))]
    top, goal = (median(x["eval"]["mean"] for x in runs) for runs in (tuned, right))
    start = median(x["eval_initial"]["mean"] for x in right)
    count = sum(1 for path in (place / ".trials").glob("[0-9]*.lock"))
    share = (top - start) / (goal - start)
    return Found(task, sampler, seed, seconds, count, share, top, goal, start)


def summary(run: Path) -> dict:
    """-> what a run says of itself."""
    return json.loads((run / "summary.json").read_text())


def esrun(*words: str) -> None:
    """Run a command, which must end well."""
    subprocess.run([sys.executable, "-m", "esrun", *words], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
