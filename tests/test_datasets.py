"""Labelled pictures from files: every format, the split, and what is no such file."""

import gzip
import io
import struct
import tarfile
import zipfile

import numpy as np
import pytest

from esrun.errors import ConfigError
from esrun.tasks.datasets import KINDS, read
from esrun.tasks.picture_files import MEMBERS

SPLIT = {"validation": 0.25, "test": None, "split_seed": 0}


def pictures(dataset, count, seed):
    """-> `count` random pictures, and labels of every class in turn."""
    draw = np.random.default_rng(seed)
    shape = KINDS[dataset].shape
    return draw.integers(0, 256, (count, *shape), dtype=np.uint8), np.arange(count) % 10


def idx(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx(folder, dataset, ending="", dot="-"):
    for seed, (name, count) in enumerate({"train": 80, "t10k": 20}.items()):
        x, y = pictures(dataset, count, seed)
        for what, array in {"images": x[..., 0], "labels": y.astype(np.uint8)}.items():
            content = idx(array)
            path = folder / f"{name}-{what}{dot}idx{array.ndim}-ubyte{ending}"
            path.write_bytes(gzip.compress(content) if ending else content)
    return folder


def rows(x, y):
    """-> CIFAR-10's bytes: label, then the planes of red, green and blue."""
    return b"".join(
        bytes([label]) + picture.transpose(2, 0, 1).tobytes()
        for picture, label in zip(x, y, strict=True)
    )


def cifar_files():
    x, y = pictures("cifar10", 80, 0)
    files = {f"data_batch_{i + 1}.bin": rows(x[16 * i :][:16], y[16 * i :][:16]) for i in range(5)}
    return files | {"test_batch.bin": rows(*pictures("cifar10", 20, 1))}


def write_cifar(folder, dataset):
    for name, content in cifar_files().items():
        (folder / name).write_bytes(content)
    return folder


def write_tar(folder, dataset):
    path = folder / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in cifar_files().items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def write_npz(folder, dataset):
    (x, y), (tested, named) = pictures(dataset, 80, 0), pictures(dataset, 20, 1)
    if dataset == "mnist":
        x, tested = x[..., 0], tested[..., 0]
    else:
        y, named = y[:, None], named[:, None]  # as Keras has CIFAR-10's
    np.savez(folder / "data.npz", x_train=x, y_train=y, x_test=tested, y_test=named)
    return folder / "data.npz"


FORMATS = {
    "idx": ("mnist", write_idx),
    "idx, compressed": ("fashion_mnist", lambda folder, x: write_idx(folder, x, ".gz")),
    "idx, with dots": ("mnist", lambda folder, x: write_idx(folder, x, dot=".")),
    "cifar's folder": ("cifar10", write_cifar),
    "cifar's archive": ("cifar10", write_tar),
    "npz": ("mnist", write_npz),
    "npz of colours": ("cifar10", write_npz),
}


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_pictures_that_were_written(form, tmp_path):
    dataset, write = FORMATS[form]
    path = write(tmp_path, dataset)
    data = read(dataset=dataset, file=str(path), **SPLIT)
    x, y = pictures(dataset, 80, 0)
    found = {p.tobytes(): label for part in data[:2] for p, label in zip(*part, strict=True)}
    assert found == {p.tobytes(): label for p, label in zip(x, y, strict=True)}
    for got, wanted in zip(data.test, pictures(dataset, 20, 1), strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert (len(data.train.labels), len(data.validation.labels)) == (60, 20)
    assert np.bincount(data.validation.labels).tolist() == [2] * 10
    assert {x.dtype.name for part in data for x in part} == {"uint8", "int32"}


def test_a_link_to_a_file_is_followed(tmp_path):
    (tmp_path / "there").mkdir()
    write_idx(tmp_path / "there", "mnist")
    (tmp_path / "here").mkdir()
    for path in (tmp_path / "there").iterdir():
        (tmp_path / "here" / path.name).symlink_to(path)
    assert len(read(dataset="mnist", file=str(tmp_path / "here"), **SPLIT).test.labels) == 20


def test_the_digits_are_split_by_class_and_seed():
    def parts(seed):
        return read(dataset="digits", file=None, validation=0.2, test=0.2, split_seed=seed)

    data = parts(0)
    assert [len(part.labels) for part in data] == [1077, 360, 360]
    counts = np.stack([np.bincount(part.labels) / len(part.labels) for part in data])
    assert np.ptp(counts, axis=0).max() < 0.006  # one picture more or less
    assert data.train.pictures.max() == KINDS["digits"].white
    whole = np.concatenate([part.pictures.reshape(len(part.labels), -1) for part in data])
    assert len(whole) == 1797
    other = parts(1)
    assert len(other.test.labels) == 360
    assert not np.array_equal(other.test.pictures, data.test.pictures)
    for got, wanted in zip(parts(0), data, strict=True):
        np.testing.assert_array_equal(got.pictures, wanted.pictures)


def corrupt(change):
    def write(folder, dataset):
        write_idx(folder, dataset)
        change(folder)
        return folder

    return write


def rewrite(name, change):
    def change_file(folder):
        path = folder / name
        path.write_bytes(change(path.read_bytes()))

    return corrupt(change_file)


def pickled(folder, dataset):
    (folder / "data_batch_1").write_bytes(b"\x80\x04")
    return folder


def npz_of(**arrays):
    def write(folder, dataset):
        np.savez(folder / "data.npz", **arrays)
        return folder / "data.npz"

    return write


def changed_npz(change):
    def write(folder, dataset):
        path = npz_of(**GIVEN)(folder, dataset)
        path.write_bytes(change(path.read_bytes()))
        return path

    return write


def method(content, number):
    """-> an .npz whose members say that they are compressed by another method."""
    for mark, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        parts = content.split(mark)
        rest = (x[: at - 4] + bytes([number]) + x[at - 3 :] for x in parts[1:])
        content = mark.join([parts[0], *rest])
    return content


def encrypted(content):
    parts = content.split(b"PK\x01\x02")
    content = b"PK\x01\x02".join([parts[0], *(x[:4] + b"\x01" + x[5:] for x in parts[1:])])
    parts = content.split(b"PK\x03\x04")
    return b"PK\x03\x04".join([parts[0], *(x[:2] + b"\x01" + x[3:] for x in parts[1:])])


def member(content):
    """-> a writer of an .npz with other bytes in the place of x_train."""

    def write(folder, dataset):
        path = npz_of(**{name: x for name, x in GIVEN.items() if name != "x_train"})(
            folder, dataset
        )
        with zipfile.ZipFile(path, "a") as packed:
            packed.writestr("x_train.npy", content)
        return path

    return write


def header(shape):
    said = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(said)) + said


def tar(folder, count, size=0):
    path = folder / "data.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for i in range(count):
            member = tarfile.TarInfo(str(i))
            member.size = size
            archive.addfile(member, io.BytesIO(bytes(size)))
    return path


X, Y = pictures("mnist", 30, 0)
GIVEN = {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y}
WRONG = {
    "an empty folder": (lambda folder, x: folder, "there is no train-images-idx3-ubyte"),
    "another ending": (lambda folder, x: npz_of(**GIVEN)(folder, x).rename(folder / "x.txt"),
                       "must be a folder, an .npz or a .tar.gz"),
    "no labels": (corrupt(lambda folder: (folder / "t10k-labels-idx1-ubyte").unlink()),
                  "there is no t10k-labels-idx1-ubyte"),
    "cut off": (rewrite("train-images-idx3-ubyte", lambda x: x[:-5]), "should hold"),
    "a header alone": (rewrite("train-images-idx3-ubyte", lambda x: x[:6]), "no IDX file"),
    "nothing in it": (rewrite("train-images-idx3-ubyte", lambda x: b""), "no IDX file"),
    "floats": (rewrite("train-images-idx3-ubyte", lambda x: b"\0\0\x0d" + x[3:]), "no IDX file"),
    "torn gzip": (rewrite("train-images-idx3-ubyte", lambda x: gzip.compress(x)[:-9]),
                  "holds no mnist"),
    "fewer labels": (rewrite("t10k-labels-idx1-ubyte", lambda x: idx(np.zeros(3, np.uint8))),
                     "20 pictures and 3 labels"),
    "a label too large": (rewrite("t10k-labels-idx1-ubyte",
                                  lambda x: idx(np.full(20, 10, np.uint8))), "labels must be 0"),
    "pickled": (pickled, "Python has pickled"),
    "an npz without labels": (npz_of(x_train=X), "lacks the array y_train"),
    "an npz of objects": (npz_of(**GIVEN | {"y_train": np.array([{}] * 30)}), "holds no mnist"),
    "an npz of floats": (npz_of(**GIVEN | {"x_train": X / 255}), "np.round(255 * x)"),
    "an npz of large numbers": (npz_of(**GIVEN | {"x_train": X + 256.0}), "from 0 to 255"),
    "no test pictures": (npz_of(**GIVEN | {"x_test": X[:0], "y_test": Y[:0]}), "no pictures"),
    "a member that is no array": (member(b"no array"), "its x_train.npy is no array"),
    "a shape that is not there": (member(header("(1" + 24 * "0" + ",)")),
                                  "as many numbers as it says"),
    "another shape": (member(header("(7, 28, 28)") + bytes(7 * 784 - 1)), "as many numbers"),
    "an array of an unknown version": (member(b"\x93NUMPY\x09\x00"), "its x_train.npy is no array"),
    "an array before the zip": (changed_npz(lambda x: header("(1,)") + b"\0" + x), "no zip"),
    "an unknown method": (changed_npz(lambda x: method(x, 99)), "holds no mnist"),
    "no LZMA": (changed_npz(lambda x: method(x, 14)), "holds no mnist"),
    "encrypted": (changed_npz(encrypted), "encrypted"),
    "other pictures": (npz_of(**GIVEN | {"x_test": X[:, :9]}), "got [9, 28, 1] of uint8"),
    "a class of one": (npz_of(**GIVEN | {"y_train": np.array([0] * 29 + [1])}), "cannot be split"),
    "no zip": (lambda folder, x: _text(folder / "data.npz"), "holds no mnist"),
    "no tar": (lambda folder, x: _text(folder / "data.tar.gz"), "holds no mnist"),
    "a tar of many files": (lambda folder, x: tar(folder, MEMBERS + 1), "files in it"),
    "a tar of too many bytes": (lambda folder, x: tar(folder, 1, 3000), "more than 2000 bytes"),
    "too many axes": (rewrite("train-images-idx3-ubyte", lambda x: b"\0\0\x08\xff" + x[4:] * 9),
                      "no IDX file of bytes in 3 axes"),
}  # fmt: skip


def _text(path):
    path.write_text("no archive")
    return path


@pytest.mark.parametrize("case", WRONG)
def test_what_holds_no_data_is_refused_in_one_line(case, tmp_path, monkeypatch):
    write, why = WRONG[case]
    if case == "a tar of too many bytes":
        monkeypatch.setattr("esrun.tasks.picture_files.LARGEST", 2000)
    with pytest.raises(ConfigError) as error:
        read(dataset="mnist", file=str(write(tmp_path, "mnist")), **SPLIT)
    assert why in str(error.value)
    line = str(error.value)
    assert "\n" not in line
    assert len(line) < 500
    assert ": write task." in line
    assert "[Errno" not in line
    assert "allow_pickle" not in line


@pytest.mark.parametrize("dtype", ["int64", "float32"])
def test_whole_numbers_of_a_byte_are_taken_whatever_they_are_kept_as(dtype, tmp_path):
    kept = GIVEN | {name: GIVEN[name].astype(dtype) for name in ("x_train", "x_test")}
    plain, other = (
        read(
            dataset="mnist", file=str(npz_of(**x)(tmp_path, "mnist")), **SPLIT | {"validation": 0.5}
        )
        for x in (GIVEN, kept)
    )
    for one, two in zip(plain, other, strict=True):
        np.testing.assert_array_equal(one.pictures, two.pictures)
        assert two.pictures.dtype == np.uint8
