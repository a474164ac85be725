"""Links, pipes, devices and sizes in a run folder that came from somebody else."""

import hashlib
import json
import math
import os
import shutil

import numpy as np
import pytest
from conftest import tree
from safetensors.numpy import load_file, save

from esrun import files

TINY = ["task=sphere", "generations=2", "eval.episodes=2", "hydra.run.dir=run"]
FILES = [
    "run.json", "summary.json", "metrics.jsonl", "esrun.log", "policy.safetensors", ".lock",
    ".hydra/config.yaml", ".hydra/hydra.yaml",
    "checkpoints/0000000002-0123456789abcdef.safetensors",
]  # fmt: skip
NEW = ["run.json.partial", "checkpoints/x.partial", "tensorboard", "notes", ".hydra/more.yaml"]
FOLDERS = ["checkpoints", ".hydra"]


@pytest.fixture(scope="session")
def finished(tmp_path_factory, command):
    """-> a run folder."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    command(*TINY[:-1], f"hydra.run.dir={folder}")
    return folder


@pytest.fixture
def run(finished, tmp_path):
    """-> a copy of it, beside a `victim` folder and a `thesis.txt`."""
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "0000000001-0123456789abcdef.safetensors").write_text("all of it")
    (tmp_path / "thesis.txt").write_text("all of it")
    return tmp_path / "run"


def put(path, make):
    """Put something else in the place of a file or folder, which `make(path)` makes."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    make(path)


COMMANDS = {
    "resume": ["resume", "run", "generations=4"],
    "auto": [*TINY, "generations=4", "resume=auto"],
    "force": ["resume", "run", "generations=4", "--force"],
}


@pytest.mark.parametrize("name", [*FILES, *NEW])
def test_a_link_inside_a_run_folder_is_refused(refused, run, tmp_path, name):
    put(run / name, lambda path: path.symlink_to(tmp_path / "thesis.txt"))
    said = refused(*COMMANDS["resume"], folder=tmp_path, root=tmp_path)
    assert "link" in said or "no run.json" in said
    assert (tmp_path / "thesis.txt").read_text() == "all of it"


@pytest.mark.parametrize("how", COMMANDS)
@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_is_a_link_is_refused(refused, run, tmp_path, name, how):
    put(run / name, lambda path: path.symlink_to(tmp_path / "victim"))
    assert f"run/{name} is a link" in refused(*COMMANDS[how], folder=tmp_path, root=tmp_path)


@pytest.mark.parametrize(
    "target", ["nowhere", "/dev/zero", "/dev/stdin", "run.json", "/etc/passwd", "loop"]
)
def test_it_does_not_matter_where_a_link_leads(refused, run, tmp_path, target):
    put(run / "loop", lambda path: path.symlink_to(target))
    assert "run/loop is a link" in refused(*COMMANDS["resume"], folder=tmp_path, root=tmp_path)


@pytest.mark.parametrize("name", [".lock", "metrics.jsonl", "esrun.log"])
def test_a_file_with_a_second_name_is_not_changed_in_its_place(refused, run, tmp_path, name):
    (run / name).unlink()
    os.link(tmp_path / "thesis.txt", run / name)
    assert "a hard link" in refused(*COMMANDS["resume"], folder=tmp_path, root=tmp_path)


@pytest.mark.parametrize("name", [*FILES, "checkpoints"])
def test_pipes_are_refused_at_once(typed, run, tmp_path, name):
    put(run / name, os.mkfifo)
    done = typed(*COMMANDS["resume"])
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["run.json", "summary.json"])
def test_no_size_is_believed(typed, run, name):
    with (run / name).open("r+b") as file:
        file.truncate(2**40)  # sparse: reading it would take the machine's memory
    done = typed(*COMMANDS["resume"])
    assert done.returncode == 2
    assert "more than" in done.stderr


def test_metrics_of_any_size_are_read_no_further_than_they_count(typed, run):
    with (run / "metrics.jsonl").open("r+b") as file:
        file.truncate(2**40)
    done = typed(*COMMANDS["resume"])
    assert done.returncode == 0, done.stderr
    assert len((run / "metrics.jsonl").read_bytes().splitlines()) == 4


