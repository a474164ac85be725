"""The files of a run folder, held elsewhere: as they are, wherever they are fetched."""

import json
import os

import pytest

from esrun.errors import ConfigError
from esrun.runs import record
from esrun.runs.holder import Holder, Mirror


@pytest.fixture
def held():
    """-> (what asks a holder, (method, bytes that were sent) of all questions)."""
    holder, asked = Holder(b""), []

    def ask(method, *contents):
        asked.append((method, len(contents[-1])))
        return getattr(holder, method)(*contents)

    return ask, asked


def begun(folder, seed=0):
    """A run folder that somebody works in."""
    for inside in ("checkpoints", ".hydra", "wandb"):
        (folder / inside).mkdir(parents=True)
    about = {"format": record.FORMAT, "config": {"seed": seed}, "choices": {},
             "versions": {"esrun": "1"}}  # fmt: skip
    (folder / "run.json").write_text(json.dumps(about))
    (folder / "metrics.jsonl").write_bytes(b"one\n" * 100)
    (folder / ".hydra" / "config.yaml").write_bytes(b"")
    for name in (".lock", "run.json.00000000.partial", "wandb/log"):
        (folder / name).write_bytes(b"own")
    saved(folder, 20)
    return folder


def saved(folder, generation):
    (folder / f"checkpoints/{generation:010}-{generation:016x}.safetensors").write_bytes(
        os.urandom(9)
    )


def content(folder):
    """-> what is to be the same."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.read_bytes() != b"own"
    }


def test_files_are_fetched_as_they_were_sent(held, tmp_path):
    ask, _ = held
    here, there = Mirror(begun(tmp_path / "here"), ask), Mirror(tmp_path / "there", ask)
    assert not here.there()
    here.send()
    there.fetch()
    assert len(content(tmp_path / "there")) == 4
    assert content(tmp_path / "there") == content(tmp_path / "here")
    (next((tmp_path / "here").glob("checkpoints/*"))).unlink()
    saved(tmp_path / "here", 40)
    (tmp_path / "here" / "run.json").write_bytes((tmp_path / "here/run.json").read_bytes() + b"\n")
    here.send()
    saved(tmp_path / "there", 60)  # whoever has worked there has not been heard
    there.fetch()
    assert content(tmp_path / "there") == content(tmp_path / "here")


def test_of_metrics_what_is_new_is_sent(held, tmp_path):
    ask, asked = held
    folder = begun(tmp_path / "here")
    here = Mirror(folder, ask)
    here.send()
    asked.clear()
    here.send()
    assert asked == [("marks", 0)]
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(b"two\n" * 3)
    here.send()
    assert ("write", 12) in asked
    (folder / "metrics.jsonl").write_bytes(b"six\n" * 110)  # cut, and grown beyond what it was
    here.send()
    assert ask("read", b'"metrics.jsonl"') == b"six\n" * 110


def test_a_holder_that_has_lost_them_is_sent_all(tmp_path):
    folder = begun(tmp_path / "here")
    holders = [Holder(b"")]
    here = Mirror(folder, lambda method, *contents: getattr(holders[-1], method)(*contents))
    here.send()
    holders.append(Holder(b""))
    (folder / "metrics.jsonl").write_bytes(b"one\n" * 101)
    here.send()
    assert holders[-1].read(b'"metrics.jsonl"') == b"one\n" * 101


def test_a_note_is_kept_beside_the_files(held, tmp_path):
    ask, _ = held
    assert ask("noted", b"") == b""
    ask("note", b"75")
    Mirror(begun(tmp_path / "here"), ask).send()
    assert ask("noted", b"") == b"75"


def test_nothing_is_written_over_another_run_or_beside_the_folder(held, tmp_path):
    ask, _ = held
    Mirror(begun(tmp_path / "here"), ask).send()
    before = content(begun(tmp_path / "there", seed=1))
    with pytest.raises(ConfigError, match="seed: 1 -> 0"):
        Mirror(tmp_path / "there", ask).fetch()
    assert content(tmp_path / "there") == before
    ask("write", b'{"name": "../x", "at": 0}', b"x")
    ask("keep", b'{"../x": [1, 1]}')
    with pytest.raises(ConfigError, match="must lie in its folder"):
        Mirror(tmp_path / "elsewhere", ask).fetch()
    assert not (tmp_path / "x").exists()
