"""How runs did: a row of figures for each policy that was asked for."""

from typing import Any, NamedTuple

import numpy as np

from esrun.config.schema.run import Config
from esrun.errors import ConfigError
from esrun.results import subjects
from esrun.results.evaluation import Evaluator, Subject, evaluator_of
from esrun.results.where import good_ones
from esrun.runs.folder import shown
from esrun.runs.paths import RunFolder
from esrun.runs.record import read_json
from esrun.types import Task

UNSEEN = 0xE7A1
"""Told to the generator of a seed whose episodes have chosen nothing."""


class Wanted(NamedTuple):
    """Which policy of each run is evaluated, and on what. None leaves it to the run."""

    episodes: int | None = None
    seed: int | None = None
    generation: int | None = None
    best: bool = False
    members: bool = False
    ensemble: int | None = None
    test: bool = False


class _Found(NamedTuple):
    """A run and what of it is evaluated."""

    folder: RunFolder
    evaluator: Evaluator
    seed: int
    subjects: list[Subject]


def rows(
    runs: list[tuple[RunFolder, Config]], wanted: Wanted
) -> tuple[list[dict[str, Any]], list[str]]:
    """-> (for each policy its `run`, `policy`, `generation`, `seed` and figures, see
    `esrun.results.statistics`; complaints about the runs that have none).

    All files are read before the first episode is played. Raises ConfigError where no run is left.
    """
    found, complaints = good_ones(runs, lambda run: _found(*run, wanted))
    return [row for _, one in found for row in _rows(one, wanted)], complaints


def _found(folder: RunFolder, config: Config, wanted: Wanted) -> _Found:
    evaluator = evaluator_of(folder, config)
    check_part(folder, evaluator.parts.task, wanted)
    if wanted.members:
        those = subjects.of_members(folder, evaluator)
    elif wanted.generation is not None:
        those = [subjects.of_generation(folder, evaluator, wanted.generation)]
    elif wanted.ensemble is not None:
        those = []
    else:
        those = [subjects.of_run(folder, evaluator, wanted.best)]
    by_seed = evaluator.parts.task.validation is None
    seed = seed_of(folder, config, wanted) if by_seed else config.seed
    return _Found(folder, evaluator, seed, those)


def check_part(folder: RunFolder, task: Task, wanted: Wanted) -> None:
    """Raise ConfigError where what is asked for does not fit what the task is scored by."""
    if wanted.test and task.test is None:
        raise ConfigError(f"{shown(folder.path)} has no test part: leave out --test")
    if task.validation is None:
        return
    for flag in ("seed", "episodes"):
        if getattr(wanted, flag) is not None:
            raise ConfigError(
                f"{shown(folder.path)} is scored by the {task.validation.size} examples of its "
                f"validation part, whatever the seed: leave out --{flag}"
            )
    if wanted.test and wanted.ensemble is not None:
        raise ConfigError("--ensemble is scored by the validation part: leave out --test")


def on_test(task: Task, wanted: Wanted) -> bool:
    """Whether the policies are scored by the task's test part: where that is asked for, and where
    the validation part has chosen them."""
    return wanted.test or (wanted.best and task.test is not None)


def seed_of(folder: RunFolder, config: Config, wanted: Wanted) -> int:
    """-> the seed whose held-out episodes are played. Those that chose a policy are not: its score
    there is too good. Raises ConfigError."""
    if not wanted.best:
        return config.seed if wanted.seed is None else wanted.seed
    other = int(np.random.SeedSequence([config.seed, UNSEEN]).generate_state(1)[0])
    if wanted.seed == config.seed:
        raise ConfigError(
            f"--best was chosen on the held-out episodes of seed {config.seed} in "
            f"{shown(folder.path)}: leave out --seed, or write another one"
        )
    return other if wanted.seed is None else wanted.seed


def _rows(found: _Found, wanted: Wanted) -> list[dict[str, Any]]:
    about = {"run": shown(found.folder.path)}
    if wanted.ensemble is not None:
        state = found.evaluator.state(found.folder)
        figures = found.evaluator.ensemble(state, wanted.ensemble, found.seed)
        name, generation = f"ensemble of {wanted.ensemble}", int(state.generation)
        about |= {"policy": name, "generation": generation, "seed": found.seed}
        return [about | figures]
    task = found.evaluator.parts.task
    tested = on_test(task, wanted)
    part = {"part": "test" if tested else "validation"} if task.validation else {}
    return [
        about
        | {"policy": one.name, "generation": one.generation, "seed": found.seed}
        | part
        | dict(one.more)
        | found.evaluator.figures(one, found.seed, tested)
        for one in found.subjects
    ]


def notes(
    runs: list[tuple[RunFolder, Config]], rows: list[dict[str, Any]], wanted: Wanted
) -> list[str]:
    """-> what a reader of the rows should know."""
    lines = []
    tested = [row for row in rows if row.get("part") == "test"]
    if tested and wanted.best:
        lines.append("best: chosen on the validation part of its run; these are of the test part")
    if wanted.best and any(row.get("part") == "validation" for row in rows):
        lines.append(
            "best: chosen on the validation part of its run, and these are of it too: too good"
        )
    if wanted.best and (others := [row for row in rows if "part" not in row]):
        seeds = ", ".join(dict.fromkeys(str(row["seed"]) for row in others))
        lines.append(
            f"best: chosen on the held-out episodes of its run; these are others (seed {seeds})"
        )
    for row in rows if wanted.ensemble else ():
        lines.append(
            f"{row['run']}: its {row['draws']} draws alone: mean {row['draws_mean']:.4g}, standard "
            f"deviation between them {row['draws_std']:.3g}, worst {row['draws_worst']:.4g}"
        )
    parts = {row["run"]: row.get("part") for row in rows}
    for folder, config in runs if wanted == Wanted(episodes=wanted.episodes) else ():
        if decided := _decided_by_episodes(folder, config):
            which, others = "these episodes have", f"--seed {config.seed + 1} plays others"
            if parts.get(shown(folder.path)):
                which, others = "the validation part has", "see --test for a task that has one"
            lines.append(f"{shown(folder.path)}: {which} also decided {decided}; {others}")
    return lines


def _decided_by_episodes(folder: RunFolder, config: Config) -> str | None:
    """-> what the run's own held-out episodes have decided about its policy, None if nothing: its
    score on them is then somewhat too good."""
    if config.strategy.restarting() is not None:
        return "which of its searches is reported"
    summary = read_json(folder.summary)
    if isinstance(summary, dict) and summary.get("stop_reason") == "eval":
        return "when it ended"
    return None
