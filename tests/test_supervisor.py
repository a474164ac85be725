"""A run that is carried on: killed, told to end, unwatched, left alone."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import PATIENCE, same, wait_for

from esrun.runs import supervisor
from esrun.runs.carried import Job
from esrun.runs.paths import RunFolder
from esrun.runs.supervisor import Supervisor

pytestmark = pytest.mark.commands
RUN = (
    *("task=sphere", "strategy=openai_es", "strategy.population_size=8", "eval.episodes=2"),
    *("eval.every=20", "checkpoint.every=20", "log.every=1000000"),
)
TOKEN = "run.json.00000000.partial"
ENDLESS = "generations=2000000000"
LEAVES = """
import os, subprocess
with open("left", "a") as left:
    for alone in (False, True):
        print(subprocess.Popen(["sleep", "60"], start_new_session=alone).pid, file=left)
os.kill(os.getpid(), 9)
"""
COUNTS = """
import signal, sys, time
signal.pthread_sigmask(signal.SIG_SETMASK, [])
heard = []
signal.signal(signal.SIGINT, lambda number, _: heard.append(signal.Signals(number).name))
print("listens", flush=True)
while not heard:
    time.sleep(0.1)
time.sleep(2)
print(*heard)
sys.exit(75)
"""
ALONE = """
import os, sys, time
from esrun.runs import supervisor
from esrun.runs.carried import Job
class Own:
    surroundings = dict
