"""Systems that tell less of themselves than Linux does: nothing needs what they lack."""

import json
import os
import subprocess
import sys

import pytest

from esrun.backend import machine

LESS = """
import builtins, io, os, signal, sys
def absent(module, *names):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
absent(signal, "SIGHUP", "SIGUSR1", "SIGUSR2")
absent(os, "sched_getaffinity", "process_cpu_count", "sysconf", "getuid", "O_NOFOLLOW", "O_CLOEXEC")
sys.modules["resource"] = None
opened = io.open
def without_proc(file, *arguments, **options):
    if str(file).startswith(("/proc", "/sys/fs")):
        raise FileNotFoundError(2, "No such file", str(file))
    return opened(file, *arguments, **options)
builtins.open = io.open = without_proc
import esrun.cli, esrun.backend.machine as machine
assert machine.memory() is machine.available() is None
assert machine.resident() == machine.most_resident() == 0
sys.exit(esrun.cli.main())
"""
"""What macOS or another system may lack is taken away before esrun is imported."""


def test_a_run_needs_nothing_that_linux_alone_has(esrun, tmp_path):
    tiny = ["task=sphere", "task.dimension=2", "strategy=openai_es", "strategy.population_size=4"]
    done = esrun(*tiny, "generations=2", "eval.episodes=2", "hydra.run.dir=run", code=LESS)
    assert (done.returncode, done.stderr) == (0, "")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["peak_memory_bytes"]) == ("done", None)


def test_a_process_has_the_cores_that_it_may_use(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    assert machine.cores() == 3
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: 7)
    assert machine.cores() == 7
    monkeypatch.setattr("os.cpu_count", lambda: None)  # nobody knows
    assert machine.cores() == 1


@pytest.mark.parametrize(("mode", "private"), [(0o700, True), (0o755, True), (0o770, False)])
def test_a_folder_that_others_may_write_to_is_not_private(tmp_path, mode, private):
    tmp_path.chmod(mode)
    assert machine.is_private(tmp_path) is private


WAITING = """
import os, select, threading, time
from esrun.backend import machine
own, idle = [], threading.Event()
def listen():
    own.append(threading.get_native_id())
    select.epoll().poll(60)
def wait():
    own.append(threading.get_native_id())
    idle.wait(60)
for what in (listen, wait):
    threading.Thread(target=what, daemon=True).start()
    time.sleep(0.2)
machine.let_messages_wait()
print([os.sched_getscheduler(x) == os.SCHED_BATCH for x in (*own, 0)])
"""


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="Linux alone has it")
@pytest.mark.commands
def test_threads_that_wait_for_a_network_let_others_go_first():
    said = subprocess.run([sys.executable, "-c", WAITING], capture_output=True, text=True)
    assert said.stdout == "[True, False, False]\n", said.stderr
