"""`esrun plot RUN ...`: learning curves as a picture."""

import os
from pathlib import Path

from esrun import files
from esrun.commands.flags import parsers
from esrun.errors import DONE, ConfigError, printable
from esrun.results import charts
from esrun.results.canvas import FORMATS
from esrun.results.curves import Curves, curves_of
from esrun.results.groups import Run, grouped, run_of
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
    folders = list({folder.path.resolve(): folder for folder in run_folders(flags.runs)}.values())
    default = folders[0].path / NAME if len(folders) == 1 else Path(NAME)
    out = default if flags.output is None else Path(flags.output)
    kind = _kind(out, flags.output is not None)
    drawn: list[tuple[Run, Curves]] = []
    notes: list[str] = []
    for folder in folders:
        record = read_record(folder.path)
        if record is None:
            raise ConfigError(f"{shown(folder.path)} is not a run folder: it has no run.json")
        run = run_of(folder, record)
        curves, said = curves_of(run, flags.x)
        notes += said
        if curves:
            drawn.append((run, curves))
    if not drawn:
        raise ConfigError(f"nothing to draw: {'; '.join(notes[:3])}")
    try:
        files.write(out, charts.picture(_by_task(drawn), flags.x, kind))
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(
            f"{shown(out)} cannot be written: {reason}: write another -o FILE"
        ) from error
    for line in (*notes, f"picture: {shown(out)}"):
        print(printable(line))
    return DONE


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
    """-> a chart for each task."""
    tasks: dict[str, list[tuple[Run, Curves]]] = {}
    for run, curves in drawn:
        tasks.setdefault(run.names["task"], []).append((run, curves))
    if len(tasks) > MOST_TASKS:
        raise ConfigError(
            f"runs of at most {MOST_TASKS} tasks fit into a picture, got {len(tasks)}: "
            f"{', '.join(tasks)}: name fewer runs"
        )
    found = []
    for task, own in tasks.items():
        of = {run.folder: curves for run, curves in own}
        groups = grouped([run for run, _ in own])
        kinds = ({run.names[kind] for run, _ in own} for kind in ("strategy", "policy"))
        about = ", ".join([task, *(names.pop() for names in kinds if len(names) == 1)])
        pairs = [(group, [of[run.folder] for run in group.runs]) for group in groups]
        found.append(charts.Chart(task, about, pairs))
    return found
