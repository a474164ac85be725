"""Trackers outside the run folder: each a function that takes a generation's line of metrics."""

import os
from collections.abc import Callable
from pathlib import Path

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


def make_wandb(*, folder: Path, project: str, mode: str) -> Logger:
    """A Weights & Biases run. It is kept from running git, whose configuration names programs of
    its own."""
    os.environ |= {"WANDB_DISABLE_GIT": "true", "WANDB_DISABLE_CODE": "true"}
    import wandb  # pyright: ignore[reportMissingImports]

    run = wandb.init(project=project, mode=mode, dir=str(folder), reinit="finish_previous")
    return lambda line: run.log(
        {k: v for k, v in line.items() if v is not None}, step=line["generation"]
    )
