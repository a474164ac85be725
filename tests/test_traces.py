"""Traces kept from process to process: read where nothing changed, made anew where anything did,
with the same bits, and never a reason to fail."""

import json
import os
import shutil
import subprocess
import sys
import zlib

import pytest
from conftest import PATIENCE, ROOT

from esrun.backend import traces

PROBLEM = ["task=sphere", "task.dimension=3", "strategy=cma_es"]
LIMITS = ["generations=6", "eval.every=3"]
WATCHED = """
import json, os, runpy, sys
from esrun.backend import traces

read, write = traces._read, traces._write

def reading(file):
    found = read(file)
    seen["read"] += found is not None
    return found

def writing(file, *about):
    write(file, *about)
    seen["kept"] += file.exists()

seen = {"read": 0, "kept": 0}
traces._read, traces._write = reading, writing
from esrun.cli import main

code = main()
print(json.dumps(seen), file=sys.stderr)
raise SystemExit(code)
"""


@pytest.fixture
def start(tmp_path):
    """-> (*words, problem, **environment) -> (what was read and kept, the bytes of the policy) of a
    command in a process of its own, whose package may be edited."""
    script = tmp_path / "watched.py"
    script.write_text(WATCHED)
    shutil.copytree(ROOT / "esrun", tmp_path / "own/esrun")
    shutil.copytree(ROOT / "conf", tmp_path / "own/conf")
    count = 0

    def started(*words, problem=PROBLEM, **environment):
        nonlocal count
        count += 1
        folder = tmp_path / f"run{count}"
        inherited = {k: x for k, x in os.environ.items() if not k.startswith("JAX_ENABLE")}
        done = subprocess.run(
            [sys.executable, script, *problem, *LIMITS, f"hydra.run.dir={folder}", *words],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=PATIENCE,
            env=inherited
            | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path / "own")}
            | environment,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stderr.splitlines()[-1]), (
            folder / "policy.safetensors"
        ).read_bytes()

    return started


def kept(tmp_path):
    return sorted((tmp_path / "cache").rglob("traces/*"))


def test_a_second_start_traces_nothing_and_has_the_same_bits(tmp_path, start):
    seen, bits = start()
    assert seen == {"read": 0, "kept": 3}  # init, advance, evaluate
    assert start() == ({"read": 3, "kept": 0}, bits)
    # numbers are arguments, and so are limits
    assert start("strategy.sigma=0.4", "seed=7", "generations=4")[0] == {"read": 3, "kept": 0}
    assert start(JAX_ENABLE_COMPILATION_CACHE="false") == ({"read": 0, "kept": 0}, bits)


def test_what_changes_a_program_is_traced(tmp_path, start):
    start()
    assert start("task.dimension=4")[0]["read"] == 0
    assert start("runtime.precision=float64")[0]["read"] == 0
    assert start(JAX_DEBUG_NANS="true")[0] == {"read": 0, "kept": 0}


def test_an_edited_module_is_traced_again(tmp_path, start):
    _, bits = start()
    module = tmp_path / "own/esrun/tasks/blackbox.py"
    text = module.read_text()
    module.write_text(text.replace("return jnp.sum(x**2)", "return jnp.sum((x - 3) ** 2)"))
    assert module.read_text() != text
    seen, other = start()
    assert seen == {"read": 0, "kept": 3}
    assert other != bits
    os.utime(module, (10**9, 10**9))  # as an installer may date it, its size as it was
    assert start()[0]["read"] == 0
    module.write_text(text)
    assert start()[1] == bits


@pytest.mark.slow
def test_another_policy_of_the_same_name_is_traced_again(tmp_path, start):
    problem = ["task=pgx", "task.env=tic_tac_toe", "strategy=openai_es"]
    (tmp_path / "other").mkdir()
    policy = tmp_path / "other/policy.safetensors"
    policy.write_bytes(start(problem=problem)[1])
    problem.append("task.opponent=other")
    seen, bits = start(problem=problem)
    assert seen == {"read": 0, "kept": 3}
    assert start(problem=problem) == ({"read": 3, "kept": 0}, bits)
    policy.write_bytes(bits)
    seen, again = start(problem=problem)
    assert seen["read"] < 3
    assert again != bits


def test_modules_of_the_users_own_are_never_kept(tmp_path, start):
    (tmp_path / "mine.py").write_text("")
    assert start("--import", "mine")[0] == {"read": 0, "kept": 0}


@pytest.mark.parametrize(
    "damages",
    [
        [b"", b"a part", os.urandom(5000)],
        [
            zlib.compress(b"{}\n"),
            zlib.compress(b'{"files": {}, "nodes": ["os:system"], "where": null}\nx'),
            zlib.compress(b'{"files": {}, "nodes": [], "where": null}\nx'),
        ],
        [os.mkfifo, os.mkdir, lambda file: file.symlink_to("/dev/zero")],
    ],
    ids=["cut", "wrong", "no file"],
)
def test_a_damaged_trace_is_made_again(tmp_path, start, damages):
    _, bits = start()
    for file, damage in zip(kept(tmp_path), damages, strict=True):
        if isinstance(damage, bytes):
            file.write_bytes(damage)
        else:
            file.unlink()
            damage(file)
    seen, again = start()
    assert (seen["read"], again) == (0, bits)


def test_a_folder_that_others_may_write_to_is_not_read(tmp_path, start):
    start()
    folder = kept(tmp_path)[0].parent
    folder.chmod(0o777)
    assert start()[0] == {"read": 0, "kept": 0}


def test_a_process_that_is_no_command_keeps_nothing():
    assert not traces._allowed_since
