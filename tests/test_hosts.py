"""Several processes that train one run in step: their bits, their ends, and what they refuse."""

import hashlib
import json
import os
import signal
import time

import pytest
from conftest import MAIN, finished, quickly, wait_for

from esrun.backend.relay import free_port

pytestmark = [pytest.mark.hosts, pytest.mark.commands]

SOON = 75
"""Five times the seconds within which the others end when one is lost."""
SMALL = (
    *("task=pendulum", "task.episodes=2", "task.episode_length=30", "policy.hidden=[8]"),
    *("eval.every=4", "eval.episodes=4", "generations=12", "seed=3"),
)
SPHERE = ("task=sphere", "strategy=openai_es", "strategy.population_size=16", "eval.episodes=2")
ENDLESS = (*SPHERE, "generations=2000000000", "eval.every=1000000", "checkpoint.every=20")
MIXED = ("strategy=openai_es", "strategy.population_size=24", "policy.normalize_input=true")
KINDS = {
    "a normaliser": MIXED,
    "a table": (*MIXED[:2], "strategy.noise=table", "strategy.noise_table_size=100000"),
    "cma_es": ("strategy=cma_es", "strategy.population_size=16"),
    "a gru and archive": ("strategy=pgpe", "strategy.population_size=20", "policy=rnn"),
    "restarts": (
        *("task=rastrigin", "task.dimension=3", "strategy=cma_es", "strategy.restarts=bipop"),
        *("generations=300", "eval.every=100"),
    ),
}
GYM = (
    *("task=gymnasium", "task.env=CartPole-v1", "task.episodes=2", "task.episode_length=20"),
    *("strategy=openai_es", "strategy.population_size=12", "policy.normalize_input=true"),
    *("policy.hidden=[4]", "eval.every=3", "eval.episodes=200", "generations=6"),
    *("runtime.population_chunk=6", "runtime.workers=1"),
)
DEVICES = (
    "import os; os.environ['JAX_NUM_CPU_DEVICES'] = '{0}'; "
    "from esrun.backend import devices; devices.cores = lambda: 4; " + MAIN
)
"""As many devices in each process, whatever this machine has."""
OUT_OF_MEMORY = """
import sys
which, calls = sys.argv.pop(1), 0
from esrun.training.memory_plan import FittingProgram
plain = FittingProgram.__call__
def starved(self, *arguments):
    global calls
    calls += 1
    mine = "/1/2" in sys.argv[-1]
    if calls == 3 and (which == "all" or mine):
        raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")
    return plain(self, *arguments)
FittingProgram.__call__ = starved
"""

STOPPED = """
import sys, time, jax
from pathlib import Path
number = sys.argv.pop(1)
def stop(*words, **more):
    Path("there").touch()
    time.sleep(600)
if f"/{number}/" in sys.argv[-1]:
    jax.distributed.initialize = stop
"""
"""One of them has met the others, and is not at JAX's service yet, where they wait for it."""


@pytest.fixture
def hosts(start, tmp_path):
    """-> (count, words) -> so many processes that train in step, by number; `each` has words of
    their own."""

    def begin(count, *words, each=None, code=MAIN):
        at, each = f"127.0.0.1:{free_port()}", each or {}
        return [
            start(
                tmp_path, *words, *each.get(i, ()), f"runtime.hosts={at}/{i}/{count}", code=code
            )
            for i in range(count)
        ]  # fmt: skip

    return begin


def computed(folder):
    """-> what a run came to, but for times."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rows = [{key: x for key, x in row.items() if "seconds" not in key} for row in rows]
    files = [folder / name for name in ("policy.safetensors", "policy_best.safetensors")]
    return rows, [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]


def generations(folder):
    """-> how many lines of metrics there are."""
    file = folder / "metrics.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def saved(folder):
    """-> the newest checkpoint's generation, 0 without one."""
    return max([int(x.name[:10]) for x in folder.glob("checkpoints/*.safetensors")], default=0)


