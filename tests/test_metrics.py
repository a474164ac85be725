"""`metrics.jsonl`: what the disk refuses waits, what somebody has put between is left out."""

import json
import resource
from contextlib import contextmanager

import pytest

from esrun.runs.metrics import Metrics
from esrun.training.loop import NOTHING
from esrun.training.score import Score


def chunk(first, last, score=None):
    """-> the progress of a chunk of these generations."""
    rows = [{"generation": g, "evaluations": g, "env_steps": g, "x": 1} for g in range(first, last)]
    return NOTHING._replace(generation=last - 1, seconds=float(last), rows=rows, score=score)


def score(generation):
    return Score(generation, 2.0, 1.0, 0.5, 4, {})


@contextmanager
def full(size):
    """No file may grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def generations(path):
    return [json.loads(line)["generation"] for line in path.read_text().splitlines()]


def test_what_the_disk_refuses_waits_and_nothing_may_be_ahead_of_it(tmp_path):
    path, said = tmp_path / "metrics.jsonl", []
    with Metrics(path, 0, said.append) as metrics:
        metrics.add(chunk(1, 4))
        metrics.sync(3)
        before = path.read_bytes()
        with full(len(before) + 10):
            metrics.add(chunk(4, 6))
            metrics.add(chunk(6, 7, score(6)))
            assert path.read_bytes() == before
            with pytest.raises(OSError, match="ends at generation 3: the disk took"):
                metrics.sync(4)
            metrics.sync(3)
        metrics.retry()
        metrics.sync(6)
        assert generations(path) == [1, 2, 3, 4, 5, 6]
    assert said == ["metrics wait in memory: the disk took only a part of them"]


def test_a_line_whose_score_the_disk_refuses_stays_as_it_was(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with Metrics(path, 0, print) as metrics:
        metrics.add(chunk(1, 4))
        before = path.read_bytes()
        with full(len(before) + 2):
            metrics.add(chunk(4, 4, score(3)))
            assert path.read_bytes() == before
            metrics.sync(3)
        metrics.add(chunk(4, 5))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["generation"] for line in lines] == [1, 2, 3, 4]
    assert [line["eval_mean"] for line in lines] == [None, None, 2.0, None]


def test_a_disk_that_stays_full_is_told_at_the_end(tmp_path):
    metrics = Metrics(tmp_path / "metrics.jsonl", 0, [].append)
    with full(10), pytest.raises(OSError, match="2 lines of metrics"), metrics:
        metrics.add(chunk(1, 3))


def test_a_line_of_a_later_generation_is_no_end(tmp_path):
    path, said = tmp_path / "metrics.jsonl", []
    with Metrics(path, 0, print) as metrics:
        metrics.add(chunk(1, 8))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[6], *lines[:6]]))
    with Metrics(path, 6, said.append):
        pass
    assert (path.read_bytes(), said) == (b"".join(lines[:6]), [])


GARBAGE = [
    b"[1]\n", b"\n", b"null\n", b"\xff\xfe\x00\n", b'{"generation": 1e9}\n', b"\x1b[2J\n",
    b'{"generation": "3", "wall_seconds": 1}\n', b'{"generation": 3}\n', b"[" * 10_000 + b"\n",
    b'{"generation": true, "wall_seconds": 1}\n', b'{"generation": -1, "wall_seconds": 1}\n',
    b"x" * 200_000 + b"\n",
    b'{"generation": 2, "wall_seconds": NaN}\n',
]  # fmt: skip


@pytest.mark.parametrize("place", [0, 3, 6])
@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_left_out_and_named_wherever_it_stands(tmp_path, garbage, place):
    path, said = tmp_path / "metrics.jsonl", []
    with Metrics(path, 0, print) as metrics:
        metrics.add(chunk(1, 8))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:place], garbage, *lines[place:]]))
    with Metrics(path, 7, said.append):
        pass
    assert path.read_bytes() == b"".join(lines)
    assert len(said) == 1
    assert f" {place + 1}" in said[0]
    assert said[0].isprintable()


def test_a_line_that_is_garbage_costs_itself_alone(tmp_path):
    path, said = tmp_path / "metrics.jsonl", []
    with Metrics(path, 0, print) as metrics:
        metrics.add(chunk(1, 8))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"x\n", *lines[3:]]))
    with Metrics(path, 6, said.append) as metrics:
        metrics.add(chunk(7, 9))
    assert generations(path) == [1, 2, 4, 5, 6, 7, 8]
    assert len(said) == 2
    assert said[0].endswith("line 3")
    assert said[1] == "metrics.jsonl lacks 1 of the first 6 generations"
