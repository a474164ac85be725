"""What policies may say: a model an architecture, chosen by its `name`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from esrun.config.schema.base import Count, Finite, PolicyModel, Positive, Several, Widths

Activation = Literal[
    "relu",
    "tanh",
    "gelu",
    "elu",
    "silu",
    "sigmoid",
    "softplus",
    "leaky_relu",
    "sin",
    "identity",
    "step",
    "sign",
]
Init = Literal["lecun_normal", "orthogonal", "normal", "uniform", "zeros"]


class Network(PolicyModel):
    normalize_input: bool
    hidden: Widths
    activation: Activation


class FeedForward(Network):
    """What earlier runs do not say is as it was."""

    init: Init
    init_scale: Positive
    bias: bool
    norm: Literal["layer", "virtual_batch"] | None = None
    norm_reference: Several = 128

    def normalized(self) -> dict[str, list[int]]:
        """-> the widths of the layers that `norm` is for, by their key."""
        return {"hidden": self.hidden}

    @model_validator(mode="after")
    def _norm(self):
        if self.norm is None:
            return self
        layers = self.normalized()
        keys = " or ".join(f"policy.{key}" for key in layers)
        if not any(layers.values()):
            raise ValueError(
                f"policy.norm={self.norm} needs a layer in {keys}, got none: write policy.norm=null"
            )
        if self.norm == "layer" and any(1 in widths for widths in layers.values()):
            raise ValueError(
                "policy.norm=layer makes the same of every input in a layer of width 1: write "
                f"larger widths in {keys}, or policy.norm=virtual_batch"
            )
        return self


class MLP(FeedForward):
    name: Literal["mlp"]


class CNN(FeedForward):
    takes = frozenset({"image"})

    name: Literal["cnn"]
    channels: Widths
    kernel: Count
    stride: Count
    padding: Literal["same"] | None = None
    pool: Several | None = None
    global_pool: Literal["max", "mean"] | None = None

    def normalized(self) -> dict[str, list[int]]:
        """-> those of the convolutions too."""
        return {"channels": self.channels, "hidden": self.hidden}


class RNN(Network):
    name: Literal["rnn"]
    hidden: Annotated[Widths, Field(min_length=1)]
    cell: Literal["gru", "lstm", "vanilla"]


class Linear(PolicyModel):
    name: Literal["linear"]
    normalize_input: bool
    init: Init
    init_scale: Positive
    bias: bool


class Vector(PolicyModel):
    takes = frozenset({"nothing"})

    name: Literal["vector"]
    normalize_input: Literal[False]
    low: Finite
    high: Finite
    start: str | Annotated[list[Finite], Field(min_length=1)] | None = None  # pyright: ignore[reportIncompatibleVariableOverride]

    @model_validator(mode="after")
    def _interval(self):
        if self.low >= self.high:
            raise ValueError(
                f"policy.low must be less than policy.high, got {self.low} and {self.high}"
            )
        return self
