"""An environment of the user's own, from a module that the command line names."""

from typing import Unpack

from esrun.config import imports
from esrun.errors import first_line
from esrun.tasks.environment import Environment
from esrun.tasks.episodes import Rollout
from esrun.tasks.rollout import make_rollout
from esrun.tasks.verifying import verified
from esrun.types import Task


def make_own(*, env: str, env_params: dict, **rollout: Unpack[Rollout]) -> Task:
    """`env` is "MODULE:NAME", a function or class that makes an `Environment` of `env_params`.

    Raises ValueError where it does not.
    """
    make = imports.find("task.env", env)
    try:
        environment = make(**env_params)
    except (Exception, SystemExit) as error:  # whatever a user's own code raises
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise ValueError(f"task.env={env} cannot be made: {reason}") from error
    if not isinstance(environment, Environment):
        raise ValueError(
            f"task.env={env} must make an esrun.tasks.environment.Environment, got "
            f"{type(environment).__name__}"
        )
    try:
        return make_rollout(verified(environment), **rollout)
    except ValueError as error:
        raise ValueError(f"task.env={env}: {first_line(error)}") from error
