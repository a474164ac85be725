"""The grid of the blog "Evolving Neural Networks in JAX" (Lange 2021): sweeps around
`experiment=pendulum_blog`, their picture and the tables of docs/blog.md.

    python scripts/blog.py [PART ...] [--folder DIR]

What is there already in the folder is not run again. PART is one of grid, episodes, seeds and page,
all of them unless it is said; `page` draws and writes from what is there. Seconds mean something on
a quiet machine alone: python scripts/blog.py seeds page
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from scipy.stats import mannwhitneyu

from esrun.results.panels import Panel, panels_of
from esrun.results.report.jobs import jobs_of

ESRUN = [sys.executable, "-m", "esrun"]
PAGE = Path(__file__).parent.parent / "docs" / "blog.md"
PICTURE = PAGE.parent / "pictures" / "blog_grid.png"
EXPERIMENT = "experiment=pendulum_blog"
SEEDS = 10
COST = 124
"""Which the blog's notebook reaches after 195 generations (123.69)."""
SWEEPS = {
    "grid": (
        ["policy.hidden=[16],[32],[48],[96],[160]"],
        ["strategy.parents=10,30,50,70,100"],
        ["strategy.c_m=0.1,0.5,1.0,1.4,2.0"],
        ["policy.hidden=[160]", "strategy.population_size=100,200,400"],
    ),
    "episodes": (["task.episodes=50"],),  # as many as the blog's notebook plays
}
"""By the folder of the sweep: what is typed besides experiment and seeds. Commands of one folder
share the jobs that they have in common."""
KEYS = ("policy.hidden", "strategy.parents", "strategy.c_m", "strategy.population_size")
BLOG = {
    "policy.hidden": {"[16]": 122, "[32]": 128, "[48]": 152, "[96]": 179, "[160]": 246},
    "strategy.parents": {"10": 768, "30": 560, "50": 134, "70": 385, "100": 570},
    "strategy.c_m": {"0.5": 187, "1.4": 129, "2.0": 120},
}
"""Costs, read off the bars of the blog's figure; that of c_m 0.1 leaves its axis at 500."""
PAIRS = (
    ("policy.hidden", "[16]", "[160]"),
    ("strategy.parents", "50", "10"),
    ("strategy.parents", "50", "30"),
    ("strategy.parents", "50", "70"),
    ("strategy.parents", "50", "100"),
    ("strategy.c_m", "1.0", "0.1"),
    ("strategy.c_m", "1.0", "0.5"),
    ("strategy.c_m", "1.0", "1.4"),
    ("strategy.c_m", "1.0", "2.0"),
    ("strategy.population_size", "100", "200"),
    ("strategy.population_size", "100", "400"),
)


def swept(folder: Path, words: Sequence[str]) -> None:
    """Run what is missing of a sweep."""
    seeds = f"seed=range({SEEDS})"
    command = [*ESRUN, "-m", EXPERIMENT, *words, seeds, f"hydra.sweep.dir={folder}"]
    subprocess.run([*command, "resume=auto"], check=True, stdout=subprocess.DEVNULL)


