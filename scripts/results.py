"""The table of measured results: what a command reaches, the mean policy on held-out episodes, in
the median and at worst over all of its seeds.

    python scripts/results.py                    # what is missing of all rows, then the tables
    python scripts/results.py catch four_rooms   # of these rows; --seeds 3: of their first seeds
    python scripts/results.py --table            # runs nothing
    python scripts/results.py --check            # three rows drawn by the date, a seed of each

Each seed that has ended is a line of docs/results/ROW.jsonl at once, and is not run again while the
code that computes and the configuration are the same. No seed is left out: one that failed is a
line too. README's table, the headers of conf/experiment/ and docs/reference.md are made from them.
"""

import argparse
import ast
import functools
import hashlib
import json
import math
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from esrun.config.compose import composed
from esrun.runs.same import asked_for

ROOT = Path(__file__).parent.parent
RECORDS, EXPERIMENTS, README = ROOT / "docs/results", ROOT / "conf/experiment", ROOT / "README.md"
REFERENCE = ROOT / "scripts/reference.py"
COMPUTING = ("backend", "policies", "strategies", "tasks", "training")
"""Packages of esrun on which the bits of a run depend."""
ELSE = ("seed", "sweep.", "tune.", "runtime.engine", "runtime.driver", "runtime.worker_blocks")
"""Keys beside those of `runs.same.OWN` that change no bit of a run of one seed."""
TABLE = re.compile(r"(?<=<!-- results -->\n).*?(?=<!-- /results -->)", re.DOTALL)
HEADER = re.compile(r"^# Held-out mean of seeds .*\n# .*\n", re.MULTILINE)
SEEDS = 10
"""Of a row, where it says nothing else."""
DRAWN, LIMIT = 3, 600
"""Rows of a check, and the seconds that it may take."""


class Row(NamedTuple):
    """A row of the table."""

    words: str
    note: str = ""
    """What there is to compare with."""
    seeds: int = SEEDS


ROWS = {
    "pendulum_cma": Row("task=pendulum strategy=cma_es", "the first command"),
    "pendulum_openai": Row("task=pendulum strategy=openai_es", "gymnax-blines: −145, one seed"),
    "cartpole": Row("experiment=cartpole", "500 is the most there is"),
    "acrobot": Row("experiment=acrobot", "gymnax-blines: −80"),
    "pendulum": Row(
        "experiment=pendulum", "−145 over 20,000 starts, where the best of all policies has −137.5"
    ),
    "mountain_car": Row("experiment=mountain_car", "gymnax-blines: −131 (GA), −118 (PPO)"),
    "mountain_car_continuous": Row("experiment=mountain_car_continuous", "gymnax-blines: 95 to 97"),
    "catch": Row("experiment=catch", "1 is the most there is"),
    "deep_sea": Row("experiment=deep_sea", "0.99 is the most; unsolved in gymnax-blines"),
    "discounting_chain": Row("experiment=discounting_chain", "1.1 is the most there is"),
    "umbrella_chain": Row(
        "experiment=umbrella_chain", "all are right; chance moves the mean of 128 by ±0.27"
    ),
    "memory_chain": Row("experiment=memory_chain", "1 is the most; unsolved in gymnax-blines"),
    "four_rooms": Row("experiment=four_rooms", "1 is the most there is"),
    "frozen_lake": Row("experiment=frozen_lake", "0.744 is the best policy's probability"),
    "bernoulli_bandit": Row("experiment=bernoulli_bandit", "gymnax-blines: 89"),
    "point_robot": Row("experiment=point_robot", "gymnax-blines: 10.4"),
    "meta_maze": Row("experiment=meta_maze", "gymnax-blines: 32.4"),
    "breakout": Row("experiment=breakout", "gymnax-blines: 6.5 (evolution), 23 to 43 (PPO)", 3),
    "freeway": Row("experiment=freeway", "gymnax-blines: 57 to 59 (PPO)", 3),
    "asterix": Row("experiment=asterix", "gymnax-blines: 15 to 18 (PPO)", 3),
    "space_invaders": Row("experiment=space_invaders", "gymnax-blines: 128 to 132 (PPO)", 3),
    "swimmer_v5": Row("experiment=swimmer_v5", "rl-zoo's ARS: 355 after 2 M steps"),
    "halfcheetah_v5": Row("experiment=halfcheetah_v5", "rl-zoo's ARS: 4,815 after 12 M steps"),
    "reacher": Row("experiment=reacher"),
    "swimmer": Row("experiment=swimmer", "gymnax's, a point among urchins"),
    "sine": Row("task=sine strategy=openai_es", "minus mean absolute error"),
}


