"""Any algorithm of evosax behind esrun's interface.

Lange: evosax: JAX-based Evolution Strategies, 2022, https://arxiv.org/abs/2212.04180, version 0.3.
The name of an algorithm is its key in `evosax.algorithms.algorithms`.

evosax asks for a whole population and is told about a whole population, so a slice cannot be made
alone. The state holds the key that the population is drawn with, and every slice on every device
draws all of it and takes its own rows; `update` draws it once more, for evosax's own state behind
`ask`. The price is p x n memory on each device, whatever `runtime.population_chunk` says, and
sampling that more devices do not make faster. Evaluations are spread as always.

Methods that keep a distribution start at the policy's mean. Those that keep a population start from
N(mean, sigma^2), which is the first generation; the `mean` that esrun holds out and saves is then
the best of the present population. The Stein variational methods have several distributions,
started from N(mean, sigma^2): `mean` is that of the one that found the best solution. RandomSearch
knows no start at all, and draws from N(0, sigma^2).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from evosax.algorithms.population_based.base import PopulationBasedAlgorithm

from esrun.strategies.parts.evosax_options import constructed, numbers, only, scaled
from esrun.strategies.parts.shaping import finite_or_worst, raw
from esrun.types import Number, Strategy


class State(NamedTuple):
    """evosax's state, and what every strategy shows."""

    mean: jax.Array  # [n]
    sigma: jax.Array  # [] mean of evosax's std; the population's spread where it has none
    search: Any  # evosax's own
    key: jax.Array  # [2] uint32, the data of the key that all generations' keys come from
    generation: jax.Array  # [] int32


def make_evosax(
    *,
    n: int,
    name: str,
    population_size: int,
    sigma: Number,
    optimizer: str | None,
    learning_rate: Number | None,
    params: dict,
    options: dict,
) -> Strategy:
    """evosax's algorithm `name` over n parameters.

    `params` replace numbers of its `default_params`, `options` whole numbers and switches of its
    constructor. Raises ValueError for those that it does not have, and with evosax's words where it
    refuses a size.
    """
    algorithm, defaults = constructed(
        name, n, population_size, sigma, optimizer, learning_rate, options
    )
    known = numbers(defaults)
    only(known, params, f"strategy.params of {name}")
    settings = defaults.replace(**scaled(defaults, known, sigma, params) | params)
    keeps_population = isinstance(algorithm, PopulationBasedAlgorithm)
    populations = options.get("num_populations")

    def call(method, *arguments):
        """A method of evosax's, traced in place: its own `jit` would keep every object, and what it
        holds, alive."""
        return getattr(type(algorithm), method).__wrapped__(algorithm, *arguments)

    def around(key, mean, rows):
        return mean + sigma * jax.random.normal(key, (rows, n), mean.dtype)

    def shown(search, mean):
        """-> (mean [n], sigma []) of evosax's state."""
        if keeps_population:
            mean = search.population[jnp.argmin(search.fitness)]
        elif populations:
            mean = search.mean[jnp.argmin(search.best_fitness)]
        else:
            mean = search.mean
        if hasattr(search, "std"):
            return mean, jnp.mean(search.std)
        return mean, jnp.mean(
            jnp.std(search.population, axis=0)
        ) if keeps_population else jnp.asarray(sigma)

    def init(key, mean):
        init_key, first_key, key = jax.random.split(key, 3)
        if keeps_population:
            first = around(first_key, mean, population_size)
            search = call("init", init_key, first, jnp.zeros(population_size, mean.dtype), settings)
        else:
            start = around(first_key, mean, populations) if populations else mean
            search = call("init", init_key, start, settings)
        search = jax.tree.map(lambda x: _settled(x, mean.dtype), search)
        _, shown_sigma = shown(search, mean)
        return State(
            mean,
            jnp.asarray(shown_sigma, mean.dtype),
            search,
            jax.random.key_data(key),
            jnp.int32(0),
        )

    def drawn(state):
        """-> (population [p, n], evosax's state behind `ask`, the key to tell with)."""
        key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.generation)
        ask_key, tell_key = jax.random.split(key)

        def asked():
            population, search = call("ask", ask_key, state.search, settings)
            return population.astype(state.mean.dtype), _alike(search, state.search)

        if keeps_population:
            first = (state.search.population, state.search)
            population, search = jax.lax.cond(state.generation == 0, lambda: first, asked)
        else:
            population, search = asked()
        # behind the barrier the population is made whole, with the same bits for every slice
        return jax.lax.optimization_barrier(population), search, tell_key

    def ask(key, state, members):
        del key
        population, _, _ = drawn(state)
        return population[members]

    def weigh(state, fitness):
        del state
        return fitness

    def recombine(state, solutions, weights):
        del state, solutions, weights
        return ()

    def update(state, sums, fitness):
        del sums
        population, search, key = drawn(state)
        cost = -raw(fitness)  # evosax minimises, and does not expect NaN everywhere

        def told():
            return _alike(call("tell", key, population, cost, search, settings)[0], state.search)

        def begun():
            return _alike(call("init", key, population, cost, settings), state.search)

        search = jax.lax.cond(state.generation == 0, begun, told) if keeps_population else told()
        mean, shown_sigma = shown(search, state.mean)
        return State(
            mean.astype(state.mean.dtype),
            jnp.asarray(shown_sigma, state.sigma.dtype),
            search,
            state.key,
            state.generation + 1,
        )

    def flat(state, fitness):
        """Nothing moves, and the next population is another one.

        What keeps a population takes note of how good the first one is, and takes one all of which
        is better than what it has known: that tells something after all.
        """
        idle = state._replace(generation=state.generation + 1)
        if not keeps_population:
            return idle
        population, _, key = drawn(state)
        cost = -finite_or_worst(fitness)
        first = _alike(call("init", key, population, cost, settings), state.search)
        later = _chosen(cost[0] < state.search.best_fitness, update(state, (), fitness), idle)
        return _chosen(state.generation == 0, idle._replace(search=first), later)

    return Strategy(
        population_size=population_size,
        init=init,
        ask=ask,
        weigh=weigh,
        recombine=recombine,
        update=update,
        flat=flat,
    )


def _chosen(condition, one, other):
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)


def _settled(x, dtype) -> jax.Array:
    """-> a leaf of a first state as an array of a type that no update changes."""
    x = jnp.asarray(x)
    if jnp.issubdtype(x.dtype, jnp.floating):
        return x.astype(dtype)
    return x.astype(jnp.int32) if jnp.issubdtype(x.dtype, jnp.signedinteger) else x.astype(x.dtype)


def _alike(new, old):
    """-> evosax's new state with the types and shapes of the old one."""
    return jax.tree.map(
        lambda a, b: jnp.broadcast_to(jnp.asarray(a).astype(b.dtype), b.shape), new, old
    )
