"""Checkpoints: what comes back is what went in, and a damaged file is never used."""

import json
import shutil

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from esrun.runs.checkpoint import Checkpoint, DamagedError, digest, found, load, newest, save

STATE = {
    "mean": np.arange(6, dtype=np.float32),
    "deep": (np.float32(0.5), np.array([1, 2], np.uint32)),
    "none": None,
}


def written(folder, generation, keep=3, state=STATE):
    """-> the path of a checkpoint."""
    return save(folder, Checkpoint(state, {"generation": generation, "score": None}), keep)


def test_what_comes_back_is_what_went_in(tmp_path):
    back = load(written(tmp_path, 7), STATE)
    assert back.progress == {"generation": 7, "score": None}
    assert jax.tree.structure(back.state) == jax.tree.structure(STATE)
    for a, b in zip(jax.tree.leaves(back.state), jax.tree.leaves(STATE), strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.asarray(a).dtype == np.asarray(b).dtype


def test_the_newest_few_are_kept(tmp_path):
    for generation in (5, 10, 15, 20):
        written(tmp_path, generation, keep=2)
    assert [path.name[:10] for path in found(tmp_path)] == ["0000000020", "0000000015"]


def test_every_flipped_bit_is_noticed(tmp_path):
    path = written(tmp_path, 3)
    content = path.read_bytes()
    for position in range(0, len(content), 7):
        path.write_bytes(
            content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :]
        )
        with pytest.raises(DamagedError):
            load(path, STATE)


@pytest.mark.parametrize("length", [0, 1, 8, 100, -1])
def test_a_truncated_file_is_noticed(tmp_path, length):
    path = written(tmp_path, 3)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DamagedError):
        load(path, STATE)


def test_a_damaged_one_is_named_and_passed_over(tmp_path):
    written(tmp_path, 5)
    bad = written(tmp_path, 10)
    bad.write_bytes(b"x" * 50)
    said = []
    assert newest(tmp_path, STATE, said.append).progress["generation"] == 5
    assert len(said) == 1
    assert bad.name in said[0]


def test_without_a_valid_one_nothing_starts_from_zero(tmp_path):
    for generation in (5, 10):
        written(tmp_path, generation).write_bytes(b"")
    with pytest.raises(DamagedError, match="none of the 2 checkpoints"):
        newest(tmp_path, STATE, lambda text: None)


def test_no_checkpoint_at_all_is_no_damage(tmp_path):
    assert newest(tmp_path / "none", STATE, print) is None


@pytest.mark.parametrize(
    "other",
    [
        STATE | {"mean": np.zeros(7, np.float32)},
        STATE | {"mean": np.zeros(6, np.float64)},
        STATE | {"more": np.zeros(1, np.float32)},
    ],
    ids=["shape", "type", "name"],
)
def test_the_state_of_another_configuration_is_refused(tmp_path, other):
    with pytest.raises(DamagedError, match="another state"):
        load(written(tmp_path, 3), other)


def test_a_file_larger_than_the_state_is_refused_unread(tmp_path):
    path = written(tmp_path, 3)
    with path.open("r+b") as file:
        file.truncate(10**12)  # sparse: reading it would take the machine's memory
    with pytest.raises(DamagedError, match="more than"):
        load(path, STATE)


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"{}",
        b'{"a": {"dtype": "F32", "shape": [99999999999], "data_offsets": [0, 4]}}',
        b"\xff" * 30,
    ],
    ids=["list", "empty", "huge", "noise"],
)
def test_a_hostile_header_with_a_right_digest_is_refused(tmp_path, header):
    content = len(header).to_bytes(8, "little") + header + b"\0\0\0\0"
    path = tmp_path / f"0000000003-{digest(content)}.safetensors"
    path.write_bytes(content)
    with pytest.raises(DamagedError):
        load(path, STATE)


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    save_file({"mean": STATE["mean"]}, tmp_path / "x")
    content = (tmp_path / "x").read_bytes()
    shutil.move(tmp_path / "x", tmp_path / f"0000000003-{digest(content)}.safetensors")
    with pytest.raises(DamagedError):
        newest(tmp_path, STATE, lambda text: None)


def test_nothing_pickled_is_ever_read(tmp_path):
    content = b"\x80\x04cos\nsystem\n(S'touch hacked'\ntR."
    path = tmp_path / f"0000000003-{digest(content)}.safetensors"
    path.write_bytes(content)
    with pytest.raises(DamagedError):
        load(path, STATE)
    assert json.dumps(sorted(p.name for p in tmp_path.iterdir())) == json.dumps([path.name])


def with_archive(rows, top=9.0):
    """-> a state that keeps so many members, best first."""
    fitness = np.arange(top, top - rows, -1, dtype=np.float32)
    members = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
    return {"archive": {"fitness": fitness, "members": members}, "mean": np.ones(2, np.float32)}


@pytest.mark.parametrize("rows", [1, 3, 5])
def test_an_archive_of_another_size_is_taken_as_far_as_it_fits(tmp_path, rows):
    back = load(written(tmp_path, 1, state=with_archive(3)), with_archive(rows)).state
    whole, none = with_archive(5), [-np.inf] * 2
    np.testing.assert_array_equal(
        back["archive"]["fitness"], [*whole["archive"]["fitness"][:3], *none][:rows]
    )
    np.testing.assert_array_equal(
        back["archive"]["members"][:3], whole["archive"]["members"][: min(rows, 3)]
    )
    np.testing.assert_array_equal(back["archive"]["members"][3:], 0)


def test_a_state_without_an_archive_fits_one_that_has_one_and_the_reverse(tmp_path):
    none = {"mean": np.ones(2, np.float32)}
    back = load(written(tmp_path / "a", 1, state=none), with_archive(2)).state
    np.testing.assert_array_equal(back["archive"]["fitness"], -np.inf)
    back = load(written(tmp_path / "b", 1, state=with_archive(2)), none).state
    assert back.keys() == {"mean"}


def test_an_archive_of_other_members_is_none(tmp_path):
    other = with_archive(3)
    other["archive"]["members"] = np.zeros((3, 7), np.float32)
    path = written(tmp_path, 1, state=other)
    with pytest.raises(DamagedError, match="another state"):
        load(path, with_archive(3))
