"""What is shown of a sweep: which job is which, and the table at its end."""

from pathlib import Path
from typing import Any, NamedTuple

from esrun import files
from esrun.errors import DONE, SAVED, USAGE, printable
from esrun.runs.folder import going_on, shown
from esrun.runs.paths import RunFolder
from esrun.runs.secrets import masked_word


class Job(NamedTuple):
    """How one job went."""

    folder: Path
    overrides: list[str]
    code: int
    cause: str | None = None
    """Why it was refused."""


def show(jobs: list[Job], sweep: Path) -> None:
    """The closing table of a sweep, and how to go on where something is left to do."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("job", "swept", "status", "held-out", box=None)
    for job, words in zip(jobs, swept([job.overrides for job in jobs]), strict=True):
        status, reason, score = _ending(job)
        reason = reason or job.cause
        if reason is not None and job.code not in (DONE, SAVED):
            status = f"{status} ({reason})"
        cells = (job.folder.name, words, status, "-" if score is None else f"{score:.4g}")
        table.add_row(*(Text(printable(cell)) for cell in cells))
    Console(highlight=False).print(table)
    print(printable(f"sweep folder: {shown(sweep)}"))
    if any(job.code not in (DONE, USAGE) for job in jobs):
        print(printable(f"to go on: {going_on(sweep)}"))


def swept(jobs: list[list[str]]) -> list[str]:
    """-> the words of each job that not all of them have, secrets masked."""
    common = set.intersection(*map(set, jobs))
    return [" ".join(masked_word(x) for x in words if x not in common) for words in jobs]


def _ending(job: Job) -> tuple[str, str | None, float | None]:
    """-> (status, reason, held-out mean) of a job; nothing is known of one that was refused."""
    try:
        found: Any = files.read_json(RunFolder(job.folder).summary) if job.code != USAGE else {}
    except (OSError, ValueError):
        found = {}
    found = found if isinstance(found, dict) else {}
    score = found.get("eval")
    mean = score.get("mean") if isinstance(score, dict) else None
    reason = found.get("stop_reason")
    unknown = "not begun" if job.code == SAVED else "refused"
    number = float(mean) if isinstance(mean, (int, float)) else None
    return str(found.get("status", unknown)), None if reason is None else str(reason), number
