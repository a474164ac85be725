"""Pictures with labels, from files of this machine, in three parts that share no picture.

Nothing is downloaded, and nothing that Python has pickled is opened: its bytes could be a program.
"""

from typing import Any, NamedTuple

import numpy as np

from esrun import files
from esrun.errors import ConfigError, why
from esrun.tasks.picture_files import read_files


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
    comes_as: str = ""
    """What `task.file` may be."""


NPZ = "an .npz of x_train, y_train, x_test and y_test"
FOUR = f"the folder of train-images-idx3-ubyte and the three others, or {NPZ}"
BATCHES = f"cifar-10-binary.tar.gz, its folder, or {NPZ}"
NUMERALS = tuple("0123456789")
CLOTHES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
           "boot")  # fmt: skip
THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship",
          "truck")  # fmt: skip

KINDS = {
    "digits": Kind((8, 8, 1), 16, NUMERALS),
    "mnist": Kind((28, 28, 1), 255, NUMERALS, FOUR),
    "fashion_mnist": Kind((28, 28, 1), 255, CLOTHES, FOUR),
    "cifar10": Kind((32, 32, 3), 255, THINGS, BATCHES),
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
    own, share = _parts_of(file, dataset) if file else None, validation
    try:
        if own is None:
            assert test is not None
            own, share = split(_digits(), test, split_seed), validation / (1 - test)
        return Data(*split(own[0], share, split_seed), own[1])
    except ValueError as error:
        what, remedy = "the digits", "task.validation=0.2 task.test=0.2"
        if file:
            what = f"task.file={file}"
            remedy = "task.validation=0.5, or a task.file of more pictures"
        raise ConfigError(f"{what} cannot be split into parts {error}: write {remedy}") from error


def _parts_of(file: str, dataset: str) -> tuple[Examples, Examples]:
    """-> (training part, test part) of files. Raises ConfigError."""
    kind = KINDS[dataset]
    try:
        train, test = read_files(files.named(file).resolve(), kind.shape)
        return _checked(*train, kind), _checked(*test, kind)
    except Exception as error:  # a file may say anything
        raise ConfigError(
            f"task.file={file} holds no {dataset}: {why(error)}: write task.file=PATH of "
            f"{kind.comes_as}"
        ) from error


def _digits() -> Examples:
    """-> scikit-learn's digits, which come with it."""
    from sklearn.datasets import load_digits

    kind = KINDS["digits"]
    pictures, labels = load_digits(return_X_y=True)
    pictures = np.asarray(pictures, np.uint8).reshape(-1, *kind.shape)
    return _checked(pictures, np.asarray(labels), kind)


def _checked(pictures: np.ndarray, labels: np.ndarray, kind: Kind) -> Examples:
    labels = np.asarray(labels).reshape(-1)
    if not len(pictures):
        raise ValueError("a part of it has no pictures")
    if pictures.shape[1:] != kind.shape or not _are_bytes(pictures):
        raise ValueError(
            f"pictures must be {list(kind.shape)} whole numbers from 0 to 255, got "
            f"{list(pictures.shape[1:])} of {pictures.dtype}, as np.round(255 * x) makes them of "
            "shares"
        )
    if len(pictures) != len(labels):
        raise ValueError(f"there are {len(pictures)} pictures and {len(labels)} labels")
    if labels.dtype.kind not in "iuf" or not np.isin(labels, np.arange(len(kind.names))).all():
        raise ValueError(f"labels must be 0 ... {len(kind.names) - 1}")
    return Examples(pictures.astype(np.uint8), labels.astype(np.int32))


def _are_bytes(pictures: np.ndarray) -> bool:
    """Whether all are whole numbers of a byte, whatever they are kept as."""
    if pictures.dtype == np.uint8:
        return True
    is_number = pictures.dtype.kind in "iuf"
    return is_number and bool(np.all((pictures >= 0) & (pictures <= 255) & (pictures % 1 == 0)))


def split(examples: Examples, share: float, seed: int) -> tuple[Examples, Examples]:
    """-> (the rest, a `share` of the examples), each with the same share of each class. Raises
    ValueError where there are too few."""
    from sklearn.model_selection import train_test_split

    labels = examples.labels
    try:
        kept, taken = train_test_split(
            np.arange(len(labels)), test_size=share, random_state=seed, stratify=labels
        )
    except ValueError as error:
        counts = np.bincount(labels)
        raise ValueError(
            f"with some pictures of each class: there are {len(labels)}, "
            f"{counts[counts > 0].min()} of the rarest class, got a share of {share:g}"
        ) from error
    rest, part = (Examples(*(x[np.sort(at)] for x in examples)) for at in (kept, taken))
    return rest, part