def test_links_of_one_job_end_the_sweep_before_it_starts(refused, typed, tmp_path):
    words = ["-m", *TINY[:-1], "seed=0,1", "hydra.sweep.dir=sweep"]
    assert typed(*words).returncode == 0
    (tmp_path / "thesis.txt").write_text("all of it")
    put(
        tmp_path / "sweep" / "1" / "metrics.jsonl",
        lambda path: path.symlink_to(tmp_path / "thesis.txt"),
    )
    assert "1/metrics.jsonl is a link" in refused(
        *words, "generations=4", folder=tmp_path, root=tmp_path
    )
    put(tmp_path / "sweep" / "1" / "metrics.jsonl", lambda path: path.touch())
    put(tmp_path / "sweep" / "multirun.yaml", lambda path: path.symlink_to(tmp_path / "thesis.txt"))
    assert "something else than a sweep" in refused(*words, folder=tmp_path, root=tmp_path)


def test_weights_and_biases_own_links_are_its_own(typed, run, tmp_path):
    (run / "wandb" / "logs").mkdir(parents=True)
    (run / "wandb" / "latest-run").symlink_to("logs")
    (run / "wandb" / "logs" / "core.log").symlink_to(tmp_path / "thesis.txt")
    assert typed(*COMMANDS["resume"]).returncode == 0
    put(run / "wandb", lambda path: path.symlink_to(tmp_path / "victim"))
    assert typed(*COMMANDS["resume"], "generations=6").returncode == 2


def test_what_is_written_takes_a_name_that_nobody_has(tmp_path):
    names = set()
    replace = files.Path.replace

    def watched(self, target):
        names.add(self.name)
        return replace(self, target)

    files.Path.replace = watched
    try:
        for content in (b"one", b"two"):
            files.write(tmp_path / "x", content)
    finally:
        files.Path.replace = replace
    assert len(names) == 2
    assert tree(tmp_path) == {"x": b"two"}


@pytest.mark.parametrize(
    "make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("y")], ids=["pipe", "folder", "link"]
)
def test_nothing_but_a_plain_file_is_replaced_or_read(tmp_path, make):
    (tmp_path / "y").write_text("all of it")
    make(tmp_path / "x")
    for use in (files.read, files.open_binary, files.open_log, lambda path: files.write(path, b"")):
        with pytest.raises(files.RefusedError):
            use(tmp_path / "x")
    assert (tmp_path / "y").read_text() == "all of it"
    assert {path.name for path in tmp_path.iterdir()} == {"x", "y"}


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    (tmp_path / "x").write_text("before")
    with pytest.raises(OSError, match="No space"):
        files.write(tmp_path / "x", b"after")
    assert tree(tmp_path) == {"x": b"before"}


# ---- found by hostile hands ----------------------------------------------------------------------


def hostile(folder, progress, generation=2):
    """A checkpoint with a right digest and any progress."""
    name = next(folder.glob("*.safetensors"))
    tensors = load_file(name) | {"generation": np.array(generation, np.int32)}
    content = save(tensors, {"format": "esrun checkpoint 1", "progress": json.dumps(progress)})
    digest = hashlib.sha256(content).hexdigest()[:16]
    (folder / f"{generation:010d}-{digest}.safetensors").write_bytes(content)


PROGRESS = {"generation": 3, "evaluations": 1, "env_steps": 1, "seconds": 1.0, "best_fitness": 1.0,
            "score": None, "searches": []}  # fmt: skip
