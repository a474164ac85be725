"""Which jobs are missing, and with what the others were made."""

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from esrun.errors import clipped, printable
from esrun.results.report import parts
from esrun.results.report.jobs import DONE, Job, Jobs
from esrun.results.report.parts import Command, Section, table
from esrun.results.report.study import Study

MOST_LETTERS = 2000
"""Of a command."""
MISSING = ("job", "task", "setting", "seed", "status", "reason")


def missing(studies: Sequence[Study], found: Jobs) -> Section:
    """-> the section of the jobs that are not done."""
    rows = list(_unfinished(studies))
    blocks: list[Any] = [
        f"{len(rows)} of {len(found.jobs):,} jobs are not done. They have no score above; those "
        "that failed count as runs that have not solved their task."
        if rows
        else "None: every job is done."
    ]
    blocks.append(table("missing", "jobs that are not done", rows, MISSING))
    if found.twice:
        blocks.append(
            f"{found.twice} more jobs compute the same as others, and count once with them."
        )
    return Section("Failed and missing jobs", blocks)


def _unfinished(studies: Sequence[Study]) -> Iterator[dict[str, Any]]:
    for study in studies:
        for one in study.settings:
            for job in one.jobs:
                if job.status != DONE or job.score is None:
                    yield {
                        "job": job.name,
                        "task": study.task,
                        "setting": parts.label(one),
                        "seed": printable(str(job.seed)),
                        "status": job.status,
                        "reason": job.reason or _why(job),
                    }


def _why(job: Job) -> str | None:
    return "no finite held-out mean" if job.status == DONE else None


def section(found: Jobs) -> Section:
    """-> the section of versions, machines and commands."""
    about = [job.about for job in found.jobs if job.about]
    columns = ("what", "version")
    blocks: list[Any] = [
        table("versions", "what the runs were made with", _versions(about), columns)
    ]
    blocks.append("The commands, as they were typed:")
    blocks += [
        Command(clipped(shlex.join(map(printable, one)), MOST_LETTERS)) for one in found.commands
    ]
    return Section("Versions and commands", blocks)


def _versions(about: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    counts: dict[str, Counter[str]] = {}
    for one in about:
        versions = one.get("versions")
        named = versions if isinstance(versions, dict) else {}
        known = {
            **named,
            "commit of the working directory": one.get("git"),
            "platform": one.get("platform"),
        }
        for name, value in known.items():
            text = "none" if value is None else printable(str(value)[: parts.LONGEST])
            counts.setdefault(printable(str(name)[: parts.LONGEST]), Counter())[text] += 1
    for name, values in counts.items():
        several = len(values) > 1
        yield {
            "what": name,
            "version": ", ".join(
                f"{x} ({n} runs)" if several else x for x, n in values.most_common(20)
            ),
        }
