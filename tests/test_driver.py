"""Runs whose own process is on a Ray cluster too, and is lost: another one goes on."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from clusters import Cluster, killed, marked, mounts
from conftest import finished, wait_for
from test_hosts import generations, saved
from test_ray import ENDLESS, SHARED, SPHERE, at_work, further, goes_on

pytestmark = [pytest.mark.ray, pytest.mark.commands]
WORDS = (*SPHERE, *SHARED, "runtime.driver=ray", "resume=auto", ENDLESS)


@pytest.fixture(scope="module")
def cluster(compiled):
    """-> a cluster whose head computes nothing."""
    with Cluster(compiled, cores=0) as found:
        yield found


@pytest.fixture
def joined(cluster, monkeypatch):
    """-> the cluster, which commands join."""
    for name, value in cluster.joins.items():
        monkeypatch.setenv(name, value)
    return cluster


@pytest.fixture
def machines(joined):
    """-> the marks of two machines, for the length of a test."""
    marks = [joined.machine(2), joined.machine(2)]
    yield marks
    for mark in marks:
        killed(mark)


def supervisors(mark):
    return [pid for pid, name in marked(mark).items() if name.startswith("ray::Supervisor")]


def drivers(mark):
    return [pid for pid, name in marked(mark).items() if "threading.Thread" in name]


def resumed(folder):
    """-> how often a run was gone on with."""
    return len(json.loads((folder / "run.json").read_text())["resumed"])


def goes_on_without_it(running, run, kill):
    """Kill, and wait until another one has gone on."""
    before = resumed(run)
    kill()
    wait_for(lambda: resumed(run) > before, running)
    further(running, run, 20)


def test_the_runs_own_process_and_its_machine_are_lost(joined, machines, start, tmp_path):
    run = tmp_path / "run"
    running = start(tmp_path, *WORDS, "runtime.workers=1")
    at_work(running, run, 1)
    further(running, run, 30)
    goes_on_without_it(running, run, lambda: os.kill(*drivers(joined.mark), signal.SIGKILL))
    goes_on_without_it(running, run, lambda: os.kill(*supervisors(joined.mark), signal.SIGKILL))
    there = next(mark for mark in machines if drivers(mark))
    goes_on_without_it(running, run, lambda: killed(there))
    running.terminate()
    code, said = finished(running)
    assert code == 75, said
    assert said.count("esrun: the run's own process is away: Ray begins another one") >= 2
    assert said.count("esrun: ended by SIGKILL: begun again") >= 1
    wait_for(lambda: not supervisors(joined.mark), NOBODY)
    assert drivers(joined.mark) == []
    assert goes_on(start, tmp_path)


def test_who_watches_is_killed_and_the_same_line_watches_again(joined, machines, start, tmp_path):
    run = tmp_path / "run"
    running = start(tmp_path, *WORDS, "runtime.workers=1")
    at_work(running, run, 1)
    running.kill()
    running.wait()
    code, said = finished(start(tmp_path, *WORDS, "seed=1"))
    assert code == 2
    assert said.startswith("esrun: run is in use on the cluster: write esrun task=sphere")
    again = start(tmp_path, *WORDS, "runtime.workers=1")
    assert any("run folder: run" in line for line in again.stdout)  # from its beginning
    further(again, run, 50)
    assert resumed(run) == 0
    again.send_signal(signal.SIGINT)
    code, said = finished(again)
    assert code == 75, said
    wait_for(lambda: not supervisors(joined.mark), NOBODY)


def test_what_it_says_and_how_it_ends_are_the_commands(joined, machines, start, tmp_path):
    code, said = finished(start(tmp_path, *WORDS[:-1], "generations=20", "policy=mlp"))
    assert (code, said.count("\n")) == (2, 1)
    assert not (tmp_path / "run").exists()
    code, said = finished(start(tmp_path, *WORDS[:-1], "generations=20"))
    assert code == 0, said
    code, said = finished(
        start(tmp_path, "resume", "run", "++runtime.driver=ray", "generations=30")
    )
    assert code == 0, said
    assert resumed(tmp_path / "run") == 1
    assert generations(tmp_path / "run") == 30


def test_without_a_cluster_it_says_so(start, tmp_path):
    code, said = finished(start(tmp_path, *WORDS))
    assert (code, said.count("\n")) == (2, 1)
    assert said.startswith("esrun: runtime.driver=ray needs a cluster that is there: set RAY_AD")
    assert not (tmp_path / "run").exists()


def test_machines_without_a_shared_disk_have_the_files_from_the_cluster(joined, start, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if not mounts(disk):
        pytest.skip("a machine's own disk is mounted, which needs rights")
    for before in (0, 2):
        machines = [joined.machine(2, disk), joined.machine(2, disk)]
        running = start(disk, *WORDS, "runtime.workers=1")
        further_there(running, joined, disk, before)
        there = next(mark for mark in machines if drivers(mark))
        killed(there)
        further_there(running, joined, disk, before + 1)
        running.terminate()
        code, said = finished(running)
        assert code == 75, said
        assert saved(disk / "run") > 20
        for mark in machines:
            killed(mark)
    assert resumed(disk / "run") >= 3
    assert goes_on(start, disk)


def view(cluster, disk):
    """-> the run folder as the run's own process sees it, None where there is none."""
    found = [Path(f"/proc/{pid}/root{disk / 'run'}") for pid in drivers(cluster.mark)]
    return found[0] if found else None


def resumed_there(cluster, disk):
    try:
        return resumed(view(cluster, disk))
    except (OSError, TypeError, ValueError):  # it is on its way
        return -1


def saved_there(cluster, disk):
    folder = view(cluster, disk)
    return saved(folder) if folder else 0


def further_there(running, cluster, disk, times):
    """Wait until a run that was gone on with so many `times` has further checkpoints, and a moment
    for them to be sent."""
    at = saved_there(cluster, disk)
    wait_for(lambda: resumed_there(cluster, disk) >= times, running)
    wait_for(lambda: saved_there(cluster, disk) > at + 40, running)
    assert running.poll() is None, finished(running)
    time.sleep(4)


class Nobody:
    """Who has not ended."""

    @staticmethod
    def poll():
        return None


NOBODY = Nobody()
