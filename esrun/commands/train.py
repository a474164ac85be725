"""`esrun [KEY=VALUE ...]`: training from the command line, one run or a sweep.

The configuration is composed and checked before anything is made, so that a mistake costs neither
JAX's import nor a run folder. Single runs and the jobs of a sweep are run from here, one after
another; Hydra runs what only it can: its help, and sweeps for which the command line chooses the
launcher or the sweeper of a plug-in.
"""

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import env_override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from esrun import files
from esrun.config import compose
from esrun.config.compose import Composed, Source, composed, flat
from esrun.errors import DONE, SAVED, ConfigError, complain
from esrun.runs import folder
from esrun.runs.folder import Made, shown
from esrun.runs.opened import Order
from esrun.runs.record import unfinished
from esrun.runs.secrets import masked, masked_word


def train(arguments: list[str]) -> int:
    """Train -> the exit code: of a sweep's jobs the worst."""
    parsed = compose.parser_of_flags().parse_intermixed_args(arguments)
    source = Source(parsed.config_name or "esrun", parsed.config_dir, parsed.config_path)
    if parsed.experimental_rerun:
        raise ConfigError(
            "--experimental-rerun reads pickles, which esrun does not: write esrun resume RUN"
        )
    if parsed.help or parsed.hydra_help or parsed.shell_completion or parsed.cfg or parsed.info:
        compose.show_by_hydra(parsed, source)
        return DONE
    if parsed.multirun:
        return _sweep(parsed.overrides, source)
    try:
        one = composed(parsed.overrides, source)
    except ConfigError:
        if not compose.is_sweep(parsed.overrides, source):
            raise
        return _sweep(parsed.overrides, source)
    if one.hydra.mode == RunMode.MULTIRUN:
        return _sweep(parsed.overrides, source)
    return _single(one)


class Job(NamedTuple):
    """How one job went."""

    folder: Path
    overrides: list[str]
    code: int


def _single(one: Composed) -> int:
    from esrun.config.check import checked

    checked(one.config)
    made = _run_folder(one.config, Path(one.hydra.run.dir))
    return _run(one, made, going_on=one.config["resume"] is not None)


def _sweep(overrides: list[str], source: Source) -> int:
    """Run the jobs of a sweep one after another. All are checked before the first one starts."""
    from esrun.config.check import checked

    whole, jobs, plugin = compose.sweep(overrides, source)
    target = Path(os.path.abspath(whole.hydra.sweep.dir))
    typed = any(word.startswith("hydra.sweep.dir=") for word in overrides)
    if typed or not folder.is_by_the_clock(target):
        folder.check_sweep(target)
    made = folder.make(target, fresh=not typed)
    there = "hydra.sweep.dir='" + str(made.folder).replace("'", "\\'") + "'"
    try:
        found = [composed([*words, there], source, job=i) for i, words in enumerate(jobs)]
        places = [made.folder / str(one.hydra.sweep.subdir) for one in found]
        for one, place in zip(found, places, strict=True):
            checked(one.config)
            folder.earlier_run(place)
        if len(set(map(os.path.abspath, places))) < len(places):
            raise ConfigError(
                "hydra.sweep.subdir must be another folder for each job: write "
                "hydra.sweep.subdir='${hydra.job.num}'"
            )
    except ConfigError:
        made.unmake()
        raise
    if plugin:
        try:
            returned = compose.sweep_by_hydra([*overrides, there], source, _job_of_a_plugin)
        finally:  # a plug-in's sweeper writes it too, with the secrets in it
            _record(made, whole)
        done = [
            Job(
                Path(one.hydra_cfg.hydra.runtime.output_dir),
                list(one.overrides or []),
                one.return_value,
            )
            for one in returned
            if one.hydra_cfg
        ]
    else:
        _record(made, whole)
        done = []
        for one, place in zip(found, places, strict=True):
            code = _run_job(one, folder.make(place))
            done.append(Job(place, list(one.hydra.overrides.task), code))
            if code == SAVED:  # a signal ends a sweep; the same command goes on with it
                break
    if done:
        _show_sweep(done)
    return max((job.code for job in done), default=0)


