"""Links, pipes, devices and sizes in a run folder that came from somebody else."""

import os
import shutil

import pytest
from conftest import tree

from esrun import files

TINY = ["task=sphere", "generations=2", "eval.episodes=2", "hydra.run.dir=run"]
FILES = ["run.json", "summary.json", "metrics.jsonl", "esrun.log", "policy.safetensors", ".lock", ".hydra/config.yaml",
         ".hydra/hydra.yaml", "checkpoints/0000000002-0123456789abcdef.safetensors"]  # fmt: skip
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
def test_pipes_are_refused_at_once(esrun, run, tmp_path, name):
    put(run / name, os.mkfifo)
    done = esrun(*COMMANDS["resume"])
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["run.json", "summary.json"])
def test_no_size_is_believed(esrun, run, name):
    with (run / name).open("r+b") as file:
        file.truncate(2**40)  # sparse: reading it would take the machine's memory
    done = esrun(*COMMANDS["resume"])
    assert done.returncode == 2
    assert "more than" in done.stderr


def test_metrics_of_any_size_are_read_no_further_than_they_count(esrun, run):
    with (run / "metrics.jsonl").open("r+b") as file:
        file.truncate(2**40)
    done = esrun(*COMMANDS["resume"])
    assert done.returncode == 0, done.stderr
    assert len((run / "metrics.jsonl").read_bytes().splitlines()) == 4


def test_links_of_one_job_end_the_sweep_before_it_starts(refused, esrun, tmp_path):
    words = ["-m", *TINY[:-1], "seed=0,1", "hydra.sweep.dir=sweep"]
    assert esrun(*words).returncode == 0
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


def test_weights_and_biases_own_links_are_its_own(esrun, run, tmp_path):
    (run / "wandb" / "logs").mkdir(parents=True)
    (run / "wandb" / "latest-run").symlink_to("logs")
    (run / "wandb" / "logs" / "core.log").symlink_to(tmp_path / "thesis.txt")
    assert esrun(*COMMANDS["resume"]).returncode == 0
    put(run / "wandb", lambda path: path.symlink_to(tmp_path / "victim"))
    assert esrun(*COMMANDS["resume"], "generations=6").returncode == 2


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
