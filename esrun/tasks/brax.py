# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
"""Any environment of Brax (Freeman et al. 2021, https://arxiv.org/abs/2106.13281) as a task."""

import functools
import inspect
import json
import warnings
from typing import Any, Unpack

import jax

from esrun.errors import first_line, nearest
from esrun.tasks.environment import Environment
from esrun.tasks.episodes import Rollout
from esrun.tasks.packages import quiet_mujoco, refuse_unknown
from esrun.tasks.physics import drawn_by_mujoco, environment_of
from esrun.tasks.rollout import make_rollout
from esrun.types import Task

UNMAINTAINED = "JAXopt is no longer|Brax System, piplines and environments are not actively"
"""How the warnings begin that its requirements and itself are as they are."""

with warnings.catch_warnings(), jax.enable_x64(False):
    warnings.filterwarnings("ignore", UNMAINTAINED)
    from brax import envs
    from brax.envs.base import PipelineEnv

BACKENDS = ("generalized", "positional", "spring", "mjx")


def make_brax(*, env: str, env_params: dict, **rollout: Unpack[Rollout]) -> Task:
    """The environment `env`, made with Brax's defaults but for `env_params`, the arguments of its
    class. Raises ValueError for what there is not."""
    return make_rollout(opened(env, json.dumps(env_params)), **rollout)


@functools.cache
def opened(env: str, env_params: str) -> Environment:
    """-> Brax's environment, without automatic resets; the parameters are JSON."""
    refuse_unknown(env, envs._envs, "Brax")
    given = checked(env, json.loads(env_params))
    # a factory is called inside a trace, which the arrays of a system must outlive
    with jax.ensure_compile_time_eval(), jax.enable_x64(False):
        try:
            with warnings.catch_warnings(), quiet_mujoco():
                warnings.filterwarnings("ignore", UNMAINTAINED)
                made = envs.get_environment(env, **given)
            model = getattr(getattr(made, "sys", None), "mj_model", None)
            return environment_of(made, frame=model and drawn_by_mujoco(model, placed))
        except (TypeError, ValueError, NotImplementedError) as error:
            raise ValueError(
                f"task.env={env} cannot be made with task.env_params={env_params}: "
                f"{first_line(error)}"
            ) from error


def checked(env: str, env_params: dict) -> dict[str, Any]:
    """-> the parameters. Raises ValueError for one that the environment does not have."""
    known = arguments_of(env)
    for key in env_params:
        if key not in known:
            raise ValueError(
                f"task.env_params.{key} is not a parameter of {env}{nearest(key, known)}: write "
                f"one of {', '.join(known)}"
            )
    backend = env_params.get("backend", BACKENDS[0])
    if backend not in BACKENDS:
        raise ValueError(
            f"task.env_params.backend must be one of {', '.join(BACKENDS)}, got {backend}"
            f"{nearest(str(backend), BACKENDS)}"
        )
    return env_params


def arguments_of(env: str) -> list[str]:
    """-> the arguments of the environment's class and of what it is derived from."""
    own, shared = (inspect.signature(x.__init__).parameters for x in (envs._envs[env], PipelineEnv))
    return sorted({*own, *shared} - {"self", "sys", "kwargs"})


def placed(data: Any, state: Any) -> None:
    """Write where everything is, and how fast, into MuJoCo's data."""
    data.qpos, data.qvel = state.pipeline_state.q, state.pipeline_state.qd
