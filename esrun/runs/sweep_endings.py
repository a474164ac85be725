"""How the jobs of a sweep went: by their exit codes, and by what they left in their folders."""

import math
import os
from pathlib import Path
from typing import Any, NamedTuple

from esrun import files
from esrun.errors import DONE, FAILED, USAGE, ConfigError, RecordError, clipped, printable, tell
from esrun.runs import folder
from esrun.runs.folder import shown
from esrun.runs.paths import RunFolder
from esrun.runs.record import refuse_changes

FINISHED, BROKEN, REFUSED = "done", "failed", "refused"
INTERRUPTED, WAITING = "interrupted", "not begun"
TOLD = (FINISHED, BROKEN, INTERRUPTED)
"""What `summary.json` may say of a run."""
LONGEST = 200
"""Letters of a reason."""


class Job(NamedTuple):
    """How one job went."""

    folder: Path
    overrides: list[str]
    code: int
    cause: str | None = None
    """Why it was refused."""
    begun: bool = True
    """Whether its turn came."""


class Ending(NamedTuple):
    """What became of a job, by this command or an earlier one."""

    status: str
    reason: str | None = None
    """Why it has failed or was refused, or what is wrong with its folder."""
    score: float | None = None
    """The held-out mean of its policy."""
    retried: bool = False
    """Whether it has failed in a way that `--retry-failed` tries again."""

    @property
    def in_words(self) -> str:
        """-> "done, held-out 3.2"."""
        status = self.status if self.reason is None else f"{self.status} ({self.reason})"
        return status if self.score is None else f"{status}, held-out {self.score:.4g}"


def ending(job: Job) -> Ending:
    """-> what became of a job. Nothing is read of one that was refused: its folder may be
    another's."""
    if job.code == USAGE:
        return Ending(REFUSED, _short(job.cause))
    paths = RunFolder(job.folder)
    try:
        found: Any = files.read_json(paths.summary)
    except (OSError, ValueError):
        found = None
    summary: dict[str, Any] = found if isinstance(found, dict) else {}
    told = summary.get("status")
    if job.begun and job.code == FAILED and told != BROKEN:
        return Ending(BROKEN, "its folder cannot be used, as was said above")
    if told not in TOLD:
        if job.begun and job.code == DONE:
            return Ending(FINISHED, f"{paths.summary.name} cannot be read")
        return Ending(INTERRUPTED if os.path.lexists(paths.record) else WAITING)
    score, reason = summary.get("eval"), summary.get("stop_reason")
    mean = _number(score.get("mean")) if isinstance(score, dict) else None
    has_failed = told == BROKEN
    return Ending(told, _short(str(reason)) if has_failed and reason else None, mean, has_failed)


def failed_earlier(place: Path, config: dict) -> str | None:
    """-> why the run of this configuration in a folder has failed, None where it has not. One that
    fails by its numbers fails again, so it is not run again unless that is asked for.

    Of a damaged record the run's own turn tells. Raises ConfigError for a folder that holds
    something else than a run.
    """
    try:
        record = folder.earlier_run(place)
    except RecordError:
        return None
    if record is None or not record.failed:
        return None
    try:
        refuse_changes(record.config, config, force=False)
    except ConfigError:  # another configuration's, which the run itself complains of
        return None
    return record.stop_reason or BROKEN


def leave_failed(place: Path, why: str) -> int:
    """Say that a job has failed earlier and is left so -> its exit code."""
    tell(f"{shown(place)} has failed before ({clipped(why, LONGEST)}), and is left so")
    return FAILED


def worst(jobs: list[Job]) -> int:
    """-> the exit code of a sweep."""
    return max((job.code for job in jobs), default=DONE)


def _short(text: str | None) -> str | None:
    return text and clipped(printable(" ".join(text.split())), LONGEST)


def _number(value: Any) -> float | None:
    """-> a finite number, None for anything else that a file may hold."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # a whole number has no bound
        return None
