"""A sweep: its jobs, each in a folder of its own below the sweep's."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from esrun import files
from esrun.config import compose, hydra
from esrun.config.check import checked
from esrun.config.compose import Composed
from esrun.config.loader import Source
from esrun.config.quoting import quoted
from esrun.config.schema.run import Config
from esrun.errors import USAGE, ConfigError, complain
from esrun.runs import folder, sweep_record
from esrun.runs.folder import HYDRAS_SWEEP, SWEEP, Made, shown
from esrun.runs.job import run_composed, yaml_of
from esrun.runs.opening import Order
from esrun.runs.places import asked_in, placed, sweeps_folder
from esrun.runs.run import carry_out
from esrun.runs.sweep_endings import Job, failed_earlier, leave_failed, worst
from esrun.runs.sweep_jobs import Ready, Sweep
from esrun.runs.sweep_record import Asked
from esrun.runs.sweep_show import Place
from esrun.runs.sweep_table import show, swept

STOP = "stop"
"""What `sweep.on_failure` says where the first job that fails is the last one."""


def _refuse_hosts(config: Config) -> None:
    if config.runtime.hosts is not None:
        raise ConfigError(
            "runtime.hosts is for one run, whose processes train in step, and this is a sweep: "
            "type its jobs one by one, or write runtime.hosts=null"
        )
    if config.runtime.driver == "ray":
        raise ConfigError(
            "runtime.driver=ray is for one run, and this is a sweep: type its jobs one by one, or "
            "write runtime.driver=here"
        )


def run_sweep(overrides: list[str], source: Source) -> int:
    """Run the jobs of a sweep -> the worst exit code. All are checked before the first one starts;
    those that have failed earlier are left as they are.

    Raises ConfigError.
    """
    asked = compose.sweep(overrides, source)
    if asked.plugin and OmegaConf.select(asked.whole, "sweep.on_failure") == STOP:
        raise ConfigError(
            "sweep.on_failure=stop is for jobs that esrun runs one after another, and a plug-in "
            "runs these: write sweep.on_failure=go_on"
        )
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
                    _refuse_hosts(configs[-1])
        jobs = placed(found, configs, made.folder)
        failed = [failed_earlier(job.folder, job.config) for job in jobs]
        _record(made, asked.whole, jobs)
    except ConfigError:
        made.unmake()
        raise
    if asked.plugin:
        done = _run_by_plugin(words, source, overrides, made, asked.whole, jobs)
    else:
        ready = [
            Ready(
                *(job.folder, job.overrides, partial(_run_job, one, job.folder, config)),
                ends_sweep=config.sweep.on_failure == STOP,
                failed=why,
                config=config,
                alone=bool(one.hydra.job.chdir or one.hydra.job.env_set),
            )
            for one, config, job, why in zip(found, configs, jobs, failed, strict=True)
        ]
        done = Sweep(ready, made.folder).run()
    if made.made and done and all(job.code == USAGE for job in done):
        _forget(made)
    elif done:
        show(done, made.folder)
    return worst(done)


def resume_sweep(sweep: Path, change: Callable[[dict], dict], force: bool, retry: bool) -> int:
    """Go on with what is missing or interrupted of a sweep, and where it is to `retry` with what
    has failed -> the worst exit code. `change` sets what was typed in a job's configuration.

    Raises ConfigError.
    """
    sweep = sweep.resolve()
    folder.check_sweep(sweep)
    jobs = sweep_record.read(sweep)
    if not jobs:
        raise ConfigError(f"{shown(sweep)} knows no job: type its command again instead")
    given = [change(job.config) for job in jobs]
    failed = [failed_earlier(job.folder, config) for job, config in zip(jobs, given, strict=True)]

    def ready(job: Asked, config: dict, why: str | None) -> Ready:
        def run(place: Place | None) -> int:
            known, given = checked(config), sweep_record.where_begun(job.folder, job.config, config)
            made = folder.make(job.folder)
            order = Order(known, given, made, job.choices, going_on=True, force=force)
            return carry_out(order._replace(retries=retry, place=place))

        section = config.get("sweep")
        return Ready(
            *(job.folder, job.overrides, run),
            ends_sweep=isinstance(section, dict) and section.get("on_failure") == STOP,
            failed=None if retry else why,
            config=_known(config),
        )

    done = Sweep([ready(*x) for x in zip(jobs, given, failed, strict=True)], sweep).run()
    show(done, sweep)
    return worst(done)


def _known(config: dict) -> Config | None:
    """-> a job's configuration, None for a wrong one, of which its own turn tells."""
    try:
        return checked(config)
    except ConfigError:
        return None


@contextmanager
def _named(i: int, jobs: list[list[str]]) -> Iterator[None]:
    """Have a complaint say which of several jobs it is about."""
    try:
        yield
    except ConfigError as error:
        which = swept(jobs)[i]
        raise ConfigError(f"job {i + 1} ({which}): {error}" if which else str(error)) from error


def _run_job(one: Composed, where: Path, config: Config, place: Place | None = None) -> int:
    return run_composed(one, config, folder.make(where), going_on=True, place=place)


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
        place = known.get(asked.identity, place)
        why = failed_earlier(place, asked.config)
        return _run_job(one, place, parsed) if why is None else leave_failed(place, why)
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
