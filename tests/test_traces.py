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
from esrun.config import registry
from esrun.config.check import checked
from esrun.config.compose import composed

PROBLEM = ["task=sphere", "task.dimension=3", "strategy=cma_es"]
LIMITS = ["generations=6", "eval.every=3"]
WATCHED = """
import json, os, runpy, sys
from esrun.backend import traces
from esrun.config import registry
from esrun.config.check import checked
from esrun.config.compose import composed

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
from esrun.cli import command, main

code = (main if os.environ.get("AS_A_PROGRAM") else command)()
print(json.dumps(seen), file=sys.stderr)
raise SystemExit(code)
"""


def started(folder, words, cache, package, **environment):
    """-> (what was read and kept, the bytes of the policy) of a command in a process of its own."""
    script = package / "watched.py"
    if not script.exists():  # its times count too
        script.write_text(WATCHED)
    inherited = {k: x for k, x in os.environ.items() if not k.startswith("JAX_ENABLE")}
    inherited |= {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(package)}
    done = subprocess.run(
        [sys.executable, script, *LIMITS, f"hydra.run.dir={folder}", *words],
        capture_output=True,
        text=True,
        cwd=folder.parent,
        timeout=PATIENCE,
        env=inherited | environment,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stderr.splitlines()[-1]), (folder / "policy.safetensors").read_bytes()


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """-> (package, cache, what a first start has seen, its policy)."""
    folder = tmp_path_factory.mktemp("first")
    shutil.copytree(ROOT / "esrun", folder / "package/esrun")
    shutil.copytree(ROOT / "conf", folder / "package/conf")
    own = folder / "package", folder / "cache"
    seen, bits = started(folder / "run", PROBLEM, *reversed(own))
    return *own, seen, bits


@pytest.fixture
def start(tmp_path, first):
    """-> (*words, problem, **environment) -> as `started`, after the first start."""
    package, cache, *_ = first
    shutil.copytree(cache, tmp_path / "cache")
    count = 0

    def again(*words, problem=PROBLEM, **environment):
        nonlocal count
        count += 1
        folder = tmp_path / f"run{count}"
        return started(folder, [*problem, *words], tmp_path / "cache", package, **environment)

    return again


def changed(content):
    """-> a trace whose program is another one, in a file that is whole."""
    header, _, blob = zlib.decompress(content).partition(b"\n")
    middle = len(blob) // 2
    other = blob[:middle] + bytes(x ^ 255 for x in blob[middle : middle + 40]) + blob[middle + 40 :]
    return zlib.compress(header + b"\n" + other)


def kept(tmp_path):
    return sorted((tmp_path / "cache").rglob("traces/*"))


def test_a_second_start_traces_nothing_and_has_the_same_bits(first, start):
    *_, seen, bits = first
    assert seen == {"read": 0, "kept": 3}  # init, advance, evaluate
    assert start() == ({"read": 3, "kept": 0}, bits)
    # numbers are arguments, and so are limits
    assert start("strategy.sigma=0.4", "seed=7", "generations=4")[0] == {"read": 3, "kept": 0}
    assert start(JAX_ENABLE_COMPILATION_CACHE="false") == ({"read": 0, "kept": 0}, bits)


def test_what_changes_a_program_is_traced(start):
    assert start("task.dimension=4")[0]["read"] == 0
    assert start("runtime.precision=float64")[0]["read"] == 0
    assert start(JAX_DEBUG_NANS="true")[0] == {"read": 0, "kept": 0}


def test_an_edited_module_is_traced_again(tmp_path):
    for name in ("esrun", "conf"):
        shutil.copytree(ROOT / name, tmp_path / "package" / name)

    def start(number):
        own = tmp_path / "cache", tmp_path / "package"
        return started(tmp_path / f"run{number}", PROBLEM, *own)

    _, bits = start(1)
    module = tmp_path / "package/esrun/tasks/blackbox.py"
    text = module.read_text()
    module.write_text(text.replace("return jnp.sum(x**2)", "return jnp.sum((x - 3) ** 2)"))
    assert module.read_text() != text
    seen, other = start(2)
    assert seen == {"read": 0, "kept": 3}
    assert other != bits
    os.utime(module, (10**9, 10**9))  # as an installer may date it, its size as it was
    assert start(3)[0]["read"] == 0


def test_another_tree_of_the_package_has_its_own_traces(tmp_path, first, start):
    own = tmp_path / "other"
    shutil.copytree(first[0], own)
    seen, bits = started(tmp_path / "run", PROBLEM, tmp_path / "cache", own)
    assert (seen, bits) == ({"read": 0, "kept": 3}, first[3])


def test_a_program_that_calls_the_command_reads_and_keeps_nothing(start):
    assert start(AS_A_PROGRAM="yes")[0] == {"read": 0, "kept": 0}


def test_only_tasks_that_are_code_are_kept():
    kept, read = ["pendulum", "sphere", "sine", "digits"], ["pgx", "octax"]
    for task in [*kept, *read]:
        env = [f"task.env={env}" for env in ("tic_tac_toe",) if task == "pgx"]
        env += ["task.env=brix"] * (task == "octax")
        config = checked(composed([f"task={task}", *env]).config)
        models = {"task": config.task, "strategy": config.strategy, "policy": config.policy}
        assert registry.are_code(models) == (task in kept), task


def test_modules_of_the_users_own_are_never_kept(tmp_path, start):
    (tmp_path / "mine.py").write_text("")
    assert start("--import", "mine")[0] == {"read": 0, "kept": 0}


@pytest.mark.parametrize(
    "damages",
    [
        [b"", b"a part", os.urandom(5000)],
        [
            zlib.compress(b"{}\n"),
            zlib.compress(b'{"files": {}, "nodes": ["os:system"], "digest": ""}\nx'),
            changed,
        ],
        [os.mkfifo, os.mkdir, lambda file: file.symlink_to("/dev/zero")],
    ],
    ids=["cut", "wrong", "no file"],
)
def test_a_damaged_trace_is_made_again(tmp_path, first, start, damages):
    *_, bits = first
    for file, damage in zip(kept(tmp_path), damages, strict=True):
        if damage is changed:
            file.write_bytes(changed(file.read_bytes()))
        elif isinstance(damage, bytes):
            file.write_bytes(damage)
        else:
            file.unlink()
            damage(file)
    seen, again = start()
    assert (seen["read"], again) == (0, bits)


def test_a_folder_that_others_may_write_to_is_not_read(tmp_path, start):
    folder = kept(tmp_path)[0].parent
    folder.chmod(0o777)
    assert start()[0] == {"read": 0, "kept": 0}


def test_a_process_that_is_no_command_keeps_nothing():
    assert not traces._allowed_since
