"""What a run may say besides its task, strategy, policy and loggers."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from esrun.config.schema.base import Count, Finite, Model, Positive, Several, Total

LARGEST_ARCHIVE = 256
"""Most members that are kept: all of them stand in every checkpoint."""


class Stop(Model):
    eval: Finite | None
    fitness: Finite | None
    seconds: Positive | None
    env_steps: Total | None


class Eval(Model):
    every: Count
    episodes: Several


class Checkpoint(Model):
    every: Count
    seconds: Positive
    keep: Count
    # earlier versions do not say it
    keep_at: Annotated[list[Count], Field(max_length=10_000, default_factory=list)]


class Archive(Model):
    top_k: Annotated[int, Field(ge=0, le=LARGEST_ARCHIVE)]


class Log(Model):
    every: Count


class Runtime(Model):
    devices: Literal["auto"] | Count
    precision: Literal["float32", "float64"]
    population_chunk: Literal["auto"] | Count
    deterministic: bool
    workers: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = "auto"
    parallel_runs: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = "auto"
    hosts: str | None = None
    engine: Literal["local", "ray"] = "local"
    driver: Literal["here", "ray"] = "here"
    worker_blocks: Literal["auto"] | Annotated[int, Field(ge=1, le=2**20)] = "auto"


class Sweep(Model):
    on_failure: Literal["go_on", "stop"]


class Tune(Model):
    space: Annotated[list[str], Field(max_length=256)]
    trials: Annotated[int, Field(ge=1, le=100_000)]
    seconds: Positive | None
    seeds: Annotated[int, Field(ge=1, le=1000)]
    fresh_seeds: Annotated[int, Field(ge=0, le=1000)]
    finalists: Annotated[int, Field(ge=1, le=100)]
    sampler: Literal["tpe", "random"]
    pruner: Literal["hyperband", "halving", "none"]
    first_rung: Literal["auto"] | Count
    reduction: Annotated[int, Field(ge=2, le=100)]


UNTUNED = Tune(
    space=[],
    trials=30,
    seconds=None,
    seeds=3,
    fresh_seeds=5,
    finalists=3,
    sampler="tpe",
    pruner="hyperband",
    first_rung="auto",
    reduction=3,
)
"""As in conf/."""


def _as_typed(value: Any) -> Any:
    """-> the word that a yaml file takes for a bool: `progress: off`."""
    return "off" if value is False else value


class Config(Model):
    """A whole run. `task`, `strategy`, `policy` and the loggers are models chosen by their
    `name`."""

    task: Any
    strategy: Any
    policy: Any
    logger: dict[str, Any]
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    generations: Count
    stop: Stop
    eval: Eval
    checkpoint: Checkpoint
    archive: Archive = Archive(top_k=5)  # as in conf/: runs of earlier versions say nothing of it
    log: Log
    progress: Annotated[Literal["auto", "off"], BeforeValidator(_as_typed)] = "auto"  # as archive
    runtime: Runtime
    sweep: Sweep = Sweep(on_failure="go_on")  # as archive
    tune: Tune = UNTUNED  # as archive
    resume: str | None
