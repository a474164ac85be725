"""The archive: the best members of all generations by raw fitness.

Nothing of training reads it. It is the same on every device, and is touched only in a generation
whose best member belongs there.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from esrun.backend import devices
from esrun.backend.fences import Fence
from esrun.policies.products import LowRank
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


def best_members(size: int, fitness: jax.Array) -> jax.Array:
    """-> the numbers [k] of a generation's best members, best first: of as many as an archive of
    that `size` has room for."""
    return jax.lax.top_k(finite_or_worst(fitness), min(size, len(fitness)))[1]


def those_among(members: jax.Array, solutions: PyTree, wanted: jax.Array) -> PyTree:
    """-> the solutions [k, ...] of the `wanted` [k], zeros for those that are not among the
    `members` [m], which follow each other: slices of all members add up to all that are wanted."""
    row = wanted - members[0]
    here = (row >= 0) & (row < len(members))

    def rows(x: jax.Array) -> jax.Array:
        found = x[jnp.where(here, row, 0)]
        return jnp.where(jnp.expand_dims(here, range(1, x.ndim)), found, 0)

    return jax.tree.map(rows, solutions)


def after(
    archive: Archive,
    state: TrainState,
    strategy: Strategy,
    ask: Callable[[jax.Array], PyTree],
    fitness: jax.Array,
    solutions: PyTree,
) -> tuple[Archive, jax.Array]:
    """-> (the `archive` after the generation that was drawn from the `state`, its `fitness` [p]).
    The `solutions` of the `best_members` are made by `ask` unless they are given.

    The update takes the fitness that comes out of here: it then follows, and changes a strategy's
    matrices where they lie, since no member is made from them any more.
    """

    def best(fitness):
        members = best_members(len(archive.fitness), fitness)

        def made():
            return solutions_of(strategy, ask, members)

        given = made if solutions is None else lambda: solutions
        return updated(archive, state, strategy, fitness, members, given), fitness

    return Fence(state.generation >= 0).around(best, fitness)


def updated(
    archive: Archive,
    state: TrainState,
    strategy: Strategy,
    fitness: jax.Array,
    members: jax.Array,
    solutions: Callable[[], PyTree],
) -> Archive:
    """-> the `archive` after the generation that was drawn from the `state`, and whose members had
    the `fitness` [p]. The best `members` [k] of them had these `solutions` [k, ...]."""
    best = finite_or_worst(fitness)[members]
    belongs = best[0] > archive.fitness[-1]

    def joined() -> Archive:
        return with_best(archive, state, strategy, best, solutions())

    if devices.on_cpu():
        return jax.lax.cond(belongs, joined, lambda: archive)
    return jax.tree.map(lambda new, old: jnp.where(belongs, new, old), joined(), archive)


def with_best(
    archive: Archive, state: TrainState, strategy: Strategy, fitness: jax.Array, solutions: PyTree
) -> Archive:
    """-> the archive with a generation's best members, which had the `fitness` [k], among those
    that it had. Of equal ones the earlier stays."""
    members = parameters(state, strategy, solutions)
    fresh = Archive(
        fitness=fitness,
        generation=jnp.full(len(fitness), state.generation + 1),
        members=jnp.where(members == 0, 0, members),  # sums over slices know one zero
        normalizer=jax.tree.map(lambda x: jnp.stack([x] * len(fitness)), state.normalizer),
    )
    both = jax.tree.map(lambda old, new: jnp.concatenate([old, new]), archive, fresh)
    _, rows = jax.lax.top_k(without_copies(both.fitness, both.members), len(archive.fitness))
    return jax.tree.map(lambda x: x[rows], both)


def solutions_of(
    strategy: Strategy, ask: Callable[[jax.Array], PyTree], members: jax.Array
) -> PyTree:
    """-> the solutions [m, ...] of the `members` [m] of a generation, whichever they are: `ask`
    (member numbers -> solutions) is called for whole units."""
    first = members // strategy.unit * strategy.unit
    asked = ask(jnp.ravel(first[:, None] + jnp.arange(strategy.unit)))
    rows = jnp.arange(len(members)) * strategy.unit + members - first
    return jax.tree.map(lambda x: x[rows], asked)


def parameters(state: TrainState, strategy: Strategy, solutions: PyTree) -> jax.Array:
    """-> the parameters [m, n] that `solutions` of a generation [m, ...] stand for."""
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
