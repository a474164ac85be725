"""A sweep: its jobs one after another, each in a folder of its own below the sweep's."""

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from esrun import files
from esrun.config import compose, hydra
from esrun.config.check import checked
from esrun.config.compose import Composed, composed
from esrun.config.loader import Source
from esrun.config.quoting import quoted
from esrun.config.schema.run import Config
from esrun.errors import DONE, SAVED, USAGE, ConfigError, complain, printable
from esrun.runs import folder, sweep_record
from esrun.runs.folder import HYDRAS_SWEEP, SWEEP, Made, shown
from esrun.runs.interrupts import listening
from esrun.runs.job import run_composed, yaml_of
from esrun.runs.opened import Order
from esrun.runs.paths import RunFolder
from esrun.runs.places import asked_in, placed, sweeps_folder
from esrun.runs.run import carry_out
from esrun.runs.sweep_record import Asked


class Job(NamedTuple):
    """How one job went."""

    folder: Path
    overrides: list[str]
    code: int


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
        found = [
            composed([*job, there], source, job=i, typed=words) for i, job in enumerate(asked.jobs)
        ]
        configs = [checked(one.config) for one in found]
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
        _show(done, made.folder)
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
            made = folder.make(job.folder)
            return carry_out(
                Order(checked(config), config, made, job.choices, going_on=True, force=force)
            )

        return Ready(job.folder, job.overrides, run)

    done = _run_in_turn([ready(*pair) for pair in zip(jobs, given, strict=True)], sweep)
    _show(done, sweep)
    return max(job.code for job in done)


def _run_in_turn(jobs: list[Ready], sweep: Path) -> list[Job]:
    """Run one after another; a signal ends a sweep, and the same command goes on with it."""
    done: list[Job] = []

    def left() -> list[Job]:
        return [Job(job.folder, job.overrides, SAVED) for job in jobs[len(done) :]]

    def leave(name: str) -> str:
        _show([*done, *left()], sweep)
        return f"ended by {name}; to go on: {folder.going_on(sweep)}"

    with listening() as heard, heard.saving(leave):
        for job in jobs:
            if heard.name is not None:
                break
            try:
                code = job.run()
            except ConfigError as error:  # what is wrong with one does not end the others
                code = complain(error)
            done.append(Job(job.folder, job.overrides, code))
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


def _show(jobs: list[Job], sweep: Path) -> None:
    """The closing table of a sweep, and how to go on where something is left to do."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("job", "swept", "status", "held-out", box=None)
    common = set.intersection(*(set(job.overrides) for job in jobs))
    for job in jobs:
        status, reason, score = _ending(job)
        if reason is not None and job.code not in (DONE, SAVED):
            status = f"{status} ({reason})"
        swept = " ".join(word for word in job.overrides if word not in common)
        cells = (job.folder.name, swept, status, "-" if score is None else f"{score:.4g}")
        table.add_row(*(Text(printable(cell)) for cell in cells))
    Console(highlight=False).print(table)
    print(printable(f"sweep folder: {shown(sweep)}"))
    if any(job.code not in (DONE, USAGE) for job in jobs):
        print(printable(f"to go on: {folder.going_on(sweep)}"))


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