class Key(NamedTuple):
    """What a result depends on beside its seed."""

    config: str
    code: str


def main() -> int:
    """Run what is asked for -> 0, 1 where a sweep or the check fails."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--seeds", type=int, help="the first so many of each row's")
    parser.add_argument("--folder", type=Path, default=ROOT / "outputs/results")
    parser.add_argument("--table", action="store_true", help="run nothing, make the tables")
    parser.add_argument("--check", action="store_true", help="run a few again, and write nothing")
    parser.add_argument(
        "--date", type=date.fromisoformat, default=date.today(), help="that a check draws by"
    )
    options = parser.parse_args()
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"no row {', '.join(sorted(unknown))}: there are {', '.join(ROWS)}")
    if options.seeds is not None and options.seeds < 1:
        parser.error(f"--seeds must be at least 1, got {options.seeds}")
    if options.check:
        return check(options.rows or list(ROWS), options.date.isoformat())
    for name in () if options.table else options.rows or ROWS:
        if run(name, options.seeds or ROWS[name].seeds, options.folder):
            print(f"{name}: its sweep has failed, and no table is made", file=sys.stderr)
            return 1
    for path, text in written():
        path.write_text(text)
    subprocess.run([sys.executable, REFERENCE], check=True)  # it quotes the headers
    stale = [name for name in ROWS if recorded(name) and not newest(name)]
    if stale:
        print(f"no results of what they are now: {', '.join(stale)}", file=sys.stderr)
    return int(bool(stale))


def run(name: str, seeds: int, folder: Path) -> int:
    """Run the seeds of a row that are missing, and record each as it ends -> the sweep's code."""
    key = key_of(ROWS[name].words)
    known = seeds_of(name, key)
    missing = [seed for seed in range(seeds) if seed not in known]
    if not missing:
        return 0
    print(f"{name}: seeds {', '.join(map(str, missing))}", flush=True)
    place = (folder / name / "-".join(key)).resolve()
    sweep = subprocess.Popen(command(ROWS[name].words, missing, place), stdout=subprocess.DEVNULL)
    try:
        while sweep.poll() is None:
            time.sleep(1)
            record(name, place, key, missing)
    finally:
        sweep.wait()  # a Ctrl-C has come to it as well
        record(name, place, key, missing)
    return sweep.returncode


def command(words: str, seeds: Iterable[int], place: Path) -> list[str]:
    """-> the command of a sweep over seeds in a folder."""
    sweep = [f"seed={','.join(map(str, seeds))}", f"hydra.sweep.dir={place}"]
    return [sys.executable, "-m", "esrun", "-m", *words.split(), *sweep]


def record(name: str, place: Path, key: Key, seeds: Iterable[int]) -> None:
    """Add the runs of a folder that have ended and are no lines yet."""
    known = seeds_of(name, key)
    if ended := [x for x in results(place) if x["seed"] in seeds and x["seed"] not in known]:
        RECORDS.mkdir(exist_ok=True)
        with (RECORDS / f"{name}.jsonl").open("a") as file:
            file.writelines(json.dumps(one | key._asdict()) + "\n" for one in ended)


