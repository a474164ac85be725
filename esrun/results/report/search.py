"""What `esrun tune` found: its trials, the best beside the default, what each key does to scores.

Importance is Optuna's: the share of the scores' variance that a key explains in a forest fitted to
them (fANOVA; Hutter, Hoos and Leyton-Brown 2014).
"""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from esrun.errors import DONE, ConfigError, clipped, printable
from esrun.results import charts
from esrun.results.canvas import said as as_text
from esrun.results.report import parts
from esrun.results.report.jobs import Jobs
from esrun.results.report.parts import Figure, Section, Table, table
from esrun.runs import sweep_record
from esrun.runs.folder import shown
from esrun.runs.sweep_endings import Job, ending
from esrun.runs.tuning import journal
from esrun.runs.tuning.journal import CAUSE, DEFAULT, run_name

LEAST = 4
"""Settings with a score that an importance is told from."""
COMPLETE, LEFT = "COMPLETE", "PRUNED"


def sections(found: Jobs) -> Iterator[Section]:
    """-> a section for each study."""
    for place, left in found.searches.items():
        several = len(found.searches) > 1
        title = f"What the search found{f': {shown(place)}' if several else ''}"
        mark = f"-{shown(place)}" if several else ""
        try:
            yield Section(title, list(_blocks(place, len(left), mark)))
        except ConfigError as error:
            yield Section(title, [f"It cannot be told: {error}."])


def _blocks(place: Path, left: int, mark: str) -> Iterator[Any]:
    """`mark`: of the names of its files."""
    study = journal.loaded(place)
    trials = [one for one in study.trials if one.params]
    yield _words(trials, left)
    yield _tried(trials, mark)
    yield from _compared(place, journal.best(study), mark)
    yield _importances(trials, mark)
    keys = dict.fromkeys(key for one in trials for key in one.params)
    for key in keys:
        if any(_scored(one) for one in trials):
            yield _sensitivity(key, trials, mark)


def _words(trials: Sequence[Any], left: int) -> str:
    states = [one.state.name for one in trials]
    ended, failed = states.count(COMPLETE), sum(CAUSE in one.user_attrs for one in trials)
    words = [
        f"{len(trials)} settings were tried: {ended} to their end, "
        f"{states.count(LEFT) - failed} left at a rung, {failed} failed or refused."
    ]
    if running := len(trials) - sum(one.state.is_finished() for one in trials):
        words.append(f"{running} run yet, were interrupted or wait for more time.")
    words.append(
        "A setting's score is the median of its seeds' held-out means, and the best were chosen by "
        "it, so that it flatters: what to expect is what the best does on seeds that no trial had."
    )
    if left:
        words.append(f"The {left} runs of settings left before their end stand here alone.")
    return " ".join(words)


def _scored(one: Any) -> bool:
    return one.value is not None and bool(np.isfinite(one.value))


def _tried(trials: Sequence[Any], mark: str) -> Table:
    """-> the table of settings, the best of those that came furthest first."""
    rows = []
    for one in sorted(trials, key=lambda x: (-(x.last_step or 0), -_order(x), x.number)):
        row: dict[str, Any] = {"trial": one.number}
        row |= {printable(key): _value(x) for key, x in one.params.items()}
        row["generations"] = one.last_step
        row["held-out"] = one.value if _scored(one) else None
        how = {COMPLETE: "to its end", LEFT: "left at a rung"}.get(one.state.name, "running")
        row["how"] = printable(str(one.user_attrs.get(CAUSE, how)))
        rows.append(row)
    name = parts.file_name(f"trials{mark}")
    return table(name, "the settings, and the median held-out mean of their seeds", rows)


def _order(one: Any) -> float:
    return one.value if _scored(one) else float("-inf")


def _value(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value


def _compared(place: Path, best: Any, mark: str) -> Iterator[Table]:
    """-> the table of the `best` trial's setting and the default one on seeds that no trial had."""
    search = sweep_record.search(place) or {}
    seeds = search.get("fresh_seeds")
    if best is None or not isinstance(seeds, list) or not seeds:
        return
    rows = []
    for name, of in ((f"the best, trial {best.number}", best.number), ("the default", DEFAULT)):
        known = (ending(Job(place / run_name(of, seed), [], DONE)).score for seed in seeds)
        scores = [x for x in known if x is not None]
        figures = (median(scores), min(scores), max(scores)) if scores else (None,) * 3
        rows.append(
            {"setting": name, "done": f"{len(scores)} of {len(seeds)}"}
            | dict(zip(("median", "worst", "best"), figures, strict=True))
        )
    yield table(
        parts.file_name(f"fresh{mark}"),
        "the best and the default setting on seeds that no trial had",
        rows,
    )


def _importances(trials: Sequence[Any], mark: str) -> Table | str:
    """-> how much of the scores each key explains: after the first rung, where all settings are,
    and at the end."""
    rungs = sorted({step for one in trials for step in one.intermediate_values})
    columns: dict[str, dict[str, float]] = {}
    for rung in dict.fromkeys([*rungs[:1], *rungs[-1:]]):
        own = [one for one in trials if np.isfinite(one.intermediate_values.get(rung, np.nan))]
        if len(own) >= LEAST:
            name = f"after {rung} generations, {len(own)} settings"
            columns[name] = _importance(own, rung)
    if not columns:
        return f"Of fewer than {LEAST} scores at a rung no importance is told."
    keys = dict.fromkeys(key for one in columns.values() for key in one)
    rows = [{"key": key, **{name: one.get(key) for name, one in columns.items()}} for key in keys]
    says = "importance: the share of the scores' variance (fANOVA)"
    return table(parts.file_name(f"importance{mark}"), says, rows)


def _importance(trials: Sequence[Any], rung: int) -> dict[str, float]:
    optuna = journal.optuna_here()
    study = optuna.create_study(direction="maximize")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for one in trials:
            study.add_trial(
                optuna.trial.create_trial(
                    params=one.params,
                    distributions=one.distributions,
                    value=one.intermediate_values[rung],
                )
            )
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        return optuna.importance.get_param_importances(study, evaluator=evaluator)


def _sensitivity(key: str, trials: Sequence[Any], mark: str) -> Figure:
    own = [one for one in trials if key in one.params and _scored(one)]
    values, scores = [one.params[key] for one in own], np.array([one.value for one in own])
    ended = np.array([one.state.name == COMPLETE for one in own])
    with parts.axes(2.6) as (ax, made):
        if all(isinstance(x, (int, float)) for x in values):
            spots = np.array(values, float)
            if getattr(own[0].distributions[key], "log", False):
                parts.log_scale(ax, "x")
        else:
            names = list(own[0].distributions[key].choices)
            spots = np.array([names.index(x) for x in values], float)
            ax.set_xticks(range(len(names)), [as_text(clipped(str(x), 20)) for x in names])
        colour = charts.COLOURS[0]
        for which, face in ((~ended, "none"), (ended, colour)):
            ax.plot(spots[which], scores[which], "o", ms=4.5, mec=colour, mfc=face)
        charts.set_scale(ax, scores)
        ax.set_xlabel(as_text(clipped(key, 50)))
        ax.set_ylabel("held-out mean")
    return Figure(
        parts.file_name(f"search{mark}", key),
        f"{printable(key)}: a dot a setting, open where it was left at a rung, by its score there",
        made[0],
    )
