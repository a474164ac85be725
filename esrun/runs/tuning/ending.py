"""What a study comes to: the best setting beside the default one, as a table and as an option."""

import shlex
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from esrun import files
from esrun.config import compose, imports
from esrun.config.check import KINDS
from esrun.config.compose import Composed
from esrun.config.trees import flat
from esrun.errors import printable
from esrun.runs.folder import shown, to_type
from esrun.runs.secrets import masked
from esrun.runs.sweep_table import add_row, console_of_tables, figure, table_of
from esrun.runs.tuning.asked import Asked
from esrun.runs.tuning.finals import Outcome
from esrun.runs.tuning.journal import CAUSE
from esrun.runs.tuning.runs import WORST, Score
from esrun.runs.tuning.show import setting
from esrun.runs.tuning.study import Study

ROWS = 10
"""Trials in the table."""
CONF, OPTION = "conf", "tuned"
"""The folder of options that is written into the study's, and the name of the experiment in it."""
LEFT_OUT = ("seed", "tune", "resume", "sweep", "logger", "progress", "log", "runtime.parallel_runs",
            "runtime.devices", "runtime.workers", "runtime.engine", "runtime.driver",
            "runtime.worker_blocks", "checkpoint")  # fmt: skip
"""Keys that say nothing of how a setting trains."""


# ---- what is shown ---------------------------------------------------------------------------


def show(asked: Asked, study: Study, folder: Path, result: Outcome | None) -> None:
    """The closing tables, and what to type next."""
    known = study.trials
    trials = [x for x in known if x.state.is_finished()]
    to_the_end = study.ended
    failed = sum(CAUSE in x.user_attrs for x in trials)
    console = console_of_tables()
    if to_the_end:
        table = table_of(("trial", "setting"), ("held-out",))
        for one in to_the_end[:ROWS]:
            add_row(table, [str(one.number), setting(study.setting(one)), figure(one.value)])
        console.print(table)
    left = len(trials) - len(to_the_end) - failed
    print(
        f"{len(trials)} settings tried: {len(to_the_end)} to the end, {left} left at a rung, "
        f"{failed} failed or refused"
    )
    if waiting := len(known) - len(trials):
        print(f"{waiting} wait for more time, and go on when this is typed again")
    if result is not None and len(result.finalists) > 1:
        print(f"the finalists, over seeds {_said(result.best.seeds)}:")
        names = [f"trial {one.trial.number}" for one in result.finalists]
        console.print(_scores(names, [one.scores for one in result.finalists]))
    if result is not None and (compared := result.compared):
        print(f"on seeds that no trial had ({_said(compared.seeds)}):")
        names = [f"the best (trial {result.best.trial.number})", "the default"]
        console.print(_scores(names, [compared.best, compared.default]))
        best_score, default = (median(x.value for x in found) for found in compared[1:])
        if best_score == WORST:
            print("the best setting fails with most of these seeds")
        elif best_score <= default:
            print("the default setting is as good: search more trials, or another space")
    lines = [f"study folder: {shown(folder)}"]
    if to_the_end:
        lines.append(f"the best as an option: {shown(folder / CONF / 'experiment' / OPTION)}.yaml")
        copied = f" (copied into {own}/experiment)" if (own := asked.source.directory) else ""
        lines.append(f"to train it{copied}: {training(asked, folder)}")
        lines.append(f"to see what each key does: {to_type('report', folder)}")
    for line in lines:
        print(printable(line))


def _scores(names: list[str], scores: list[list[Score]]) -> Any:
    """-> a table with a row for each setting."""
    table = table_of(["setting"], ("done", "median", "worst", "best"))
    for name, found in zip(names, scores, strict=True):
        done = [x.value for x in found if x.value != WORST]
        figures = (median(x.value for x in found), min(done), max(done)) if done else ()
        count = f"{len(done)}/{len(found)}"
        add_row(table, [name, count, *(map(figure, figures) if done else "---")])
    return table


def training(asked: Asked, folder: Path) -> str:
    """-> the command that trains the best setting, as its first fresh run was."""
    seed = (asked.fresh_seeds or asked.seeds)[0]
    own = asked.source.directory or shown(folder / CONF)
    words = ["esrun", *imports.flags(), "--config-dir", own, f"experiment={OPTION}", f"seed={seed}"]
    return shlex.join(words)


# ---- what is written -------------------------------------------------------------------------


def write_option(asked: Asked, study: Study, folder: Path, one: Composed, result: Outcome) -> None:
    """Write the best setting, as it was composed, as an experiment. Raises OSError."""
    chosen = {kind: str(one.hydra.runtime.choices[kind]) for kind in KINDS}
    words = [f"{kind}={name}" for kind, name in chosen.items()]
    shipped = flat(compose.as_written(words, asked.source))
    searched = {x.key for x in asked.space.dimensions}
    own = {
        key: value
        for key, value in flat(masked(one.config)).items()
        if not any(key == x or key.startswith(f"{x}.") for x in LEFT_OUT)
        and (key in searched or key not in shipped or shipped[key] != value)
    }
    content = {
        "defaults": [{f"override /{kind}": name} for kind, name in chosen.items()],
        "generations": asked.config.generations,
        **_nested(own),
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    header = "".join(f"# {line}\n" for line in _header(asked, study, folder, result))
    for place in (folder / CONF, folder / CONF / "experiment"):
        files.make_folder(place)
    path = folder / CONF / "experiment" / f"{OPTION}.yaml"
    files.write(path, f"# @package _global_\n{header}{text}".encode())


def _header(asked: Asked, study: Study, folder: Path, result: Outcome) -> list[str]:
    best, compared = result.best, result.compared
    count = sum(x.state.is_finished() for x in study.trials)
    lines = [
        f"The best of {count} settings that esrun tune tried (trial {best.trial.number}).",
        f"Median held-out mean over the seeds that chose it ({_said(best.seeds)}): {best.value!r}",
    ]
    if compared is not None:
        score, default = (median(x.value for x in found) for found in compared[1:])
        seeds = f"Over seeds that no trial had ({_said(compared.seeds)})"
        lines.append(f"{seeds}: {score!r}; the default setting: {default!r}")
        lines.append(f"With seed={compared.seeds[0]} it trains to {compared.best[0].value!r}:")
    lines.append(training(asked, folder))
    if asked.source.directory:
        lines.append(f"It may need the options of {asked.source.directory}: copied into its "
                     "experiment/ it has them.")  # fmt: skip
    return [printable(line) for line in lines]


def _said(seeds: list[int]) -> str:
    """-> seeds in words, those that follow each other as one."""
    runs = groupby(enumerate(seeds), key=lambda place: place[1] - place[0])
    each = [[seed for _, seed in run] for _, run in runs]
    return " and ".join(str(x[0]) if len(x) == 1 else f"{x[0]} to {x[-1]}" for x in each)


def _nested(leaves: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in leaves.items():
        *path, last = key.split(".")
        node = tree
        for name in path:
            node = node.setdefault(name, {})
        node[last] = value
    return tree
