"""`esrun eval RUN ...`: how good the policies of runs are, on held-out episodes."""

import json
from typing import Any

from esrun import files
from esrun.backend import devices
from esrun.commands.flags import parsers
from esrun.commands.overrides import moved
from esrun.errors import DONE, FAILED, ConfigError, complain, printable
from esrun.results.where import config_of, good_ones, run_folders

FIGURES = ("mean", "interval", "std", "median", "worst")
"""Columns between the number of episodes and what the task measures."""
SHOWN = {"interval": "95 % interval"}
DRAWS = ("draws", "draws_mean", "draws_std", "draws_worst")
TOLD = {"run", "policy", "part", "generation", "seed", "fitness", "episodes", "ci95"}
TOLD |= {*FIGURES, *DRAWS}
"""Keys of a row that are no measure of a task's."""
WIDTH = 200
"""Columns that a table may take. A narrower terminal breaks its lines, which is easier to read than
columns of single letters."""


def evaluate(arguments: list[str]) -> int:
    """Print how the runs did -> the exit code, FAILED where a run could not be evaluated. Raises
    ConfigError where none could."""
    flags = vars(parsers()["eval"].read(arguments))
    (runs, file), as_json = moved(flags.pop("runs")), flags.pop("json")
    if not runs:
        raise ConfigError("eval needs a run: write esrun eval outputs/DATE/TIME, or latest")
    folders = dict.fromkeys(run_folders(runs))
    asked, complaints = good_ones(folders, lambda run: config_of(run, flags["episodes"], file))
    _, first = asked[0]
    devices.start(first.runtime.precision, first.runtime.deterministic)
    from esrun.results.comparison import Wanted, notes, rows

    wanted = Wanted(**flags)
    found, more = rows(asked, wanted)
    if as_json:
        print(json.dumps(files.plain(found), indent=2))
    else:
        show(found, notes(asked, found, wanted))
    for complaint in (*complaints, *more):
        complain(complaint)
    return FAILED if complaints or more else DONE


def show(rows: list[dict[str, Any]], notes: list[str]) -> None:
    """Print a table, a line for each row, and the notes below it."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    measures = list(dict.fromkeys(name for row in rows for name in row if name not in TOLD))
    parts, fitness = ([x] * any(x in row for row in rows) for x in ("part", "fitness"))
    table = Table(box=None)
    for name in ("run", "policy"):
        table.add_column(name, overflow="fold")
    columns = (*parts, "generation", *fitness, "episodes", *FIGURES, *measures)
    for name in columns:
        table.add_column(SHOWN.get(name, name.replace("_", " ")), justify="right", no_wrap=True)
    for row in rows:
        cells = [row["run"], row["policy"], *(_cell(row.get(name)) for name in columns)]
        table.add_row(*(Text(printable(cell)) for cell in cells))
    Console(highlight=False, width=WIDTH).print(table)
    for note in notes:
        print(printable(note))


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return f"{value[0]:.4g} to {value[1]:.4g}"
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