@pytest.mark.parametrize("kind", quickly(KINDS, "a normaliser"))
def test_two_processes_compute_what_one_does(hosts, start, tmp_path, kind):
    own = SMALL if kind != "restarts" else ("eval.episodes=4", "seed=3")
    words = [*own, *KINDS[kind], "runtime.population_chunk=6"]
    both = hosts(2, *words, "hydra.run.dir=both")
    alone = start(tmp_path, *words, "hydra.run.dir=alone")
    said = [finished(x) for x in (*both, alone)]
    assert [code for code, _ in said] == [0, 0, 0], said
    assert said[1][1] == ""
    assert computed(tmp_path / "both") == computed(tmp_path / "alone")
    record = json.loads((tmp_path / "both" / "run.json").read_text())
    assert [x.split()[0] for x in record["devices"]] == ["0/cpu:0", "1/cpu:0"]


@pytest.mark.slow
def test_processes_share_the_episodes_of_environments_that_are_not_jax(hosts, start, tmp_path):
    both = hosts(2, *GYM, "hydra.run.dir=both")
    alone = start(tmp_path, *GYM, "hydra.run.dir=alone")
    said = [finished(x) for x in (*both, alone)]
    assert [code for code, _ in said] == [0, 0, 0], said
    assert computed(tmp_path / "both") == computed(tmp_path / "alone")


def left_behind(kill, tmp_path, hosts, count=2, when=40):
    """-> (exit codes, what they said, seconds) of those that are left when `kill` was done to one
    of so many processes."""
    number, what = kill
    running = hosts(count, *ENDLESS, "hydra.run.dir=run")
    wait_for(lambda: saved(tmp_path / "run") >= when, running[0])
    os.kill(running[number].pid, what)
    began = time.monotonic()
    said = [finished(x, 60) for i, x in enumerate(running) if i != number]
    took = time.monotonic() - began
    running[number].kill()
    return [code for code, _ in said], [text for _, text in said], took


def goes_on(start, tmp_path):
    """-> whether a run that has lost processes has the bits of one that has not."""
    end = saved(tmp_path / "run") + 50
    words = [*SPHERE, "eval.every=1000000", "checkpoint.every=20", f"generations={end}"]
    for folder in ("run", "whole"):
        one = start(tmp_path, *words, f"hydra.run.dir={folder}", "resume=auto")
        code, said = finished(one)
        assert code == 0, said
    return computed(tmp_path / "run") == computed(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["a normaliser", "cma_es"])
def test_four_devices_have_the_same_bits_however_they_are_spread(hosts, start, tmp_path, kind):
    words = [*SMALL, *KINDS[kind], "runtime.population_chunk=6", "generations=4"]
    for count, each in ((4, 1), (2, 2)):
        spread = [*words, f"runtime.devices={each}", f"hydra.run.dir=on{count}"]
        said = [finished(x) for x in hosts(count, *spread, code=DEVICES.format(each))]
        assert {code for code, _ in said} == {0}, said
    alone = [*words, "runtime.devices=4", "hydra.run.dir=on1"]
    code, said = finished(start(tmp_path, *alone, code=DEVICES.format(4)))
    assert code == 0, said
    found = [computed(tmp_path / f"on{count}") for count in (4, 2, 1)]
    assert found[0] == found[1] == found[2]
    named = json.loads((tmp_path / "on2" / "run.json").read_text())["devices"]
    assert [x.split()[0] for x in named] == ["0/cpu:0", "0/cpu:1", "1/cpu:0", "1/cpu:1"]


@pytest.mark.slow
def test_a_run_goes_on_on_another_number_of_hosts(hosts, start, tmp_path):
    words = [*SMALL, *MIXED, "runtime.population_chunk=6"]

    def done(*processes):
        said = [finished(x) for x in processes]
        assert {code for code, _ in said} == {0}, said
        return said

    run = "hydra.run.dir=run"
    done(start(tmp_path, *words, run, "generations=4"))
    done(*hosts(2, "resume", "run", "generations=8"))
    done(*hosts(3, *words, run, "resume=auto", "generations=12"))
    again = done(*hosts(2, *words, run, "resume=auto", "generations=12"))
    assert ["is done already" in text for _, text in again] == [True, False]
    done(start(tmp_path, *words, "hydra.run.dir=whole", "generations=12"))
    assert computed(tmp_path / "run") == computed(tmp_path / "whole")


