"""Runs of a sweep side by side: each computes what the same line typed alone does."""

import json
import os
import signal
import threading

import jax
import numpy as np
import pytest
from conftest import finished, quickly, same, wait_for
from safetensors.numpy import load_file

from esrun.backend import devices, memory
from esrun.backend.compilation import Clock
from esrun.config.check import checked
from esrun.config.compose import composed
from esrun.runs.sweep_board import Board
from esrun.runs.sweep_jobs import Ready, places_of

SPHERE = ("task=sphere", "task.dimension=3", "strategy.population_size=6", "generations=4")
POLES = (
    "task=cartpole", "strategy=openai_es", "strategy.population_size=8", "generations=3",
    "task.episode_length=30", "policy.hidden=[4]", "eval.episodes=4",
)  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        [*SPHERE, "strategy=cma_es"],
        [*POLES],
        pytest.param(
            ["task=digits", "strategy=openai_es", "strategy.population_size=4", "policy.hidden=[4]",
             "task.batch_size=16", "generations=2"], marks=pytest.mark.slow),
        ["task=rastrigin", "strategy=cma_es", "strategy.restarts=bipop", "generations=120",
         "strategy.population_size=6", "task.dimension=3"],
    ],
    ids=["sphere", "cartpole", "digits", "bipop"],
)  # fmt: skip
def test_a_job_computes_what_its_line_typed_alone_does(words, in_process, tmp_path):
    both = "seed=range(4)"
    code, said, _ = in_process("-m", *words, both, "hydra.sweep.dir=sw", "runtime.parallel_runs=2")
    assert code == 0
    assert sum(": done, held-out" in line for line in said.splitlines()) == 4
    for seed in (0, 3):
        assert in_process(*words, f"seed={seed}", f"hydra.run.dir=alone{seed}")[0] == 0
        same(tmp_path / "sw" / str(seed), tmp_path / f"alone{seed}")
        assert (tmp_path / "sw" / str(seed) / "esrun.log").read_text().count("run folder:") == 2


def test_settings_that_differ_in_structure_run_side_by_side(in_process, tmp_path):
    words = ("-m", *POLES, "policy.hidden=[4],[5,3]", "seed=0,1")
    assert in_process(*words, "hydra.sweep.dir=two")[0] == 0
    assert in_process(*words, "hydra.sweep.dir=one", "runtime.parallel_runs=1")[0] == 0
    for i in range(4):
        same(tmp_path / "two" / str(i), tmp_path / "one" / str(i))


def test_one_that_fails_leaves_the_others_alone(in_process, tmp_path):
    words = ("-m", *SPHERE, "strategy=openai_es", "strategy.learning_rate=1e38,0.1,0.2,0.3")
    code, said, _ = in_process(*words, "hydra.sweep.dir=sw")
    assert code == 1
    assert "job 1/4: failed (mean_exploded)" in said
    done = [json.loads((tmp_path / "sw" / str(i) / "summary.json").read_text()) for i in range(4)]
    assert [x["status"] for x in done] == ["failed", "done", "done", "done"]


def test_none_begins_after_one_that_ends_the_sweep(in_process, tmp_path):
    rates = ",".join(["1e38", *(str(x / 10) for x in range(1, 9))])
    words = ("-m", *SPHERE, "strategy=openai_es", f"strategy.learning_rate={rates}")
    code, said, _ = in_process(*words, "hydra.sweep.dir=sw", "sweep.on_failure=stop")
    assert code == 1
    assert "not begun" in said
    assert len(list((tmp_path / "sw").glob("*/run.json"))) < 9


@pytest.mark.parametrize("number", quickly([signal.SIGTERM, signal.SIGINT], signal.SIGTERM))
def test_a_sweep_that_a_signal_ends_goes_on_to_the_same(start, in_process, tmp_path, number):
    words = ("-m", *SPHERE, "strategy=snes", "seed=range(4)", "hydra.sweep.dir=sw")
    long = "generations=30000"
    process = start(tmp_path, *words, long, "eval.every=1000")
    running = [tmp_path / "sw" / str(i) / "metrics.jsonl" for i in range(2)]
    wait_for(lambda: all(path.exists() and path.stat().st_size for path in running), process)
    process.send_signal(number)
    assert finished(process)[0] == 75
    states = [tmp_path / "sw" / str(i) / "summary.json" for i in range(2)]
    assert {json.loads(path.read_text())["status"] for path in states} == {"interrupted"}
    assert in_process("resume", "sw", long, "eval.every=1000")[0] == 0
    alone = ("runtime.parallel_runs=1", "hydra.sweep.dir=one")
    assert in_process(*words, long, "eval.every=1000", *alone)[0] == 0
    for i in range(4):
        policies = (load_file(tmp_path / x / str(i) / "policy.safetensors") for x in ("sw", "one"))
        one, other = policies
        for key, x in one.items():
            np.testing.assert_array_equal(x, other[key])


def ready(*words, alone=False):
    config = checked(composed([*SPHERE, *words]).config)
    return Ready(None, [], lambda place: 0, False, None, config, alone)  # type: ignore


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ([(), ()], 2),
        ([()], 0),
        ([("runtime.parallel_runs=1",)] * 3, 0),
        ([("runtime.parallel_runs=3",)] * 5, 2),
        ([("runtime.precision=float64",), ()], 0),
        ([("runtime.devices=2",)] * 2, 1),
        ([("stop.seconds=1",)] * 2, 0),
        ([("logger=[tensorboard]",)] * 2, 2),
    ],
)
def test_runs_go_on_side_by_side_where_nothing_speaks_against_it(words, count, monkeypatch):
    monkeypatch.setattr(devices, "all_local", lambda: tuple(jax.local_devices()[:2]))
    places = places_of([ready(*x) for x in words])
    assert len(places) == count
    assert all(len(place) == (2 if "runtime.devices=2" in words[0] else 1) for place in places)


def test_what_changes_the_process_has_it_alone():
    assert places_of([ready(), ready(alone=True)]) == []


def test_a_thread_sees_its_devices_and_its_share_of_the_memory():
    all_of_it, local = memory.of_each(tuple(jax.local_devices()[:1])), devices.all_local()
    with devices.within(local[:1], 2):
        assert devices.all_local() == local[:1]
        assert memory.of_each(local[:1]) == all_of_it // 2
    assert devices.all_local() == local


def test_a_clock_counts_what_its_own_thread_compiles():
    clocks = [Clock(), Clock()]
    barrier = threading.Barrier(2)

    def compiling(clock, count):
        with clock:
            barrier.wait()
            for i in range(count):
                jax.jit(lambda x: x + 1).lower(np.float32(i)).compile()
            barrier.wait()

    threads = [threading.Thread(target=compiling, args=(c, 3 * i)) for i, c in enumerate(clocks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [clock.compilations for clock in clocks] == [0, 3]


def test_lines_of_jobs_beside_each_other_say_whose_they_are(capsys):
    now = 0.0
    with Board(["seed=0", "seed=1"], lambda: now) as board:
        places = [board.place(i) for i in range(2)]
        for i in range(2):
            board.begins(i)
        places[1].say("warning: \x1b[31mred")
        now = 2.0
        board.ends(1, "done, held-out 3")
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "job 1/2: seed=0", "job 2/2: seed=1", "job 2/2: warning: ?[31mred",
        "job 2/2: done, held-out 3, 2.0 s",
    ]  # fmt: skip
    assert os.linesep not in said
