"""What tasks may say: a model a kind of task, chosen by its `name`."""

import functools
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, model_validator

from esrun.config import CONF_DIR
from esrun.config.schema.base import (
    Count,
    Finite,
    NonNegative,
    Positive,
    Several,
    Shape,
    TaskModel,
    Whole,
)
from esrun.errors import ConfigError, as_typed, nearest


class Episodic(TaskModel):
    """What the package's own tasks share."""

    episodes: Count


class Gymnax(Episodic):
    name: Literal["gymnax"]
    env: str
    env_params: dict[str, bool | Whole | Finite | list[Whole] | list[Finite]]
    episode_length: Count
    action: Literal["clip", "squash"]

    def shows(self) -> Shape:
        """-> an image for MinAtar's environments and some others, a vector for the rest."""
        is_image = self.env.endswith("-MinAtar") or self.env in IMAGES
        return "image" if is_image else "vector"

    def resolved(self) -> Self:
        """-> the task with whole numbers made floats where the environment's parameter is one.

        Raises ConfigError for an environment or a parameter that there is not.
        """
        known = environments()
        if self.env not in known:
            raise ConfigError(
                f"task.env must be an environment of gymnax, got {self.env}"
                f"{nearest(self.env, known)}: write one of {', '.join(known)}"
            )
        option = known[self.env]
        given = {key: self._parameter(key, x, option) for key, x in self.env_params.items()}
        return self.model_copy(update={"env_params": given})

    def _parameter(self, key: str, value: Any, option: dict) -> Any:
        defaults, chosen = option["env_params"], f"task={option['option']}"
        if key == "max_steps_in_episode":
            raise ConfigError(
                f"task.env_params.{key} is set by the task: write task.episode_length={value}"
            )
        if key not in defaults:
            raise ConfigError(
                f"task.env_params.{key} is not a parameter of {self.env}{nearest(key, defaults)}: "
                f"write {chosen} (`esrun help {chosen}` lists its own)"
            )
        if type(defaults[key]) is float and type(value) is int:
            return float(value)
        if type(defaults[key]) is not type(value):
            raise ConfigError(
                f"task.env_params.{key} must be of type {type(defaults[key]).__name__}, got "
                f"{value!r}: write for example task.env_params.{key}={as_typed(defaults[key])}"
            )
        return value


IMAGES = ("Pong-misc", "Catch-bsuite", "DeepSea-bsuite", "MNISTBandit-bsuite")
"""Environments besides MinAtar's whose observation has a height and a width."""

CLASSIC = (
    "Acrobot-v1",
    "CartPole-v1",
    "Pendulum-v1",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
)
"""Environments that gymnasium draws, with pygame."""


@functools.cache
def environments() -> dict[str, dict]:
    """-> gymnax's environments: id -> the yaml of the option that has its name.

    One has none: gymnax downloads its data whenever it is made.
    """
    found = {"MNISTBandit-bsuite": {"env_params": {"optimal_return": 1}, "option": "gymnax"}}
    for file in sorted((CONF_DIR / "task").glob("*.yaml")):
        option = yaml.safe_load(file.read_text())
        if option["name"] == "gymnax" and option["env"] != "???":
            found[option["env"]] = option | {"option": file.stem}
    return found


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
