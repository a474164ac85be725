"""`esrun plot RUN ...`: learning curves, or what a key does, as a picture."""

import os
from pathlib import Path

from esrun import files
from esrun.commands.flags import parsers
from esrun.errors import DONE, ConfigError, printable
from esrun.results import charts, panel_charts, panels
from esrun.results.canvas import FORMATS
from esrun.results.curves import Curves, curves_of
from esrun.results.groups import Run, by_problem, grouped, run_of
from esrun.results.report.jobs import jobs_of
from esrun.results.where import run_folders
from esrun.runs.folder import shown
from esrun.runs.record import read_record

NAME = "plot.png"
LARGEST = 2**31
"""Bytes of a file that may be replaced."""
MOST_TASKS = 4
"""Tasks that are drawn one below the other: their fitness is no common measure."""


def plot(arguments: list[str]) -> int:
    """Write the picture, and say where -> the exit code. Raises ConfigError."""
    flags = parsers()["plot"].read(arguments)
    if not flags.runs:
        raise ConfigError("plot needs a run: write esrun plot outputs/DATE/TIME, or latest")
    if flags.over is None:
        if flags.y is not None:
            raise ConfigError(f"--y needs --over: write --over KEY --y {flags.y}")
        return _curves(flags.runs, flags.x or "generations", flags.output)
    if flags.x is not None:
        raise ConfigError(f"--x is for curves, and --over draws none: leave --x {flags.x} away")
    return _panels(flags.runs, flags.over, flags.y or "eval", flags.output)


def _curves(words: list[str], axis: str, output: str | None) -> int:
    folders = list({folder.path.resolve(): folder for folder in run_folders(words)}.values())
    default = folders[0].path / NAME if len(folders) == 1 else Path(NAME)
    out = default if output is None else Path(output)
    kind = _kind(out, output is not None)
    drawn: list[tuple[Run, Curves]] = []
    notes: list[str] = []
    for folder in folders:
        record = read_record(folder.path)
        if record is None:
            raise ConfigError(f"{shown(folder.path)} is not a run folder: it has no run.json")
        run = run_of(folder, record)
        curves, said = curves_of(run, axis)
        notes += said
        if curves:
            drawn.append((run, curves))
    if not drawn:
        raise ConfigError(f"nothing to draw: {'; '.join(notes[:3])}")
    _write(out, charts.picture(_by_task(drawn), axis, kind), notes)
    return DONE


def _panels(words: list[str], over: str, score: str, output: str | None) -> int:
    keys = list(dict.fromkeys(filter(None, map(str.strip, over.split(",")))))
    if not keys:
        raise ConfigError("--over needs a key of the runs: write --over KEY, as strategy.sigma")
    out = Path(NAME if output is None else output)
    kind = _kind(out, output is not None)
    jobs = jobs_of(words).jobs
    found = panels.panels_of(jobs, keys, score)
    _write(out, panel_charts.picture(found, score, kind), panels.left_out(jobs, found, score))
    return DONE


def _write(out: Path, picture: bytes, notes: list[str]) -> None:
    try:
        files.write(out, picture)
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(
            f"{shown(out)} cannot be written: {reason}: write another -o FILE"
        ) from error
    for line in (*notes, f"picture: {shown(out)}"):
        print(printable(line))


def _kind(out: Path, is_named: bool) -> str:
    """-> the format of a picture by the ending of its name. Replaced may be a picture, of esrun's
    where nobody has named it, and nothing else. Raises ConfigError."""
    kind = out.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise ConfigError(
            f"-o must end in {', '.join(f'.{x}' for x in FORMATS)}, got {out}: "
            f"write -o {out.with_suffix('.png') if out.name else NAME}"
        )
    if not os.path.isdir(out.parent):
        raise ConfigError(f"{out.parent} is no folder: make it first, or write another -o FILE")
    try:
        with files.open_to_read(out, LARGEST) as file:
            held = file.read(400)
    except FileNotFoundError:
        return kind
    except OSError as error:
        raise ConfigError(
            f"{shown(out)} cannot be replaced: {error}: write another -o FILE"
        ) from error
    is_picture = held.startswith((b"\x89PNG", b"%PDF")) or b"<svg" in held
    if held and not (is_picture if is_named else b"esrun" in held):
        whose = "no picture" if is_named else "no picture of esrun's"
        raise ConfigError(f"{shown(out)} is there and is {whose}: write another -o FILE")
    return kind


def _by_task(drawn: list[tuple[Run, Curves]]) -> list[charts.Chart]:
    """-> a chart for each task, told apart as a report tells them."""
    of = {run.folder: curves for run, curves in drawn}
    tasks = by_problem([run for run, _ in drawn])
    if len(tasks) > MOST_TASKS:
        raise ConfigError(
            f"runs of at most {MOST_TASKS} tasks fit into a picture, got {len(tasks)}: "
            f"{', '.join(tasks)}: name fewer runs"
        )
    found = []
    for task, runs in tasks.items():
        groups = grouped(runs)
        kinds = ({run.names[kind] for run in runs} for kind in ("strategy", "policy"))
        about = ", ".join([task, *(names.pop() for names in kinds if len(names) == 1)])
        pairs = [(group, [of[run.folder] for run in group.runs]) for group in groups]
        found.append(charts.Chart(task, about, pairs))
    return found