def results(place: Path) -> Iterator[dict[str, Any]]:
    """-> what the runs of a sweep say that have ended, well or not."""
    for path in sorted(place.glob("*/summary.json")):
        summary = json.loads(path.read_text())
        if summary["status"] not in ("done", "failed"):
            continue  # it goes on when it is asked for again
        about = json.loads((path.parent / "run.json").read_text())
        kinds = sorted({device.partition(" ")[2] for device in about["devices"]})
        yield {
            "seed": summary["seed"],
            "score": (summary["eval"] or {}).get("mean") if summary["status"] == "done" else None,
            "episodes": about["config"]["eval"]["episodes"],
            "stop_reason": summary["stop_reason"],
            "generations": summary["generations"],
            "env_steps": summary["env_steps"],
            "seconds": round(summary["wall_seconds"], 1),
            "machine": f"{os.cpu_count()} CPU cores" if kinds == ["cpu"] else ", ".join(kinds),
            "jax": about["versions"]["jax"],
        }


def recorded(name: str) -> list[dict[str, Any]]:
    """-> the lines of a row, oldest first."""
    path = RECORDS / f"{name}.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    try:
        return [json.loads(line) for line in lines]
    except ValueError as error:
        sys.exit(f"{path} is damaged ({error}): mend it, or take it from the repository again")


def seeds_of(name: str, key: Key) -> set[int]:
    """-> the seeds of a row that have ended with such code and configuration."""
    return {x["seed"] for x in recorded(name) if Key(x["config"], x["code"]) == key}


def newest(name: str) -> list[dict[str, Any]]:
    """-> the newest line of each seed among those of the configuration as it is now."""
    config = config_of(ROWS[name].words)
    lines = {x["seed"]: x for x in recorded(name) if x["config"] == config}
    return [lines[seed] for seed in sorted(lines)]


def key_of(words: str) -> Key:
    """-> what the results of a command depend on."""
    return Key(config_of(words), code())


@functools.cache
def config_of(words: str) -> str:
    """-> a digest of all that a command asks for but its seed, as far as bits depend on it."""
    asked = asked_for(composed(words.split()).config)
    asked = {name: value for name, value in asked.items() if not name.startswith(ELSE)}
    return _digest(json.dumps(asked, sort_keys=True, default=str))


def code() -> str:
    """-> a digest of the code that computes, whatever its comments and docstrings say."""
    files = (x for name in COMPUTING for x in sorted((ROOT / "esrun" / name).rglob("*.py")))
    return _digest("".join(ast.dump(_bare(ast.parse(file.read_text()))) for file in files))


