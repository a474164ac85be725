"""A sweep: its jobs one after another, each in a folder of its own below the sweep's."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from esrun import files
from esrun.config import compose, hydra
from esrun.config.check import checked
from esrun.config.compose import Composed
from esrun.config.loader import Source
from esrun.config.quoting import quoted
from esrun.config.schema.run import Config
from esrun.errors import SAVED, USAGE, ConfigError, complain, printable
from esrun.runs import folder, sweep_record
from esrun.runs.folder import HYDRAS_SWEEP, SWEEP, Made, shown
from esrun.runs.interrupts import listening
from esrun.runs.job import run_composed, yaml_of
from esrun.runs.opening import Order
from esrun.runs.places import asked_in, placed, sweeps_folder
from esrun.runs.run import carry_out
from esrun.runs.sweep_record import Asked
from esrun.runs.sweep_table import Job, show, swept


class Ready(NamedTuple):
    """A job that may be run."""

    folder: Path
    overrides: list[str]
    run: Callable[[], int]


def run_sweep(overrides: list[str], source: Source) -> int:
    """Run the jobs of a sweep -> the worst exit code. All are checked before the first one starts.

    Raises ConfigError.
    """
    asked = compose.sweep(overrides, source)
    made = sweeps_folder(asked, overrides, source)
    there = f"hydra.sweep.dir={quoted(str(made.folder))}"
    words = [*overrides, there]
    try:
        found, configs = [], []
        with compose.composing(source, words) as one:
            for i, job in enumerate(asked.jobs):
                with _named(i, asked.jobs):
                    found.append(one([*job, there], i))
                    configs.append(checked(found[-1].config))
        jobs = placed(found, configs, made.folder)
        for job in jobs:
            folder.earlier_run(job.folder)
        _record(made, asked.whole, jobs)
    except ConfigError:
        made.unmake()
        raise
    if asked.plugin:
        done = _run_by_plugin(words, source, overrides, made, asked.whole, jobs)
    else:
        done = _run_in_turn(
            [
                Ready(job.folder, job.overrides, partial(_run_job, one, job.folder, config))
                for one, config, job in zip(found, configs, jobs, strict=True)
            ],
            made.folder,
        )
    if made.made and done and all(job.code == USAGE for job in done):
        _forget(made)
    elif done:
        show(done, made.folder)
    return max((job.code for job in done), default=0)


def resume_sweep(sweep: Path, change: Callable[[dict], dict], force: bool) -> int:
    """Go on with what is missing or failed of a sweep -> the worst exit code. `change` sets what
    was typed in a job's configuration.

    Raises ConfigError.
    """
    sweep = sweep.resolve()
    folder.check_sweep(sweep)
    jobs = sweep_record.read(sweep)
    if not jobs:
        raise ConfigError(f"{shown(sweep)} knows no job: type its command again instead")
    given = [change(job.config) for job in jobs]
    for job in jobs:
        folder.earlier_run(job.folder)

    def ready(job: Asked, config: dict) -> Ready:
        def run() -> int:
            known, given = checked(config), sweep_record.where_begun(job.folder, job.config, config)
            made = folder.make(job.folder)
            return carry_out(Order(known, given, made, job.choices, going_on=True, force=force))

        return Ready(job.folder, job.overrides, run)

    done = _run_in_turn([ready(*pair) for pair in zip(jobs, given, strict=True)], sweep)
    show(done, sweep)
    return max(job.code for job in done)


@contextmanager
def _named(i: int, jobs: list[list[str]]) -> Iterator[None]:
    """Have a complaint say which of several jobs it is about."""
    try:
        yield
    except ConfigError as error:
        which = swept(jobs)[i]
        raise ConfigError(f"job {i + 1} ({which}): {error}" if which else str(error)) from error


def _run_in_turn(jobs: list[Ready], sweep: Path) -> list[Job]:
    """Run one after another; a signal ends a sweep, and the same command goes on with it."""
    done: list[Job] = []

    def left() -> list[Job]:
        return [Job(job.folder, job.overrides, SAVED) for job in jobs[len(done) :]]

    def leave(name: str) -> str:
        show([*done, *left()], sweep)
        return f"ended by {name}; to go on: {folder.going_on(sweep)}"

    which = swept([job.overrides for job in jobs])
    with listening() as heard, heard.saving(leave):
        for i, job in enumerate(jobs):
            if heard.name is not None:
                break
            if len(jobs) > 1:
                print(f"job {i + 1}/{len(jobs)}: {printable(which[i])}", flush=True)
            cause = None
            try:
                code = job.run()
            except ConfigError as error:  # what is wrong with one does not end the others
                code, cause = complain(error), str(error)
            done.append(Job(job.folder, job.overrides, code, cause))
    return [*done, *left()]


def _run_job(one: Composed, place: Path, config: Config) -> int:
    return run_composed(one, config, folder.make(place), going_on=True)


def _run_by_plugin(
    words: list[str],
    source: Source,
    typed: list[str],
    made: Made,
    whole: DictConfig,
    jobs: list[Asked],
) -> list[Job]:
    try:
        quiet = "hydra.output_subdir=null"
        returned = hydra.run_sweep([*words, quiet], source, [*typed, *words, quiet], job_of_plugin)
    finally:  # a plug-in's sweeper writes it too, with the secrets in it
        files.write(made.folder / HYDRAS_SWEEP, _hydras_yaml(whole))
    places = [job.folder for job in jobs]
    return [
        Job(place or Path(one.hydra_cfg.hydra.runtime.output_dir), list(one.overrides), code)
        for one, place in itertools.zip_longest(returned, places[: len(returned)])
        if one.hydra_cfg and one.overrides is not None and (code := one.return_value) is not None
    ]


def job_of_plugin(cfg: DictConfig) -> int:
    """One job of a sweep that a plug-in launches or chooses, in whatever process it runs."""
    section: Any = HydraConfig.get()
    config: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    one, place = Composed(config, section, cfg), Path(section.runtime.output_dir)
    try:
        parsed = checked(one.config)
        asked = asked_in(one, parsed, place)
        known = {job.identity: job.folder for job in sweep_record.read(Path(section.sweep.dir))}
        return _run_job(one, known.get(asked.identity, place), parsed)
    except ConfigError as error:
        return complain(error)


# ---- what is written and shown -------------------------------------------------------------------


def _record(made: Made, whole: DictConfig, jobs: list[Asked]) -> None:
    """Write what makes a folder a sweep's."""
    try:
        sweep_record.write(made.folder, jobs)
        files.write(made.folder / HYDRAS_SWEEP, _hydras_yaml(whole))
    except OSError as error:
        _forget(made)
        raise ConfigError(f"{shown(made.folder)} cannot be written to: {error}") from error


def _forget(made: Made) -> None:
    """Leave nothing of a sweep that came to nothing, as far as this call has made it."""
    if made.made:
        for name in (SWEEP, HYDRAS_SWEEP):
            (made.folder / name).unlink(missing_ok=True)
        made.unmake()


def _hydras_yaml(whole: DictConfig) -> bytes:
    return yaml_of(OmegaConf.to_container(whole, enum_to_str=True))
