"""Sequence prediction: given points on a sine wave at even distances, say the next.

The task of the tutorial "Evolving Neural Networks in JAX", with its offsets, range and jitter.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange

from esrun.backend.keys import split
from esrun.tasks.supervised import outputs, seen_by_all
from esrun.types import Evaluation, Number, Task


class Predicted(NamedTuple):
    """Episodes: the points that are asked for, what is right and what a member says."""

    x: jax.Array  # [k, b] where the points lie, jitter included
    targets: jax.Array  # [k, b]
    predictions: jax.Array  # [k, b]
    returns: jax.Array  # [k]


def make_sine(
    *,
    sequence_length: int,
    batch_size: int,
    span: Number,
    jitter: Number,
    reward: str,
    episodes: int,
) -> Task:
    """`sequence_length` - 1 values in, the next one out.

    The points lie 1 / sequence_length apart and end at x ~ U(-span, span); each is moved by
    U(-jitter, jitter). An episode is one batch of `batch_size` sequences with mean absolute error
    E; its return is -E ("negative_error") or the tutorial's 1 / (E^2 + 1e-8) ("inverse_square").
    """

    def sequences(key):
        end_key, jitter_key = split(key)
        end = jax.random.uniform(end_key, (batch_size, 1), minval=-span, maxval=span)
        offsets = jnp.arange(sequence_length - 1, -1, -1) / sequence_length
        moved = jax.random.uniform(
            jitter_key, (batch_size, sequence_length), minval=-jitter, maxval=jitter
        )
        x = end - offsets + moved
        values = jnp.sin(x)
        return values[:, :-1], values[:, -1], x[:, -1]

    def predicted(inputs, policy, members, normalizer):
        """Inputs [e, b, s - 1] -> [m, e, b]."""
        flat = rearrange(inputs, "e b s -> (e b) s")
        said = outputs(flat, policy, members, normalizer)
        return rearrange(said, "m (e b) 1 -> m e b", e=len(inputs))

    def returned(error):
        return -error if reward == "negative_error" else 1 / (error**2 + 1e-8)

    def evaluate(keys, policy, members, normalizer):
        inputs, targets, _ = jax.vmap(sequences)(keys)  # [e, b, s - 1], [e, b]
        predictions = predicted(inputs, policy, members, normalizer)
        error = jnp.mean(jnp.abs(predictions - targets), axis=-1)  # [m, e]
        m, shown = len(error), rearrange(inputs, "e b s -> (e b) s")
        return Evaluation(
            returns=returned(error),
            # more is refused for training, and nobody counts those of held-out episodes
            steps=jnp.full(m, min(len(keys) * batch_size, 2**31 - 1), jnp.int32),
            inputs=seen_by_all(shown, normalizer, m),
            measures={"absolute_error": error},
        )

    def watch(keys, policy, member, normalizer, which):
        inputs, targets, x = jax.vmap(sequences)(keys)
        members = jax.tree.map(lambda x: x[None], member)
        predictions = predicted(inputs, policy, members, normalizer)[0]
        error = jnp.mean(jnp.abs(predictions - targets), axis=-1)
        all = Predicted(x, targets, predictions, returned(error))
        return jax.tree.map(lambda x: x[which], all)

    def references(key, count):
        return jax.vmap(lambda key: sequences(key)[0][0])(split(key, count))

    shape, steps = (sequence_length - 1,), episodes * batch_size
    return Task(shape, 1, episodes, evaluate, steps, watch=watch, references=references)
