"""The jobs of sweeps: what was asked, and what came of each."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from esrun.errors import ConfigError, as_typed, printable
from esrun.results.curves import LARGEST, first_score
from esrun.results.groups import Run, run_named
from esrun.results.where import LATEST, folders_of, latest
from esrun.runs import sweep_record
from esrun.runs.folder import is_sweep, shown
from esrun.runs.lines import columns
from esrun.runs.paths import RunFolder
from esrun.runs.record import read_json, read_record, what_it_computes

BUDGET = ("generations", "stop")
"""Keys that a resumed run may change and that a comparison depends on."""
DONE, FAILED = "done", "failed"
MISSING, UNFINISHED, UNREADABLE = "missing", "unfinished", "unreadable"
"""Said of a job whose folder is not there, of one that runs yet or was killed, of damaged files."""


MOST_TEXT = 500
"""Letters of a reason."""
MOST_LETTERS = 100
"""Of a text that a file has in the place of a number."""


class Trace(NamedTuple):
    """The held-out means along a run, that of its first policy before them; arrays are [k]."""

    generations: np.ndarray
    env_steps: np.ndarray
    seconds: np.ndarray
    means: np.ndarray
    end: tuple[float, float]
    """Env steps and seconds of the last generation, evaluated or not."""


class Job(NamedTuple):
    """What was asked, and what came of it."""

    name: str
    run: Run
    status: str
    reason: str | None
    summary: dict[str, Any]
    """`summary.json`, nothing where there is none."""
    about: dict[str, Any]
    """`run.json`, nothing where there is none."""
    trace: Trace

    @property
    def seed(self) -> Any:
        """Of all its random numbers; text where it is no whole number."""
        return self.run.seed if type(self.run.seed) is int else as_typed(self.run.seed)

    @property
    def score(self) -> float | None:
        """-> the held-out mean of a run that is done."""
        return self.figure("eval", "mean") if self.status == DONE else None

    def figure(self, *path: str) -> float | None:
        """-> a number of the summary."""
        value: Any = self.summary
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return number_of(value)

    def solved_at(self, target: float) -> int | None:
        """-> where in its trace a run that is done reached a target."""
        hits = np.flatnonzero(self.trace.means >= target)
        return int(hits[0]) if self.status == DONE and len(hits) else None


class Jobs(NamedTuple):
    """All that a report is about."""

    jobs: list[Job]
    commands: list[list[str]]
    """What was typed."""
    twice: int
    """Jobs that were left out, as another one computes the same."""
    place: Path
    """The folder of the first sweep or run."""
    searches: dict[Path, list[Path]]
    """The folders of studies (`esrun tune`), and in each the runs of settings that were left before
    their end: those are no jobs here."""


def jobs_of(words: Iterable[str]) -> Jobs:
    """-> the jobs of the sweeps and runs that are named; of those that compute the same, one that
    is done. Raises ConfigError."""
    found: dict[str, Job] = {}
    commands: list[list[str]] = []
    count = 0
    searches: dict[Path, list[Path]] = {}
    places = [_place(word) for word in folders_of(words)]
    for place in places:
        asked, typed = _asked(place)
        commands += [command for command in typed if command not in commands]
        if (generations := _searched(place)) is not None:
            searches[place] = []
        for one in asked:
            job = _job(one)
            if job and generations not in (None, job.run.config.get("generations")):
                searches[place].append(one.folder)
            elif job is not None:
                count += 1
                identity = json.dumps(what_it_computes(job.run.config, BUDGET), sort_keys=True)
                if identity not in found or _rank(job) < _rank(found[identity]):
                    found[identity] = job
    if not found:
        raise ConfigError(f"no job is known in {', '.join(map(shown, places))}")
    return Jobs(list(found.values()), commands, count - len(found), places[0], searches)


def _searched(place: Path) -> int | None:
    """-> after how many generations the trials of a study end, None for what is no study."""
    if os.path.exists(RunFolder(place).record):
        return None
    search = sweep_record.search(place)
    same = _dict(search and search.get("sameness"))
    return same["generations"] if isinstance(same.get("generations"), int) else None


def _place(word: str) -> Path:
    """-> the folder that a word names; the latest run stands for the sweep that it is of."""
    if word != LATEST:
        return Path(word)
    run = latest()
    return run.parent if is_sweep(run.parent) else run


def _asked(place: Path) -> tuple[list[sweep_record.Asked], list[list[str]]]:
    """-> (jobs, the commands that asked for them)."""
    if is_sweep(place) and not os.path.exists(RunFolder(place).record):
        place = place.resolve()
        return sweep_record.asked(place), sweep_record.commands(place)
    if not os.path.exists(RunFolder(place).record):
        raise ConfigError(
            f"{shown(place)} is neither the folder of a sweep nor of a run: write "
            "multirun/DATE/TIME"
        )
    folder = place
    record = read_record(folder)
    assert record is not None  # run_folder has seen it
    one = sweep_record.Asked(folder, [], record.config, record.choices)
    return [one], [record.command, *record.resumed]


def _job(asked: sweep_record.Asked) -> Job | None:
    """-> what came of a job, None where nothing is known of it."""
    folder = RunFolder(asked.folder)
    status, reason, about, summary = MISSING, None, {}, {}
    try:
        about, summary = _dict(read_json(folder.record)), _dict(read_json(folder.summary))
        if about:
            status = _text(summary.get("status", UNFINISHED))
            why = summary.get("stop_reason")
            reason = None if why is None else _text(why)
    except ConfigError as error:
        status, reason = UNREADABLE, str(error)
    config, choices = _dict(about.get("config")), _dict(about.get("choices"))
    if not config:
        config, choices = asked.config, asked.choices
    if not config:
        return None
    config = _sound(config)
    run = run_named(folder, config, {kind: str(name) for kind, name in choices.items()})
    trace = _trace(folder, summary)
    return Job(shown(asked.folder), run, status, reason, summary, about, trace)


def _text(value: Any) -> str:
    return printable(str(value)[:MOST_TEXT])


def _dict(content: Any) -> dict[str, Any]:
    return content if isinstance(content, dict) else {}


def number_of(value: Any) -> float | None:
    """-> a number that can be reckoned with, None for anything else that a file may hold."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) <= LARGEST else None


def _sound(value: Any) -> Any:
    """-> a configuration whose numbers can be reckoned with; others are text."""
    if isinstance(value, dict):
        return {key: _sound(x) for key, x in value.items()}
    if isinstance(value, list):
        return [_sound(x) for x in value]
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return str(value)[:MOST_LETTERS] if is_number and number_of(value) is None else value


def _rank(job: Job) -> int:
    """-> where a job stands among those that compute the same: the first one counts."""
    order = (DONE, FAILED)
    return order.index(job.status) if job.status in order else len(order) + (job.status == MISSING)


def _trace(folder: RunFolder, summary: dict[str, Any]) -> Trace:
    names = ("env_steps", "wall_seconds", "eval_mean")
    try:
        found = columns(folder.metrics, names, only="eval_mean")
    except OSError:
        table = np.empty((4, 0))
    else:
        table = np.array([found.generation, *(found.figures[name] for name in names)])
    if (first := first_score(summary)) is not None:
        table = np.column_stack([[0.0, 0.0, 0.0, first[0]], table])
    good = np.abs(np.nan_to_num(table, nan=np.inf)) <= LARGEST
    last = table[1:3, good[1:3].all(0)][:, -1:].ravel()
    return Trace(*table[:, good.all(0)], end=(last[0], last[1]) if len(last) else (0.0, 0.0))
