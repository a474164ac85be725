"""`esrun [KEY=VALUE ...]`: training from the command line, one run or a sweep, by Hydra.

The configuration is composed and checked before Hydra is given the command, so that a mistake costs neither JAX's
import nor a run folder; what Hydra would print over many lines is one.
"""

import contextlib
import itertools
import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

import hydra
from hydra._internal.utils import get_args_parser  # the very parser that hydra.main uses
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from esrun.compose import CONF_DIR, ConfigError, Source, composed, flat, sweep_jobs
from esrun.record import unfinished
from esrun.rundir import masked

USAGE, SAVED = 2, 75
BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


def train(arguments: list[str]) -> int:
    """Train -> the exit code: of a sweep's jobs the worst."""
    parsed = get_args_parser().parse_intermixed_args(arguments)
    information = parsed.help or parsed.hydra_help or parsed.shell_completion
    folder = None
    try:
        if parsed.experimental_rerun:
            raise ConfigError("--experimental-rerun reads pickles, which esrun does not: write esrun resume RUN")
        if not information:
            source = Source(parsed.config_name or "esrun", parsed.config_dir)
            if parsed.multirun:
                _check_sweep(parsed.overrides, source)
            else:
                cfg, hydra_cfg = composed(parsed.overrides, source)
                if not parsed.cfg and not parsed.info:
                    from esrun.config import checked  # what only shows something need not wait for the schema

                    checked(cfg)
                    folder = _folder(cfg, Path(hydra_cfg.run.dir))
    except ConfigError as error:
        print(f"esrun: {error}", file=sys.stderr)
        return 2

    jobs: list[Job] = []

    @hydra.main(config_path=str(CONF_DIR), config_name="esrun", version_base="1.3")
    def job(cfg: DictConfig) -> None:
        if jobs and jobs[-1].code == SAVED:  # a signal ends a sweep; the same command goes on with it
            return
        jobs.append(_job(cfg, parsed.multirun))

    chosen = [f"hydra.run.dir={_quoted(folder)}"] if folder else []
    flags = [word for word in arguments if word not in parsed.overrides]
    sys.argv = [sys.argv[0], *flags, *parsed.overrides, *chosen]
    job()
    if parsed.multirun and jobs:
        _show_sweep(jobs)
    return max((job.code for job in jobs), default=0)


class Job(NamedTuple):
    """How one job went."""

    folder: Path
    overrides: list[str]
    code: int


def _job(cfg: DictConfig, sweep: bool) -> Job:
    from esrun.run import run

    hydra_cfg = HydraConfig.get()
    folder = Path(hydra_cfg.runtime.output_dir)
    choices = {group: str(x) for group, x in hydra_cfg.runtime.choices.items() if "/" not in group and x}
    raw = flat(OmegaConf.to_container(cfg, resolve=False))
    secret = frozenset(key for key, value in raw.items() if isinstance(value, str) and "oc.env" in value)
    _mask_hydras_record(folder / ".hydra")
    resolved: dict = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    code = run(resolved, folder, choices, going_on=sweep or resolved["resume"] is not None, secret=secret)
    if code == USAGE and not folder.exists():
        with contextlib.suppress(OSError):  # the folders that were made for it, if they are empty now
            folder.parent.rmdir()
            folder.parent.parent.rmdir()
    return Job(folder, list(hydra_cfg.overrides.task), code)


def _mask_hydras_record(record: Path) -> None:
    for file in record.glob("*.yaml"):
        written = OmegaConf.to_container(OmegaConf.load(file))
        hidden = masked(written)
        if hidden != written:
            OmegaConf.save(OmegaConf.create(hidden), file)  # type: ignore[arg-type]


def _show_sweep(jobs: list[Job]) -> None:
    """The closing table of a sweep."""
    from rich.console import Console
    from rich.table import Table

    table = Table("job", "swept", "status", "held-out", box=None)
    common = set.intersection(*(set(job.overrides) for job in jobs))
    for job in jobs:
        summary = job.folder / "summary.json"
        found = json.loads(summary.read_text()) if summary.is_file() else {}
        score = (found.get("eval") or {}).get("mean")
        status = found.get("status", "refused") + ("" if job.code in (0, SAVED) else f" ({found.get('stop_reason')})")
        swept = " ".join(override for override in job.overrides if override not in common)
        table.add_row(job.folder.name, swept, status, "-" if score is None else f"{score:.4g}")
    Console(highlight=False).print(table)
    print(f"sweep folder: {jobs[0].folder.parent}")


def _folder(cfg: dict, target: Path) -> Path:
    """-> the run folder: a new one, or with `resume` the one to go on in."""
    if cfg["resume"] is None:
        return reserve(target)
    if cfg["resume"] != "auto":
        folder = Path(cfg["resume"])
        if not (folder / "run.json").is_file():
            raise ConfigError(f"resume must be null, auto or a run folder, got {folder}, which has no run.json")
        return folder
    if (target / "run.json").is_file():
        return target
    return unfinished(cfg, target.parent.parent) or reserve(target)


def _check_sweep(overrides: list[str], source: Source) -> None:
    """Check every job before the first one starts. Other sweepers than Hydra's basic one choose as they go."""
    from esrun.config import checked

    jobs = list(sweep_jobs(overrides))
    _, hydra_cfg = composed(jobs[0], source)
    if hydra_cfg.sweeper._target_ == BASIC_SWEEPER:
        for job in jobs:
            checked(composed(job, source)[0])


def reserve(folder: Path) -> Path:
    """Make `folder` or, where that is a time of day and taken, the first free of `folder`-1, -2, ... -> what was made.

    Hydra names folders by the second, and would put two runs of one second into the same.
    """
    by_the_clock = re.fullmatch(r"\d\d-\d\d-\d\d", folder.name) is not None
    candidates = itertools.chain([folder], (folder.with_name(f"{folder.name}-{i}") for i in itertools.count(1)))
    for candidate in candidates:
        try:
            candidate.mkdir(parents=True)
            break
        except FileExistsError:
            if not by_the_clock:
                break
    return candidate


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "\\'") + "'"
