"""What loggers may say: a model a tracker, chosen by its `name`."""

from typing import Annotated, Literal

from pydantic import Field

from esrun.config.schema.base import LoggerModel


class TensorBoard(LoggerModel):
    factory = "runs.loggers.tensorboard:make_tensorboard"
    package, extra = "tensorboardX", "tensorboard"

    name: Literal["tensorboard"]


class WandB(LoggerModel):
    factory = "runs.loggers.wandb:make_wandb"
    package, extra = "wandb", "wandb"

    name: Literal["wandb"]
    project: str
    mode: Literal["online", "offline", "disabled"] | None
    # a run folder of before these were keys goes on without them
    entity: str | None = None
    run_name: str | None = None
    group: str | None = None
    tags: Annotated[list[str], Field(default_factory=list)]


class MLflow(LoggerModel):
    factory = "runs.loggers.mlflow:make_mlflow"
    package, extra = "mlflow", "mlflow"

    name: Literal["mlflow"]
    tracking_uri: str | None
    experiment: str | None
    run_name: str | None
    tags: dict[str, str]
