"""`esrun resume RUN|SWEEP [KEY=VALUE ...]`: going on from the newest valid checkpoint, with what is
missing or interrupted of a sweep, and what has failed where that is asked for."""

import os
from argparse import Namespace
from functools import partial
from pathlib import Path

from esrun.backend import hosts
from esrun.commands.flags import parsers
from esrun.commands.overrides import with_overrides
from esrun.config import imports
from esrun.config.check import checked
from esrun.errors import ConfigError
from esrun.results.where import LATEST, latest
from esrun.runs.folder import Made, earlier_run, is_sweep, is_typed
from esrun.runs.in_step import together
from esrun.runs.opening import Order
from esrun.runs.paths import RunFolder
from esrun.runs.run import carry_out
from esrun.runs.sweep_record import search, where_begun
from esrun.runs.watching import driven

HOSTS, DEVICES = "runtime.hosts", "runtime.devices"
"""Keys that each of several processes has for itself."""


def resume(arguments: list[str]) -> int:
    """`esrun resume RUN|SWEEP [KEY=VALUE ...] [--force] [--retry-failed]` -> the exit code."""
    flags = parsers()["resume"].read(arguments)
    # of this command alone: who trained in step before may have gone
    hosts = [word for word in flags.overrides if is_typed(HOSTS, [word])]
    flags.overrides = [word for word in flags.overrides if word not in hosts]
    if not hosts:
        return _resume(flags)
    text = with_overrides({"runtime": {"hosts": None}}, hosts)["runtime"]["hosts"]
    typed = [word for word in flags.overrides if is_typed(DEVICES, [word])]
    own = with_overrides({"runtime": {"devices": "auto"}}, typed)["runtime"]["devices"]
    others = sorted(word for word in flags.overrides if word not in typed)
    asked = {"resume": [*others, *(["--force"] if flags.force else [])]}
    with together(None if text is None else str(text), asked, own, partial(_saved, flags)) as here:
        if here is not None and here.number:
            from esrun.runs.following import follow

            config = here.word("configuration")
            config["runtime"] |= {"devices": own}
            return follow(checked(config))
        code = _resume(flags)
        return code if here is None else here.part(code)


def _saved(flags: Namespace) -> bool:
    """Whether the run has a checkpoint."""
    return RunFolder(_folder(flags)).saved() > 0


def _folder(flags: Namespace) -> Path:
    return latest() if flags.folder == LATEST else Path(flags.folder)


def _resume(flags: Namespace) -> int:
    folder = _folder(flags)
    if "=" in flags.folder and not folder.is_dir():
        raise ConfigError(
            f"resume needs a run folder before KEY=VALUE, got {flags.folder}: write esrun resume "
            f"outputs/DATE/TIME {flags.folder}"
        )
    if not os.path.lexists(RunFolder(folder).record) and is_sweep(folder):
        if hosts.here is not None:
            raise ConfigError("runtime.hosts is for one run, and this is a sweep: resume its runs")
        if search(folder) is not None:
            from esrun.runs.tuning.tune import resume_tune

            return resume_tune(folder, flags.overrides, flags.force or flags.retry_failed)
        from esrun.runs.sweep import resume_sweep

        return resume_sweep(
            folder,
            lambda config: with_overrides(config, flags.overrides),
            flags.force,
            flags.retry_failed,
        )
    record = earlier_run(folder)
    if record is None:
        raise ConfigError(f"{folder} is not a run folder: it has no run.json")
    given = with_overrides(record.config, flags.overrides)
    if isinstance(given.get("runtime"), dict):
        given["runtime"]["hosts"] = None
    made, config = Made(folder.resolve()), checked(given)
    if hosts.here is not None:
        hosts.here.word("configuration", given)
    if config.runtime.driver == "ray":
        words = [*flags.overrides, *imports.flags()]
        words += ["--force"] * flags.force + ["--retry-failed"] * flags.retry_failed
        return driven(["resume", str(made.folder), *words], [], made, config.runtime.devices)
    given = where_begun(made.folder, record.config, given)
    order = Order(config, given, made, record.choices, going_on=True, force=flags.force)
    return carry_out(order._replace(retries=flags.retry_failed))
