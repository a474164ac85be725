"""Is one setting better than another?"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from esrun.results.report import parts
from esrun.results.report.estimates import (
    LEVEL,
    MOST_SEEDS,
    POWER,
    compared,
    corrected,
    fewest_seeds,
    improvement,
    seeds_needed,
)
from esrun.results.report.parts import Section, table
from esrun.results.report.study import Setting, Study

ALL = 10
"""Settings up to which every one is compared with every other one."""
NEARLY = 0.75
"""Share of seeds that two settings must have in common to be compared seed by seed."""


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
        "half. Where both settings have the same seeds, or nearly, their policies were scored on "
        "the same held-out episodes, and are compared seed by seed (Wilcoxon's signed ranks, "
        "Wilson's interval); elsewhere over all pairs of seeds (Mann and Whitney's ranks, "
        "bootstrap over seeds). A − B is the median of the differences, seed by seed where they "
        "are paired. P's interval counts ties for either side. Six pairs or four seeds a side "
        "are the fewest that one comparison can tell apart at all, more comparisons need more. "
        "The test's ranks weigh how far apart seeds are, so its verdict may be another than P's. "
        f"p is corrected for the {_compared(len(pairs))} (Holm); two settings are told apart "
        f"below {LEVEL:g}. Needed seeds are those with which a difference like the one seen would "
        f"be, with a power of {100 * POWER:.0f} %, if it is about normal: an estimate from few "
        "seeds, and no promise.",
        *survivors(studies),
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
        paired = len(shared) >= NEARLY * max(len(a.scores), len(b.scores))
        if paired and _episodes(a) == _episodes(b):
            scores = (np.array([one[seed] for seed in shared], float) for one in (first, second))
            yield Pair(study, a, b, *scores, paired=True)
        else:
            yield Pair(study, a, b, a.scores, b.scores, paired=False)


def _episodes(one: Setting) -> Any:
    """-> how many held-out episodes there are: runs of the same task and seed begin with the same
    ones."""
    return one.run.section("eval").get("episodes")


def survivors(studies: Sequence[Study]) -> list[str]:
    """-> a warning where settings have runs that failed."""
    failing = [one for study in studies for one in study.settings if one.failed]
    if not failing:
        return []
    count = sum(one.failed for one in failing)
    return [
        f"Beware: {count} run{'s' * (count > 1)} of {len(failing)} "
        f"setting{'s' * (len(failing) > 1)} failed and have no score. A setting whose runs fail "
        "looks better by the ones that are left than it is."
    ]


def _rows(pairs: list[Pair]) -> Iterator[dict[str, Any]]:
    found = [compared(pair.one, pair.other, pair.paired) for pair in pairs]
    raw = np.array([p for p, _ in found])
    for pair, p, (own, above) in zip(pairs, corrected(raw), found, strict=True):
        a, b, paired = pair.one, pair.other, pair.paired
        chance, (low, high) = improvement(a, b, paired)
        middle = np.median(a - b) if paired else np.median(a) - np.median(b)
        needed = seeds_needed(a, b, paired, len(pairs))
        verdict = _verdict(pair, p, above, len(pairs), needed)
        yield {
            "task": pair.study.task,
            "A": parts.label(pair.a),
            "B": parts.label(pair.b),
            "seeds": f"{len(a)} shared" if paired else f"{len(a)} and {len(b)}",
            "A − B, median": float(middle),
            "P(A > B)": parts.with_interval(chance, low, high, as_rate=True),
            "p, Holm": parts.Cell(_p(p), {"": p, " (uncorrected)": own}),
            "verdict": parts.Cell(verdict, {"": verdict, " (needed seeds)": needed}),
        }


def _p(p: float) -> str:
    return "–" if np.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _verdict(pair: Pair, p: float, above: float, comparisons: int, needed: float) -> str:
    if p < LEVEL and above != 0:
        return "A is better" if above > 0 else "B is better"
    seeds = min(len(pair.one), len(pair.other))
    can = seeds >= fewest_seeds(pair.paired, comparisons)
    why = f"not told apart with {seeds} seeds" if can else f"{seeds} seeds can tell nothing apart"
    if not np.any(pair.one - pair.other if pair.paired else np.ptp([*pair.one, *pair.other])):
        return "the same scores"
    if np.isinf(needed):
        return why
    much = f"about {needed:,.0f}" if needed <= MOST_SEEDS else f"more than {MOST_SEEDS:,}"
    return f"{why}, {much} would be needed"