def _record(made: Made, whole: DictConfig) -> None:
    """Write what makes a folder a sweep's."""
    try:
        files.write(made.folder / folder.SWEEP, _yaml(whole))
    except OSError as error:
        made.unmake()
        raise ConfigError(f"{shown(made.folder)} cannot be written to: {error}") from error


def _job_of_a_plugin(cfg: DictConfig) -> int:
    """One job of a sweep that a plug-in launches or chooses, in whatever process it runs."""
    section = HydraConfig.get()
    config = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    one = Composed(config, section, cfg)  # type: ignore[arg-type]
    return _run_job(one, Made(Path(section.runtime.output_dir)))


def _run(one: Composed, made: Made, going_on: bool) -> int:
    """Run one composed configuration in its folder -> the exit code."""
    from esrun.runs.run import carry_out

    chosen = one.hydra.runtime.choices.items()
    raw = flat(OmegaConf.to_container(one.text, resolve=False))
    place = made.folder.absolute()
    with read_write(one.hydra), open_dict(one.hydra):
        one.hydra.runtime.output_dir = str(place)
    order = Order(
        config=one.config,
        made=made._replace(folder=place),
        choices={group: str(x) for group, x in chosen if "/" not in group and x},
        going_on=going_on,
        secret=frozenset(key for key, x in raw.items() if isinstance(x, str) and "oc.env" in x),
        hydra=_hydras_record(one),
    )
    with _surroundings(one.hydra, place):
        return carry_out(order)


def _run_job(one: Composed, made: Made) -> int:
    """Run a job of a sweep, which a mistake in its configuration does not end -> the exit code."""
    try:
        return _run(one, made, going_on=True)
    except ConfigError as error:
        return complain(error)


@contextmanager
def _surroundings(section: DictConfig, place: Path):
    """The working directory and the environment variables that Hydra's section asks for."""
    before = Path.cwd()
    with env_override(section.job.env_set):
        try:
            if section.job.chdir:
                os.chdir(place)
            yield
        finally:
            if section.job.chdir:
                os.chdir(before)


def _hydras_record(one: Composed) -> dict[str, bytes]:
    """-> the files of `.hydra`, as Hydra writes them but for secrets."""
    words = [masked_word(word) for word in one.hydra.overrides.task]
    return {
        "config.yaml": _yaml(one.text),
        "hydra.yaml": _yaml(OmegaConf.create({"hydra": OmegaConf.to_container(one.hydra)})),
        "overrides.yaml": _yaml(OmegaConf.create(words)),
    }


def _yaml(config) -> bytes:
    return OmegaConf.to_yaml(
        OmegaConf.create(masked(OmegaConf.to_container(config, enum_to_str=True)))
    ).encode()


def _show_sweep(jobs: list[Job]) -> None:
    """The closing table of a sweep."""
    from rich.console import Console
    from rich.table import Table

    table = Table("job", "swept", "status", "held-out", box=None)
    common = set.intersection(*(set(job.overrides) for job in jobs))
    for job in jobs:
        try:
            found = json.loads(files.read(job.folder / "summary.json"))
            score = (found.get("eval") or {}).get("mean")
        except (OSError, ValueError, AttributeError):
            found, score = {}, None
        status = found.get("status", "refused") + (
            "" if job.code in (0, SAVED) else f" ({found.get('stop_reason')})"
        )
        swept = " ".join(override for override in job.overrides if override not in common)
        table.add_row(job.folder.name, swept, status, "-" if score is None else f"{score:.4g}")
    Console(highlight=False).print(table)
    print(f"sweep folder: {shown(jobs[0].folder.parent)}")


def _run_folder(config: dict, target: Path) -> Made:
    """-> the run folder: a new one, or with `resume` the one to go on in."""
    if config["resume"] is None:
        if not folder.is_by_the_clock(target):
            folder.earlier_run(target)
        return folder.make(target)
    if config["resume"] != "auto":
        chosen = Path(config["resume"])
        if folder.earlier_run(chosen) is None:
            raise ConfigError(
                f"resume must be null, auto or a run folder, got {chosen}, which has no run.json"
            )
        return Made(chosen)
    if folder.earlier_run(target) is not None:
        return Made(target)
    found = unfinished(config, target.parent.parent)
    return Made(found) if found else folder.make(target)
