"""What tasks other than environments may say: a model a kind of task, chosen by its `name`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from esrun.config.schema.base import WHOLE, Count, Episodic, NonNegative, Positive, Several, Shape

Share = Annotated[float, Field(gt=0, lt=1)]


class Sine(Episodic):
    name: Literal["sine"]
    sequence_length: Several
    batch_size: Count
    span: Positive
    jitter: NonNegative
    reward: Literal["negative_error", "inverse_square"]

    def shows(self) -> Shape:
        """-> the points of a sine wave."""
        return "sequence"


class Classification(Episodic):
    reads = "tasks.datasets:read"
    still = True
    fixed = frozenset({"validation", "test"})
    examples = {"file": "PATH"}  # noqa: RUF012

    name: Literal["classification"]
    dataset: Literal["digits", "mnist", "fashion_mnist", "cifar10"]
    file: Annotated[str, Field(min_length=1)] | None
    validation: Share
    test: Share | None
    split_seed: Annotated[int, Field(ge=0, lt=WHOLE)]
    batch_size: Count | None
    fitness: Literal["cross_entropy", "accuracy"]

    def shows(self) -> Shape:
        """-> pictures."""
        return "image"

    @model_validator(mode="after")
    def _place(self):
        if self.dataset == "digits" and self.file is not None:
            raise ValueError(
                f"task.file must be null for digits, got {self.file}: write task.file=null"
            )
        if self.dataset != "digits" and self.file is None:
            raise ValueError("task.file must say where the data are: write task.file=PATH")
        return self

    @model_validator(mode="after")
    def _parts(self):
        if self.dataset != "digits" and self.test is not None:
            raise ValueError(
                f"task.test must be null for {self.dataset}, which has a test part of its own, got "
                f"{self.test}: write task.test=null"
            )
        if self.dataset == "digits" and (self.test is None or self.validation + self.test >= 1):
            raise ValueError(
                "task.validation and task.test must be shares that leave some for training, got "
                f"{self.validation} and {self.test}: write task.validation=0.2 task.test=0.2"
            )
        return self

    @model_validator(mode="after")
    def _batch(self):
        if self.batch_size is None and self.episodes > 1:
            raise ValueError(
                "task.episodes must be 1 where a minibatch is the whole training part, got "
                f"{self.episodes}: write task.episodes=1 or a number for task.batch_size"
            )
        return self


class Bytes(Episodic):
    reads = "tasks.texts:read"
    still = True
    fixed = frozenset({"validation"})
    examples = {"file": "TEXT"}  # noqa: RUF012

    name: Literal["bytes"]
    file: Annotated[str, Field(min_length=1)]
    validation: Share
    streams: Several
    sequence_length: Count
    batch_size: Count


class Blackbox(Episodic):
    name: Literal["blackbox"]
    function: Literal[
        "sphere", "ellipsoid", "rosenbrock", "rastrigin", "ackley", "himmelblau", "six_hump_camel"
    ]
    dimension: Count

    def shows(self) -> Shape:
        """-> nothing: the policy's output is the point."""
        return "nothing"

    @model_validator(mode="after")
    def _dimension(self):
        if self.function in ("himmelblau", "six_hump_camel") and self.dimension != 2:
            raise ValueError(
                f"task.dimension must be 2 for task.function={self.function}, got "
                f"{self.dimension}: "
                "write task.dimension=2"
            )
        return self


class BBOB(Episodic):
    package, extra = "bbobax", "bbob"

    name: Literal["bbob"]
    function: Annotated[int, Field(ge=1, le=24)]
    dimension: Several
    instance: Annotated[
        float, Field(ge=1, lt=2**24, multiple_of=1)
    ]  # a float, so that instances share one program

    def shows(self) -> Shape:
        """-> nothing: the policy's output is the point."""
        return "nothing"
