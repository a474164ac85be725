"""What tasks other than environments may say: a model a kind of task, chosen by its `name`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from esrun.config.schema.base import Count, Episodic, NonNegative, Positive, Several, Shape


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