@pytest.mark.slow
def test_a_search_begins_at_a_policy_that_process_0_alone_reads(hosts, start, tmp_path):
    small = [*SMALL, *MIXED, "generations=2"]
    assert finished(start(tmp_path, *small, "hydra.run.dir=first"))[0] == 0
    begun = [*small, "policy.start=first"]
    both = hosts(2, *begun, "hydra.run.dir=both")
    alone = start(tmp_path, *begun, "hydra.run.dir=alone")
    said = [finished(x) for x in (*both, alone)]
    assert [code for code, _ in said] == [0, 0, 0], said
    assert computed(tmp_path / "both") == computed(tmp_path / "alone")


@pytest.mark.slow
@pytest.mark.parametrize(("which", "code"), [("all", 0), ("one", 1)])
def test_all_go_on_with_less_memory_or_none(hosts, tmp_path, which, code):
    words = [which, *SMALL, *MIXED, "task.episodes=4", "hydra.run.dir=run"]
    said = [finished(x) for x in hosts(2, *words, code=OUT_OF_MEMORY + MAIN)]
    assert [ended for ended, _ in said] == [code, code], said
    assert ("going on with task.episodes_at_once=2" in said[0][1]) == (which == "all")
    assert len(said[1][1].splitlines()) == code


@pytest.mark.slow
def test_a_limit_of_time_is_one_for_all(hosts, tmp_path):
    said = [finished(x) for x in hosts(2, *ENDLESS, "stop.seconds=3", "hydra.run.dir=run")]
    assert [code for code, _ in said] == [0, 0], said
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["stop_reason"]) == ("done", "seconds")


@pytest.mark.slow
def test_a_signal_while_it_compiles_ends_all_at_once(hosts, tmp_path):
    running = hosts(2, *SMALL, *MIXED, "hydra.run.dir=run")
    wait_for((tmp_path / "run" / "run.json").exists, running[0])
    running[1].terminate()
    said = [finished(x) for x in running]
    assert [code for code, _ in said] == [75, 75], said
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["stop_reason"]) == ("interrupted", "SIGTERM")
    assert said[0][1].strip().endswith("to go on: esrun resume run")


def test_processes_that_are_asked_for_different_things_make_nothing(hosts, tmp_path):
    before = list(tmp_path.iterdir())
    running = hosts(2, *ENDLESS, "hydra.run.dir=run", each={1: ("seed=4",)})
    said = [finished(x) for x in running]
    line = "all hosts must be asked for the same, got seed=0 and, of process 1, seed=4"
    assert [(code, line in text, text.count("\n")) for code, text in said] == [(2, True, 1)] * 2
    assert list(tmp_path.iterdir()) == before


KILLS = [(x, y) for y in (signal.SIGKILL, signal.SIGSTOP) for x in (0, 1)]


@pytest.mark.parametrize("kill", KILLS, ids=lambda kill: f"{kill[1].name} {kill[0]}")
def test_when_one_is_lost_the_others_end_and_the_run_goes_on(kill, hosts, start, tmp_path):
    codes, said, took = left_behind(kill, tmp_path, hosts)
    last = said[0].strip().splitlines()[-1]
    print(took, last)
    assert codes == [75]
    assert took < SOON
    assert last.startswith(f"esrun: process {kill[0]} of 2 is lost: ")
    assert "Traceback" not in said[0]
    if kill[0]:
        summary = json.loads((tmp_path / "run" / "summary.json").read_text())
        assert (summary["status"], summary["stop_reason"]) == ("interrupted", "host_lost")
    assert goes_on(start, tmp_path)


