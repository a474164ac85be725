"""Random schedules of what happens to a run on a Ray cluster, drawn from their numbers: workers are
killed, machines are taken and join, the run's own process is lost. All end in the local run's bits.

`-m "ray and slow"`; `-s` shows what was drawn, and the seconds after which a lost run went on.
ESRUN_TEST_SCHEDULES takes other numbers: 25:50.
"""

import os
import random
import signal
import time
from importlib.util import find_spec

import pytest
from clusters import Cluster, killed
from conftest import finished, wait_for
from test_driver import drivers, resumed, supervisors
from test_hosts import generations
from test_ray import BLOCKS, ENDLESS, KINDS, figures, further, goes_on, workers_of

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.commands]
FIRST, LAST = map(int, os.environ.get("ESRUN_TEST_SCHEDULES", "0:25").split(":"))
EVENTS = 4
LOST_EVERY = 5
"""In one of so many schedules the run's own process is lost as well."""
COME = 10.0
"""Seconds in which workers may come: they compile first."""
STEPPED = (
    *("task=gymnasium", "strategy=openai_es", "strategy.population_size=12", "task.episodes=1"),
    *("task.episode_length=30", "policy.hidden=[8]", "policy.normalize_input=true", "seed=3"),
    *("eval.episodes=2", "eval.every=1000000", "checkpoint.every=20", BLOCKS),
)
SHARED_SUMS = (
    *("task=sphere", "task.dimension=100000", "strategy=openai_es", "seed=3", "eval.episodes=2"),
    *("strategy.population_size=240", "runtime.population_chunk=24", "eval.every=1000000"),
    "checkpoint.every=20",
)
"""Updates so large that workers share their sums."""
RUNS = KINDS | {"gymnasium": (*STEPPED, "task.env=CartPole-v1"), "shared sums": SHARED_SUMS}
if find_spec("mujoco"):
    RUNS["halfcheetah"] = (*STEPPED, "task.env=HalfCheetah-v5")
ON_RAY = ("hydra.run.dir=run", "runtime.engine=ray", "resume=auto", ENDLESS)


class Schedule:
    """What is to happen, drawn from a number."""

    def __init__(self, number):
        """Draw."""
        self._random = random.Random(number)
        kinds = list(RUNS)
        self.kind, self.workers = kinds[number % len(kinds)], 1 + number // len(kinds) % 3
        self.loses = (number + number // LOST_EVERY) % LOST_EVERY == 0
        self.driver = self._random.choice(["here", "ray"]) if self.loses else "here"
        self.events = [self._random.choice(["worker", "machine", "join"]) for _ in range(EVENTS)]
        if self.loses:
            self.events[self._random.randrange(EVENTS)] = "driver"

    def pause(self):
        """-> (generations until the next event, seconds in which workers may come before it)."""
        return self._random.randrange(1, 60), self._random.choice([0.0, COME])

    def one_of(self, found):
        """-> any of them."""
        return self._random.choice(sorted(found))


@pytest.fixture(scope="module")
def cluster(compiled):
    """-> a cluster whose head computes nothing."""
    with Cluster(compiled, cores=0) as found:
        yield found


class Happening:
    """A run to which all of it happens."""

    def __init__(self, cluster, start, folder, schedule):
        """Begin it."""
        self.cluster, self.schedule, self.run = cluster, schedule, folder / "run"
        self.machines = [cluster.machine(2), cluster.machine(2)]
        words = (*RUNS[schedule.kind], *ON_RAY, f"runtime.workers={schedule.workers}")
        self._begin = lambda: start(folder, *words, f"runtime.driver={schedule.driver}")
        self.running, self.stood = self._begin(), []

    def happen(self, event):
        """Have something happen, some time later."""
        generations_more, seconds = self.schedule.pause()
        further(self.running, self.run, generations_more)
        until = time.monotonic() + seconds
        while time.monotonic() < until and self._at_work() < self.schedule.workers:
            time.sleep(0.1)
        getattr(self, event)()

    def _at_work(self):
        return figures(self.run, "workers")[-1]

    def worker(self):
        """One is killed."""
        if found := workers_of(self.cluster.mark):
            os.kill(self.schedule.one_of(found), signal.SIGKILL)

    def machine(self):
        """One is taken, if there is another."""
        if len(self.machines) > 1:
            there = [x for x in self.machines if not supervisors(x)]  # the driver has its own turn
            self._take(self.schedule.one_of(there))

    def join(self):
        """One joins."""
        self.machines.append(self.cluster.machine(2))

    def driver(self):
        """The run's own process is lost, in one of several ways."""
        before, began = resumed(self.run), time.monotonic()
        if self.schedule.driver == "here":
            self.running.kill()
            finished(self.running)
            self.running = self._begin()
        else:
            how = self.schedule.one_of(["command", "supervisor", "machine"])
            if how == "machine":
                self.join()
                began = time.monotonic()
                self._take(next(x for x in self.machines if supervisors(x)))
            else:
                find = drivers if how == "command" else supervisors
                os.kill(*find(self.cluster.mark), signal.SIGKILL)
            print(f" {how}", end="")
        wait_for(lambda: resumed(self.run) > before, self.running)
        further(self.running, self.run, 1)
        self.stood.append(time.monotonic() - began)

    def _take(self, machine):
        self.machines.remove(machine)
        killed(machine)

    def end(self):
        """Have it end as by a signal."""
        self.running.terminate()
        code, said = finished(self.running)
        assert code == 75, said
        for machine in self.machines:
            killed(machine)


@pytest.mark.parametrize("number", range(FIRST, LAST))
def test_whatever_happens_a_run_has_the_bits_of_one_process(
    cluster, start, tmp_path, monkeypatch, number
):
    schedule = Schedule(number)
    for name, value in cluster.joins.items():
        monkeypatch.setenv(name, value)
    one = Happening(cluster, start, tmp_path, schedule)
    print(f"\n{number}: {schedule.kind}, {schedule.workers} workers:", *schedule.events, end="")
    wait_for(lambda: generations(one.run) > 5, one.running)
    for event in schedule.events:
        one.happen(event)
    further(one.running, one.run, 60)
    one.end()
    assert goes_on(start, tmp_path, RUNS[schedule.kind])
