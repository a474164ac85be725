"""What a run may say besides its task, strategy, policy and loggers."""

from typing import Annotated, Any, Literal

from pydantic import Field

from esrun.config.schema.base import Count, Finite, Model, Positive, Several, Total


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


class Log(Model):
    every: Count


class Runtime(Model):
    devices: Literal["auto"] | Count
    precision: Literal["float32", "float64"]
    population_chunk: Literal["auto"] | Count
    deterministic: bool


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
    log: Log
    runtime: Runtime
    resume: str | None
