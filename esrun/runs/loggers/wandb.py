"""Weights & Biases: a run there, online or in files that are uploaded later."""

import os
import secrets
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

from esrun.errors import ConfigError, first_line
from esrun.runs.folder import shown
from esrun.runs.loggers.tracker import (
    News,
    Tracker,
    configuration,
    keep_id,
    kept_id,
    set_unless_set,
    status,
    sweep_of,
)

SAFE = {"WANDB_DISABLE_GIT": "true", "WANDB_DISABLE_CODE": "true"}
"""Its settings in any case: git's configuration names programs, and code may be anybody's."""
UNLESS_SET = {
    "WANDB_ERROR_REPORTING": "false",
    "WANDB__DISABLE_META": "true",  # the command line is in it, and what was typed may be secret
    "WANDB_CONSOLE": "off",  # esrun.log has what the console shows
    "WANDB_SILENT": "true",
    "WANDB_INIT_TIMEOUT": "15",  # seconds, as all below
    "WANDB_FINISH_TIMEOUT": "15",
    "WANDB__TRANSACTION_LOG_FLUSH_INTERVAL": "1",  # of its file, which a kill cuts off
}
"""Its settings where the environment does not say them."""


def make_wandb(
    *,
    folder: Path,
    project: str,
    entity: str | None,
    run_name: str | None,
    group: str | None,
    tags: list[str],
    mode: str | None,
) -> Tracker:
    """A Weights & Biases run, the same one when the run goes on; its files are in `wandb/`.

    Without a network it goes on offline. Raises ConfigError where nobody is logged in.
    """
    set_unless_set(UNLESS_SET)
    os.environ |= SAFE
    wandb: Any = import_module("wandb")

    found = kept_id(folder / "wandb.json")
    mode = mode or os.environ.get("WANDB_MODE") or "online"
    options: dict[str, Any] = {
        "project": project,
        "entity": entity,
        "name": run_name or folder.name,
        "group": group or sweep_of(folder),
        "tags": tags,
        "config": configuration(folder),
        "id": found or keep_id(folder / "wandb.json", secrets.token_hex(8)),
        "resume": "allow",
        "allow_val_change": True,  # a run that goes on may have other limits
        "dir": str(folder),
        "reinit": "finish_previous",
    }
    note = ""
    try:
        run = wandb.init(mode=mode, **options)
    except (wandb.errors.UsageError, wandb.errors.AuthenticationError) as error:
        raise ConfigError(
            f"logger=[wandb] cannot begin ({first_line(error).rstrip('.')}): log in by wandb login "
            "or WANDB_API_KEY, or write logger.wandb.mode=offline"
        ) from error
    except Exception as error:  # of the network or of a server
        if mode != "online":
            raise
        note = f" ({first_line(error)})"
        wandb.teardown()  # it would not begin a run of the same id again
        mode = "offline"
        run = wandb.init(mode=mode, **options)
    if mode == "offline":
        place = shlex.quote(f"{shown(folder)}/wandb")
        note = f"wandb is offline{note}; to upload: wandb sync {place}/offline-run-*"
    elif mode == "online":
        note = f"wandb: {run.url}"
    # offline nobody knows what was told: steps behind the checkpoint are told again
    last = None if found and mode == "offline" else max(0, run.starting_step - 1)
    news = News(last or 0)

    def log(line):
        os.stat(run.dir)  # it would go on without its files, and say nothing
        if new := news.of(line):
            run.log(new, step=line["generation"])

    return Tracker(log, lambda: run.finish(0 if status(folder) == "done" else 1), last, note)
