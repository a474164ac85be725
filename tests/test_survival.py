"""Runs that are killed, interrupted, starved and lied to, by subprocess."""

import itertools
import json
import os
import random
import signal
import subprocess
import time

import numpy as np
import pytest
from conftest import MAIN, PATIENCE, finished, quickly, wait_for
from safetensors.numpy import load_file

KILLS = int(os.environ.get("ESRUN_TEST_KILLS", "2"))
"""Kills a configuration; the documented figure is of 25."""

DIE_IN_SAVE = (
    """
import os, signal, sys, pathlib
count, moment = int(sys.argv.pop(1)), sys.argv.pop(1)
replace = pathlib.Path.replace
def deadly(self, target):
    global count
    if "checkpoints" in str(self):
        count -= 1
    if count == 0 and moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = replace(self, target)
    if count == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
pathlib.Path.replace = deadly
"""
    + MAIN
)
DIE_AFTER = (
    """
import math, signal, sys
from esrun.runs.metrics import Metrics
target, delay = int(sys.argv.pop(1)), float(sys.argv.pop(1))
add = Metrics.add
def deadly(self, progress):
    global target
    result = add(self, progress)
    if progress.generation > target:
        target = math.inf
        signal.setitimer(signal.ITIMER_REAL, delay)  # of whose signal a process dies wherever it is
    return result
Metrics.add = deadly
"""
    + MAIN
)
SMALL_DISK = (
    """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
# no file may grow beyond 20 kB
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
"""
    + MAIN
)
STUCK = {
    "importing": "from esrun.backend import devices as place; name = 'start'",
    "compiling": "from concurrent.futures import ThreadPoolExecutor as place; name = 'submit'",
}
STUCK_IN = (
    """
import sys, threading
WHERE
def stuck(*arguments):
    print("here", flush=True)
    threading.Event().wait()
setattr(place, name, stuck)
"""
    + MAIN
)
OPENAI = [
    "task=sine",
    "strategy=openai_es",
    "strategy.population_size=32",
    "generations=600",
    "policy.hidden=[8]",
]
CMA = ["task=rosenbrock", "task.dimension=20", "strategy=cma_es", "generations=600"]
NOISY_CMA = ["task=sine", "strategy=cma_es", "strategy.population_size=24", "policy.hidden=[6]"]
RECURRENT = [
    "task=sine", "policy=rnn", "policy.hidden=[4]", "policy.normalize_input=true",
    "strategy=openai_es", "strategy.population_size=16",
]  # fmt: skip
COMMON = [
    "checkpoint.every=7",
    "eval.every=20",
    "eval.episodes=4",
    "hydra.run.dir=run",
    "resume=auto",
]


def generations(folder):
    """-> the generations in a run's metrics so far."""
    path = folder / "run" / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def results(folder):
    """-> all that must be the same to the bit: the policies, the final state, the metrics but for
    times."""
    run = folder / "run"
    newest = max((run / "checkpoints").glob("*.safetensors"))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        del line["wall_seconds"]
    tensors = load_file(newest) | {
        f"policy/{k}": x for k, x in load_file(run / "policy.safetensors").items()
    }
    bits = {name: x.tobytes() for name, x in tensors.items()}
    return bits | {path.name: path.read_bytes() for path in run.glob("*.safetensors")}, lines


@pytest.mark.parametrize(
    ("options", "devices"),
    [
        pytest.param(OPENAI, [1], id="openai_es-1", marks=pytest.mark.slow),
        pytest.param(NOISY_CMA, [1], id="cma_es-1", marks=pytest.mark.slow),
        pytest.param(RECURRENT, [1], id="recurrent-1", marks=pytest.mark.slow),
        pytest.param(OPENAI, [2, 1], id="openai_es-2-1", marks=pytest.mark.slow),
        pytest.param(NOISY_CMA, [1, 2], id="cma_es-1-2"),
        pytest.param(RECURRENT, [2], id="recurrent-2", marks=pytest.mark.slow),
    ],
)
def test_a_run_killed_again_and_again_ends_with_the_same_bits(start, tmp_path, options, devices):
    total = 1000 * (KILLS + 1)
    command = [
        *options,
        *COMMON,
        f"generations={total}",
        "log.every=1000",
    ]
    on = itertools.cycle([f"runtime.devices={count}" for count in devices])
    code, said = finished(start(tmp_path / "whole", *command, next(on)))
    assert code == 0, said
    chance = random.Random(len(options) + sum(devices))
    broken = tmp_path / "broken"
    killed = 0
    for kill in range(KILLS):
        if kill % 3 == 1:  # inside a save, before or behind the rename
            death = DIE_IN_SAVE, chance.randint(1, 2), chance.choice(["before", "behind"])
        else:
            target = generations(broken) + chance.randint(0, total // (4 * KILLS))
            death = DIE_AFTER, target, 1e-6 + chance.random() / 50
        code, *when = death
        code, _ = finished(start(broken, *when, *command, next(on), code=code))
        killed += code in (-signal.SIGKILL, -signal.SIGALRM)
    assert killed > KILLS // 2  # the others came when the run was done
    code, said = finished(start(broken, *command, next(on)))
    assert code == 0, said
    whole, again = results(tmp_path / "whole"), results(broken)
    assert whole[1] == again[1]
    assert whole[0] == again[0]


@pytest.mark.parametrize("name", quickly(["SIGTERM", "SIGHUP", "SIGUSR1", "SIGINT"], "SIGTERM"))
def test_a_signal_saves_and_exits_with_75_and_the_same_command_goes_on(start, tmp_path, name):
    process = start(tmp_path, *OPENAI, *COMMON, "generations=100000")
    wait_for(lambda: generations(tmp_path) > 50, process)
    process.send_signal(getattr(signal, name))
    code, said = finished(process, 60)
    assert code == 75, said
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["stop_reason"]) == ("interrupted", name)
    assert generations(tmp_path) == summary["generations"]
    done = summary["generations"]
    assert summary["eval"].get("generation", done) == done // 20 * 20
    assert "held-out        -" not in said
    code, said = finished(
        start(tmp_path, *OPENAI, *COMMON, f"generations={summary['generations'] + 30}")
    )
    assert code == 0, said
    assert "resumed" in said
    assert generations(tmp_path) == summary["generations"] + 30


