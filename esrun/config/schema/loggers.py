"""What loggers may say: a model a tracker, chosen by its `name`."""

from typing import Literal

from esrun.config.schema.base import LoggerModel


class TensorBoard(LoggerModel):
    factory = "runs.loggers:make_tensorboard"
    package, extra = "tensorboardX", "tensorboard"

    name: Literal["tensorboard"]


class WandB(LoggerModel):
    factory = "runs.loggers:make_wandb"
    package, extra = "wandb", "wandb"

    name: Literal["wandb"]
    project: str
    mode: Literal["online", "offline"]