def _bare(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [x for x in node.body if not _is_text(x)]
    return tree


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def written() -> Iterator[tuple[Path, str]]:
    """-> the files that quote results, and what is to stand in them: README with its table, the
    experiments with their headers."""
    there = {name: lines for name in ROWS if (lines := newest(name))}
    rows = [f"| {' | '.join(cells(ROWS[name], lines))} |\n" for name, lines in there.items()]
    head = "| command | median | worst | env steps | seconds | |\n|---|---|---|---|---|---|\n"
    table = head + "".join(rows)
    text, found = TABLE.subn(lambda _: table, README.read_text())
    if not found:
        sys.exit(f"{README} has no table: <!-- results --> and <!-- /results -->, a line each")
    yield README, text
    for name, lines in there.items():
        path = EXPERIMENTS / f"{ROWS[name].words.partition('=')[2]}.yaml"
        if ROWS[name].words.startswith("experiment=") and path.exists():
            yield path, with_header(path.read_text(), header(ROWS[name], lines))


def cells(row: Row, lines: list[dict[str, Any]]) -> tuple[str, ...]:
    """-> a row of README's table."""
    seeds = f"{len(lines)} seeds" if len(lines) != SEEDS else ""
    note = "; ".join(x for x in (seeds, row.note) if x)
    return f"`esrun {row.words}`", *scores(lines), *costs(lines), note


def scores(lines: list[dict[str, Any]]) -> tuple[str, str]:
    """-> median and worst of the seeds, where one that failed is worse than any other."""
    found = sorted(float("-inf") if x["score"] is None else x["score"] for x in lines)
    middle = median(found)
    return tuple("failed" if x == float("-inf") else told(x) for x in (middle, found[0]))


def costs(lines: list[dict[str, Any]]) -> tuple[str, str]:
    """-> env steps and seconds of a run, in the median."""
    steps, seconds = (median(x[key] for x in lines) for key in ("env_steps", "seconds"))
    decimals = 0 if seconds >= 10 else 1
    return f"{steps:.2g}".replace("e+0", "e").replace("e+", "e"), f"{seconds:.{decimals}f}"


def told(x: float) -> str:
    """-> a number as the tables tell it."""
    return f"{x:.4g}".replace("-", "−")


def header(row: Row, lines: list[dict[str, Any]]) -> str:
    """-> what an experiment's yaml promises."""
    middle, worst = scores(lines)
    steps, seconds = costs(lines)
    last, seeds = lines[-1], [x["seed"] for x in lines]
    whole = seeds == list(range(len(seeds)))
    told = f"0 to {seeds[-1]}" if whole else ", ".join(map(str, seeds))
    words = f"'seed=range({len(seeds)})'" if whole else f"seed={','.join(map(str, seeds))}"
    cost = f"a run: {steps} env steps, {seconds} s; {last['machine']}, JAX {last['jax']}"
    reached = f"{middle} in the median, {worst} at worst ({last['episodes']} episodes; {cost})"
    return f"# Held-out mean of seeds {told}: {reached}:\n# esrun -m {row.words} {words}\n"


def with_header(text: str, header: str) -> str:
    """-> the text of a yaml with this header in the place of an earlier one, or behind what the
    yaml says first."""
    if HEADER.search(text):
        return HEADER.sub(lambda _: header, text, count=1)
    lines = text.splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    return "".join([*lines[:at], header, *lines[at:]])


def check(names: list[str], day: str) -> int:
    """Run a seed of three rows again -> 1 where one falls outside of what its row states."""
    chance = random.Random(day)
    there = {name: lines for name in names if (lines := newest(name))}
    seconds = {name: median(x["seconds"] for x in lines) for name, lines in there.items()}
    cheap = sorted(name for name, each in seconds.items() if each < LIMIT / DRAWN / 1.5)
    if not cheap:
        print("none of these rows has results, or is short enough", file=sys.stderr)
        return 1
    ends, code = time.monotonic() + LIMIT, 0
    for name in chance.sample(cheap, min(DRAWN, len(cheap))):
        lines = there[name]
        stated = [-math.inf if x["score"] is None else x["score"] for x in lines]
        seed = chance.choice(sorted(x["seed"] for x in lines))
        score = again(ROWS[name].words, seed, ends - time.monotonic())
        holds = score is not None and min(stated) <= score <= max(stated)
        said = f"{told(min(stated))} to {told(max(stated))}"
        found = "failed" if score is None else told(score)
        print(
            f"{name}, seed {seed}: {found}, stated {said}{'' if holds else ': OUTSIDE'}", flush=True
        )
        code = max(code, int(not holds))
    return code


def again(words: str, seed: int, seconds: float) -> float | None:
    """-> the score of a run in a folder of its own, None where it fails or takes too long."""
    with tempfile.TemporaryDirectory() as folder, suppress(subprocess.TimeoutExpired):
        sweep = command(words, [seed], Path(folder) / "sweep")
        subprocess.run(sweep, stdout=subprocess.DEVNULL, timeout=max(seconds, 0), check=False)
        return next((x["score"] for x in results(Path(folder) / "sweep")), None)
    return None


if __name__ == "__main__":
    sys.exit(main())
