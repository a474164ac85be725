"""What tasks share that show examples in the place of an environment."""

import jax
import jax.numpy as jnp

from esrun.tasks.normalizer import normalize, observe
from esrun.types import Moments, Policy, PyTree, Sums


def outputs(
    inputs: jax.Array, policy: Policy, members: PyTree, normalizer: Moments | None
) -> jax.Array:
    """Inputs [k, *input_shape] that all members [m] see -> [m, k, output_size]; each begins with a
    fresh carry."""

    def output(member, x):
        x = x if normalizer is None else normalize(normalizer, x)
        return policy.apply(member, policy.initial_carry(), x)[0]

    return jax.vmap(lambda member: jax.vmap(lambda x: output(member, x))(inputs))(members)


def seen_by_all(inputs: jax.Array, normalizer: Moments | None, members: int) -> Sums | None:
    """Inputs [k, *input_shape] -> the sums [members, ...] of what each of the members saw, all of
    them the same; None without an input normaliser."""
    if normalizer is None:
        return None
    every = jax.vmap(lambda x: observe(normalizer, x, jnp.bool_(True)))(inputs)
    return jax.tree.map(lambda x: jnp.broadcast_to(jnp.sum(x, 0), (members, *x.shape[1:])), every)
