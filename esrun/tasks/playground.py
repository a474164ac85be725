# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
"""Any environment of MuJoCo Playground (Zakka et al. 2025, https://arxiv.org/abs/2502.08844) as a
task."""

import functools
import json
import shlex
import sys
import warnings
from typing import Any, Unpack

import jax

from esrun.backend import devices
from esrun.errors import first_line, nearest
from esrun.tasks.environment import Environment
from esrun.tasks.episodes import Rollout
from esrun.tasks.packages import quiet_mujoco, refuse_unknown
from esrun.tasks.physics import drawn_by_mujoco, environment_of
from esrun.tasks.rollout import make_rollout
from esrun.types import Task

with warnings.catch_warnings(), jax.enable_x64(False):
    warnings.filterwarnings("ignore", "JAXopt is no longer")  # a requirement of a requirement
    import warp
    from mujoco_playground import dm_control_suite, registry
    from mujoco_playground._src import mjx_env

# it greets on standard output
warp.config.quiet = True  # pyright: ignore[reportAttributeAccessIssue]

FETCH = "from mujoco_playground._src import mjx_env; mjx_env.ensure_menagerie_exists()"
"""What Playground itself does to fetch the robots, at the version that it was written for."""


def make_playground(*, env: str, env_params: dict, **rollout: Unpack[Rollout]) -> Task:
    """The environment `env` with Playground's configuration but for `env_params`. Raises ValueError
    for what there is not, and where robots are to be fetched first."""
    return make_rollout(opened(env, json.dumps(env_params)), **rollout)


@functools.cache
def opened(env: str, env_params: str) -> Environment:
    """-> Playground's environment, without automatic resets; the parameters are JSON."""
    refuse_unknown(env, registry.ALL_ENVS, "Playground")
    if env not in dm_control_suite.ALL_ENVS and not mjx_env.MENAGERIE_PATH.exists():
        fetching = shlex.join([sys.executable, "-c", FETCH])
        raise ValueError(
            f"task.env={env} needs the robots of mujoco_menagerie, which are not here: fetch them "
            f"(with git) by typing {fetching}"
        )
    config = registry.get_default_config(env)
    given = overrides(json.loads(env_params), config)
    if given.get("impl") == "warp" and devices.on_cpu():
        raise ValueError(
            "task.env_params.impl must be jax where there is no GPU of NVIDIA's, got warp: write "
            "task.env_params.impl=jax"
        )
    # a factory is called inside a trace, which the arrays of a model must outlive
    with jax.ensure_compile_time_eval(), jax.enable_x64(False):
        try:
            with quiet_mujoco():
                made = registry.load(env, config, given)
            repeats = config.to_dict().get("action_repeat", 1)
            return environment_of(made, repeats, drawn_by_mujoco(made.mj_model, placed))
        except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
            raise ValueError(
                f"task.env={env} cannot be made with task.env_params={env_params}: "
                f"{first_line(error)}"
            ) from error


def overrides(env_params: dict, config: Any) -> dict[str, Any]:
    """-> the parameters as Playground takes them, "a.b.c": value. Raises ValueError for one that
    its configuration does not have."""
    known = flat(config.to_dict())
    given = flat(env_params)
    if "episode_length" in given:
        raise ValueError(
            "task.env_params.episode_length is set by the task: write "
            f"task.episode_length={given['episode_length']}"
        )
    if "impl" not in known and given.get("impl") == "jax":
        del given["impl"]  # the option's default; some environments leave no choice
    for key in given:
        if key not in known:
            raise ValueError(
                f"task.env_params.{key} is not a parameter of this environment{nearest(key, known)}"
                f": write one of {', '.join(known)}"
            )
    return given


def flat(tree: dict, above: str = "") -> dict[str, Any]:
    """-> the leaves of nested dictionaries by their keys, joined by points."""
    leaves = {}
    for key, value in tree.items():
        inside = isinstance(value, dict)
        leaves |= flat(value, f"{above}{key}.") if inside else {f"{above}{key}": value}
    return leaves


def placed(data: Any, state: Any) -> None:
    """Write where everything is, and how fast, into MuJoCo's data."""
    now = state.data
    data.qpos, data.qvel = now.qpos, now.qvel
    data.mocap_pos, data.mocap_quat = now.mocap_pos, now.mocap_quat
