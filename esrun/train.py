"""`esrun [KEY=VALUE ...]`: training from the command line, one run or a sweep, by Hydra.

The configuration is composed and checked before Hydra is given the command, so that a mistake costs neither JAX's
import nor a run folder; what Hydra would print over many lines is one.
"""

import contextlib
import sys
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser  # the very parser that hydra.main uses
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from esrun.config import CONF_DIR, ConfigError, Source, checked, composed, sweep_jobs

BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


def train(arguments: list[str]) -> int:
    """Train -> the exit code: of a sweep's jobs the worst."""
    parser = get_args_parser()
    parsed = parser.parse_args(arguments)
    information = parsed.help or parsed.hydra_help or parsed.shell_completion
    reserved = None
    try:
        if parsed.experimental_rerun:
            raise ConfigError(
                "--experimental-rerun reads pickles, which esrun does not: repeat .hydra/overrides.yaml instead"
            )
        if not information:
            source = Source(parsed.config_name or "esrun", parsed.config_dir)
            if parsed.multirun:
                _check_sweep(parsed.overrides, source)
            else:
                cfg, hydra_cfg = composed(parsed.overrides, source)
                if not parsed.cfg and not parsed.info:
                    checked(cfg)
                    reserved = reserve(Path(hydra_cfg.run.dir))
    except ConfigError as error:
        print(f"esrun: {error}", file=sys.stderr)
        return 2

    codes: list[int] = []

    @hydra.main(config_path=str(CONF_DIR), config_name="esrun", version_base="1.3")
    def job(cfg: DictConfig) -> None:
        codes.append(_job(cfg))

    extra = [f"hydra.run.dir={_quoted(reserved)}"] if reserved else []
    sys.argv = [sys.argv[0], *arguments, *extra]
    job()
    return max(codes, default=0)


def _job(cfg: DictConfig) -> int:
    from esrun.run import run

    hydra_cfg = HydraConfig.get()
    choices = {group: choice for group, choice in hydra_cfg.runtime.choices.items() if "/" not in group and choice}
    folder = Path(hydra_cfg.runtime.output_dir)
    code = run(OmegaConf.to_container(cfg, resolve=True), folder, {k: str(v) for k, v in choices.items()})  # type: ignore
    if code == 2:
        with contextlib.suppress(OSError):  # the folders that were made for it, if they are empty now
            folder.parent.rmdir()
            folder.parent.parent.rmdir()
    return code


def _check_sweep(overrides: list[str], source: Source) -> None:
    """Check every job before the first one starts. Other sweepers than Hydra's basic one choose as they go."""
    jobs = list(sweep_jobs(overrides))
    _, hydra_cfg = composed(jobs[0], source)
    if hydra_cfg.sweeper._target_ == BASIC_SWEEPER:
        for job in jobs:
            checked(composed(job, source)[0])


def reserve(folder: Path) -> Path:
    """Make `folder`, or the first free one of `folder`-1, -2, ... -> what was made.

    Hydra names folders by the second, and would put two runs of one second into the same. A folder that exists and is
    empty is taken as it is.
    """
    number, candidate = 0, folder
    while True:
        try:
            candidate.mkdir(parents=True)
            return candidate
        except FileExistsError:
            if candidate.is_dir() and not any(candidate.iterdir()) and number == 0 and not _by_the_clock(folder):
                return candidate
            number += 1
            candidate = folder.with_name(f"{folder.name}-{number}")


def _by_the_clock(folder: Path) -> bool:
    return folder.name.count("-") == 2 and folder.name.replace("-", "").isdigit()


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "\\'") + "'"
