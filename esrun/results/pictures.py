"""What `esrun render` writes: which policies are shown, and as what."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from esrun.config.schema.run import Config
from esrun.errors import ConfigError
from esrun.results import comparison, subjects, video_files
from esrun.results.evaluation import Evaluator, Subject, evaluator_of
from esrun.results.film import COLUMNS, Panel, composed, panel, title_of
from esrun.results.where import good_ones
from esrun.runs.folder import shown
from esrun.runs.paths import RunFolder

MOMENTS = 100
"""Frames of a function's film."""
MOMENT_MS = 150


class Wanted(NamedTuple):
    """Which policies of each run are shown, and in what. None leaves it to the run."""

    generation: int | None = None
    generations: tuple[int, ...] | None = None
    best: bool = False
    episodes: int | None = None
    seed: int | None = None


def render(runs: list[tuple[RunFolder, Config]], wanted: Wanted, path: Path) -> None:
    """Write one film of all that is wanted. Raises ConfigError, OSError."""
    panels = [
        one
        for folder, config in runs
        for one in _panels(folder, evaluator_of(folder, config), wanted)
    ]
    row = len(wanted.generations or ())
    columns = row if 1 < row <= COLUMNS + 2 else COLUMNS
    video_files.write(path, composed(panels, columns), min(one.milliseconds for one in panels))


def render_each(
    folder: RunFolder, config: Config, wanted: Wanted, paths: dict[int, Path]
) -> Iterator[Path]:
    """Write a film of each of several generations -> their paths, as they come. Raises ConfigError
    for one that cannot be read, when the others are written, and OSError."""
    evaluator, complaints = evaluator_of(folder, config), []
    if _is_function(evaluator):
        made = zip(paths, _functions(folder, evaluator, wanted, tuple(paths)), strict=True)
    else:
        those, complaints = good_ones(paths, partial(subjects.of_generation, folder, evaluator))
        panels = _watched(folder, evaluator, wanted, [one for _, one in those])
        made = zip((generation for generation, _ in those), panels, strict=True)
    for generation, one in made:
        path = paths[generation]
        path.parent.mkdir(exist_ok=True)
        video_files.write(path, composed([one]), one.milliseconds)
        yield path
    if complaints:
        raise ConfigError(complaints[0])


def _is_function(evaluator: Evaluator) -> bool:
    return evaluator.parts.task.input_shape == (0,)


def _panels(folder: RunFolder, evaluator: Evaluator, wanted: Wanted) -> list[Panel]:
    chosen = wanted.generations or (None if wanted.generation is None else (wanted.generation,))
    if _is_function(evaluator):
        return _functions(folder, evaluator, wanted, chosen)
    if chosen is None:
        those = [subjects.of_run(folder, evaluator, wanted.best)]
    else:
        those = [subjects.of_generation(folder, evaluator, x) for x in chosen]
    return list(_watched(folder, evaluator, wanted, those))


def _watched(
    folder: RunFolder, evaluator: Evaluator, wanted: Wanted, those: list[Subject]
) -> Iterator[Panel]:
    """-> a film of the episodes of each."""
    config = evaluator.run.config
    task = evaluator.parts.task
    if task.watch is None and task.simulators is None:
        raise ConfigError(f"{shown(folder.path)}: task {config.task.name} has nothing to be seen")
    whose = comparison.Wanted(best=wanted.best, seed=wanted.seed, episodes=wanted.episodes)
    comparison.check_part(folder, task, whose)
    seed = comparison.seed_of(folder, config, whose)
    watch = evaluator.watching(wanted.episodes or 1)
    for one in those:
        yield panel(folder, config, evaluator.parts.task, one, seed, watch(one, seed))


def _functions(
    folder: RunFolder, evaluator: Evaluator, wanted: Wanted, chosen: tuple[int, ...] | None
) -> list[Panel]:
    """-> the film of a search, or a still picture of each generation that was `chosen`."""
    from esrun.results.functions import function_frames
    from esrun.results.replay import replayed

    for flag in ("seed", "episodes"):
        if getattr(wanted, flag) is not None:
            raise ConfigError(
                f"{shown(folder.path)} is a search of a function, and its film has no episodes: "
                f"leave out --{flag}"
            )
    run, subject = evaluator.run, subjects.of_run(folder, evaluator, wanted.best)
    last = subjects.of_run(folder, evaluator, best=False).generation or run.config.generations
    until = last if subject.generation is None else subject.generation
    frames = np.unique(np.linspace(0, until, MOMENTS).round().astype(int)).tolist()
    if beyond := [x for x in chosen or () if x > last]:
        raise ConfigError(
            f"{shown(folder.path)} has no generation {beyond[0]}: it ended after {last}"
        )
    moments = replayed(run, list(chosen or frames))
    picture, captions = function_frames(run, moments)
    title = [f"{title_of(run.config)}, {run.config.strategy.name}"]
    title += [f"{shown(folder.path)}, seed {run.config.seed}"]
    if chosen is None:
        title[0] += ", until the best mean" * wanted.best
        return [Panel(title, captions, picture, MOMENT_MS)]
    at = {one.generation: i for i, one in enumerate(moments)}
    return [
        Panel(title, [captions[at[x]]], lambda _, i=at[x]: picture(i), MOMENT_MS) for x in chosen
    ]
