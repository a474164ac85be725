"""What is shown of a sweep: which job is which, the table at its end, and what to type next.

Jobs that differ in their seeds alone are one row: one seed says little, and many rows say nothing.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from esrun.config.check import short
from esrun.errors import printable
from esrun.runs.folder import going_on, shown, to_type
from esrun.runs.record import what_it_computes
from esrun.runs.secrets import masked_word
from esrun.runs.sweep_endings import (
    BROKEN,
    FINISHED,
    INTERRUPTED,
    REFUSED,
    WAITING,
    Ending,
    Job,
    ending,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

FEW = 6
"""Jobs that have a row each in any case."""
MOST, LEFT = 30, 20
"""Rows of a table, and how many are left of one that has more."""
CAUSES = 5
"""That are told."""
BRIEF = 30
"""Letters of a cause in a row."""
LEAST, NARROW, WIDE = 60, 100, 200
"""Columns: that a table has at least on a terminal; with fewer than which its keys are short, and
causes stand below it alone; and that it has in a file or a pipe, where nothing wraps."""


class Row(NamedTuple):
    """Jobs that differ in their seeds alone, or one job."""

    words: list[str]
    """What tells them from the others."""
    jobs: list[Job]
    endings: list[Ending]

    def name(self, keys: Collection[str]) -> str:
        """-> the words, secrets masked, with `keys` as short as they are told apart by."""
        found = []
        for word in map(masked_word, self.words):
            key, equals, value = word.partition("=")
            found.append(f"{short(key, keys)}{equals}{value}" if key in keys else word)
        return " ".join(found)

    @property
    def scores(self) -> list[float]:
        """-> of those that are done."""
        return [x.score for x in self.endings if x.status == FINISHED and x.score is not None]

    @property
    def middle(self) -> float:
        """-> the median of the scores."""
        return median(self.scores) if self.scores else float("-inf")

    @property
    def done(self) -> int:
        """-> how many are."""
        return sum(x.status == FINISHED for x in self.endings)

    def others(self, with_cause: bool) -> str:
        """-> what became of those that are not done."""
        left = (x for x in self.endings if x.status != FINISHED)
        counts = Counter(_said(x) if with_cause else x.status for x in left)
        return ", ".join(f"{count} {what}" for what, count in counts.items())


def show(jobs: list[Job], sweep: Path) -> None:
    """The closing table of a sweep, why jobs have failed, and what to type next."""
    endings = [ending(job) for job in jobs]
    settings = _rows(jobs, endings)
    alone = len(jobs) <= FEW or len(settings) == len(jobs)
    rows = _rows(jobs, endings, with_seed=True) if alone else settings
    kept = rows
    if len(rows) > MOST:
        kept = sorted(rows, key=lambda row: row.middle, reverse=True)[:LEFT]
    console = console_of_tables()
    is_narrow = console.width < NARROW
    console.print(_of_jobs(kept, is_narrow) if alone else _of_settings(kept, is_narrow))
    if len(kept) < len(rows):
        print(f"these are the best {len(kept)} of {len(rows)} {'jobs' if alone else 'settings'}")
    for line in (*_causes(jobs, endings), f"sweep folder: {shown(sweep)}"):
        print(printable(line))
    for line in _next(endings, settings, sweep):
        print(printable(line))


def console_of_tables() -> "Console":
    """-> where tables are printed, wide enough for them."""
    from rich.console import Console

    console = Console(highlight=False)
    console.width = max(console.width, LEAST) if console.is_terminal else WIDE
    return console


def swept(jobs: list[list[str]]) -> list[str]:
    """-> the words of each job that not all of them have, secrets masked."""
    return [" ".join(map(masked_word, words)) for words in _own(jobs)]


def _own(jobs: list[list[str]]) -> list[list[str]]:
    common = set.intersection(*map(set, jobs))
    return [[word for word in words if word not in common] for words in jobs]


def _key(word: str) -> str:
    return word.lstrip("+").partition("=")[0]


def _rows(jobs: list[Job], endings: list[Ending], with_seed: bool = False) -> list[Row]:
    """-> the jobs of each setting, which words in another order are too; or one by one."""
    found: dict[object, Row] = {}
    own = _own([job.overrides for job in jobs])
    for i, (job, words, one) in enumerate(zip(jobs, own, endings, strict=True)):
        named = [word for word in words if with_seed or _key(word) != "seed"]
        row = found.setdefault(i if with_seed else frozenset(named), Row(named, [], []))
        row.jobs.append(job)
        row.endings.append(one)
    return list(found.values())


# ---- tables --------------------------------------------------------------------------------------


def _shortened(rows: list[Row], is_narrow: bool) -> Collection[str]:
    """-> the keys that are to be short."""
    return {_key(word) for row in rows for word in row.words} if is_narrow else ()


def _of_jobs(rows: list[Row], is_narrow: bool) -> "Table":
    """A row a job."""
    keys = _shortened(rows, is_narrow)
    table = table_of(("job", "swept", "status"), ("held-out",))
    for row in rows:
        (one,) = row.endings
        said = one.status if is_narrow else _said(one)
        add_row(table, [row.jobs[0].folder.name, row.name(keys), said, figure(one.score)])
    return table


def _of_settings(rows: list[Row], is_narrow: bool) -> "Table":
    """A row a setting."""
    keys = _shortened(rows, is_narrow)
    named, lacking = len(rows) > 1, any(row.done < len(row.jobs) for row in rows)
    table = table_of(
        ["setting"] * named, ("done", "median", "worst", "best"), ["besides"] * lacking
    )
    for row in rows:
        scores = row.scores
        figures = (median(scores), min(scores), max(scores)) if scores else (None,) * 3
        done = f"{row.done}/{len(row.jobs)}"
        besides = [row.others(with_cause=not is_narrow)] * lacking
        add_row(table, [*[row.name(keys)] * named, done, *map(figure, figures), *besides])
    return table


def table_of(texts: Iterable[str], numbers: Iterable[str], more: Iterable[str] = ()) -> "Table":
    """-> a table whose texts are broken where a terminal is narrow, and whose numbers are not."""
    from rich.table import Table

    table = Table(box=None)
    for name in texts:
        table.add_column(name, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    for name in more:
        table.add_column(name, overflow="fold")
    return table


def add_row(table: "Table", cells: list[str]) -> None:
    """Add a row of texts."""
    from rich.text import Text

    table.add_row(*(Text(printable(cell)) for cell in cells))


def figure(score: float | None) -> str:
    """-> a score as it is read."""
    return "-" if score is None else f"{score:.4g}"


def _said(one: Ending) -> str:
    """-> what became of a job, with the cause of a failure where that is a few words."""
    brief = one.status == BROKEN and one.reason and len(one.reason) <= BRIEF
    return f"{one.status} ({one.reason})" if brief else one.status


# ---- below the table -----------------------------------------------------------------------------


def _causes(jobs: list[Job], endings: list[Ending]) -> list[str]:
    """-> why jobs have failed or were refused, each cause with one of its folders."""
    found: dict[tuple[str, str | None], list[Job]] = {}
    for job, one in zip(jobs, endings, strict=True):
        if one.reason or one.status in (BROKEN, REFUSED):
            found.setdefault((one.status, one.reason), []).append(job)
    causes = sorted(found.items(), key=lambda item: -len(item[1]))
    lines = [
        f"{len(own)} {status}{f': {reason}' if reason else ''}, as in {shown(own[0].folder)}"
        for (status, reason), own in causes[:CAUSES]
    ]
    if others := sum(len(own) for _, own in causes[CAUSES:]):
        lines.append(f"{others} more for other reasons")
    return lines


def _next(endings: list[Ending], settings: list[Row], sweep: Path) -> list[str]:
    """-> what to type next."""
    lines, states = [], {one.status for one in endings}
    is_left = bool(states & {INTERRUPTED, WAITING})
    if is_left:
        lines.append(f"to go on: {going_on(sweep)}")
    if any(one.retried for one in endings):
        lines.append(f"to try again what has failed: {going_on(sweep, '--retry-failed')}")
    if not is_left and sum(row.done for row in settings) > 1:
        lines.append(f"to compare: {_comparing(settings, sweep)}")
    return lines


def _comparing(settings: list[Row], sweep: Path) -> str:
    """-> the command for what was swept: curves of seeds, scores over the values of one key, or a
    page."""
    if len(settings) == 1:
        return to_type("plot", sweep)
    key, *others = {_key(word) for row in settings for word in row.words}
    if not others and key.startswith(("strategy.", "policy.")) and what_it_computes({key: None}):
        return to_type("plot", sweep, "--over", key)
    return to_type("report", sweep)
