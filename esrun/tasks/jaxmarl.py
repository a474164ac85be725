"""Any environment of JaxMARL (Rutherford et al. 2024, https://arxiv.org/abs/2311.10090) as a task:
one policy acts for all agents of a team, each of which sees its own observation."""

import contextlib
import inspect
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp

from esrun.backend.keys import split
from esrun.errors import first_line, nearest
from esrun.tasks.environment import Environment, Step
from esrun.tasks.episodes import Rollout
from esrun.tasks.jaxmarl_pictures import picture_of
from esrun.tasks.jaxmarl_views import of_agent, quiet, silent, viewed
from esrun.tasks.opponents import make_opponent
from esrun.tasks.packages import parameters, quiet_mujoco, refuse_unknown, refusing
from esrun.tasks.rollout import make_rollout
from esrun.tasks.spaces import decoding, encoding
from esrun.types import Key, PyTree, Task

with jax.enable_x64(False), silent(), warnings.catch_warnings(action="ignore"):
    import jaxmarl
    from jaxmarl.environments import MABRAX_AVAILABLE, MultiAgentEnv, overcooked_layouts
    from jaxmarl.environments.smax import map_name_to_scenario
    from jaxmarl.registration import registered_envs


class Match(NamedTuple):
    """Where an episode stands."""

    state: Any  # JaxMARL's
    theirs: tuple  # what the other agents see, and what they may do
    carries: PyTree  # the others', [others, ...] each


GOALS = {"HeuristicEnemySMAX": 1.5, "switch_riddle": 0.0}
"""Environments with a goal: the return that only an episode has that has reached it. In SMAX half
of the points are for a won battle and half for the enemy's health."""


def make_jaxmarl(
    *,
    env: str,
    env_params: dict,
    team: str | list[str],
    opponent: str,
    **rollout: Unpack[Rollout],
) -> Task:
    """The environment `env` with the package's parameters but for `env_params`. The policy acts for
    the agents of the `team`, the `opponent` for each of the others; the reward is the mean of the
    team's.

    Raises ValueError for an environment, a parameter or an agent that there is not, and for an
    opponent that cannot play.
    """
    game = opened(env, env_params)
    view = viewed(game)
    ours = members(env, game, team)
    others = [i for i in range(len(game.agents)) if i not in ours]
    decoded = decoding(view.action, rollout["action"])
    rival = make_opponent(opponent, encoding(view.observation), decoded, view.action)
    order = jnp.argsort(jnp.array([*ours, *others]))

    def those(tree: PyTree, which: list[int]) -> PyTree:
        return jax.tree.map(lambda x: x[jnp.array(which, int)], tree)

    def told(observed: Any, state: Any, carries: PyTree, reward: Any, over: Any) -> Step:
        seen, mask = both = view.seen(observed, state)
        now = Match(state, those(both, others), carries)
        return Step(now, those(seen, ours), reward, over, those(mask, ours))

    def reset(key: Key) -> Step:
        observed, state = game.reset(key)
        carries = jax.tree.map(lambda x: jnp.stack([x] * len(others)), rival.carry())
        return told(observed, state, carries, jnp.zeros(()), False)

    def step(key: Key, now: Match, actions: PyTree) -> Step:
        carries = now.carries
        if others:
            key, their_key = split(key)
            keys = split(their_key, len(others))
            theirs, carries = jax.vmap(rival.act)(keys, carries, *now.theirs)
            actions = jnp.concatenate([actions, theirs.astype(actions.dtype)])[order]
        observed, state, rewards, over, _ = game.step_env(key, now.state, view.joined(actions))
        each = [of_agent(rewards, i, game.agents[i]) for i in ours]
        return told(observed, state, carries, jnp.stack(each).mean(), over["__all__"])

    won = GOALS.get(env)
    environment = Environment(
        quiet(reset),
        quiet(step),
        view.observation,
        view.action,
        agents=len(ours),
        succeeded=None if won is None else (lambda ended, total: total > won),
        frame=picture_of(env, game),
    )
    return make_rollout(environment, **rollout)


def members(env: str, game: Any, team: str | list[str]) -> list[int]:
    """-> the numbers of the agents of a team: "all", or names, of which a beginning such as
    "adversary" stands for all that have it."""
    names = [str(x) for x in game.agents]
    if team == "all":
        return list(range(len(names)))
    for one in team:
        if not any(name.startswith(one) for name in names):
            raise ValueError(
                f"task.team must be all or names of agents of {env}, got {one}"
                f"{nearest(one, names)}: write some of [{','.join(names)}]"
            )
    return [i for i, name in enumerate(names) if any(name.startswith(one) for one in team)]


MABRAX = ("ant_4x2", "halfcheetah_6x1", "hopper_3x1", "humanoid_9|8", "walker2d_2x3")
"""Brax's robots, an agent for some of the joints."""
NAMED = {"scenario": map_name_to_scenario, "layout": overcooked_layouts.__getitem__}
"""Parameters that are objects, most often chosen by a name."""


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """While this is open nothing is said that a user can do nothing about: that Brax is no longer
    maintained, what MuJoCo thinks of its robots (which it would also append to a file in the
    working directory), that a default is cut."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Brax System|max_dist_to_goal")
        warnings.simplefilter("ignore", DeprecationWarning)
        if not MABRAX_AVAILABLE:
            yield
            return
        with quiet_mujoco():
            yield


def opened(env: str, env_params: dict) -> Any:
    """-> JaxMARL's environment."""
    refuse_unknown(env, registered_envs, "jaxmarl")
    if env == "LearnedPolicyEnemySMAX":
        raise ValueError(
            f"task.env={env} needs a network that a configuration cannot say: write task.env=SMAX "
            "task.team=[ally] task.opponent=RUN"
        )
    # Brax would begin a new episode inside of its steps
    fixed = {"auto_reset": False} if env in MABRAX else {}
    with jax.ensure_compile_time_eval(), jax.enable_x64(False), without_warnings():
        try:
            game = jaxmarl.make(env, **fixed)
        except (ImportError, UnboundLocalError, ValueError) as error:
            raise ValueError(f"jaxmarl cannot make {env}: {first_line(error)}") from error
        if not env_params:
            return game
        refuse_others(env, env_params, game)
        given = fixed | {key: named(key, x) for key, x in env_params.items()}
        with refusing(env, env_params, "jaxmarl"):
            return jaxmarl.make(env, **given)


def named(key: str, value: Any) -> Any:
    """-> the object that has the name; another value as it is."""
    if not isinstance(value, str) or key not in NAMED:
        return value
    with contextlib.suppress(KeyError):  # OvercookedV2 looks for its names itself
        return NAMED[key](value)
    return value


def refuse_others(env: str, env_params: dict, game: Any) -> None:
    """Raise ValueError unless the environment, or the one that it is made around, has every
    parameter."""
    kinds = {*type(game).__mro__, *type(getattr(game, "_env", game)).__mro__}
    known = {
        name
        for kind in kinds
        if "__init__" in vars(kind) and kind is not MultiAgentEnv
        for name, x in inspect.signature(kind.__init__).parameters.items()
        if x.kind is not x.VAR_KEYWORD and name not in ("self", "args", "kwargs")
    }
    parameters(env, env_params, dict.fromkeys(known))
