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
from pathlib import Path

import numpy as np

from esrun import files

LARGEST = 2**30
"""Bytes that a file may have, compressed or not."""

MEMBERS = 1000
"""Files that an archive may have."""
PICKLED = "this is the version that Python has pickled: take the binary one"
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}

Part = tuple[np.ndarray, np.ndarray]
"""Pictures [k, height, width, channels] and labels [k]."""

IDX = {"train": "train", "test": "t10k"}
BATCHES = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}


def read_files(path: Path, shape: tuple[int, int, int]) -> tuple[Part, Part]:
    """-> (training part, test part) of what the path holds, a folder or a file. For anything else
    it raises whatever the libraries do."""
    if path.is_dir():
        names = {x.name for x in path.iterdir()}
        if BATCHES["test"][0] in names:
            return _cifar(lambda name: files.read(path / name, LARGEST), shape)
        if "data_batch_1" in names:
            raise ValueError(PICKLED)
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
                content = _inflated(files.read((folder / name).resolve(), LARGEST))
                return idx(content, name, rank)
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


def idx(content: bytes, name: str, rank: int) -> np.ndarray:
    """-> the array of unsigned bytes in a file of the IDX format: two zeros, 8 for the type, the
    number of axes, which is to be `rank`, each axis's length as four bytes, the numbers. Raises
    ValueError."""
    start = 4 + 4 * rank
    if content[:4] != bytes([0, 0, 8, rank]) or len(content) < start:
        raise ValueError(f"{name} is no IDX file of bytes in {rank} axes")
    shape = np.frombuffer(content[4:start], ">u4").tolist()
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
    # all of it is inflated first, within bounds: a member's size is only what the archive says
    content = _inflated(files.read(path, LARGEST))
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        members: dict[str, bytes] = {}
        for count, member in enumerate(archive):
            if count == MEMBERS:
                raise ValueError(f"there are more than {MEMBERS} files in it")
            name = Path(member.name).name
            if name == "data_batch_1":
                raise ValueError(PICKLED)
            if name in (*BATCHES["train"], *BATCHES["test"]) and member.isreg():
                inner = archive.extractfile(member)
                members[name] = inner.read() if inner else b""

    def read(name: str) -> bytes:
        if name not in members:
            raise ValueError(f"there is no {name} in it")
        return members[name]

    return _cifar(read, shape)


def _npz(path: Path) -> tuple[Part, Part]:
    content = files.read(path, LARGEST)
    if not content.startswith(b"PK"):
        raise ValueError("it is no zip, as np.savez writes them")
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        x, y, tested, named = (
            _array(packed, f"{x}_{part}") for part in ("train", "test") for x in "xy"
        )
    return (_with_channels(x), y), (_with_channels(tested), named)


def _array(packed: zipfile.ZipFile, name: str) -> np.ndarray:
    """-> an array of an .npz. No room is taken for more than its file holds, and no object is
    made. Raises ValueError, and whatever zipfile does."""
    try:
        with packed.open(f"{name}.npy") as file:
            content = _bounded(file)
    except KeyError as error:
        raise ValueError(f"it lacks the array {name}") from error
    stream = io.BytesIO(content)
    try:
        shape, _, dtype = HEADERS[np.lib.format.read_magic(stream)](stream)
    except Exception as error:  # it may say anything, and what NumPy says of it is no advice here
        raise ValueError(f"its {name}.npy is no array") from error
    if dtype.hasobject:
        raise ValueError(f"its array {name} is of objects, which Python has pickled")
    if math.prod(shape) * dtype.itemsize != len(content) - stream.tell():
        raise ValueError(f"its array {name} does not hold as many numbers as it says")
    stream.seek(0)
    return np.load(stream, allow_pickle=False)


def _with_channels(pictures: np.ndarray) -> np.ndarray:
    return pictures[..., None] if pictures.ndim == 3 else pictures
