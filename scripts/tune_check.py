"""Whether `esrun tune` finds back what was put wrong: sigma and the learning rate of openai_es ten
times too large, on cartpole and pendulum, against random search with the same budget.

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
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import yaml

from esrun.config.compose import composed
from esrun.runs.sweep_record import search

WRONG, AROUND = 10, 30
"""How wrong the two keys are, and how far the space reaches around what is wrong."""
KEYS = ("strategy.sigma", "strategy.learning_rate")
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
    wrong = {key: WRONG * config[key.partition(".")[2]] for key in KEYS}
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
    option = yaml.safe_load((place / "conf/experiment/tuned.yaml").read_text())["strategy"]
    best = [f"{key}={option[key.partition('.')[2]]}" for key in KEYS]
    tuned = list(scores(words, best, fresh, place, "best"))
    default = list(scores(words, [], fresh, asked.out / f"{task}-{seed}", "default"))
    top, right, start = (
        median(x) for x in ([a for a, _ in tuned], [a for a, _ in default], [b for _, b in default])
    )
    count = sum(1 for path in (place / ".trials").glob("[0-9]*.lock"))
    share = (top - start) / (right - start)
    return Found(task, sampler, seed, seconds, count, share, top, right, start)


def scores(
    words: list[str], own: list[str], seeds: list[int], place: Path, name: str
) -> Iterator[tuple[float, float]]:
    """Train a setting -> (held-out mean at the end, and before the first generation), by seed."""
    sweep = place / name
    own_seeds = f"seed={','.join(map(str, seeds))}"
    plain = [word for word in words if not word.startswith("seed=")]
    esrun("-m", *plain, *own, own_seeds, f"hydra.sweep.dir={sweep}")
    for path in sorted(sweep.glob("*/summary.json")):
        summary = json.loads(path.read_text())
        yield summary["eval"]["mean"], summary["eval_initial"]["mean"]


def esrun(*words: str) -> None:
    """Run a command, which must end well."""
    subprocess.run([sys.executable, "-m", "esrun", *words], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
