"""Tasks whose optimum is known by hand, to be solved by whatever trains."""

import jax
import jax.numpy as jnp
from einops import reduce

from esrun.tasks.normalizer import normalize, observe
from esrun.types import Evaluation, Task


def make_bandit(*, target: tuple[float, ...], noise: float, episodes: int) -> Task:
    """Name `target` [k]: the return of output y is 1 - |y - target|^2 + noise N(0, 1), the same
    noise for every member.

    The input is always 1. The best constant output is `target`, its expected return 1.
    """
    best = jnp.asarray(target, float)

    def play(key, policy, member, normalizer):
        x, seen = _shown(normalizer, jnp.ones(1))
        output, _ = policy.apply(member, policy.initial_carry(), x)
        return 1 - jnp.sum((output - best) ** 2) + noise * jax.random.normal(key), seen

    return _task((1,), len(target), episodes, 1, play)


def make_memory(*, delay: int, noise: float, episodes: int) -> Task:
    """Be shown a bit, name it `delay` steps later: the first input is [bit, 0], the last [0, 1],
    those between [u, 0].

    The bit is ±1 and u ~ U(-noise, noise). The last output is the logit of +1 and the return is the
    probability that it gives to the bit. Every episode is played with either bit and averaged. All
    that the memoryless can say of +1 at the last step it says of -1 too, so its return is 1/2
    exactly, for every policy; a memory's comes as near to 1 as it likes.
    """

    def play(key, policy, member, normalizer):
        def with_bit(bit):
            between = jax.random.uniform(key, (delay - 1,), minval=-noise, maxval=noise)
            signal = jnp.concatenate([bit[None], between, jnp.zeros(1)])
            inputs = jnp.stack([signal, jnp.zeros(delay + 1).at[-1].set(1)], axis=1)

            def step(carry, x):
                x, seen = _shown(normalizer, x)
                output, carry = policy.apply(member, carry, x)
                return carry, (output[0], seen)

            _, (logits, seen) = jax.lax.scan(step, policy.initial_carry(), inputs)
            return jax.nn.sigmoid(bit * logits[-1]), jax.tree.map(
                lambda x: jnp.sum(x, axis=0), seen
            )

        score, seen = jax.vmap(with_bit)(jnp.array([-1.0, 1.0]))
        return jnp.mean(score), jax.tree.map(lambda x: jnp.sum(x, axis=0), seen)

    return _task((2,), 1, episodes, 2 * (delay + 1), play)


def _shown(normalizer, x):
    """-> (what the policy sees of input x, the sums for the normaliser or None)."""
    return (
        (x, None)
        if normalizer is None
        else (normalize(normalizer, x), observe(normalizer, x, jnp.bool_(True)))
    )


def _task(input_shape, output_size, episodes, steps, play) -> Task:
    """The task whose episode is `play(key, policy, member, normalizer)` -> (return, sums seen) and
    `steps` long."""

    def evaluate(keys, policy, members, normalizer):
        every = jax.vmap(
            lambda key, member: play(key, policy, member, normalizer), in_axes=(0, None)
        )
        returns, seen = jax.vmap(every, in_axes=(None, 0))(keys, members)
        return Evaluation(
            returns=returns,
            steps=jnp.full(len(returns), len(keys) * steps, jnp.int32),
            inputs=jax.tree.map(lambda x: reduce(x, "m e ... -> m ...", "sum"), seen),
            measures={},
        )

    return Task(input_shape, output_size, episodes, evaluate)
