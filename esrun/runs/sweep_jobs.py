"""Running the jobs of a sweep: several side by side, a thread each, or one after another.

Bits do not depend on it: whichever devices a run is given, it computes what the same line typed
alone does.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from esrun.backend import devices
from esrun.config.schema.run import Config
from esrun.errors import FAILED, SAVED, ConfigError, complain
from esrun.runs import folder, interrupts
from esrun.runs.interrupts import Lent, listening
from esrun.runs.sweep_endings import Job, ending, leave_failed
from esrun.runs.sweep_show import Place, SweepShow
from esrun.runs.sweep_table import show, swept

BESIDE_OTHERS = {"tensorboard"}
"""Loggers of which a process may have several at once."""


class Ready(NamedTuple):
    """A job that may be run."""

    folder: Path
    overrides: list[str]
    run: Callable[[Place | None], int]
    """Given where it stands in the sweep, its exit code."""
    ends_sweep: bool
    """Whether no other one begins when it fails."""
    failed: str | None
    """Why it has failed earlier, where it is to be left so."""
    config: Config | None
    """None where it is not known before it runs."""
    alone: bool = False
    """Whether it changes what all of the process share."""


class Sweep:
    """The jobs of a sweep on their way. A signal ends it, and the same command goes on with it. So
    does a failure where that is asked for, but for one of an earlier command: the sweep would get
    no further."""

    def __init__(self, jobs: list[Ready], place: Path):
        """`place`: the sweep's folder."""
        self._jobs, self._place = jobs, place
        self._done: dict[int, Job] = {}
        self._names = swept([job.overrides for job in jobs])
        self._ended = False

    def run(self) -> list[Job]:
        """Run them all -> how they went."""
        places, count = places_of(self._jobs), len(self._jobs)
        with listening() as heard:
            if len(places) > 1:
                beside = count - 1 if count % len(places) == 1 else count  # a last one has them all
                self._side_by_side(places, beside, heard)
            with heard.saving(self._leave):
                shown = SweepShow(self._names)
                for i in range(count):
                    if i not in self._done and not self._is_over(heard):
                        self._one(i, shown)
        return self._all(FAILED if self._ended else SAVED)

    def _side_by_side(self, places: list[tuple], count: int, heard: interrupts.Interrupts) -> None:
        beside = Beside(places, heard)

        def run(i: int) -> None:
            if not self._is_over(heard):
                with beside.one():
                    self._one(i, board)

        from esrun.runs.sweep_board import Board  # JAX comes with it

        with (
            heard.at_once(self._leave),
            Board(self._names) as board,
            ThreadPoolExecutor(len(places)) as pool,
        ):
            for future in [pool.submit(run, i) for i in range(count)]:
                future.result()

    def _one(self, i: int, shown: SweepShow) -> None:
        job, cause = self._jobs[i], None
        shown.begins(i)
        try:
            if job.failed is not None:
                code = leave_failed(job.folder, job.failed)
            else:
                code = job.run(shown.place(i))
        except ConfigError as error:  # what is wrong with one does not end the others
            code, cause = complain(error), str(error)
        self._done[i] = Job(job.folder, job.overrides, code, cause)
        shown.ends(i, ending(self._done[i]).in_words)
        self._ended |= code == FAILED and job.ends_sweep and job.failed is None

    def _is_over(self, heard: interrupts.Interrupts) -> bool:
        return self._ended or heard.name is not None

    def _all(self, code: int) -> list[Job]:
        """-> all jobs, those that have not begun with this code."""
        return [
            self._done.get(i) or Job(job.folder, job.overrides, code, begun=False)
            for i, job in enumerate(self._jobs)
        ]

    def _leave(self, name: str) -> str:
        show(self._all(SAVED), self._place)
        return f"ended by {name}; to go on: {folder.going_on(self._place)}"


class Beside:
    """Devices for runs that go on side by side, in threads."""

    def __init__(self, places: list[tuple], heard: interrupts.Interrupts):
        """`places`: of `places_of`; of none there is one, which has them all."""
        self._count, self._heard = len(places), heard
        self._free: SimpleQueue[tuple | None] = SimpleQueue()
        for place in places or [None]:
            self._free.put(place)

    @contextmanager
    def one(self) -> Iterator[None]:
        """A run in this thread, once there is room for it."""
        interrupts.lent.set(Lent(self._heard))
        place = self._free.get()
        try:
            if place is None:
                yield
            else:
                with devices.within(place, self._count):
                    yield
        finally:
            self._free.put(place)


def places_of(jobs: list[Ready]) -> list[tuple]:
    """-> the devices of each of the runs that go on side by side; none for one after another."""
    configs = [job.config for job in jobs if job.config is not None]
    if len(configs) < len(jobs) or any(job.alone for job in jobs):
        return []
    return places_for(configs, len(jobs))


def places_for(configs: list[Config], count: int) -> list[tuple]:
    """-> the devices of each of the `count` runs of some configurations, none for one after
    another."""
    if count < 2 or any(map(needs_all, configs)):
        return []
    settings = {
        (x.runtime.parallel_runs, x.runtime.devices, x.runtime.precision, x.runtime.deterministic)
        for x in configs
    }
    if len(settings) > 1:
        return []
    most, each, precision, deterministic = settings.pop()
    if most == 1:
        return []
    devices.start(precision, deterministic)
    found = devices.all_local()
    if devices.on_cpu(found) and each in ("auto", 1):
        places = [found[:1]] * len(found)  # threads share it: the program is compiled once
    else:
        size = 1 if each == "auto" else int(each)
        places = [found[i : i + size] for i in range(0, len(found) - size + 1, size)]
    return places[: count if most == "auto" else min(int(most), count)]


def needs_all(config: Config) -> bool:
    """Whether a run is to have the process, or the machine, for itself."""
    return (
        config.task.name == "gymnasium"  # its processes serve one run
        or config.runtime.engine == "ray"  # and so do its workers
        or config.stop.seconds is not None  # a bound on what a machine does in that time
        or bool({x.name for x in config.logger.values()} - BESIDE_OTHERS)
    )
