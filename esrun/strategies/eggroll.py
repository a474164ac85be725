"""EGGROLL: OpenAI-ES whose perturbation of a weight matrix has low rank and is never written out.

Sarkar et al.: Evolution Strategies at the Hyperscale, 2025, https://arxiv.org/abs/2511.16652,
algorithm 1. A member perturbs a matrix W [i, o] by sigma E, E = A Bᵀ / sqrt(r) with A [i, r] and B
[o, r] of standard normals, so that an entry of E has variance 1. In a dense layer x (W + sigma E)
is x W, one product for all members, plus the thin product (x A) Bᵀ; the weighted sum of all E is
one product again, and of full rank. Vectors, such as biases, are perturbed by plain normals, and
kernels of convolutions by E as matrices [all other axes, output channels].
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from einops import einsum, rearrange
from jax.flatten_util import ravel_pytree

from esrun.policies.products import LowRank
from esrun.strategies.parts.gradient import make_gradient_search
from esrun.strategies.parts.noise import make_noise
from esrun.strategies.parts.shaping import make_shaping
from esrun.types import Number, Strategy


def make_eggroll(
    *,
    n: int,
    unravel: Callable[[jax.Array], Any],
    population_size: int,
    rank: int,
    sigma: Number,
    sigma_decay: Number,
    sigma_limit: Number,
    learning_rate: Number,
    learning_rate_decay: Number,
    learning_rate_limit: Number,
    weight_decay: Number,
    antithetic: bool,
    noise: str | jax.Array,
    noise_table_size: int,
    shaping: str,
    shaping_offset: Number | None,
    rank_batches: int | None,
    optimizer: str,
    optimizer_options: dict,
) -> Strategy:
    """EGGROLL over the n parameters that `unravel` makes a tree of.

    A solution is the member's normals [k], those of A, then of B or of the vector, leaf by leaf.
    With `antithetic`, members 2i and 2i + 1 have E and -E. All else is OpenAI-ES's.
    """
    leaves, tree = jax.tree.flatten(
        jax.eval_shape(unravel, jax.ShapeDtypeStruct((n,), jnp.zeros(()).dtype))
    )
    shapes = [leaf.shape for leaf in leaves]
    sides = [(math.prod(shape[:-1]), shape[-1]) if len(shape) > 1 else None for shape in shapes]
    sizes = [
        [math.prod(shape)] if side is None else [rank * x for x in side]
        for shape, side in zip(shapes, sides, strict=True)
    ]
    # the second factor keeps its sign in a mirrored member: (-A) Bᵀ is -E
    signs = np.concatenate(
        [np.full(k, 1 if i else -1) for leaf in sizes for i, k in enumerate(leaf)]
    )
    ends = np.cumsum([k for leaf in sizes for k in leaf])
    draw = make_noise(noise, noise_table_size, len(signs), mirrored=False)
    search = make_gradient_search(
        population_size=population_size,
        sigma=sigma,
        sigma_decay=sigma_decay,
        sigma_limit=sigma_limit,
        learning_rate=learning_rate,
        learning_rate_decay=learning_rate_decay,
        learning_rate_limit=learning_rate_limit,
        weight_decay=weight_decay,
        antithetic=antithetic,
        shaping=make_shaping(shaping, shaping_offset, rank_batches),
        optimizer=optimizer,
        optimizer_options=optimizer_options,
    )

    def ask(key, state, members):
        if not antithetic:
            return draw(key, members, state.mean.dtype)
        z = draw(key, members[::2] // 2, state.mean.dtype)
        return rearrange(
            jnp.stack([z, z * signs.astype(z.dtype)], axis=1), "pair sign k -> (pair sign) k"
        )

    def factors(z):
        """Normals [..., k] -> by leaf, A [..., i, r] and B [..., o, r], or a vector [..., length]
        alone."""
        pieces = iter(jnp.split(z, ends[:-1], axis=-1))
        for side in sides:
            if side is None:
                yield (next(pieces),)
            else:
                yield tuple(rearrange(next(pieces), "... (x r) -> ... x r", r=rank) for _ in side)

    def express(state):
        bases = tree.flatten_up_to(unravel(state.mean))
        scale = state.sigma / math.sqrt(rank)

        def perturbed(base, noise):
            if len(noise) == 1:
                return base + state.sigma * noise[0]
            return LowRank(base, scale * noise[0], noise[1])

        return lambda z: tree.unflatten(map(perturbed, bases, factors(z)))

    def recombine(state, solutions, weights):
        def total(noise):
            if len(noise) == 1:
                return weights @ noise[0]
            weighted = weights[:, None, None] * noise[0]
            return einsum(weighted, noise[1], "m i r, m o r -> i o") / math.sqrt(rank)

        sums = [
            total(noise).reshape(shape)
            for noise, shape in zip(factors(solutions), shapes, strict=True)
        ]
        return ravel_pytree(sums)[0]  # sum of w E, as OpenAI-ES's update takes it

    return Strategy(
        population_size=population_size,
        init=search.init,
        ask=ask,
        weigh=search.weigh,
        recombine=recombine,
        update=search.update,
        express=express,
        ended=search.ended,
        diagnose=search.diagnose,
        unit=2 if antithetic else 1,
    )