def timed(folder: Path) -> None:
    """Run the experiment's seeds, each in a process of its own, and note the seconds from its start
    to its end."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(SEEDS):
        if (folder / f"{seed}.json").exists():
            continue
        words = [EXPERIMENT, f"seed={seed}", f"hydra.run.dir={folder / str(seed)}"]
        start = time.perf_counter()
        subprocess.run([*ESRUN, *words], check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
        (folder / f"{seed}.json").write_text(json.dumps({"seconds": seconds}))


def costs(panels: Sequence[Panel]) -> dict[tuple[str, str], list[float]]:
    """-> by key and value the costs of the seeds, in the order of the seeds."""
    return {
        (panel.key, point.text): [-x for x in point.scores.tolist()]
        for panel in panels
        for point in panel.points
    }


def grid_tables(folder: Path) -> dict[str, str]:
    """-> the table of all settings, and that of the pairs that the findings are about."""
    jobs = jobs_of([str(folder)]).jobs
    best, held_out = (costs(panels_of(jobs, KEYS, score)) for score in ("best_fitness", "eval"))
    rows = [f"| key | value | at most {COST} | best-ever cost, median | worst | held-out cost, "
            "median | worst | the blog's figure, about |", f"|{'---|' * 8}"]  # fmt: skip
    for (key, value), own in best.items():
        said = BLOG.get(key, {}).get(value, "")
        reached = f"{sum(x <= COST for x in own)} of {len(own)}"
        numbers = [f"{f(x):.0f}" for x in (own, held_out[key, value]) for f in (median, max)]
        rows.append(f"| `{key}` | {value} | {reached} | {' | '.join(numbers)} | {said} |")
    tests = ["| key | values | median best-ever costs | p | median held-out costs | p |",
             f"|{'---|' * 6}"]  # fmt: skip
    for key, one, other in PAIRS:
        cells = []
        for of in (best, held_out):
            x, y = of[key, one], of[key, other]
            p = mannwhitneyu(x, y, method="exact").pvalue
            cells.append(f"{median(x):.0f}, {median(y):.0f} | {p:.2g}")
        tests.append(f"| `{key}` | {one}, {other} | {' | '.join(cells)} |")
    return {"grid": "\n".join(rows), "pairs": "\n".join(tests)}


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def seeds_table(folder: Path) -> str:
    """-> a row for each run of the experiment, by seed, with the seconds where they were noted."""
    rows = {}
    for path in folder.glob("*/summary.json"):
        one = json.loads(path.read_text())
        noted = path.parent.with_suffix(".json")
        seconds = [json.loads(noted.read_text())["seconds"]] if noted.exists() else []
        rows[one["seed"]] = [-one["best_fitness"], -one["eval"]["mean"], *seconds]
    columns = list(zip(*rows.values(), strict=True))
    names = ["seed", "best-ever cost", "held-out cost", "seconds"][: len(columns) + 1]
    reached = f"{sum(x <= COST for x in columns[0])} of {len(rows)}"
    table = [
        names,
        ["---"] * len(names),
        *([str(seed), *(f"{x:.1f}" for x in rows[seed])] for seed in sorted(rows)),
        ["median", *(f"{median(x):.1f}" for x in columns)],
        [f"at most {COST}", reached, *[""] * (len(columns) - 1)],
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in table)


def page(folder: Path) -> None:
    """Draw the picture, and put the tables of what is there between the page's marks."""
    tables = {}
    if (folder / "grid").exists():
        command = [*ESRUN, "plot", str(folder / "grid"), "--over", ",".join(KEYS)]
        words = ["--y", "best_fitness", "-o", str(PICTURE)]
        subprocess.run([*command, *words], check=True)
        tables = grid_tables(folder / "grid")
    for part in ("seeds", "episodes"):
        if (folder / part).exists():
            tables[part] = seeds_table(folder / part)
    text = PAGE.read_text()
    for name, table in tables.items():
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->\n")
        text = f"{before}{mark}{table}\n{end}{after}"
    PAGE.write_text(text)


def main() -> None:
    """Run what is missing, write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = (*SWEEPS, "seeds", "page")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(parts))
    parser.add_argument("--folder", type=Path, default=Path("outputs/blog"))
    options = parser.parse_args()
    if unknown := set(options.parts) - set(parts):
        parser.error(f"no part {', '.join(sorted(unknown))}: there are {', '.join(parts)}")
    folder = options.folder.resolve()
    for part in options.parts or parts:
        for words in SWEEPS.get(part, ()):
            swept(folder / part, words)
        if part == "seeds":
            timed(folder / part)
        if part == "page":
            page(folder)


if __name__ == "__main__":
    main()
