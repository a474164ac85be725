"""Runs whose members are evaluated by workers of a Ray cluster: bits, kills and joins, ends."""

import hashlib
import json
import os
import random
import secrets
import signal
import time

import pytest
from clusters import Cluster, marked
from conftest import finished, wait_for
from test_far import OWN
from test_hosts import free_port, generations, saved

pytestmark = [pytest.mark.ray, pytest.mark.commands]

BLOCKS = "runtime.population_chunk=4"
SPHERE = (
    *("task=sphere", "strategy=openai_es", "strategy.population_size=40", "eval.episodes=2"),
    *("eval.every=1000000", "checkpoint.every=20", BLOCKS),
)
ENDLESS = "generations=2000000000"
SHARED = ("hydra.run.dir=run", "runtime.engine=ray")
SMALL = (
    *("task=pendulum", "task.episodes=2", "task.episode_length=30", "seed=3", "eval.episodes=2"),
    *("eval.every=1000000", "checkpoint.every=20", BLOCKS),
)
KINDS = {
    "openai_es": (*SMALL, "strategy=openai_es", "strategy.population_size=24", "policy.hidden=[8]",
                  "policy.normalize_input=true"),
    "cma_es": (*SMALL, "strategy=cma_es", "strategy.population_size=16", "policy.hidden=[8]"),
    "eggroll": (*SMALL, "strategy=eggroll", "strategy.population_size=24", "policy.hidden=[8]"),
    "a gru with a normaliser": (*SMALL, "strategy=pgpe", "strategy.population_size=24",
                                "policy=rnn", "policy.normalize_input=true"),
    "restarts": ("task=rastrigin", "task.dimension=5", "strategy=cma_es",
                 "strategy.restarts=bipop", "eval.every=1000000", "checkpoint.every=20",
                 "eval.episodes=2", "seed=3", "runtime.population_chunk=3"),
    "gymnasium": ("task=gymnasium", "task.env=CartPole-v1", *SMALL[1:], "strategy=openai_es",
                  "strategy.population_size=24", "policy.hidden=[8]",
                  "policy.normalize_input=true"),
}  # fmt: skip


def left_of(mark, seconds=120):
    """-> those that are there still when they have had time to end. (Ray's agent of a machine waits
    a minute for an answer that nobody gives when all others were killed.)"""
    until = time.monotonic() + seconds
    while marked(mark) and time.monotonic() < until:
        time.sleep(0.2)
    return marked(mark)


def workers_of(mark):
    return [pid for pid, name in marked(mark).items() if name.startswith("ray::Worker")]


def computed(folder):
    """-> what a run came to, but for times and what only an engine has."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rows = [{k: x for k, x in row.items() if "seconds" not in k and k not in OWN} for row in rows]
    files = [folder / name for name in ("policy.safetensors", "policy_best.safetensors")]
    return rows, [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]


def figures(folder, name):
    """-> a figure of every generation."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)[name] for line in lines]


def goes_on(start, tmp_path, words=SPHERE):
    """-> whether a run that goes on with one process has the bits of one that knew no other."""
    words = [*words, f"generations={saved(tmp_path / 'run') + 50}"]
    for folder in ("run", "local"):
        one = start(tmp_path, *words, f"hydra.run.dir={folder}", "resume=auto")
        code, said = finished(one)
        assert code == 0, said
    return computed(tmp_path / "run") == computed(tmp_path / "local")


def further(running, folder, generations_more):
    """Wait until a run is so many generations further."""
    at = generations(folder)
    wait_for(lambda: generations(folder) >= at + generations_more, running)


def at_work(running, folder, count):
    """Wait until so many workers are at work."""
    wait_for(lambda: generations(folder) > 5 and figures(folder, "workers")[-1] == count, running)


@pytest.fixture
def mark(monkeypatch):
    """-> what marks every process of a test."""
    name = f"ESRUN_TEST_{secrets.token_hex(8)}"
    monkeypatch.setenv(name, "1")
    return name


@pytest.fixture(scope="module")
def cluster(compiled):
    """-> a cluster with three cores' worth of workers."""
    with Cluster(compiled, cores=3) as found:
        yield found


@pytest.fixture
def joined(cluster, monkeypatch):
    """-> the mark of the cluster's processes; commands join it."""
    for name, value in cluster.joins.items():
        monkeypatch.setenv(name, value)
    return cluster.mark


@pytest.mark.parametrize("kind", KINDS)
def test_workers_that_are_killed_compute_what_one_process_does(joined, start, tmp_path, kind):
    words, run, chance = KINDS[kind], tmp_path / "run", random.Random(kind)
    running = start(tmp_path, *words, *SHARED, ENDLESS, "runtime.workers=2")
    for _ in range(2):
        at_work(running, run, 2)
        further(running, run, chance.randrange(1, 20))
        os.kill(chance.choice(workers_of(joined)), signal.SIGKILL)
    further(running, run, 20)
    running.terminate()
    code, said = finished(running)
    assert code == 75, said
    assert sum(figures(run, "workers_lost")) == 2
    assert goes_on(start, tmp_path, words)


def test_all_are_killed_and_the_run_goes_on_without_and_then_with_others(joined, start, tmp_path):
    run = tmp_path / "run"
    running = start(tmp_path, *SPHERE, *SHARED, ENDLESS, "runtime.workers=3")
    at_work(running, run, 3)
    for pid in workers_of(joined):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: sum(figures(run, "workers_joined")) == 6, running)
    running.terminate()
    code, said = finished(running)
    assert code == 75, said
    assert sum(figures(run, "workers_lost")) == 3
    assert goes_on(start, tmp_path)


def test_a_stopped_worker_is_late_and_its_blocks_are_done_by_others(joined, start, tmp_path):
    run = tmp_path / "run"
    running = start(tmp_path, *SPHERE, *SHARED, ENDLESS, "runtime.workers=2")
    at_work(running, run, 2)
    stopped = workers_of(joined)[0]
    os.kill(stopped, signal.SIGSTOP)
    further(running, run, 20)
    os.kill(stopped, signal.SIGCONT)
    running.terminate()
    code, said = finished(running)
    assert code == 75, said
    assert sum(figures(run, "blocks_twice")) > 0
    assert goes_on(start, tmp_path)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGKILL, -9)])
def test_a_cluster_of_its_own_ends_with_the_run(mark, start, tmp_path, number, code):
    running = start(tmp_path, *SPHERE, *SHARED, ENDLESS, "runtime.workers=1")
    wait_for(lambda: saved(tmp_path / "run") > 5, running)
    assert any("raylet" in name for name in marked(mark).values())
    running.send_signal(number)
    ended, said = finished(running)
    assert ended == code, said
    assert left_of(mark) == {}
    assert goes_on(start, tmp_path)


def test_a_signal_while_the_cluster_starts_leaves_nothing_behind(mark, start, tmp_path):
    running = start(tmp_path, *SPHERE, *SHARED, ENDLESS)
    wait_for(lambda: any("raylet" in name for name in marked(mark).values()), running)
    running.terminate()
    code, said = finished(running)
    assert code == 75, said
    assert left_of(mark) == {}


def test_where_nobody_answers_it_says_so(start, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_port()}")
    code, said = finished(start(tmp_path, *SPHERE, "runtime.engine=ray"))
    assert code == 2
    assert said.startswith("esrun: runtime.engine=ray: the cluster at 127.0.0.1:")
    assert said.count("\n") == 1
