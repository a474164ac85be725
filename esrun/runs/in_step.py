"""A run that several processes train in step: what process 0 tells the others, and what all are to
agree on before each dispatch. Alone, a process agrees with itself.

Clocks differ between machines, and a signal reaches one process: where that decided how many
generations a chunk has, devices would wait for each other for ever. So the clock and the question
whether to go on are process 0's, and everything that follows from them is the same everywhere.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from esrun.backend import everywhere, hosts
from esrun.backend.addresses import found_place, place_of
from esrun.backend.hosts import Hosts
from esrun.config.extras import packages_of, versions
from esrun.errors import FAILED, SAVED, USAGE, ConfigError, first_line
from esrun.runs import interrupts, same
from esrun.runs.interrupts import Interrupts, Leave
from esrun.runs.process_signals import end_at_once

if TYPE_CHECKING:
    from esrun.training.build import Run
    from esrun.training.loop import Progress, Start

OUT_OF_MEMORY = 10.0
"""Seconds within which all must have run out of memory where one has: they are of one kind and do
the same. Otherwise one has less than the others."""


@contextmanager
def together(
    text: str | None, asked: dict[str, Any], devices: Any, saved: Callable[[], bool]
) -> Iterator[Hosts | None]:
    """Meet the processes that `runtime.hosts` says -> them, None where this one is alone. Process 0
    is asked whether there is a checkpoint to go on from.

    What ends this one inside ends the others. Raises ConfigError, and AbsentError where others are
    not there.
    """
    place = None if text is None else place_of(text) or found_place()
    if place is None or place.count == 1:
        yield None
        return
    from esrun.backend import meeting

    end_at_once()  # JAX would wait for those that are lost
    here, service = meeting.meet(place, same.everywhere(), asked, devices)
    try:
        with listening() as heard, heard.at_once(lambda signal: ""):
            if here.number == 0 and saved():
                here.note_saved()
            meeting.start(here, service)
            yield here
    except ConfigError as error:
        here.leave(str(error), USAGE)
        raise
    except BaseException as error:
        here.leave(f"{type(error).__name__}: {first_line(error)}", FAILED)
        raise


def listening() -> Interrupts:
    """-> what a run asks for signals; those that one of several processes hears are everybody's."""
    found = interrupts.listening()
    return found if hosts.here is None else Together(found, hosts.here)


class Together(Interrupts):
    """Those of all processes."""

    def __init__(self, owner: Interrupts, here: Hosts):
        """`owner`: those of this process."""
        self.owner, self._here = owner, here

    @property
    def name(self) -> str | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """-> the signal that came first, to whichever process."""
        return self.owner.name or self._here.signalled

    def __enter__(self):
        """-> itself, listening."""
        self.owner.__enter__()
        return self

    def __exit__(self, *error):
        """As the owner does."""
        self.owner.__exit__(*error)

    @contextmanager
    def saving(self, leave: Leave | None = None) -> Iterator[None]:
        """As in Interrupts."""
        with self.owner.saving(leave):
            yield

    @contextmanager
    def at_once(self, leave: Leave) -> Iterator[None]:
        """As in Interrupts; the others end with it."""

        def left(signal: str) -> str:
            self._here.leave(f"ended by {signal}", SAVED, signal)
            return leave(signal)

        with self.owner.at_once(left):
            yield


def agreed(heard: Interrupts) -> dict[str, Any]:
    """-> what the loop is given: whether a signal asks for an end, and a clock."""
    here = hosts.here
    if here is None:
        return {"interrupted": lambda: heard.name is not None}

    def interrupted() -> bool:
        if here.number and heard.name:
            here.tell_signal(heard.name)
        return here.word("signal", heard.name is not None)

    return {"interrupted": interrupted, "clock": lambda: here.word("clock", time.monotonic())}


def cut(chunk: int | str) -> int | str:
    """-> process 0's `runtime.population_chunk`: that of the run's record, where there is one."""
    return chunk if hosts.here is None else hosts.here.word("chunk", chunk)


def meet_with(run: "Run") -> None:
    """Have the devices of all processes meet. Raises ConfigError where one has read other data, or
    has other packages of what the run's options need."""
    from esrun.backend import among

    if hosts.here is None:
        return
    needed = versions(packages_of(run.config))
    same.refuse_other_versions(hosts.here.everyone("versions", needed))
    data = hosts.here.everyone("data", run.data)
    if any(x != data[0] for x in data):
        raise ConfigError(
            f"the data must be the same on all hosts, got digests {', '.join(map(str, data))}: "
            "put the same files everywhere"
        )
    among.greet(run.local_devices)


def begins_at(arrays: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Process 0 gives where the search begins, {} for anywhere -> it, for everybody."""
    import numpy as np

    if hosts.here is None:
        return dict(arrays or {})
    given = {name: np.asarray(x) for name, x in (arrays or {}).items() if x is not None}
    return hosts.here.arrays("origin", given)


def starting(run: "Run", start: "Start | None") -> "Start | None":
    """Process 0 says where the run goes on, None from its beginning -> it, for everybody."""
    here = hosts.here
    if here is None:
        return start
    import jax
    import jax.numpy as jnp
    import numpy as np

    from esrun.training.loop import Start

    said = here.word("start", start and _told(start.progress))
    leaves = jax.tree.leaves(start.state) if start else []
    arrays = here.arrays("state", {str(i): np.asarray(x) for i, x in enumerate(leaves)})
    if said is None or here.number == 0:
        return start
    shapes = jax.eval_shape(run.program.init, run.hyper, jnp.uint32(run.config.seed))
    state = jax.tree.unflatten(jax.tree.structure(shapes), list(arrays.values()))
    return Start(everywhere.replicated(run.local_devices, state), _heard(said))


def _told(progress: "Progress") -> dict[str, Any]:
    scores = {name: getattr(progress, name) for name in ("score", "initial")}
    return progress._asdict() | {name: x and x._asdict() for name, x in scores.items()}


def _heard(said: dict[str, Any]) -> "Progress":
    from esrun.training.loop import Progress
    from esrun.training.score import Score

    scores = {name: said[name] and Score(**said[name]) for name in ("score", "initial")}
    return Progress(**dict[str, Any](said | scores))


def all_have_run_out_of_memory() -> bool:
    """Whether all processes are to go on with less, where one has run out of memory."""
    return hosts.here is None or hosts.here.all_come("memory", OUT_OF_MEMORY)
