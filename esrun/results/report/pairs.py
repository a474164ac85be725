"""Is one setting better than another?"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from esrun.results.report import parts
from esrun.results.report.estimates import (
    FEW,
    LEVEL,
    MOST_SEEDS,
    POWER,
    corrected,
    improvement,
    p_value,
    seeds_needed,
)
from esrun.results.report.parts import Section, table
from esrun.results.report.study import Setting, Study

ALL = 10
"""Settings up to which every one is compared with every other one."""
FREE = ("episodes",)
"""Keys of a task on which its held-out episodes do not depend."""


class Pair(NamedTuple):
    """Two settings, and the scores that are compared."""

    study: Study
    a: Setting
    b: Setting
    one: np.ndarray  # [n]
    other: np.ndarray  # [m], of the same seeds where they are paired
    paired: bool


def section(studies: Sequence[Study]) -> Section:
    """-> the section of the page."""
    pairs = [pair for study in studies for pair in pairs_of(study)]
    if not pairs:
        words = "There are no two settings of a task with two seeds or more each to be compared."
        return Section("Which is better", [words])
    blocks: list[Any] = [
        "P(A > B): the probability that a seed scores higher with A than with B, ties count "
        "half. Where both settings have the same seeds, their policies were scored on the same "
        "held-out episodes, and are compared seed by seed (Wilcoxon's signed ranks, Wilson's "
        "interval); elsewhere over all pairs of seeds (Mann and Whitney, bootstrap over seeds). "
        f"p is corrected for the {_compared(len(pairs))} (Holm); two settings are told apart "
        f"below {LEVEL:g}. Needed seeds are those with which a difference like the one seen would "
        f"be, with a power of {100 * POWER:.0f} % (Noether): an estimate from few seeds, and no "
        "promise."
    ]
    blocks += [
        f"{study.task}: each setting is compared with the best one alone, which these same scores "
        "have chosen: it looks somewhat better than it is."
        for study in studies
        if len(_able(study)) > ALL
    ]
    blocks.append(table("comparisons", "pairwise comparisons", _rows(pairs)))
    return Section("Which is better", blocks)


def _compared(count: int) -> str:
    return "one comparison" if count == 1 else f"{count} comparisons"


def _able(study: Study) -> list[Setting]:
    return [one for one in study.settings if len(one.scores) > 1]


def pairs_of(study: Study) -> Iterator[Pair]:
    """-> the settings that are compared, the better one first."""
    able = _able(study)
    chosen = (
        itertools.combinations(able, 2) if len(able) <= ALL else ((able[0], x) for x in able[1:])
    )
    for a, b in chosen:
        first, second = ({job.seed: job.score for job in one.scored} for one in (a, b))
        shared = [seed for seed in first if seed in second]
        if _same_episodes(a, b) and len(shared) >= min(FEW, len(first), len(second)):
            scores = (np.array([one[seed] for seed in shared], float) for one in (first, second))
            yield Pair(study, a, b, *scores, paired=True)
        else:
            yield Pair(study, a, b, a.scores, b.scores, paired=False)


def _same_episodes(a: Setting, b: Setting) -> bool:
    """Whether runs of the same seed are scored on the same episodes."""

    def about(one: Setting) -> tuple[Any, Any]:
        task, evaluation = one.run.config.get("task"), one.run.config.get("eval")
        own = {k: v for k, v in task.items() if k not in FREE} if isinstance(task, dict) else task
        return own, evaluation.get("episodes") if isinstance(evaluation, dict) else None

    return about(a) == about(b)


def _rows(pairs: list[Pair]) -> Iterator[dict[str, Any]]:
    raw = np.array([p_value(pair.one, pair.other, pair.paired) for pair in pairs])
    for pair, p, own in zip(pairs, corrected(raw), raw, strict=True):
        a, b, paired = pair.one, pair.other, pair.paired
        chance, (low, high) = improvement(a, b, paired)
        middle = np.median(a - b) if paired else np.median(a) - np.median(b)
        needed = seeds_needed(a, b, paired, len(pairs))
        yield {
            "task": pair.study.task,
            "A": pair.a.label,
            "B": pair.b.label,
            "seeds": f"{len(a)} shared" if paired else f"{len(a)} and {len(b)}",
            "A − B, median": float(middle),
            "P(A > B)": parts.with_interval(chance, low, high, as_rate=True),
            "p": parts.Cell(_p(p), {"": own, " corrected": p}),
            "verdict": parts.Cell(
                _verdict(chance, p, min(len(a), len(b)), needed), {"needed seeds": needed}
            ),
        }


def _p(p: float) -> str:
    return "–" if np.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _verdict(chance: float, p: float, seeds: int, needed: float) -> str:
    if p < LEVEL:
        return "A is better" if chance > 0.5 else "B is better"
    much = f"about {needed:,.0f}" if needed <= MOST_SEEDS else f"more than {MOST_SEEDS:,}"
    return f"not told apart with {seeds} seeds, {much} would be needed"
