"""A strategy's generation without a task, a policy or devices."""

import jax
import jax.numpy as jnp


def fresh(strategy, mean):
    """-> a first state."""
    return strategy.init(jax.random.key(0), mean)


def tell(strategy, state, solutions, fitness):
    """-> the state behind a generation whose solutions and fitness are given."""
    sums = strategy.recombine(state, solutions, strategy.weigh(state, fitness))
    return strategy.update(state, sums, fitness)


def evolved(strategy, mean, f, generations):
    """-> the state after some generations of minimising f."""

    def step(state, key):
        solutions = strategy.ask(key, state, jnp.arange(strategy.population_size))
        return tell(strategy, state, solutions, -jax.vmap(f)(solutions)), None

    keys = jax.random.split(jax.random.key(0), generations)
    return jax.jit(lambda: jax.lax.scan(step, fresh(strategy, mean), keys)[0])()
