"""Any environment of XLand-MiniGrid (Nikulin et al. 2023, https://arxiv.org/abs/2312.12044) as a
task: grids of rooms, doors, keys and balls, of which the agent sees a square before it."""

from typing import Any, Unpack

import jax
import numpy as np

from esrun.tasks.environment import Environment, Step
from esrun.tasks.episodes import Rollout
from esrun.tasks.packages import parameters, refuse_unknown, refusing
from esrun.tasks.rollout import make_rollout
from esrun.tasks.spaces import Codes, Discrete
from esrun.types import Task

with jax.enable_x64(False):  # its modules make arrays when they are imported
    from xminigrid.core.constants import NUM_COLORS, NUM_TILES
    from xminigrid.registration import make, registered_environments


def make_xminigrid(*, env: str, env_params: dict, **rollout: Unpack[Rollout]) -> Task:
    """The environment `env` with the package's parameters but for `env_params`.

    Raises ValueError for an environment or a parameter that there is not.
    """
    grid, params = opened(env, env_params)

    def told(now: Any) -> Step:
        return Step(now, now.observation, now.reward, now.last())

    seen = grid.observation_shape(params)
    environment = Environment(
        reset=lambda key: told(grid.reset(params, key)),
        step=lambda key, now, action: told(grid.step(params, now, action)),
        observation=Codes((NUM_TILES, NUM_COLORS), seen),
        action=Discrete(grid.num_actions(params)),
        # a reward is given where the goal is reached, and nowhere else
        succeeded=lambda ended, total: total > 0,
        frame=lambda now: np.asarray(grid.render(params, now), np.uint8),
    )
    return make_rollout(environment, **rollout)


FIXED = {"render_mode", "ruleset"}
"""Parameters that are none of a task's."""


def opened(env: str, env_params: dict) -> tuple[Any, Any]:
    """-> (the package's environment, its parameters)."""
    refuse_unknown(env, registered_environments(), "xminigrid")
    with jax.ensure_compile_time_eval(), jax.enable_x64(False):
        grid, params = make(env)
        own = {key: x for key, x in vars(params).items() if key not in FIXED}
        params = params.replace(**parameters(env, env_params, own))
        with refusing(env, env_params, "xminigrid"):  # a room may be too small for what is in it
            jax.eval_shape(lambda key: grid.reset(params, key), jax.random.key(0))
    return grid, params
