"""Pictures with labels, from files of this machine, in three parts that share no picture.

Nothing is downloaded, and nothing that Python has pickled is opened: its bytes could be a program.
"""

from typing import Any, NamedTuple

import numpy as np

from esrun import files
from esrun.errors import ConfigError, first_line
from esrun.tasks.picture_files import READING, read_files


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
    names: tuple[str, ...]
    """Of the classes, in the order of their labels."""


NUMERALS = tuple("0123456789")
CLOTHES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
           "boot")  # fmt: skip
THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship",
          "truck")  # fmt: skip

KINDS = {
    "digits": Kind((8, 8, 1), 16, NUMERALS),
    "mnist": Kind((28, 28, 1), 255, NUMERALS),
    "fashion_mnist": Kind((28, 28, 1), 255, CLOTHES),
    "cifar10": Kind((32, 32, 3), 255, THINGS),
}


def read(
    *,
    dataset: str,
    file: str | None,
    validation: float,
    test: float | None,
    split_seed: int,
    **others: Any,
) -> Data:
    """-> the data set: the `test` part is its own or, where it has none, a share of all pictures,
    the `validation` part that share of all that are not its own test part.

    Raises ConfigError for files that do not hold it.
    """
    del others  # they do not say what is read
    kind, share = KINDS[dataset], validation
    if file is None:
        assert test is not None
        rest, tested = split(_digits(kind), test, split_seed)
        share = validation / (1 - test)
    else:
        try:
            given = read_files(files.named(file).resolve(), kind.shape)
            rest, tested = (_checked(*part, kind) for part in given)
        except READING as error:
            raise ConfigError(
                f"task.file={file} holds no {dataset}: {first_line(error)}"
            ) from error
    try:
        return Data(*split(rest, share, split_seed), tested)
    except ValueError as error:
        raise ConfigError(f"{dataset} cannot be split into parts: {first_line(error)}") from error


def _digits(kind: Kind) -> Examples:
    """-> scikit-learn's digits, which come with it."""
    from sklearn.datasets import load_digits

    pictures, labels = load_digits(return_X_y=True)
    pictures = np.asarray(pictures, np.uint8).reshape(-1, *kind.shape)
    return _checked(pictures, np.asarray(labels), kind)


def _checked(pictures: np.ndarray, labels: np.ndarray, kind: Kind) -> Examples:
    labels = np.asarray(labels).reshape(-1)
    if not len(pictures):
        raise ValueError("a part of it has no pictures")
    if pictures.dtype != np.uint8 or pictures.shape[1:] != kind.shape:
        raise ValueError(
            f"pictures must be {list(kind.shape)} bytes, got {list(pictures.shape[1:])} of "
            f"{pictures.dtype}"
        )
    if len(pictures) != len(labels):
        raise ValueError(f"there are {len(pictures)} pictures and {len(labels)} labels")
    if labels.dtype.kind not in "iuf" or not np.isin(labels, np.arange(len(kind.names))).all():
        raise ValueError(f"labels must be 0 ... {len(kind.names) - 1}")
    return Examples(pictures, labels.astype(np.int32))


def split(examples: Examples, share: float, seed: int) -> tuple[Examples, Examples]:
    """-> (the rest, a `share` of the examples), each with the same share of each class. Raises
    ValueError where there are too few."""
    from sklearn.model_selection import train_test_split

    kept, taken = train_test_split(
        np.arange(len(examples.labels)),
        test_size=share,
        random_state=seed,
        stratify=examples.labels,
    )
    rest, part = (Examples(*(x[np.sort(at)] for x in examples)) for at in (kept, taken))
    return rest, part
