"""The archive: the best members of all generations by raw fitness.

Nothing of training reads it. It is the same on every device, and is touched only in a generation
whose best member belongs there, whose parameters are then made again from its number.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from esrun.policies.layers import LowRank
from esrun.strategies.parts.shaping import finite_or_worst
from esrun.types import Archive, Moments, PyTree, Strategy, TrainState


def empty(size: int, mean: jax.Array, normalizer: Moments | None) -> Archive | None:
    """-> the archive of `size` members like `mean` [n] before there are any; None for a size of
    0."""
    if size == 0:
        return None
    return Archive(
        fitness=jnp.full(size, -jnp.inf, mean.dtype),
        generation=jnp.zeros(size, jnp.int32),
        members=jnp.zeros((size, len(mean)), mean.dtype),
        normalizer=jax.tree.map(lambda x: jnp.zeros((size, *x.shape), x.dtype), normalizer),
    )


def updated(
    state: TrainState,
    strategy: Strategy,
    ask: Callable[[jax.Array], PyTree],
    fitness: jax.Array,
) -> Archive | None:
    """-> the archive after the generation that `ask` (member numbers -> solutions) draws from the
    `state`, and whose members had the `fitness` [p]."""
    archive = state.archive
    if archive is None:
        return None
    fitness = finite_or_worst(fitness)

    def joined() -> Archive:
        return with_best(archive, state, strategy, ask, fitness)

    return jax.lax.cond(jnp.max(fitness) > archive.fitness[-1], joined, lambda: archive)


def with_best(
    archive: Archive,
    state: TrainState,
    strategy: Strategy,
    ask: Callable[[jax.Array], PyTree],
    fitness: jax.Array,
) -> Archive:
    """-> the archive with the generation's best members among those that it had. Of equal ones the
    earlier stays."""
    k, p = len(archive.fitness), len(fitness)
    best, members = jax.lax.top_k(fitness, min(k, p))
    fresh = Archive(
        fitness=best,
        generation=jnp.full(len(best), state.generation + 1),
        members=parameters(state, strategy, ask, members),
        normalizer=jax.tree.map(lambda x: jnp.stack([x] * len(best)), state.normalizer),
    )
    both = jax.tree.map(lambda old, new: jnp.concatenate([old, new]), archive, fresh)
    _, rows = jax.lax.top_k(without_copies(both.fitness, both.members), k)
    return jax.tree.map(lambda x: x[rows], both)


def parameters(
    state: TrainState, strategy: Strategy, ask: Callable[[jax.Array], PyTree], members: jax.Array
) -> jax.Array:
    """-> the parameters [m, n] of the `members` [m] of a generation, whichever they are: units are
    asked for as a whole."""
    first = members // strategy.unit * strategy.unit
    asked = ask(jnp.ravel(first[:, None] + jnp.arange(strategy.unit)))
    rows = jnp.arange(len(members)) * strategy.unit + members - first
    solutions = jax.tree.map(lambda x: x[rows], asked)
    if strategy.express is None:
        return solutions
    express = strategy.express(state.strategy)

    def flat(solution: PyTree) -> jax.Array:
        with jax.default_matmul_precision("highest"):
            return ravel_pytree(jax.tree.map(whole, express(solution), is_leaf=is_low_rank))[0]

    return jax.vmap(flat)(solutions)


def whole(x: jax.Array | LowRank) -> jax.Array:
    """-> the weight matrix that it stands for."""
    return jnp.asarray(x)


def is_low_rank(x: PyTree) -> bool:
    """Whether it stands for a weight matrix."""
    return isinstance(x, LowRank)


def without_copies(fitness: jax.Array, members: jax.Array) -> jax.Array:
    """-> the fitness [m], -inf for those whose parameters another of the `members` [m, n] has that
    is better, or as good and before it: elites are evaluated again and again."""
    same = jnp.all(members[:, None] == members, axis=-1)
    number = jnp.arange(len(fitness))
    better = fitness > fitness[:, None]
    before = (fitness == fitness[:, None]) & (number < number[:, None])
    return jnp.where(jnp.any(same & (better | before), axis=1), -jnp.inf, fitness)


def top_mean(archive: Archive) -> jax.Array:
    """-> the mean fitness [] of those that there are."""
    return jnp.mean(archive.fitness, where=jnp.isfinite(archive.fitness))
