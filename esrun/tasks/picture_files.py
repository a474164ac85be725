"""Files of labelled pictures in the formats that they are handed out in, read with bounds.

IDX, as MNIST and Fashion-MNIST come: four files in a folder, each as it is or compressed by gzip.
CIFAR-10's binary version: six files in a folder, or the archive that holds it. NPZ, as Keras
writes: the arrays x_train, y_train, x_test and y_test.
"""

import gzip
import io
import math
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np

from esrun import files

READING = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    zlib.error,
    tarfile.TarError,
    zipfile.BadZipFile,
)
"""What reading such files may raise."""
LARGEST = 2**30
"""Bytes that a file may have, compressed or not."""

Part = tuple[np.ndarray, np.ndarray]
"""Pictures [k, height, width, channels] and labels [k]."""

IDX = {"train": "train", "test": "t10k"}
BATCHES = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}


def read_files(path: Path, shape: tuple[int, int, int]) -> tuple[Part, Part]:
    """-> (training part, test part) of what the path holds, a folder or a file. Raises one of
    READING for anything else."""
    if path.is_dir():
        names = {x.name for x in path.iterdir()}
        if BATCHES["test"][0] in names:
            return _cifar(lambda name: files.read(path / name, LARGEST), shape)
        if "data_batch_1" in names:
            raise ValueError("this is the version that Python has pickled: take the binary one")
        train, test = (_idx_part(path, names, prefix) for prefix in IDX.values())
        return train, test
    if path.name.endswith(".npz"):
        return _npz(path)
    if path.name.endswith((".tar.gz", ".tgz", ".tar")):
        return _archive(path, shape)
    raise ValueError("it must be a folder, an .npz or a .tar.gz")


def _idx_part(folder: Path, names: set[str], prefix: str) -> Part:
    def found(what: str, rank: int) -> np.ndarray:
        endings = ("", ".gz")
        known = [f"{prefix}-{what}{x}idx{rank}-ubyte{end}" for x in "-." for end in endings]
        for name in known:
            if name in names:
                return idx(_inflated(files.read((folder / name).resolve(), LARGEST)), name)
        raise ValueError(f"there is no {known[0]}, nor {known[1]}")

    return found("images", 3)[..., None], found("labels", 1)


def _inflated(content: bytes) -> bytes:
    if not content.startswith(b"\x1f\x8b"):
        return content
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        return _bounded(file)


def _bounded(file) -> bytes:
    content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"there are more than {LARGEST} bytes in it")
    return content


def idx(content: bytes, name: str) -> np.ndarray:
    """-> the array of unsigned bytes in a file of the IDX format: two zeros, 8 for the type, the
    number of axes, each axis's length as four bytes, the numbers. Raises ValueError."""
    rank = content[3] if len(content) > 3 else 0
    start = 4 + 4 * rank
    shape = np.frombuffer(content[4:start], ">u4").tolist() if len(content) >= start else []
    if content[:3] != b"\0\0\x08" or len(shape) != rank or not rank:
        raise ValueError(f"{name} is no IDX file of bytes")
    if len(content) - start != math.prod(shape):
        raise ValueError(
            f"{name} should hold {math.prod(shape)} numbers, got {len(content) - start}"
        )
    return np.frombuffer(content[start:], np.uint8).reshape(shape)


def _cifar(read, shape: tuple[int, int, int]) -> tuple[Part, Part]:
    height, width, channels = shape
    size = 1 + height * width * channels

    def part(names: list[str]) -> Part:
        contents = [read(name) for name in names]
        if any(len(x) % size for x in contents):
            raise ValueError(f"a picture and its label should have {size} bytes")
        rows = np.frombuffer(b"".join(contents), np.uint8).reshape(-1, size)
        planes = rows[:, 1:].reshape(-1, channels, height, width)
        return np.ascontiguousarray(np.moveaxis(planes, 1, -1)), rows[:, 0]

    return part(BATCHES["train"]), part(BATCHES["test"])


def _archive(path: Path, shape: tuple[int, int, int]) -> tuple[Part, Part]:
    with (
        files.open_to_read(path, LARGEST) as file,
        tarfile.open(fileobj=io.BufferedReader(file)) as archive,
    ):
        members = {Path(x.name).name: x for x in archive if x.isreg()}
        if "data_batch_1" in members:
            raise ValueError("this is the version that Python has pickled: take the binary one")

        def read(name: str) -> bytes:
            if name not in members:
                raise ValueError(f"there is no {name} in it")
            inner = archive.extractfile(members[name])
            return _bounded(inner) if inner else b""

        return _cifar(read, shape)


def _npz(path: Path) -> tuple[Part, Part]:
    content = files.read(path, LARGEST)
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        if sum(x.file_size for x in packed.infolist()) > LARGEST:
            raise ValueError(f"there are more than {LARGEST} bytes in it")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        wanted = [f"{x}_{part}" for part in ("train", "test") for x in "xy"]
        if missing := [name for name in wanted if name not in arrays]:
            raise ValueError(f"it lacks the array {missing[0]}")
        x, y, tested, named = (arrays[name] for name in wanted)
    return (_with_channels(x), y), (_with_channels(tested), named)


def _with_channels(pictures: np.ndarray) -> np.ndarray:
    return pictures[..., None] if pictures.ndim == 3 else pictures