SCORE = {"generation": 3, "mean": 1.0, "std": 1.0, "ci95": 1.0, "episodes": 2, "measures": {}}
SEARCH = {"population_size": 4, "sigma": 1.0, "evaluations": 1, "large": True, "until": 1,
          "generation": 1, "stop_reason": "x", "best_fitness": 1.0, "held_out": None}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [{"generation": 10**12}, {"generation": -5}, {"generation": "3"}, {"seconds": "x"}, {"more": 1},
     {"score": {"a": 1}}, {"searches": [1]}, {"env_steps": 10**30}, {"best_fitness": []},
     {"score": SCORE | {"mean": "\x1b[2J"}}, {"score": SCORE | {"measures": {"a": "b"}}},
     {"searches": [SEARCH | {"population_size": 0}]}, {"searches": [SEARCH | {"until": 9}]},
     {"searches": [SEARCH | {"large": False}]}, {"seconds": math.nan}, {"computes": "other"}],
    ids=str,
)  # fmt: skip
def test_a_checkpoint_that_says_anything_is_passed_over(typed, run, change):
    hostile(run / "checkpoints", PROGRESS | change, generation=3)
    done = typed(*COMMANDS["resume"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is passed over" in done.stdout
    assert "resumed   after generation 2" in done.stdout


LINES = [
    "[1]",
    "null",
    "[" * 900_000,
    '{"generation": 2}',
    '{"generation": 2, "wall_seconds": "x"}',
    "",
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[:20])
def test_a_line_of_metrics_that_is_none_is_named(typed, run, line):
    first, _ = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text(f"{first}\n{line}\n")
    done = typed(*COMMANDS["resume"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lacks 1 of the first 2" in done.stdout


RECORDS = [
    "[" * 100_000,
    '{"a":' * 400 + "1" + "}" * 400,
    '{"status": [3]}',
    "\ud800",
    "x",
]


@pytest.mark.parametrize("text", RECORDS, ids=lambda text: text[:20])
@pytest.mark.parametrize("name", ["run.json", "summary.json"])
def test_a_record_that_says_anything_is_one_line(refused, run, tmp_path, name, text):
    (run / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    refused(*COMMANDS["resume"], folder=tmp_path, root=tmp_path)


@pytest.mark.parametrize("value", ["${", "${oc.env:HOME}", "${nope}", "???", "${task.dimension}"])
def test_a_record_whose_configuration_interpolates_is_one_line(refused, run, tmp_path, value):
    record = json.loads((run / "run.json").read_text())
    record["config"]["task"]["function"] = value
    (run / "run.json").write_text(json.dumps(record))
    refused(*COMMANDS["resume"], folder=tmp_path, root=tmp_path)


def test_what_is_shown_of_a_record_does_not_steer_the_terminal(typed, run):
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps(summary | {"stop_reason": "\x1b]0;x\x07[/bold"}))
    done = typed("resume", "run")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout


def test_a_jobs_summary_does_not_end_the_table(typed, tmp_path):
    words = ["-m", *TINY[:-1], "seed=0,1", "hydra.sweep.dir=sweep"]
    assert typed(*words).returncode == 0
    for content in ('{"eval": {"mean": "x"}, "status": "[/x]"}', '{"status": "\\u001b[1mdone"}'):
        (tmp_path / "sweep" / "0" / "summary.json").write_text(content)
        done = typed(*words)
        assert (done.stderr, "\x1b" in done.stdout) == ("", False)
        assert "sweep folder: sweep" in done.stdout
    (tmp_path / "sweep" / "0" / "summary.json").write_text("[]")
    assert "summary.json" in typed(*words).stderr  # before the sweep starts


@pytest.mark.parametrize("name", ["metrics.jsonl", "esrun.log", ".lock", "summary.json"])
def test_a_folder_in_the_place_of_a_file_is_named_as_one(refused, run, tmp_path, name):
    put(run / name, lambda path: path.mkdir())
    assert "is a folder" in refused(*COMMANDS["resume"], folder=tmp_path, root=tmp_path)


def test_a_checkpoint_that_cannot_be_written_at_the_end_is_a_failure(esrun, tmp_path):
    code = """
import sys, esrun.runs.checkpoint as checkpoint
def refuse(*arguments):
    raise OSError(28, "No space left on device")
checkpoint.save = refuse
from esrun.cli import main
sys.exit(main())
"""
    done = esrun(*TINY, code=code)
    assert done.returncode == 1
    assert "No space left" in done.stderr


def test_a_checkpoint_that_says_what_it_may_is_used(typed, run):
    """So that the others are passed over for what they say alone."""
    hostile(run / "checkpoints", PROGRESS | {"score": SCORE, "searches": [SEARCH]}, generation=3)
    done = typed(*COMMANDS["resume"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resumed   after generation 3" in done.stdout
