"""What policies may say: a model an architecture, chosen by its `name`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from esrun.config.schema.base import Count, Finite, PolicyModel, Positive, Widths

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


class MLP(Network):
    name: Literal["mlp"]
    init: Init
    init_scale: Positive
    bias: bool


class CNN(Network):
    takes = frozenset({"image"})

    name: Literal["cnn"]
    channels: Widths
    kernel: Count
    stride: Count
    init: Init
    init_scale: Positive
    bias: bool


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
