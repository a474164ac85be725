"""`esrun [KEY=VALUE ...]`: training from the command line, one run or a sweep.

The configuration is composed and checked before anything is made, so that a mistake costs neither
JAX's import nor a run folder.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from hydra.types import RunMode

from esrun.commands.flags import parsers
from esrun.config import compose
from esrun.config.compose import Composed, composed
from esrun.config.loader import Source
from esrun.errors import DONE, ConfigError

if TYPE_CHECKING:
    from esrun.runs.folder import Made

# what checks and runs is imported where it is needed: help and mistakes need not wait for it


def train(arguments: list[str]) -> int:
    """Train -> the exit code: of a sweep's jobs the worst."""
    flags = parsers()["train"].read(arguments)
    source = Source(flags.config_name or "esrun", flags.config_dir, flags.config_path)
    if flags.experimental_rerun:
        raise ConfigError(
            "--experimental-rerun reads pickles, which esrun does not: write esrun resume RUN"
        )
    if flags.shell_completion and (word := flags.overrides[:1]) and word[0].startswith("query="):
        from esrun.commands.completion import answer

        if found := answer(word[0].removeprefix("query="), source):
            print(found)
        return DONE
    if flags.help or flags.hydra_help or flags.shell_completion or flags.cfg or flags.info:
        compose.show(flags, source)
        return DONE
    if flags.multirun:
        return _sweep(flags.overrides, source)
    try:
        one = composed(flags.overrides, source)
    except ConfigError:
        if not compose.is_sweep(flags.overrides, source):
            raise
        return _sweep(flags.overrides, source)
    if one.hydra.mode == RunMode.MULTIRUN:
        return _sweep(flags.overrides, source)
    return _single(one, flags.overrides, arguments)


def _sweep(overrides: list[str], source: Source) -> int:
    from esrun.runs.sweep import run_sweep

    return run_sweep(overrides, source)


def _single(one: Composed, typed: list[str], words: list[str]) -> int:
    from esrun.config.check import checked

    config = checked(one.config)
    from esrun.config.quoting import quoted
    from esrun.runs.folder import is_typed
    from esrun.runs.in_step import together
    from esrun.runs.job import environment, run_composed
    from esrun.runs.paths import RunFolder
    from esrun.runs.same import asked_for
    from esrun.runs.watching import driven

    runtime = config.runtime
    if runtime.driver == "ray":
        made = _run_folder(one, typed).absolute()
        own = [f"hydra.run.dir={quoted(str(made.folder.resolve()))}", "resume=auto"]
        return driven(words, own, made, runtime.devices)
    if runtime.hosts is not None and not is_typed("runtime.hosts", typed):
        raise ConfigError(
            f"runtime.hosts={runtime.hosts} must be typed on the command line, not set by a file"
        )

    def saved() -> bool:
        found = _to_go_on_in(one, typed)
        return found is not None and RunFolder(found).saved() > 0

    with together(runtime.hosts, asked_for(one.config), runtime.devices, saved) as here:
        if here is not None and here.number:
            from esrun.runs.following import follow

            with environment(one):
                return follow(config)
        made = _run_folder(one, typed)
        code = run_composed(one, config, made, going_on=one.config["resume"] is not None)
        return code if here is None else here.part(code)


def _run_folder(one: Composed, typed: list[str]) -> "Made":
    """-> the run folder: a new one, or with `resume` the one to go on in."""
    from esrun.runs import folder
    from esrun.runs.folder import Made

    if found := _to_go_on_in(one, typed):
        return Made(found)
    target = Path(compose.path_of(one.hydra, "run.dir"))
    named = folder.is_typed("hydra.run.dir", typed)
    if one.config["resume"] is None and (named or not folder.is_by_the_clock(target)):
        folder.earlier_run(target)
    return folder.make(target, fresh=not named)


def _to_go_on_in(one: Composed, typed: list[str]) -> Path | None:
    """-> the run folder that `resume` names or finds, None for a new one. Raises ConfigError."""
    from esrun.runs import folder
    from esrun.runs.record import unfinished

    target = Path(compose.path_of(one.hydra, "run.dir"))
    resume = one.config["resume"]
    if resume is None:
        return None
    if resume != "auto":
        if not folder.is_typed("resume", typed):
            raise ConfigError(
                f"resume={resume} must be typed on the command line, not set by a file"
            )
        if folder.earlier_run(Path(resume)) is None:
            raise ConfigError(
                f"resume must be null, auto or a run folder, got {resume}, which has no run.json: "
                "write resume=null"
            )
        return Path(resume)
    if folder.earlier_run(target) is not None:
        return target
    named = folder.is_typed("hydra.run.dir", typed)
    return None if named else unfinished(one.config, target.parent.parent)
