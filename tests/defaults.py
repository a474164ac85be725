"""Parts with the options of their yaml files: a test names only those that it is about."""

import inspect
from pathlib import Path
from typing import get_args, get_type_hints

import jax
import jax.numpy as jnp
from omegaconf import OmegaConf

from esrun.config import CONF_DIR, imports, registry
from esrun.tasks.environment import Environment, Step
from esrun.tasks.spaces import Box

imports.allow("defaults")

ROLLOUT = {
    "episodes": 4,
    "episode_length": 20,
    "action": "clip",
    "episodes_at_once": "auto",
    "flat": False,
    "reward_offset": None,
    "alive_bonus": None,
    "trials": 1,
    "feedback": False,
}
"""The keys of every environment, as the options have them but for the first two."""

ENVIRONMENTS = {
    "brax": "ant",
    "craftax": "Craftax-Classic-Symbolic-v1",
    "gymnasium": "CartPole-v1",
    "gymnax": "CartPole-v1",
    "jaxmarl": "MPE_simple_spread_v3",
    "jumanji": "Snake-v1",
    "octax": "brix",
    "own": "defaults:pond",
    "pgx": "tic_tac_toe",
    "playground": "CartpoleBalance",
    "xminigrid": "MiniGrid-Empty-5x5",
}
"""One of each package, for its option, which names none."""


DATA = Path(__file__).parent / "data"
READ = {
    "bytes": Path(__file__),
    "mnist": DATA / "pictures_28.npz",
    "fashion_mnist": DATA / "pictures_28.npz",
    "cifar10": DATA / "pictures_32.npz",
}
"""What tasks with data may read: a text, and a hundred empty pictures of every class."""
NEEDED = {option: ("env", env) for option, env in ENVIRONMENTS.items()} | {
    option: ("file", str(path)) for option, path in READ.items()
}
"""The key that an option leaves to the user, and a value."""


def chosen(option):
    """-> the words that choose a task, and what its option leaves to the user."""
    key, value = NEEDED.get(option, ("", ""))
    return [f"task={option}", *([f"task.{key}={value}"] if key else [])]


def pond():
    """-> an environment of one's own: whatever is done costs nothing."""
    now = Step(jnp.zeros(()), jnp.zeros(1), jnp.zeros(()), jnp.bool_(False))
    return Environment(lambda key: now, lambda key, state, action: now, Box((1,)), Box((1,), -1, 1))


def arguments_of(make):
    """-> the names of a factory's arguments, those of a `**rollout: Unpack[...]` one by one."""
    for parameter in inspect.signature(make, eval_str=True).parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            yield from get_type_hints(get_args(parameter.annotation)[0])
        else:
            yield parameter.name


def make_strategy(option, n, /, **changes):
    """-> the strategy of n parameters, its options those of `conf/strategy` but for `changes`.

    Its functions are compiled whole, as a run compiles them: one by one, the operations of a single
    `ask` take a second to compile.
    """
    strategy = _made("strategy", option, n=n, **changes)
    whole = ("init", "ask", "weigh", "recombine", "update")
    return strategy._replace(**{name: jax.jit(getattr(strategy, name)) for name in whole})


def make_policy(option, /, **changes):
    """-> the policy, its options those of `conf/policy` but for `changes`, which say its sizes."""
    return _made("policy", option, **changes)


def _made(kind, option, **changes):
    said = OmegaConf.to_container(OmegaConf.load(CONF_DIR / kind / f"{option}.yaml"))
    options = {**said, **changes}
    name = options["name"]
    make = registry.factory(kind, name)
    by_the_run = registry.find(kind, name).schema.run_keys | {"name"}
    asked = set(arguments_of(make))
    unasked = by_the_run - asked
    options = {**{key: None for key in ("members", "least") if key in asked}, **options}
    return make(**{key: x for key, x in options.items() if key not in unasked})
