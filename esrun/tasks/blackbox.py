"""Functions with a known optimum, for `policy=vector`. Fitness is -(f - f_opt): 0 at the optimum,
negative elsewhere.

Sources and optima: Surjanovic and Bingham, Virtual Library of Simulation Experiments,
https://www.sfu.ca/~ssurjano/optimization.html.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from einops import repeat

from esrun.types import Evaluation, Task


def sphere(x):
    """Optimum 0 at 0."""
    return jnp.sum(x**2)


def ellipsoid(x):
    """Axes from 1 to 10^6 in squared length; optimum 0 at 0."""
    return jnp.sum(10 ** jnp.linspace(0, 6, len(x)) * x**2)


def rosenbrock(x):
    """Optimum 0 at (1, ..., 1)."""
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def rastrigin(x):
    """Optimum 0 at 0, about 10^d other minima."""
    return 10 * len(x) + jnp.sum(x**2 - 10 * jnp.cos(2 * jnp.pi * x))


def ackley(x):
    """Optimum 0 at 0."""
    spread, waves = jnp.sqrt(jnp.mean(x**2)), jnp.mean(jnp.cos(2 * jnp.pi * x))
    return -20 * jnp.exp(-0.2 * spread) - jnp.exp(waves) + 20 + jnp.e


def himmelblau(x):
    """Two dimensions; four optima of 0, one at (3, 2)."""
    a, b = x
    return (a**2 + b - 11) ** 2 + (a + b**2 - 7) ** 2


SIX_HUMP_CAMEL_OPTIMUM = -1.031628453489877


def six_hump_camel(x):
    """Two dimensions; optima at ±(0.0898, -0.7126)."""
    a, b = x
    return (
        (4 - 2.1 * a**2 + a**4 / 3) * a**2 + a * b + (-4 + 4 * b**2) * b**2 - SIX_HUMP_CAMEL_OPTIMUM
    )


FUNCTIONS = {
    f.__name__: f
    for f in (sphere, ellipsoid, rosenbrock, rastrigin, ackley, himmelblau, six_hump_camel)
}


def make_blackbox(*, function: str, dimension: int, episodes: int) -> Task:
    """Minimise `function` over R^dimension."""
    return minimized(FUNCTIONS[function], dimension, episodes)


def minimized(f: Callable[[jax.Array], jax.Array], dimension: int, episodes: int) -> Task:
    """Minimise f over R^dimension. It is deterministic: one episode says all, however many are
    asked for."""

    def evaluate(keys, policy, members, normalizer):
        del normalizer
        points, _ = jax.vmap(
            lambda member: policy.apply(member, policy.initial_carry(), jnp.zeros(0))
        )(members)
        # one change of sign: the functions are minimised, fitness is maximised
        fitness = -jax.vmap(f)(points)
        return Evaluation(
            returns=repeat(fitness, "m -> m e", e=len(keys)),
            steps=jnp.ones(len(points), jnp.int32),
            inputs=None,
            measures={},
        )

    return Task((0,), dimension, episodes, evaluate, steps=1)
