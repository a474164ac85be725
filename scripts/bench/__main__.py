"""Measure esrun beside its peers: `python scripts/bench [CASE ...]`, all cases unless some are
named.

Prints a table for each; `--json FILE` keeps every figure with the raw seconds, `--figure FILE`
draws throughput by population. The peers come with `pip install 'esrun[bench]'`; one that is
missing is left out.
"""

import argparse
import json
import platform
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from asktell import asktell
from blackbox import blackbox
from checkpoints import checkpoints, memory
from command import command
from far import far
from growth import growth
from hosted import hosted
from idle import idle
from in_step import hosts
from large import large
from measure import Options, Table
from report import report
from rich.console import Console
from rich.table import Table as RichTable
from rollout import rollout
from scaling import scaling
from sweeps import sweeps
from throughput import throughput
from worker import Worker, WorkerError

from esrun.config.compose import composed

CASES = {
    case.__name__: (case, what)
    for case, what in (
        (rollout, "env steps/s on five environments, against evosax"),
        (command, "the whole command, cold and warm, against an evosax script"),
        (scaling, "one device against several"),
        (asktell, "a strategy's generation by n and p, against evosax, pycma and cmaes"),
        (blackbox, "a function's minimum, the whole process, against pycma and cmaes"),
        (checkpoints, "what checkpoints cost a run"),
        (memory, "whether the memory of a long run grows"),
        (idle, "how long the devices stand still in a run, from a profile"),
        (growth, "cost as population, episodes, width and parameters double, with the exponent"),
        (large, "large networks: parameters x members/s and peak memory, against evosax"),
        (hosted, "environments that processes step, against random actions alone"),
        (far, "workers of Ray that come and go, stubs that sleep, and a model of up to 10,000"),
        (hosts, "processes in step on one machine, against one process"),
        (report, "the report of a sweep, by its number of runs"),
        (sweeps, "runs of a sweep side by side, against one after another"),
        (throughput, "run and compile time by population and device: what --figure draws"),
    )
}
PACKAGES = ("esrun", "jax", "jaxlib", "gymnax", "numpy", "evosax", "cma", "cmaes")


def main() -> int:
    """Run the named cases."""
    options, arguments = parse()
    names = list(
        dict.fromkeys([*(arguments.cases or CASES), *(["throughput"] if arguments.figure else [])])
    )
    console = Console(width=None if sys.stdout.isatty() else 190)
    about = describe()
    console.print(
        f"{', '.join(about['devices'])}; "
        f"{', '.join(f'{k} {v}' for k, v in about['versions'].items())}"
    )
    results, failed = {}, []
    for name in names:
        try:
            results[name] = CASES[name][0](options)
            show(console, results[name])
        except WorkerError as error:
            failed.append(name)
            console.print(f"{name} failed: {error}", style="red", markup=False)
        if arguments.json:  # after every case, so that what is measured is kept
            cases = {case: table._asdict() for case, table in results.items()}
            text = json.dumps(about | {"options": options._asdict(), "cases": cases}, indent=1)
            arguments.json.write_text(text + "\n")
    if arguments.figure and "throughput" in results:
        from figure import draw

        draw(results["throughput"].rows, arguments.figure)
    return 1 if failed else 0


def parse() -> tuple[Options, argparse.Namespace]:
    """-> (what the cases need to know, the rest)."""
    listed = "\n".join(f"  {name:12}{what}" for name, (_, what) in CASES.items())
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=f"{__doc__.splitlines()[0]}\n\ncases:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("cases", nargs="*", choices=[[], *CASES], metavar="CASE")
    parser.add_argument(
        "--rounds", type=int, help="counted rounds of every side (5; with --quick 2)"
    )
    parser.add_argument(
        "--generations", type=int, help="in a round (each case has its own number; command: in all)"
    )
    parser.add_argument(
        "--limit",
        type=float,
        default=30.0,
        help="seconds beyond which a round is not repeated (30)",
    )
    parser.add_argument(
        "--populations", type=numbers, help="of the case throughput (16,64,...,16384)"
    )
    parser.add_argument("--episodes", type=int, help="of a member, in the case throughput (20)")
    parser.add_argument(
        "--functions",
        type=words,
        help="of the case blackbox (sphere,rosenbrock,...)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: whether the script works, not how fast"
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument(
        "--figure", type=Path, metavar="FILE", help="draw the case throughput, which is added"
    )
    given = parser.parse_args()
    rounds = given.rounds or (2 if given.quick else 5)
    sizes = given.populations, given.episodes, given.functions
    return Options(given.generations, rounds, given.limit, given.quick, *sizes), given


def numbers(text: str) -> tuple[int, ...]:
    """'64,128' -> (64, 128)."""
    return tuple(int(part) for part in text.split(","))


def words(text: str) -> tuple[str, ...]:
    """'sphere,rastrigin' -> (sphere, rastrigin)."""
    return tuple(text.split(","))


def describe() -> dict:
    """-> when and where this was measured."""
    spec = {"program": "esrun_program", "config": composed([]).config}
    with Worker([spec]) as worker:
        devices = worker.environment["devices"]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "devices": devices,
        "versions": {name: version for name in PACKAGES if (version := installed(name))},
    }


def installed(package: str) -> str | None:
    """-> the version of a package, None if it is not there."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def show(console: Console, table: Table) -> None:
    """Print a case."""
    rich = RichTable(title=table.title, title_justify="left", box=None, pad_edge=False)
    columns = [name for name, value in table.rows[0].items() if not isinstance(value, list)]
    for name in columns:
        rich.add_column(
            name, justify="left" if isinstance(table.rows[0][name], str) else "right", no_wrap=True
        )
    for row in table.rows:
        rich.add_row(*(cell(row.get(name)) for name in columns))
    console.print()
    console.print(rich)
    for note in dict.fromkeys(table.notes):
        console.print(f"  {note}", style="dim", markup=False, highlight=False)


def cell(value) -> str:
    """-> a figure as it is printed: three digits; a comparison with its range."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return f"{cell(value['median'])} [{cell(value['min'])}–{cell(value['max'])}]"
    if isinstance(value, float):
        return (
            f"{value:.3g}" if value < 1000 else f"{value:,.0f}" if value < 1e5 else f"{value:.2e}"
        )
    return str(value)


if __name__ == "__main__":
    sys.exit(main())
