"""What environments may say: a model a package, chosen by its `name`."""

import functools
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, JsonValue

from esrun.config import CONF_DIR, imports
from esrun.config.schema.base import Count, Episodic, Finite, Shape, Whole
from esrun.errors import ConfigError, as_typed, nearest


class Environment(Episodic):
    """What the options of all environments share (see `esrun.tasks.rollout.Rollout`). What earlier
    runs do not say is as it was."""

    env: str
    env_params: dict[str, bool | Whole | Finite | list[Whole] | list[Finite]]
    episode_length: Count
    action: Literal["clip", "squash"]
    episodes_at_once: Literal["auto"] | Count = "auto"
    flat: bool = False
    reward_offset: Finite | None = None
    alive_bonus: Finite | None = None
    trials: Count = 1
    feedback: bool = False

    def observes(self) -> Shape:
        """-> what the environment itself shows."""
        return "vector"

    def shows(self) -> Shape:
        """-> that, or numbers where the last action and reward are among them."""
        return "vector" if self.feedback else self.observes()


class Gymnax(Environment):
    name: Literal["gymnax"]

    is_code = property(lambda self: "MNIST" not in self.env)  # pyright: ignore  # it reads pictures

    def observes(self) -> Shape:
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


class Package(Environment):
    """What the options of other packages share: `env_params` are handed to the package as they are,
    which knows what environments it has."""

    env_params: dict[str, JsonValue]  # pyright: ignore[reportIncompatibleVariableOverride]

    fixed = frozenset({"env_params"})
    is_code = False  # levels, bodies and games are files, and so is an opponent's policy


class Brax(Package):
    package, extra = "brax", "brax"
    examples = {"env": "ant"}  # noqa: RUF012

    name: Literal["brax"]


class Craftax(Package):
    package, extra = "craftax", "craftax"
    examples = {"env": "Craftax-Classic-Symbolic-v1"}  # noqa: RUF012

    name: Literal["craftax"]

    def observes(self) -> Shape:
        """-> an image where the id says pixels."""
        return "image" if "Pixels" in self.env else "vector"


class JaxMARL(Package):
    package, extra = "jaxmarl", "jaxmarl"
    examples = {"env": "MPE_simple_spread_v3"}  # noqa: RUF012

    name: Literal["jaxmarl"]
    team: Literal["all"] | list[str]
    opponent: str

    def observes(self) -> Shape:
        """-> an image for grids that are not shown with other things, a vector for the rest."""
        return "image" if self.env in GRIDS else "vector"


GRIDS = ("overcooked", "overcooked_v2", "storm_np")
"""JaxMARL's environments whose observation has a height and a width."""


class Jumanji(Package):
    package, extra = "jumanji", "jumanji"
    examples = {"env": "Snake-v1"}  # noqa: RUF012

    name: Literal["jumanji"]
    observe: Literal["all"] | Annotated[list[str], Field(min_length=1)]

    def observes(self) -> Shape:
        """-> an image where one part of the observation alone may be one, a vector for several."""
        return "image" if len(self.observe) == 1 else "vector"


class Octax(Package):
    package, extra = "octax", "octax"
    examples = {"env": "brix"}  # noqa: RUF012

    name: Literal["octax"]

    def observes(self) -> Shape:
        """-> frames of the screen."""
        return "image"


class Pgx(Package):
    package, extra = "pgx", "pgx"
    examples = {"env": "tic_tac_toe"}  # noqa: RUF012

    name: Literal["pgx"]
    opponent: str

    def observes(self) -> Shape:
        """-> most often a board."""
        return "vector" if self.env in CARDS else "image"


CARDS = ("backgammon", "kuhn_poker", "leduc_holdem")
"""Games whose observation has no height and width."""


class Playground(Package):
    package, extra = "mujoco_playground", "playground"
    examples = {"env": "CartpoleBalance"}  # noqa: RUF012

    name: Literal["playground"]


class XMiniGrid(Package):
    package, extra = "xminigrid", "xminigrid"
    examples = {"env": "MiniGrid-Empty-5x5"}  # noqa: RUF012

    name: Literal["xminigrid"]

    def observes(self) -> Shape:
        """-> the part of a grid that the agent sees."""
        return "image"


class Gymnasium(Episodic):
    examples = {"env": "HalfCheetah-v5"}  # noqa: RUF012

    name: Literal["gymnasium"]
    env: str
    env_params: dict[str, JsonValue]
    episode_length: Count
    action: Literal["clip", "squash"]
    reward_offset: Finite | None
    alive_bonus: Finite | None

    fixed = frozenset({"env_params"})

    def shows(self) -> Shape:
        """-> whatever the environment does."""
        return "image"

    def resolved(self) -> Self:
        """-> the task. Raises ConfigError where gymnasium would import a module that the command
        line has not named."""
        if ":" in self.env:
            imports.check("task.env", self.env)
        return self


class Own(Package):
    examples = {"env": "my_envs:Pond"}  # noqa: RUF012

    name: Literal["own"]

    def observes(self) -> Shape:
        """-> whatever the environment does."""
        return "image"

    def resolved(self) -> Self:
        """-> the task. Raises ConfigError where the command line has not named its module."""
        imports.check("task.env", self.env)
        return self