tether = supervisor.COMMAND.split("sys.argv")[0]
supervisor.COMMAND = tether + "print(os.getpid(), file=open('pid', 'w'), flush=True)\\n"
supervisor.COMMAND += "import time; time.sleep(1000)"
open("token", "w")
supervisor.Supervisor(Job([], [], ".", ".", "token", "").content, Own())
time.sleep(1000)
"""


class Own:
    """What it knows of itself without Ray."""

    again = False

    def __init__(self, environment):
        """Of its command."""
        self.surroundings = lambda: environment
        self.ended = threading.Event()

    def end(self, name):
        """Remember it."""
        self.ended.set()


@pytest.fixture
def carried(compiled, tmp_path, monkeypatch):
    """-> (words) -> a supervisor of a run in the folder `run`, begun as by Ray, in whose threads
    signals are blocked."""
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    begun = []

    def begin(*words):
        words = [*RUN, *words, "hydra.run.dir=run", "resume=auto"]
        job = Job(words, [], str(tmp_path / "run"), str(tmp_path), TOKEN, "")
        (tmp_path / "run").mkdir(exist_ok=True)
        if not (tmp_path / "run" / TOKEN).exists():
            (tmp_path / "run" / TOKEN).touch()

        def make():
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            begun.append(Supervisor(job.content, Own(compiled)))

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        return begun[-1]

    yield begin
    for one in begun:
        one.signal(b'"SIGKILL"')
        if (process := one._process) is not None:  # one that was told to end before
            process.kill()


def heard(one, until=lambda lines: False):
    """-> (the lines that were said until they are enough, or the end; the exit code)."""
    life, known, lines, ends = "", 0, [], time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        question = {"life": life, "known": known, "seconds": 0.1}
        told = json.loads(one.listen(json.dumps(question).encode()))
        life, known = told["life"], told["known"]
        lines += [line for _, line in told["said"]]
        if told["code"] is not None or until(lines):
            return lines, told["code"]
    raise TimeoutError


def alive(pid):
    command = Path(f"/proc/{pid}/cmdline")
    return command.exists() and command.read_bytes() != b""  # it has none when it has ended


def wait_until_saved(one, tmp_path, generation):
    folder = RunFolder(tmp_path / "run")
    _, code = heard(one, lambda lines: folder.saved() >= generation)
    assert code is None


def test_a_command_that_is_killed_is_begun_again_and_computes_the_same(carried, command, tmp_path):
    one, again = carried("generations=5000"), "esrun: ended by SIGKILL: begun again"
    for times in (1, 2):
        wait_until_saved(one, tmp_path, RunFolder(tmp_path / "run").saved() + 20)
        one._process.kill()
        _, code = heard(one, lambda lines, times=times: lines.count(again) == times)
        assert code is None
    lines, code = heard(one)
    assert code == 0
    assert "run folder: run" in lines
    alone = tmp_path / "alone"
    command(*RUN, "generations=5000", f"hydra.run.dir={alone}")
    same(tmp_path / "run", alone)


def test_one_that_is_told_to_end_is_saved_and_not_begun_again(carried, tmp_path):
    one = carried(ENDLESS)
    wait_until_saved(one, tmp_path, 20)
    one.signal(b'"SIGINT"')
    assert heard(one)[1] == 75
    assert json.loads((tmp_path / "run/summary.json").read_text())["status"] == "interrupted"


def test_of_signals_a_command_hears_the_first(carried, tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "COMMAND", COUNTS)
    one = carried()
    heard(one, lambda lines: "listens" in lines)
    for _ in range(3):
        one.signal(b'"SIGINT"')
        time.sleep(0.3)
    assert heard(one) == (["listens", "SIGINT"], 75)


def test_one_that_somebody_else_ends_goes_on(carried, tmp_path):
    one = carried(ENDLESS)
    wait_until_saved(one, tmp_path, 20)
    one._process.terminate()
    heard(one, lambda lines: "esrun: told to end: begun again" in lines)
    wait_until_saved(one, tmp_path, RunFolder(tmp_path / "run").saved() + 20)


def test_one_that_nobody_watches_is_saved_and_ended(carried, tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "UNWATCHED", 2.0)
    one = carried(ENDLESS)
    wait_until_saved(one, tmp_path, 20)
    time.sleep(3)
    assert heard(one)[1] == 75


def test_one_that_is_killed_again_and_again_has_failed(carried, monkeypatch):
    monkeypatch.setattr(supervisor, "COMMAND", "import os; os.kill(os.getpid(), 9)")
    lines, code = heard(carried())
    assert code == 1
    assert lines[-1] == "esrun: ended by SIGKILL 3 times without getting further"


def test_another_one_knows_the_end_and_that_it_was_to_end(carried, tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "COMMAND", "import time; print('begun'); time.sleep(1000)")
    lost = carried()
    heard(lost, lambda lines: "begun" in lines)
    lost._process.send_signal = lambda number: None  # its machine is lost before
    lost.signal(b'"SIGINT"')
    lines, code = heard(carried())
    assert (code, "begun" in lines) == (75, False)
    monkeypatch.setattr(supervisor, "COMMAND", "raise SystemExit(7)")
    (tmp_path / "run" / TOKEN).write_bytes(b"")
    assert heard(carried())[1] == 7
    monkeypatch.setattr(supervisor, "COMMAND", "raise SystemExit(8)")
    assert heard(carried())[1] == 7


def test_an_end_that_was_heard_is_kept_for_a_moment(carried, tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "COMMAND", "raise SystemExit(7)")
    one = carried()
    assert heard(one)[1] == 7
    assert (tmp_path / "run" / TOKEN).exists()
    assert not json.loads(one.job(b""))["over"]
    one.heard(b"")
    assert json.loads(one.job(b""))["over"]
    assert heard(one)[1] == 7
    assert one._own.ended.wait(PATIENCE)
    assert not (tmp_path / "run" / TOKEN).exists()


def test_an_end_is_told_where_nothing_can_be_written(carried, tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "COMMAND", "raise SystemExit(7)")
    monkeypatch.setattr(supervisor, "LINGER", 0.1)
    monkeypatch.setattr(supervisor, "HEARD", 0.1, raising=False)
    (tmp_path / "run" / TOKEN).mkdir(parents=True)  # what can neither be written nor be removed
    one = carried()
    assert heard(one)[1] == 7
    assert one._own.ended.wait(PATIENCE)


def test_one_that_leaves_something_behind_is_begun_again(carried, tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "COMMAND", LEAVES)
    try:
        assert heard(carried())[1] == 1
        left = [int(pid) for pid in (tmp_path / "left").read_text().split()]
        assert len(left) == 6
        assert [alive(pid) for pid in left] == [False, True] * 3
    finally:
        for pid in map(int, (tmp_path / "left").read_text().split()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_a_command_ends_with_its_supervisor(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ALONE], cwd=tmp_path)
    pid = tmp_path / "pid"
    wait_for(lambda: pid.exists() and pid.read_text(), process)
    command = int(pid.read_text())
    assert alive(command)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    until = time.monotonic() + 60
    while alive(command):
        assert time.monotonic() < until
        time.sleep(0.05)
