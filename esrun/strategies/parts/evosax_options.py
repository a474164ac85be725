"""What evosax's algorithms are made of: their constructors' arguments and the numbers of their
Params, checked and set."""

import dataclasses
import inspect

import jax
import jax.numpy as jnp
import optax
from evosax.algorithms import algorithms
from jax.core import Tracer

from esrun.errors import nearest
from esrun.types import Number

SCALES = ("std_init", "radius_max", "scale_factor")
"""Parameters of evosax's that say how far from the mean the search begins: what sigma sets."""
LOWEST, HIGHEST = ("std_min", "radius_min"), ("std_max",)
"""Parameters of evosax's between which it keeps that: their defaults give way to sigma."""


def constructed(name, n, population_size, sigma, optimizer, learning_rate, options):
    """-> (evosax's object, its default parameters)."""
    arguments = inspect.signature(algorithms[name].__init__).parameters
    simple = {key for key, a in arguments.items() if a.annotation in (bool, int, int | None)} - {
        "population_size"
    }
    only(simple, options, f"strategy.options of {name}")
    given = dict(options)
    if "num_populations" in arguments:
        populations = given.get("num_populations")
        if not populations or population_size % populations:
            raise ValueError(
                f"strategy.name={name} splits strategy.population_size into "
                "strategy.options.num_populations equal "
                f"ones, got {population_size} and {populations}: write "
                "+strategy.options.num_populations=2"
            )
        population_size //= populations
    if optimizer and "optimizer" not in arguments:
        raise ValueError(
            f"strategy.optimizer must be null with strategy.name={name}, which takes none, got "
            f"{optimizer}: "
            "write strategy.optimizer=null strategy.learning_rate=null"
        )
    if optimizer:
        given["optimizer"] = getattr(optax, optimizer)(learning_rate)
    if "std_schedule" in arguments:
        given["std_schedule"] = optax.constant_schedule(sigma)
    if "sampling_fn" in arguments:
        given["sampling_fn"] = lambda key: sigma * jax.random.normal(key, (n,))
    try:
        with jax.ensure_compile_time_eval():  # evosax turns arrays into Python numbers here
            algorithm = algorithms[name](
                population_size=population_size, solution=jnp.zeros(n), **given
            )
            return algorithm, algorithm.default_params
    except AssertionError as error:
        raise ValueError(
            f"strategy.name={name} refuses strategy.population_size={population_size}: {error}"
        ) from error


def numbers(params) -> set[str]:
    """-> the names of the parameters that are one number."""
    fields = {field.name: getattr(params, field.name) for field in dataclasses.fields(params)}
    return {
        key
        for key, x in fields.items()
        if isinstance(x, (bool, int, float, jax.Array)) and jnp.ndim(x) == 0
    }


def scaled(defaults, known: set[str], sigma: Number, params: dict) -> dict:
    """-> what sigma makes of evosax's numbers. Raises ValueError for `params` that contradict
    it."""
    for key, value in params.items():
        if key in SCALES:
            raise ValueError(
                f"strategy.params.{key} must not be given, since strategy.sigma sets it, got "
                f"{value:g}: write strategy.sigma={value:g} instead"
            )
        if key in (*LOWEST, *HIGHEST) and not isinstance(sigma, Tracer):
            low, high = (value, sigma) if key in LOWEST else (sigma, value)
            if low > high:
                raise ValueError(
                    f"strategy.params.{key} must be at {'most' if key in LOWEST else 'least'} "
                    f"strategy.sigma, got {value:g} and {float(sigma):g}: write "
                    f"strategy.params.{key}={float(sigma):g}"
                )
    return (
        {key: sigma for key in SCALES if key in known}
        | {key: jnp.minimum(getattr(defaults, key), sigma) for key in LOWEST if key in known}
        | {key: jnp.maximum(getattr(defaults, key), sigma) for key in HIGHEST if key in known}
    )


def only(known: set[str], given: dict, what: str) -> None:
    """Raise ValueError unless all keys of `given` are among the `known` ones."""
    for key in given:
        if key not in known:
            raise ValueError(
                f"{what} must be of {', '.join(sorted(known)) or 'none'}, got "
                f"{key}{nearest(key, known)}"
            )
