"""`esrun report SWEEP ...`: sweeps as one page, with its tables and figures as files."""

import math
import os
from pathlib import Path

from esrun import files
from esrun.commands.flags import parsers
from esrun.errors import DONE, ConfigError, printable
from esrun.results.report import jobs, page
from esrun.results.report.study import studies
from esrun.runs.folder import shown

NAME = "report"
KINDS = (".csv", ".tex", ".svg")


def report(arguments: list[str]) -> int:
    """Write the page and its files, and say where -> the exit code. Raises ConfigError."""
    flags = parsers()["report"].read(arguments)
    if not flags.runs:
        raise ConfigError("report needs a sweep: write esrun report multirun/DATE/TIME, or latest")
    targets: dict[str | None, float] = {}
    for task, value in map(_target, flags.target):
        if task in targets:
            raise ConfigError(f"--target is given twice{f' for {task}' if task else ''}: write one")
        targets[task] = value
    found = jobs.jobs_of(flags.runs)
    out = _folder(flags.output, flags.runs, found)
    of_tasks = studies(found, targets)
    made = page.made(found, of_tasks)
    try:
        _write(out, made)
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(
            f"{shown(out)} cannot be written to: {reason}: write another -o DIR"
        ) from error
    left = sum(job.score is None for job in found.jobs)
    if left:
        print(f"{left} of {len(found.jobs)} jobs are not done: the page names them")
    print(printable(f"report: {shown(out / page.PAGE)}"))
    return DONE


def _target(word: str) -> tuple[str | None, float]:
    """-> (the task that it is of, None for any; the held-out mean)."""
    task, is_of_task, number = word.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"--target must be a number, or TASK=NUMBER, got {word}")
    return task if is_of_task else None, value


def _folder(asked: str | None, words: list[str], found: jobs.Jobs) -> Path:
    """-> where the report goes: a new folder, an empty one or that of a report. Raises
    ConfigError."""
    beside = found.place if len(words) == 1 else Path()
    out = beside / NAME if asked is None else Path(asked)
    if not os.path.isdir(out.parent):
        raise ConfigError(f"{out.parent} is no folder: make it first, or write another -o DIR")
    if not os.path.lexists(out):
        return out
    if not os.path.isdir(out):
        raise ConfigError(f"{shown(out)} is there and is no folder: write another -o DIR")
    if not _may_be_replaced(out):
        raise ConfigError(f"{shown(out)} is there and is no report: write another -o DIR")
    return out


def _may_be_replaced(out: Path) -> bool:
    """Whether a folder is empty or a report's."""
    try:
        return files.read(out / page.PAGE).startswith(page.MARK.encode())
    except FileNotFoundError:
        return not any(out.iterdir())
    except OSError:
        return False


def _write(out: Path, made: dict[str, bytes]) -> None:
    """Write the files of a report, in the place of an earlier one's. Raises OSError, and
    ConfigError where that had others too: nobody could tell which of them are still true."""
    folders = dict.fromkeys(out / Path(name).parent for name in made if "/" in name)
    for folder in folders:
        if folder.is_symlink():
            raise ConfigError(f"{shown(folder)} is a link: write another -o DIR")
        there = sorted(folder.iterdir()) if folder.is_dir() else []
        for path in there:
            if path.suffix in KINDS and str(path.relative_to(out)) not in made:
                raise ConfigError(
                    f"{shown(path)} is of an earlier report and not of this one: remove "
                    f"{shown(out)}, or write another -o DIR"
                )
    for folder in (out, *folders):
        folder.mkdir(exist_ok=True)
    for name, content in made.items():
        files.write(out / name, content)
