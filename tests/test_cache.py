"""The compile cache: used where it works, harmless where it does not; each step in a Python of its
own."""

import json
import os
import subprocess
import sys
import time

import pytest

PROGRAM = """
import json, os, sys
import numpy as np
import esrun.backend.devices, esrun.backend.everywhere
esrun.backend.devices.start("float32", False)
import jax
from esrun.backend import cache, everywhere
{before}
cache.use()
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event.rpartition("/")[2]))
total = esrun.backend.devices.total
devices = tuple(jax.local_devices())
program = esrun.backend.everywhere.OnEvery(devices, lambda x: total(jax.numpy.cos(x) / 3))
result = np.asarray(program(np.arange(9, dtype=np.float32))).tobytes().hex()
folder = jax.config.values["jax_compilation_cache_dir"]
print(json.dumps(dict(folder=folder, hits=events.count("cache_hits"), result=result)))
"""
REFUSE = """
from jax._src import compilation_cache
def refuse(*arguments):
    raise RuntimeError("machine type does not match")
compilation_cache.get_executable_and_time = refuse
"""
CRASH = REFUSE.replace('raise RuntimeError("machine type does not match")', "os._exit(139)")


@pytest.fixture
def start(tmp_path):
    """-> (code before the cache is set up, environment) -> (exit code, what the program says)."""

    def run(before="", **environment):
        inherited = {
            key: value for key, value in os.environ.items() if key != "JAX_ENABLE_COMPILATION_CACHE"
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(before=before)],
            env=inherited | {"XDG_CACHE_HOME": str(tmp_path)} | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr
        assert "Warning" not in done.stderr
        return json.loads(done.stdout) if done.returncode == 0 else done.returncode

    return run


def entries(tmp_path):
    return sorted(tmp_path.glob("esrun/*/*-cache"))


def test_the_second_process_reads_what_the_first_one_compiled(start, tmp_path):
    first, second = start(), start()
    assert (first["hits"], second["hits"]) == (0, 1)
    assert first["folder"] == second["folder"] == str(entries(tmp_path)[0].parent)
    assert first["result"] == second["result"]
    assert os.stat(first["folder"]).st_mode & 0o777 == 0o700


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_a_pipe_or_a_link_among_the_entries_is_not_read(start, tmp_path, kind):
    first = start()
    entry = entries(tmp_path)[0]
    entry.unlink()
    os.mkfifo(entry) if kind == "pipe" else entry.symlink_to("/dev/zero")
    again = start()
    assert (again["folder"], again["result"]) == (None, first["result"])


def test_the_users_own_settings_stand(start, tmp_path):
    assert start(JAX_ENABLE_COMPILATION_CACHE="false") | {"result": 0} == {
        "folder": None,
        "hits": 0,
        "result": 0,
    }
    own = str(tmp_path / "own")
    assert start(JAX_COMPILATION_CACHE_DIR=own)["folder"] == own
    assert not (tmp_path / "esrun").exists()


def test_a_machine_that_refuses_its_own_entries_does_without_for_a_week(start, tmp_path):
    result = start()["result"]
    (verdict,) = tmp_path.glob("esrun/*/verdict")
    verdict.unlink()
    assert start(REFUSE) == {"folder": None, "hits": 0, "result": result}
    assert start()["folder"] is None
    week_ago = time.time() - 8 * 86400
    os.utime(verdict, (week_ago, week_ago))
    assert start() == {"folder": str(verdict.parent), "hits": 1, "result": result}


def test_a_process_that_dies_of_an_entry_is_the_last_one_to_try(start, tmp_path):
    assert start(CRASH) == 139
    assert start()["folder"] is None


def test_damaged_entries_are_compiled_again(start, tmp_path):
    result = start()["result"]
    for entry in entries(tmp_path):
        entry.write_bytes(entry.read_bytes()[:100])
    damaged = start()
    assert (damaged["hits"], damaged["result"]) == (0, result)


@pytest.mark.parametrize("home", ["a file in its place", "no home", "a full disk"])
def test_where_nothing_can_be_kept_nothing_is(start, tmp_path, home):
    if home == "a file in its place":
        (tmp_path / "esrun").write_text("")
        done = start()
    elif home == "no home":
        done = start(
            "from pathlib import Path\ndef home(): raise RuntimeError\nPath.home = home",
            XDG_CACHE_HOME="",
        )
    else:
        done = start(
            "import resource, signal\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (2, resource.RLIM_INFINITY))"
        )
    assert (done["folder"], done["hits"]) == (None, 0)


def test_a_folder_that_others_may_write_to_is_not_used(start, tmp_path):
    folder = start()["folder"]
    os.chmod(folder, 0o777)
    assert start()["folder"] is None


def test_nothing_in_the_cache_folder_is_deleted_however_old(start, tmp_path):
    start()
    (verdict,) = tmp_path.glob("esrun/*/verdict")
    foreign = tmp_path / "esrun" / "thesis" / "chapter-1"
    foreign.parent.mkdir()
    before = {*verdict.parent.iterdir()}
    for file in (foreign, verdict, *before):
        file.touch()
        os.utime(file, (time.time() - 400 * 86400,) * 2)
    start()
    assert foreign.exists()
    assert before <= {*verdict.parent.iterdir()}
