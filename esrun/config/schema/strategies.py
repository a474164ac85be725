"""What strategies may say: a model a strategy, chosen by its `name`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from esrun.config.schema import base
from esrun.config.schema.base import Count, Factor, NonNegative, Positive, Several, StrategyModel
from esrun.config.schema.cma import CMAES, LMMAES, MAES, Selection, SepCMAES
from esrun.config.schema.names import EvosaxName, Optimizer
from esrun.config.schema.optimizers import within_bounds
from esrun.config.schema.shaping import Decaying, Shaped

__all__ = ["CMAES", "LMMAES", "MAES", "SepCMAES"]  # options too, by way of their import


def refuse_odd(
    size: int, because: str = ", since members come in pairs", instead: str = ""
) -> None:
    """Raise ValueError for a population that does not come in pairs."""
    if size % 2:
        raise ValueError(
            f"strategy.population_size must be even{because}, got {size}: "
            f"write strategy.population_size={size + 1}{instead}"
        )


class Noise(StrategyModel):
    """What strategies share that perturb one mean."""

    population_size: Several
    noise: Literal["threefry", "table"]
    noise_table_size: Count

    def tables(self) -> dict[str, int]:
        """-> the table in the place of `noise`, if it is to be one."""
        return {"noise": self.noise_table_size} if self.noise == "table" else {}


class Mirrored(Noise):
    """What strategies share whose members always come in mirrored pairs."""

    @model_validator(mode="after")
    def _pairs(self):
        refuse_odd(self.population_size)
        return self


class Perturbing(Noise):
    """What strategies share that perturb one mean, in mirrored pairs or one by one."""

    antithetic: bool

    @model_validator(mode="after")
    def _pairs(self):
        if self.antithetic:
            refuse_odd(
                self.population_size,
                " with strategy.antithetic=true, whose members come in pairs",
                " or strategy.antithetic=false",
            )
        return self


class GradientES(Perturbing, Shaped):
    """OpenAI-ES and its kin."""

    sigma: Positive
    sigma_decay: Factor
    sigma_limit: NonNegative
    learning_rate: Positive
    learning_rate_decay: Factor
    learning_rate_limit: NonNegative
    weight_decay: NonNegative
    optimizer: Optimizer
    optimizer_options: Annotated[
        dict[str, bool | base.Whole | base.Finite | str | None], AfterValidator(within_bounds)
    ]


class OpenAIES(GradientES, Decaying):
    linear = True

    name: Literal["openai_es"]


class EGGROLL(GradientES):
    name: Literal["eggroll"]
    rank: Count


class PGPE(Mirrored, Shaped, Decaying):
    name: Literal["pgpe"]
    sigma: Positive
    learning_rate: Positive | None
    learning_rate_sigma: NonNegative
    sigma_max_change: Annotated[float, Field(gt=0, lt=1)]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    max_speed: Positive | None

    @model_validator(mode="after")
    def _speed(self):
        if self.learning_rate and self.max_speed and self.max_speed < self.learning_rate:
            raise ValueError(
                "strategy.max_speed must be at least strategy.learning_rate, got "
                f"{self.max_speed:g} and {self.learning_rate:g}: write "
                f"strategy.max_speed={2 * self.learning_rate:g}"
            )
        return self


class ARS(Mirrored):
    name: Literal["ars"]
    sigma: Positive
    learning_rate: Positive
    parents: Count | None

    @model_validator(mode="after")
    def _directions(self):
        directions = self.population_size // 2
        if self.parents and self.parents > directions:
            raise ValueError(
                "strategy.parents must be at most half of strategy.population_size, a direction "
                "for each pair of "
                f"members, got {self.parents} parents of {directions} directions: write "
                f"strategy.parents={directions}"
            )
        return self


class SNES(StrategyModel):
    name: Literal["snes"]
    population_size: Literal["auto"] | Several
    sigma: Positive
    learning_rate: Positive
    learning_rate_sigma: Positive | None


class XNES(StrategyModel):
    name: Literal["xnes"]
    population_size: Literal["auto"] | Several
    sigma: Positive
    learning_rate: Positive
    learning_rate_sigma: Positive | None
    learning_rate_shape: Positive | None


class CRFMNES(StrategyModel):
    name: Literal["cr_fm_nes"]
    population_size: Literal["auto"] | Several
    sigma: Positive

    @model_validator(mode="after")
    def _pairs(self):
        if self.population_size != "auto":
            refuse_odd(self.population_size)
        return self


class SimpleGaussian(Selection):
    name: Literal["simple_gaussian"]
    population_size: Several  # pyright: ignore[reportIncompatibleVariableOverride]
    sigma_limit: Positive
    parents: Several | None  # pyright: ignore[reportIncompatibleVariableOverride]


class SimpleGA(StrategyModel):
    name: Literal["simple_ga"]
    population_size: Several
    elites: Count
    crossover: bool
    sigma: Positive
    sigma_decay: Factor
    sigma_limit: NonNegative

    @model_validator(mode="after")
    def _children(self):
        if self.elites >= self.population_size:
            raise ValueError(
                "strategy.elites must be less than strategy.population_size, which counts them "
                "too, got "
                f"{self.elites} elites of {self.population_size}: write "
                f"strategy.elites={self.population_size // 2}"
            )
        return self


class Evosax(StrategyModel):
    factory = "strategies.evosax:make_evosax"
    package, extra = "evosax", "evosax"

    name: EvosaxName
    population_size: Several
    sigma: Positive
    optimizer: Optimizer | None
    learning_rate: Positive | None
    params: dict[str, bool | base.Whole | base.Finite]
    options: dict[
        str, bool | base.Whole
    ]  # no text: one of evosax's arguments is the path of a pickle

    @model_validator(mode="after")
    def _both(self):
        if (self.optimizer is None) != (self.learning_rate is None):
            raise ValueError(
                "strategy.optimizer and strategy.learning_rate must be given together, or neither "
                "for evosax's own, "
                f"got {self.optimizer} and {self.learning_rate}: write strategy.optimizer=adam "
                "strategy.learning_rate=0.01"
            )
        return self