def test_of_three_two_end_and_without_a_checkpoint_with_1(hosts, tmp_path):
    words = [word for word in ENDLESS if "checkpoint" not in word]
    running = hosts(3, *words, "checkpoint.every=2000000000", "hydra.run.dir=run")
    wait_for(lambda: generations(tmp_path / "run") > 10, running[0])
    running[1].kill()
    assert [finished(running[i], SOON)[0] for i in (0, 2)] == [1, 1]


@pytest.mark.parametrize("number", [0, 1])
def test_one_that_is_lost_before_jax_has_started_is_missed(hosts, tmp_path, number):
    running = hosts(2, str(number), *ENDLESS, "hydra.run.dir=run", code=STOPPED + MAIN)
    wait_for((tmp_path / "there").exists, running[number])
    time.sleep(3)  # by now the other one waits for it
    running[number].kill()
    code, said = finished(running[1 - number], SOON)
    line = f"esrun: process {number} of 2 is lost: its connection has ended\n"
    assert (code, said) == (1, line)


@pytest.mark.slow
def test_one_that_is_lost_before_a_run_goes_on_is_missed(hosts, start, tmp_path):
    words = [*ENDLESS, "generations=40", "hydra.run.dir=run"]
    assert finished(start(tmp_path, *words))[0] == 0
    running = hosts(2, "0", *words, "resume=auto", "generations=60", code=STOPPED + MAIN)
    wait_for((tmp_path / "there").exists, running[0])
    time.sleep(3)  # by now the other one waits for it
    running[0].kill()
    code, said = finished(running[1], SOON)
    assert (code, said.count("\n")) == (75, 1), said


@pytest.mark.parametrize(("stopped", "number"), [(1, 0), (1, 1), (0, 1)])
def test_a_signal_before_jax_has_started_ends_all(hosts, tmp_path, stopped, number):
    running = hosts(2, str(stopped), *ENDLESS, "hydra.run.dir=run", code=STOPPED + MAIN)
    wait_for((tmp_path / "there").exists, running[stopped])
    time.sleep(3)  # by now the other one waits for it
    running[number].terminate()
    said = [finished(x, SOON) for x in running]
    lines = [
        "esrun: ended by SIGTERM\n",
        f"esrun: process {number} of 2 has ended: ended by SIGTERM\n",
    ]
    assert said[number] == (75, lines[0])
    assert said[1 - number] == (75, lines[1])


def test_a_signal_to_process_0_while_it_waits_is_for_those_that_have_come(start, tmp_path):
    at, running, said = f"127.0.0.1:{free_port()}", [], []
    for number in (0, 1, 1):  # who comes, goes and comes again is let in
        one = start(tmp_path, *ENDLESS, "hydra.run.dir=run", f"runtime.hosts={at}/{number}/3")
        said.append(one.stdout.readline())
        running.append(one)
        if len(running) == 2:
            one.send_signal(signal.SIGINT)
            assert finished(one, SOON) == (130, "esrun: ended by SIGINT\n")
    running[0].terminate()
    assert finished(running[0], SOON) == (75, "esrun: ended by SIGTERM\n")
    line = f"esrun: process 0, at {at}, has ended while it waited for others\n"
    assert finished(running[2], SOON) == (75, line)
    line = f"esrun: waiting: process 0, at {at}, waits for others\n"
    assert said[1:] == [line, line]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [0, 1])
def test_a_signal_to_any_one_saves_and_ends_all(hosts, start, tmp_path, number):
    running = hosts(2, *ENDLESS, "hydra.run.dir=run")
    wait_for(lambda: generations(tmp_path / "run") > 5, running[0])
    running[number].terminate()
    said = [finished(x) for x in running]
    assert [code for code, _ in said] == [75, 75], said
    assert said[1][1] == ""
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["stop_reason"]) == ("interrupted", "SIGTERM")
    assert saved(tmp_path / "run") == summary["generations"] > 5
    assert goes_on(start, tmp_path)
