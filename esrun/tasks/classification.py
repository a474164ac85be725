"""Classification: pictures in, the class that each shows out.

All members of a generation see the same minibatches, drawn from the training part with replacement.
The mean policy is scored on the validation part, every picture an episode, and once, at the end, on
the test part.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange

from esrun.tasks.datasets import KINDS, Data, Examples
from esrun.tasks.spaces import Discrete, Encoding, decoding, interface
from esrun.tasks.supervised import outputs, seen_by_all
from esrun.types import Evaluation, HeldOut, Key, Task


class Classified(NamedTuple):
    """Held-out pictures and what a policy takes them for."""

    pictures: jax.Array  # [k, height, width, channels] uint8
    labels: jax.Array  # [k]
    outputs: jax.Array  # [k, classes]
    returns: jax.Array  # [k]


def minibatch(key: Key, train: Examples, size: int | None) -> Examples:
    """-> `size` examples drawn with replacement, None for all of them."""
    if size is None:
        return train
    numbers = jax.random.randint(key, (size,), 0, len(train.labels))
    return Examples(*(x[numbers] for x in train))


def make_classification(
    *,
    dataset: str,
    file: str | None,
    validation: float,
    test: float | None,
    split_seed: int,
    batch_size: int | None,
    fitness: str,
    episodes: int,
    data: Data | None,
) -> Task:
    """Pictures [height, width, channels], scaled to 0 ... 1 -> an output for each class, of which
    the largest is the answer.

    An episode of training is a minibatch of `batch_size` pictures, None for the whole training
    part; its return is minus the mean cross-entropy in nats ("cross_entropy") or the share of right
    answers ("accuracy"). `data` may be None for whoever only looks at the sizes.
    """
    del file, validation, test, split_seed  # they say what is read
    shape, white, names, _ = KINDS[dataset]

    def scaled(pictures):
        return pictures.reshape(-1, *shape).astype(float) / white

    def measured(said, labels):
        """Outputs [m, k, classes] -> (return, cross-entropy, right) of each picture, [m, k]
        each."""
        loss = -jnp.take_along_axis(jax.nn.log_softmax(said), labels[None, :, None], -1)[..., 0]
        right = (jnp.argmax(said, -1) == labels).astype(said.dtype)
        return (-loss if fitness == "cross_entropy" else right), loss, right

    def evaluate(keys, policy, members, normalizer):
        assert data is not None
        train = data.train
        batches = jax.vmap(lambda key: minibatch(key, train, batch_size))(keys)
        pictures, labels = (rearrange(x, "e b ... -> (e b) ...") for x in batches)
        inputs = scaled(pictures)
        figures = measured(outputs(inputs, policy, members, normalizer), labels)
        m, e = len(figures[0]), len(keys)
        returns, loss, right = (jnp.mean(x.reshape(m, e, -1), -1) for x in figures)
        return Evaluation(
            returns=returns,
            steps=jnp.full(m, len(labels), jnp.int32),
            inputs=seen_by_all(inputs, normalizer, m),
            measures={"accuracy": right, "cross_entropy": loss},
        )

    def held_out(part: Examples) -> HeldOut:
        def evaluate(numbers, policy, members, normalizer):
            pictures, labels = (x.at[numbers].get(mode="clip") for x in part)
            said = outputs(scaled(pictures), policy, members, normalizer)
            returns, loss, right = measured(said, labels)
            measures = {"accuracy": right, "cross_entropy": loss}
            steps = jnp.full(len(returns), len(labels), jnp.int32)
            return Evaluation(returns, steps, None, measures)

        return HeldOut(len(part.labels), evaluate)

    def watch(numbers, policy, member, normalizer, which):
        assert data is not None
        pictures, labels = (x[numbers[which]] for x in data.validation)
        members = jax.tree.map(lambda x: x[None], member)
        said = outputs(scaled(pictures), policy, members, normalizer)
        returns, _, _ = measured(said, labels)
        return Classified(pictures, labels, said[0], returns[0])

    def references(key, count):
        assert data is not None
        return scaled(minibatch(key, data.train, count).pictures)

    def encode(picture):
        return scaled(jnp.asarray(picture))[0]

    about = {"kind": "picture", "shape": list(shape), "white": white}
    size = len(data.train.labels) if data is not None and batch_size is None else batch_size
    return Task(
        shape,
        len(names),
        episodes,
        evaluate,
        steps=episodes * size if size else None,
        interface=interface(Encoding(encode, shape, about), decoding(Discrete(len(names)), "clip")),
        watch=watch,
        references=references,
        validation=held_out(data.validation) if data else None,
        test=held_out(data.test) if data else None,
    )
