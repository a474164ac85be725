"""Pictures with labels, from files of this machine, in three parts that share no picture."""

from typing import Any, NamedTuple

import numpy as np


class Examples(NamedTuple):
    """Pictures and what they show."""

    pictures: Any  # [k, height, width, channels] uint8, an array of NumPy or JAX
    labels: Any  # [k] int32


class Data(NamedTuple):
    """What members are trained on, what scores the mean policy, and what is looked at once."""

    train: Examples
    validation: Examples
    test: Examples


class Kind(NamedTuple):
    """What is known of a data set before it is read."""

    shape: tuple[int, int, int]
    """[height, width, channels] of a picture."""
    white: int
    """The largest value of a pixel."""


KINDS = {
    "digits": Kind((8, 8, 1), 16),
    "mnist": Kind((28, 28, 1), 255),
    "fashion_mnist": Kind((28, 28, 1), 255),
    "cifar10": Kind((32, 32, 3), 255),
}
CLASSES = 10
"""Of each of them."""


def read(*, dataset: str, **options) -> Data:
    """-> the data set that a task's `options` name. Raises ConfigError for files that hold none."""
    return {"digits": _digits}[dataset](**options)


def _digits(*, validation: float, test: float, split_seed: int, **_) -> Data:
    """-> scikit-learn's digits (1,797 pictures that come with it), split at random with the same
    share of each class in each part."""
    from sklearn.datasets import load_digits

    pictures, labels = load_digits(return_X_y=True)
    pictures = np.asarray(pictures, np.uint8).reshape(-1, *KINDS["digits"].shape)
    whole = Examples(pictures, np.asarray(labels, np.int32))
    rest, tested = split(whole, test, split_seed)
    return Data(*split(rest, validation / (1 - test), split_seed), tested)


def split(examples: Examples, share: float, seed: int) -> tuple[Examples, Examples]:
    """-> (the rest, a `share` of the examples), each with the same share of each class."""
    from sklearn.model_selection import train_test_split

    kept, taken = train_test_split(
        np.arange(len(examples.labels)),
        test_size=share,
        random_state=seed,
        stratify=examples.labels,
    )
    rest, part = (Examples(*(x[np.sort(at)] for x in examples)) for at in (kept, taken))
    return rest, part