def test_a_second_ctrl_c_ends_at_once(start, tmp_path):
    process = start(
        tmp_path,
        *OPENAI,
        *COMMON,
        "generations=100000",
        "policy.hidden=[512,512]",
        "strategy.population_size=2048",
    )
    wait_for(lambda: (tmp_path / "run" / "run.json").exists(), process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert finished(process, 20)[0] in (130, 75)


@pytest.mark.parametrize("name", quickly(["SIGTERM", "SIGINT", "SIGHUP"], "SIGINT"))
@pytest.mark.parametrize("where", quickly(STUCK, "compiling"))
def test_a_signal_ends_at_once_what_has_nothing_to_save(start, tmp_path, name, where):
    code = STUCK_IN.replace("WHERE", STUCK[where])
    for begun, words in ((0, ["generations=4"]), (4, ["generations=6"])):
        process = start(tmp_path, *CMA, *COMMON, *words, code=code)
        while process.stdout.readline() not in ("here\n", ""):
            pass
        process.send_signal(getattr(signal, name))
        ended, said = finished(process, 60)
        assert ended == 75, said
        assert said.count("\n") == 1, said
        summary = json.loads((tmp_path / "run" / "summary.json").read_text())
        assert (summary["status"], summary["stop_reason"]) == ("interrupted", name)
        assert (summary["generations"], summary["task"]) == (begun, "rosenbrock")
        assert (summary.get("eval") is None) == (begun == 0)
        *_, esrun, verb, folder = said.split()
        assert (esrun, verb) == ("esrun", "resume")
        assert finished(start(tmp_path, verb, folder))[0] == 0
        assert generations(tmp_path) == int(words[0][-1])
        record = json.loads((tmp_path / "run" / "run.json").read_text())
        assert record["command"][1:] == [*CMA, *COMMON, "generations=4"]
        assert record["resumed"][-1][1:] == ["resume", "run"]
        assert record["devices"]


def test_two_processes_in_one_folder_the_second_is_refused(start, tmp_path):
    first = start(tmp_path, *OPENAI, *COMMON, "generations=1000000000")
    wait_for(lambda: generations(tmp_path) > 5, first)
    code, said = finished(start(tmp_path, *OPENAI, *COMMON, "generations=1000000000"))
    assert code == 2
    assert "in use by another process" in said
    first.kill()
    first.wait()
    code, said = finished(
        start(tmp_path, *OPENAI, *COMMON, "generations=1000000000", "stop.env_steps=1")
    )
    assert code == 0, said  # the lock of the killed one is gone


def test_only_damaged_checkpoints_end_the_command(start, tmp_path):
    assert finished(start(tmp_path, *CMA, *COMMON, "generations=40"))[0] == 0
    for path in (tmp_path / "run" / "checkpoints").glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    code, said = finished(start(tmp_path, *CMA, *COMMON, "generations=50"))
    assert code == 1
    assert "none of the" in said
    assert generations(tmp_path) == 40


def test_a_folder_removed_in_mid_run_ends_it_with_a_reason(start, tmp_path):
    import shutil

    process = start(tmp_path, *OPENAI, *COMMON, "generations=1000000000")
    wait_for(lambda: generations(tmp_path) > 50, process)
    while (tmp_path / "run").exists():  # what is being written may come or go meanwhile
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
    code, said = finished(process)
    assert code == 1
    assert "is gone" in said


def test_a_full_disk_leaves_no_half_file_and_ends_with_a_reason(start, tmp_path):
    # 40 x 40 floats and more: no checkpoint fits in 20 kB, and soon the metrics do not
    options = ["task=sphere", "task.dimension=60", "strategy=cma_es", "generations=300"]
    code, said = finished(start(tmp_path, *options, *COMMON, code=SMALL_DISK))
    assert code == 1, said
    assert "no checkpoint was written" in said
    assert not list((tmp_path / "run").rglob("*.partial")) or not list(
        (tmp_path / "run").rglob("*.safetensors")
    )
    for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines():
        json.loads(line)
    code, said = finished(start(tmp_path, *options, *COMMON))
    assert code == 0, said
    assert generations(tmp_path) == 300


def test_no_checkpoint_is_ahead_of_metrics_that_the_disk_refuses(start, tmp_path):
    # the checkpoint of a mean of two numbers fits in 20 kB for ever, the metrics soon do not
    options = ["task=sphere", "task.dimension=2", "strategy=openai_es", "generations=300"]
    options += ["strategy.population_size=8", "checkpoint.keep=9"]
    code, said = finished(start(tmp_path, *options, *COMMON, "log.every=1", code=SMALL_DISK))
    assert code == 1, said
    assert "Traceback" not in said
    assert said.count("metrics wait in memory") == 1
    assert said.count("no checkpoint was written") <= 1
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "failed"
    checkpoints = list((tmp_path / "run" / "checkpoints").glob("*.safetensors"))
    newest = max(int(path.name[:10]) for path in checkpoints)
    assert 0 < newest <= generations(tmp_path) < 300
    code, said = finished(start(tmp_path, *options, *COMMON))
    assert code == 0, said
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["generation"] for line in lines] == list(range(1, 301))


