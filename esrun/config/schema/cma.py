"""What strategies may say that select parents: the CMA family."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, model_validator

from esrun.config.schema.base import Count, Factor, Positive, Several, StrategyModel

Parents = Annotated[float, Field(ge=1, lt=2**24, multiple_of=1)]
"""A float, so that numbers of parents share one program."""
Share = Annotated[float, Field(ge=0, le=1)]


class Selection(StrategyModel):
    """What strategies share that select parents from a population."""

    population_size: Literal["auto"] | Several
    sigma: Positive
    parents: Parents | None

    @model_validator(mode="after")
    def _parents(self):
        if self.parents and self.population_size != "auto" and self.parents > self.population_size:
            raise ValueError(
                "strategy.parents must be at most strategy.population_size, got "
                f"{self.parents:.0f} parents of {self.population_size}: write "
                f"strategy.parents={self.population_size // 2}"
            )
        return self


class CMAES(Selection):
    run_keys = frozenset({"max_restarts"})

    name: Literal["cma_es"]
    c_m: Positive
    # None where they are not said, as in the records of runs from before they could be
    c_sigma: Annotated[float, Field(gt=0, lt=1)] | None = None
    d_sigma: Positive | None = None
    c_c: Factor | None = None
    c_1: Share | None = None
    c_mu: Share | None = None
    active: bool
    decompose_every: Literal["auto"] | Count
    restarts: Literal["ipop", "bipop"] | None
    max_restarts: Count

    @model_validator(mode="after")
    def _rates(self):
        if self.c_1 is not None and self.c_mu is not None and self.c_1 + self.c_mu > 1:
            raise ValueError(
                "strategy.c_1 + strategy.c_mu must be at most 1, all that there is of the old C, "
                f"got {self.c_1} + {self.c_mu}: write strategy.c_mu={1 - Decimal(str(self.c_1)):f}"
            )
        return self

    def restarting(self) -> str | None:
        """-> `restarts`."""
        return self.restarts


class SepCMAES(Selection):
    linear = True

    name: Literal["sep_cma_es"]
    c_m: Positive


class MAES(Selection):
    name: Literal["ma_es"]
    c_m: Positive


class LMMAES(Selection):
    linear = True

    name: Literal["lm_ma_es"]
    c_m: Positive
