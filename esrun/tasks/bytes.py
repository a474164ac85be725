"""A language model of bytes: a policy reads a text byte by byte and says the next one.

All members of a generation see the same windows, drawn from the training part. The mean policy is
scored on the last part of the file, which it reads in a few long streams, with its carry: only
their first bytes have little before them. A feed-forward policy has no carry, sees the last byte
alone and can at best be a table of pairs.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from esrun.policies.products import OneHot
from esrun.tasks.normalizer import normalize
from esrun.tasks.spaces import Discrete, encoding
from esrun.tasks.supervised import seen_by_all
from esrun.tasks.texts import BYTES, Text
from esrun.types import Evaluation, HeldOut, Interface, Moments, Policy, PyTree, Task


class Read(NamedTuple):
    """Held-out streams, what a policy made of them, and how it would go on."""

    bytes: jax.Array  # [k, l + 1] the byte before the first, and those that are predicted
    bits: jax.Array  # [k, l] that each of them cost
    sample: jax.Array  # [k, SAMPLE] bytes drawn behind the first PROMPT of them
    returns: jax.Array  # [k]


PROMPT, SAMPLE = 512, 384
"""Most bytes of a stream that a sample goes on from, and its length."""


def make_bytes(
    *,
    file: str,
    validation: float,
    streams: int,
    sequence_length: int,
    batch_size: int,
    episodes: int,
    data: Text | None,
) -> Task:
    """The byte before, one-hot [256] -> 256 outputs, the logits of the next one.

    An episode of training is `batch_size` windows at random places of the training part, in each of
    which `sequence_length` bytes are predicted, the first of them from a fresh carry; its return is
    minus their mean cross-entropy, bits a byte. `data` may be None for whoever only looks at the
    sizes.
    """
    del file, validation  # they say what is read

    def evaluate(keys, policy, members, normalizer):
        assert data is not None
        last = len(data.train) - sequence_length
        draw = jax.vmap(lambda key: jax.random.randint(key, (batch_size,), 0, last))
        at = draw(keys).ravel()[:, None] + jnp.arange(sequence_length + 1)
        windows = data.train[at]
        loss = _sums(windows, policy, members, normalizer) / sequence_length
        m, e = len(loss), len(keys)
        bits = jnp.mean(loss.reshape(m, e, batch_size), -1)
        return Evaluation(
            returns=-bits,
            steps=jnp.full(m, e * batch_size * sequence_length, jnp.int32),
            inputs=seen_by_all(jax.nn.one_hot(windows[:, :-1].ravel(), BYTES), normalizer, m),
            measures={},
        )

    def held_out(numbers, policy, members, normalizer):
        assert data is not None
        chosen = jax.tree.map(lambda x: x.at[numbers].get(mode="clip"), data._replace(train=()))
        length = chosen.streams.shape[1] - 1
        loss = _sums(chosen.streams, policy, members, normalizer) / length
        steps = jnp.full(len(loss), chosen.streams.size, jnp.int32)
        models = {"unigram": chosen.unigram, "bigram": chosen.bigram}
        measures = {name: jnp.broadcast_to(x, loss.shape) for name, x in models.items()}
        return Evaluation(-loss, steps, None, measures)

    def watch(numbers, policy, member, normalizer, which):
        assert data is not None
        chosen = data.streams[numbers[which]]
        members = jax.tree.map(lambda x: x[None], member)
        returns = -_sums(chosen, policy, members, normalizer)[0] / (chosen.shape[1] - 1)
        read = jax.vmap(lambda number, stream: _read(number, stream, policy, member, normalizer))
        return Read(chosen, *read(numbers[which], chosen), returns)

    encoded = encoding(Discrete(BYTES))
    about = {"observation": encoded.about, "action": {"kind": "output"}}
    return Task(
        (BYTES,),
        BYTES,
        episodes,
        evaluate,
        steps=episodes * batch_size * sequence_length,
        interface=Interface(encoded.encode, lambda output: output, lambda: about),
        watch=watch,
        validation=HeldOut(streams, held_out),
    )


def _step(policy: Policy, normalizer: Moments | None, member: PyTree, carry: PyTree, byte):
    """-> (logits [256] of the byte behind `byte` [], carry)."""
    x: Any = OneHot(byte, BYTES)
    if normalizer is not None:
        x = normalize(normalizer, jnp.asarray(x))
    return policy.apply(member, carry, x if policy.looks_up else jnp.asarray(x))


def _bits(logits: jax.Array, byte: jax.Array) -> jax.Array:
    """-> what `byte` [...] costs where the logits [..., 256] said what comes, bits."""
    right = jnp.take_along_axis(logits, byte[..., None], -1)[..., 0]
    return (jax.nn.logsumexp(logits, -1) - right) / math.log(2)


def _sums(
    streams: jax.Array, policy: Policy, members: PyTree, normalizer: Moments | None
) -> jax.Array:
    """Streams [k, l + 1] that all members [m] read -> [m, k]: the bits of the last l bytes of
    each."""
    streams = streams.astype(jnp.int32)
    m, k = len(jax.tree.leaves(members)[0]), len(streams)

    def both(member, carry, before):
        return jax.vmap(lambda c, x: _step(policy, normalizer, member, c, x))(carry, before)

    def body(loop, pair):
        carry, total = loop
        before, byte = pair
        logits, carry = jax.vmap(both, (0, 0, None))(members, carry, before)
        return (carry, total + _bits(logits, jnp.broadcast_to(byte, (m, k)))), None

    carry = jax.tree.map(lambda x: jnp.broadcast_to(x, (m, k, *x.shape)), policy.initial_carry())
    total = jnp.zeros((m, k), jnp.zeros(()).dtype)
    (_, total), _ = jax.lax.scan(body, (carry, total), (streams.T[:-1], streams.T[1:]))
    return total


def _read(number, stream, policy, member, normalizer):
    """-> (bits [l] of a stream's bytes, a sample [SAMPLE] that goes on behind its first PROMPT),
    the same one for the same policy and number of the stream."""
    stream = stream.astype(jnp.int32)

    def step(carry, byte):
        return _step(policy, normalizer, member, carry, byte)

    def follow(carry, pair):
        logits, carry = step(carry, pair[0])
        return carry, (_bits(logits, pair[1]), carry)

    def draw(loop, key):
        carry, byte = loop
        logits, carry = step(carry, byte)
        byte = jax.random.categorical(key, logits).astype(jnp.int32)
        return (carry, byte), byte.astype(jnp.uint8)

    _, (bits, carries) = jax.lax.scan(follow, policy.initial_carry(), (stream[:-1], stream[1:]))
    last = min(PROMPT, len(stream) - 1)
    carry = jax.tree.map(lambda x: x[last - 1], carries)
    keys = jax.random.split(jax.random.key(number), SAMPLE)
    _, sample = jax.lax.scan(draw, (carry, stream[last]), keys)
    return bits, sample
