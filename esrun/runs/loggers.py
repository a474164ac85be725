"""Trackers outside the run folder: each a function that takes a generation's line of metrics."""

import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path

from esrun import files
from esrun.errors import ConfigError, first_line
from esrun.runs.folder import SWEEP
from esrun.runs.paths import RunFolder
from esrun.runs.record import FORMAT

Logger = Callable[[dict], None]


def make_tensorboard(*, folder: Path) -> Logger:
    """TensorBoard event files in the run folder."""
    from tensorboardX import SummaryWriter  # pyright: ignore[reportMissingImports]

    writer = SummaryWriter(str(folder / "tensorboard"))

    def log(line):
        for name, value in line.items():
            if isinstance(value, (int, float)):
                writer.add_scalar(name, value, line["generation"])
        writer.flush()

    return log


def make_wandb(
    *,
    folder: Path,
    project: str,
    entity: str | None,
    run_name: str | None,
    group: str | None,
    tags: list[str],
    mode: str | None,
) -> Logger:
    """A Weights & Biases run, the same one when the run goes on.

    It is kept from running git, whose configuration names programs of its own. Raises ConfigError
    where it cannot begin.
    """
    os.environ |= {"WANDB_DISABLE_GIT": "true", "WANDB_DISABLE_CODE": "true"}
    import wandb  # pyright: ignore[reportMissingImports]

    where = RunFolder(folder)
    in_sweep = (folder.parent / SWEEP).is_file()
    try:
        run = wandb.init(
            project=project,
            entity=entity,
            name=run_name or folder.name,
            group=group or (folder.parent.name if in_sweep else None),
            tags=tags,
            mode=mode or os.environ.get("WANDB_MODE") or "online",
            config=files.read_json(where.record)["config"],
            id=_wandb_id(folder),
            resume="allow",
            dir=str(folder),
            reinit="finish_previous",
        )
    except Exception as error:  # of the network, of the account, of its own process
        raise ConfigError(
            f"logger=[wandb] cannot begin: {first_line(error)}: log in (wandb login, or "
            "WANDB_API_KEY), or write logger.wandb.mode=offline"
        ) from error
    return lambda line: run.log(
        {k: v for k, v in line.items() if v is not None}, step=line["generation"]
    )


def _wandb_id(folder: Path) -> str:
    """-> what Weights & Biases knows the run by, kept in its folder."""
    kept = folder / "wandb.json"
    try:
        found = files.read_json(kept)["id"]
        if isinstance(found, str) and re.fullmatch("[0-9a-f]{16}", found):
            return found
    except (OSError, ValueError, KeyError, TypeError):
        pass
    new = secrets.token_hex(8)
    files.write_json(kept, {"format": FORMAT, "id": new})
    return new
