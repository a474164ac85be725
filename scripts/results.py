"""The table of measured results: every row a command, run with seeds 0 to 4, its held-out figure as
median and range.

    python scripts/results.py [ROW ...] [--seeds N] [--folder DIR]

Runs that are there already in the folder are not run again.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

ROWS = {
    "pendulum-cma": ["task=pendulum", "strategy=cma_es"],
    "pendulum-openai": ["task=pendulum", "strategy=openai_es"],
    "cartpole": ["task=cartpole", "strategy=openai_es"],
    "acrobot": ["task=acrobot", "strategy=openai_es"],
    "mountain_car_continuous": [
        "task=mountain_car_continuous",
        "strategy=cma_es",
        "strategy.sigma=0.6",
    ],
    "catch": ["task=catch", "strategy=openai_es"],
    "four_rooms": ["task=four_rooms", "strategy=openai_es"],
    "umbrella_chain": ["task=umbrella_chain", "strategy=openai_es"],
    "discounting_chain": ["task=discounting_chain", "strategy=openai_es"],
    "memory_chain": ["task=memory_chain", "strategy=openai_es"],
    "memory": ["experiment=memory"],
    "sine": ["task=sine", "strategy=openai_es"],
}


def main() -> int:
    """Run what is missing, print the table as Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("outputs/results"))
    options = parser.parse_args()
    unknown = set(options.rows) - set(ROWS)
    if unknown:
        parser.error(f"no row {', '.join(sorted(unknown))}: there are {', '.join(ROWS)}")
    print("| command | held-out, median | range | seconds a run |\n|---|---|---|---|", flush=True)
    for name in options.rows or ROWS:
        folder = (options.folder / name).resolve()
        seeds = f"seed=range({options.seeds})"
        command = [
            sys.executable,
            "-m",
            "esrun",
            "-m",
            *ROWS[name],
            seeds,
            f"hydra.sweep.dir={folder}",
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found = [json.loads(path.read_text()) for path in sorted(folder.glob("*/summary.json"))]
        means = sorted(summary["eval"]["mean"] for summary in found)
        seconds = statistics.median(summary["wall_seconds"] for summary in found)
        row = [
            f"`esrun {' '.join(ROWS[name])}`",
            f"{statistics.median(means):.4g}",
            f"{means[0]:.4g} to {means[-1]:.4g}",
        ]
        print(f"| {' | '.join(row)} | {seconds:.0f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