def test_a_sweep_killed_in_its_third_job_runs_the_rest(start, tmp_path):
    sweep = [
        "-m",
        *CMA,
        "seed=range(5)",
        "hydra.sweep.dir=sweep",
        "eval.episodes=2",
        "generations=400",
        "checkpoint.every=10",
    ]
    process = start(tmp_path, *sweep)
    wait_for(lambda: (tmp_path / "sweep" / "2" / "metrics.jsonl").exists(), process)
    process.kill()
    finished(process)
    # two go on side by side: the third has begun because either of the first two has ended
    done = next(x for x in (tmp_path / "sweep").glob("[01]/summary.json"))
    before = done.read_bytes()
    code, said = finished(start(tmp_path, *sweep))
    assert code == 0, said
    summaries = [
        json.loads((tmp_path / "sweep" / str(i) / "summary.json").read_text()) for i in range(5)
    ]
    assert [(s["status"], s["seed"]) for s in summaries] == [("done", i) for i in range(5)]
    assert done.read_bytes() == before


def test_a_sweep_that_a_signal_ends_says_how_it_goes_on(start, tmp_path):
    sweep = ["-m", *CMA, "seed=range(2)", "hydra.sweep.dir=a sweep", "generations=3"]
    sweep.append("runtime.parallel_runs=1")  # what is stuck would be the threads' own beginning
    code = STUCK_IN.replace("WHERE", STUCK["compiling"])
    process = start(tmp_path, *sweep, code=code)
    while process.stdout.readline() not in ("here\n", ""):
        pass
    process.send_signal(signal.SIGTERM)
    ended, said = finished(process, 60)
    assert ended == 75
    assert "0    seed=0  interrupted" in said
    assert "1    seed=1  not begun" in said
    remedy = "to go on: esrun resume 'a sweep'"
    assert said.splitlines()[-1] == f"esrun: ended by SIGTERM; {remedy}"
    code, said = finished(start(tmp_path, "resume", "a sweep"))
    assert code == 0, said
    assert "1    seed=1  done" in said


def test_mean_and_policy_file_agree(start, tmp_path):
    assert finished(start(tmp_path, *CMA, *COMMON, "generations=30"))[0] == 0
    (tensors, _) = results(tmp_path)
    assert tensors["policy/params/~/x"] == tensors["strategy/mean"]
    assert len(np.frombuffer(tensors["strategy/mean"], np.float32)) == 20


@pytest.fixture
def small_disk(tmp_path):
    """-> a file system of 600 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(
            "only root may mount a small file system; the full disk is tested by a limit on files "
            "as well"
        )
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_disk_that_fills_up_and_is_freed_costs_no_generation(start, small_disk):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(500_000))
    process = start(small_disk, *CMA, *COMMON, "checkpoint.keep=1", "log.every=100")
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "metrics wait in memory" in line:
            ballast.unlink(missing_ok=True)
    assert process.wait(PATIENCE) == 0, "".join(lines)
    assert any("metrics wait in memory" in line for line in lines)
    numbers = [
        json.loads(line)["generation"]
        for line in (small_disk / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    assert numbers == list(range(1, len(numbers) + 1))
