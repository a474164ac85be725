"""The commit of the working directory: what git says, without git."""

import json
import os
import subprocess
import sys
import types

import pytest

from esrun.runs.git import commit
from esrun.runs.loggers.wandb import make_wandb

MINE = [
    "-c",
    "user.name=a",
    "-c",
    "user.email=a@b",
    "-c",
    "commit.gpgsign=false",
    "-c",
    "protocol.file.allow=always",
]


@pytest.fixture
def git(tmp_path):
    """-> (words, folder) -> what git says; a repository of two commits, `tmp_path / "work"`, is
    there."""

    def run(*words, folder=tmp_path / "work"):
        return subprocess.run(
            ["git", *MINE, *words], cwd=folder, check=True, capture_output=True, text=True
        ).stdout

    (tmp_path / "work" / "deep" / "er").mkdir(parents=True)
    run("init", "--initial-branch=main")
    for text in ("one", "two"):
        (tmp_path / "work" / "file").write_text(text)
        run("add", ".")
        run("commit", "-m", text)
    return run


@pytest.mark.parametrize("state", ["branch", "packed", "detached", "nested branch", "inside"])
def test_it_is_the_commit_that_git_tells(git, tmp_path, state):
    folder = tmp_path / "work"
    if state == "packed":
        git("pack-refs", "--all")
    elif state == "detached":
        git("checkout", "--detach", "HEAD~1")
    elif state == "nested branch":
        git("checkout", "-b", "a/b/c", "HEAD~1")
        git("pack-refs", "--all")
    elif state == "inside":
        folder = folder / "deep" / "er"
    assert commit(folder) == git("rev-parse", "HEAD").strip()


def test_work_trees_and_submodules_have_a_commit_of_their_own(git, tmp_path):
    git("worktree", "add", "-b", "other", str(tmp_path / "tree"), "HEAD~1")
    assert (
        commit(tmp_path / "tree") == git("rev-parse", "HEAD~1").strip() != commit(tmp_path / "work")
    )
    git("init", str(tmp_path / "outer"))
    git("submodule", "add", str(tmp_path / "work"), "inner", folder=tmp_path / "outer")
    assert commit(tmp_path / "outer" / "inner") == git("rev-parse", "HEAD").strip()
    assert commit(tmp_path / "outer") is None  # nothing is committed there


def test_outside_of_a_repository_and_in_a_broken_one_there_is_none(tmp_path):
    assert commit(tmp_path) is None
    (tmp_path / ".git").mkdir()
    assert commit(tmp_path) is None
    for head in (
        b"",
        b"ref: refs/heads/none",
        b"ref: ../../../../etc/passwd",
        b"\xff" * 10,
        b"0" * 10_000,
        b"x" * 40,
    ):
        (tmp_path / ".git" / "HEAD").write_bytes(head)
        assert commit(tmp_path) is None
    (tmp_path / ".git" / "HEAD").unlink()
    os.mkfifo(tmp_path / ".git" / "HEAD")
    assert commit(tmp_path) is None


def hostile(folder, witness):
    """Make `folder` a repository whose every setting that names a program touches `witness`."""
    program = folder / "program"
    program.write_text(f"#!/bin/sh\ntouch {witness}\ncat\n")
    program.chmod(0o755)
    for name in ("post-index-change", "pre-commit", "post-checkout"):
        (folder / ".git" / "hooks" / name).write_text(program.read_text())
        (folder / ".git" / "hooks" / name).chmod(0o755)
    keys = (
        "core.fsmonitor", "core.pager", "core.sshCommand", "core.editor", "core.askPass",
        "credential.helper", "diff.external", "filter.x.clean", "filter.x.smudge",
        "filter.x.process", "alias.describe", "gpg.program", "pager.describe",
        "uploadpack.packObjectsHook", "interactive.diffFilter",
    )  # fmt: skip
    for key in keys:
        subprocess.run(["git", "config", key, str(program)], cwd=folder, check=True)
    (folder / ".gitattributes").write_text("* filter=x diff=x\n")
    (folder / "file").write_text("changed")


def test_a_repository_that_names_programs_runs_none(git, esrun, tmp_path):
    witness, folder = tmp_path / "witness", tmp_path / "work"
    hostile(folder, witness)
    subprocess.run(["git", "status"], cwd=folder, check=True, capture_output=True)
    assert witness.exists()  # git itself would
    witness.unlink()
    done = esrun("task=sphere", "generations=1", "hydra.run.dir=run", folder=folder)
    assert done.returncode == 0, done.stderr
    assert esrun("resume", "run", "generations=2", folder=folder).returncode == 0
    assert not witness.exists()
    record = json.loads((folder / "run" / "run.json").read_text())
    assert record["git"] == commit(folder)


@pytest.mark.slow
def test_a_run_starts_no_program_at_all(esrun, tmp_path):
    code = """
import sys
STARTS = ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.fork",
          "os.forkpty")
sys.addaudithook(lambda event, given: event in STARTS and print("started", event, given[:2]))
from esrun.cli import main
sys.exit(main())
"""
    cache = {"JAX_ENABLE_COMPILATION_CACHE": "true", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    for words in (["task=sphere", "generations=1"], ["explain"], ["list"], ["--help"]):
        done = esrun(*words, code=code, **cache)
        assert done.returncode == 0, done.stderr
        assert "started" not in done.stdout


def test_weights_and_biases_is_kept_from_git(tmp_path, monkeypatch):
    seen = {}
    module = types.ModuleType("wandb")

    def init(**options):
        seen.update(os.environ)
        return types.SimpleNamespace(starting_step=0)

    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    (tmp_path / "run.json").write_text('{"config": {}}')
    options = {"entity": None, "run_name": None, "group": None, "tags": []}
    make_wandb(folder=tmp_path, project="p", mode="offline", **options)
    assert (seen["WANDB_DISABLE_GIT"], seen["WANDB_DISABLE_CODE"]) == ("true", "true")
