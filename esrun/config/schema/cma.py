"""What strategies may say that select parents: the CMA family."""

from typing import Literal

from pydantic import model_validator

from esrun.config.schema.base import Count, Positive, Several, StrategyModel


class Selection(StrategyModel):
    """What strategies share that select parents from a population."""

    population_size: Literal["auto"] | Several
    sigma: Positive
    parents: Count | None

    @model_validator(mode="after")
    def _parents(self):
        if self.parents and self.population_size != "auto" and self.parents > self.population_size:
            raise ValueError(
                "strategy.parents must be at most strategy.population_size, got "
                f"{self.parents} parents of {self.population_size}: write "
                f"strategy.parents={self.population_size // 2}"
            )
        return self


class CMAES(Selection):
    run_keys = frozenset({"max_restarts"})

    name: Literal["cma_es"]
    c_m: Positive
    active: bool
    decompose_every: Literal["auto"] | Count
    restarts: Literal["ipop", "bipop"] | None
    max_restarts: Count

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
