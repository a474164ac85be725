"""Parts with the options of their yaml files: a test names only those that it is about."""

import inspect

import jax
from omegaconf import OmegaConf

from esrun.config import CONF_DIR, registry


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
    unasked = by_the_run - set(inspect.signature(make).parameters)
    return make(**{key: x for key, x in options.items() if key not in unasked})
