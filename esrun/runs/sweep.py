"""A sweep: its jobs one after another, each in a folder of its own below the sweep's."""

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from esrun import files
from esrun.config import compose, hydra
from esrun.config.check import checked
from esrun.config.compose import Composed, composed
from esrun.config.hydra import Source
from esrun.config.schema.run import Config
from esrun.errors import SAVED, USAGE, ConfigError, complain, printable
from esrun.runs import folder
from esrun.runs.folder import HYDRAS_SWEEP, SWEEP, Made, shown
from esrun.runs.job import run_composed, yaml_of
from esrun.runs.paths import RunFolder
from esrun.runs.record import FORMAT, command_line
from esrun.runs.secrets import masked_word


class Job(NamedTuple):
    """How one job went."""

    folder: Path
    overrides: list[str]
    code: int


def run_sweep(overrides: list[str], source: Source) -> int:
    """Run the jobs of a sweep -> the worst exit code. All are checked before the first one starts.

    Raises ConfigError.
    """
    asked = compose.sweep(overrides, source)
    target = Path(os.path.abspath(compose.path_of(asked.whole.hydra, "sweep.dir")))
    typed = folder.is_typed("hydra.sweep.dir", overrides)
    if typed or not folder.is_by_the_clock(target):
        folder.check_sweep(target)
    made = folder.make(target, fresh=not typed)
    there = f"hydra.sweep.dir={_quoted(made.folder)}"
    words = [*overrides, there]
    try:
        found = [
            composed([*job, there], source, job=i, typed=words) for i, job in enumerate(asked.jobs)
        ]
        places = _places(found, made.folder)
        configs = [checked(one.config) for one in found]
        for place in places:
            folder.earlier_run(place)
    except ConfigError:
        made.unmake()
        raise
    jobs = [
        {"folder": str(place.relative_to(made.folder)), "overrides": _masked_words(one)}
        for one, place in zip(found, places, strict=True)
    ]
    _record(made, asked.whole, jobs)
    if asked.plugin:
        done = _run_by_plugin(words, source, overrides, made, asked.whole)
    else:
        done = _run_in_turn(found, configs, places)
    if made.made and done and all(job.code == USAGE for job in done):
        _forget(made)
    elif done:
        _show(done)
    return max((job.code for job in done), default=0)


def _run_in_turn(found: list[Composed], configs: list[Config], places: list[Path]) -> list[Job]:
    done = []
    for one, config, place in zip(found, configs, places, strict=True):
        code = _run_job(one, place, config)
        done.append(Job(place, hydra.words_of(one.hydra, "task"), code))
        if code == SAVED:  # a signal ends a sweep; the same command goes on with it
            break
    return done


def _run_job(one: Composed, place: Path, config: Config | None = None) -> int:
    """-> the exit code; what is wrong with one job does not end the others. It is checked here
    where nobody has yet."""
    try:
        config = config or checked(one.config)
        return run_composed(one, config, folder.make(place), going_on=True)
    except ConfigError as error:
        return complain(error)


def _run_by_plugin(
    words: list[str], source: Source, typed: list[str], made: Made, whole: DictConfig
) -> list[Job]:
    try:
        quiet = "hydra.output_subdir=null"
        returned = hydra.run_sweep([*words, quiet], source, [*typed, *words, quiet], job_of_plugin)
    finally:  # a plug-in's sweeper writes it too, with the secrets in it
        files.write(made.folder / HYDRAS_SWEEP, _hydras_yaml(whole))
    return [
        Job(Path(one.hydra_cfg.hydra.runtime.output_dir), list(one.overrides), one.return_value)
        for one in returned
        if one.hydra_cfg and one.overrides is not None
    ]


def job_of_plugin(cfg: DictConfig) -> int:
    """One job of a sweep that a plug-in launches or chooses, in whatever process it runs."""
    section: Any = HydraConfig.get()
    config: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    return _run_job(Composed(config, section, cfg), Path(section.runtime.output_dir))


def _places(found: list[Composed], sweep: Path) -> list[Path]:
    """-> the folder of each job. Raises ConfigError unless each has its own in the sweep's."""
    places = []
    for one in found:
        subdir = compose.path_of(one.hydra, "sweep.subdir")
        place = Path(os.path.normpath(sweep / subdir))
        inside = sweep in place.parents and place.parent.resolve().is_relative_to(sweep.resolve())
        if not inside or place.name in (SWEEP, HYDRAS_SWEEP) or place in places:
            raise ConfigError(
                f"hydra.sweep.subdir must be another folder of the sweep for each job, got "
                f"{subdir!r}: write 'hydra.sweep.subdir=${{hydra.job.num}}'"
            )
        places.append(place)
    return places


# ---- what is written and shown -------------------------------------------------------------------


def _record(made: Made, whole: DictConfig, jobs: list[dict]) -> None:
    """Write what makes a folder a sweep's."""
    try:
        words = [masked_word(word) for word in command_line()]
        content = {"format": FORMAT, "esrun": "sweep", "command": words, "jobs": jobs}
        files.write_json(made.folder / SWEEP, content)
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


def _masked_words(one: Composed) -> list[str]:
    return [masked_word(word) for word in hydra.words_of(one.hydra, "task")]


def _quoted(path: Path) -> str:
    """-> a path as Hydra's grammar reads it: a backslash counts only where a quote follows."""
    text = re.sub(r"(\\*)'", lambda found: f"{found[1] * 2}\\'", str(path))
    return "'" + re.sub(r"\\+$", lambda found: found[0] * 2, text) + "'"


def _show(jobs: list[Job]) -> None:
    """The closing table of a sweep."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("job", "swept", "status", "held-out", box=None)
    common = set.intersection(*(set(job.overrides) for job in jobs))
    for job in jobs:
        status, reason, score = _ending(job)
        if job.code not in (0, SAVED):
            status = f"{status} ({reason})"
        swept = " ".join(word for word in job.overrides if word not in common)
        cells = (job.folder.name, swept, status, "-" if score is None else f"{score:.4g}")
        table.add_row(*(Text(printable(cell)) for cell in cells))
    Console(highlight=False).print(table)
    print(f"sweep folder: {shown(jobs[0].folder.parent)}")


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
    number = float(mean) if isinstance(mean, (int, float)) else None
    return str(found.get("status", "refused")), None if reason is None else str(reason), number
