"""What the processes of a run other than process 0 do: the same computations, and nothing else.

They write nothing and print nothing; the state is process 0's to save and to restore.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from esrun import garbage_collection
from esrun.backend import hosts
from esrun.backend.hosts import OverError
from esrun.config.schema.run import Config
from esrun.errors import FAILED, ConfigError, complain, first_line
from esrun.runs import in_step
from esrun.runs.interrupts import Interrupts
from esrun.runs.opening import built
from esrun.runs.process_signals import end

if TYPE_CHECKING:
    from esrun.training.build import Run
    from esrun.training.loop import Outcome, Start


def follow(config: Config) -> int:
    """Train in step with process 0 -> its exit code. Raises ConfigError."""
    here = hosts.here
    assert here is not None
    here.when_lost = lambda line, code, reason: end(code, f"esrun: {line}")
    with in_step.listening() as interrupts, interrupts.saving():
        try:
            return _follow(config, interrupts)
        except OverError as over:
            return over.code
        except ConfigError:
            raise
        except Exception as error:
            here.verdict()
            line = f"{here.name} failed: {type(error).__name__}: {first_line(error)}"
            complain(line)
            here.leave(line, FAILED)
            return FAILED


def _follow(config: Config, interrupts: Interrupts) -> int:
    here = hosts.here
    assert here is not None
    with interrupts.at_once(lambda signal: f"ended by {signal}"):
        chunk = in_step.cut(config.runtime.population_chunk)
        runtime = config.runtime.model_copy(update={"population_chunk": chunk})
        run = built(config.model_copy(update={"runtime": runtime}))
        in_step.meet_with(run)
        begins = _beginning(run)
    outcome = _trained_as_memory_allows(run, begins, interrupts)
    from esrun.training.restarts import tested

    tested(run, outcome)
    return here.part(0)


def _beginning(run: "Run") -> "Start | None":
    """-> the start around process 0's origin, None where that is at random."""
    from esrun.training.loop import NOTHING, Start
    from esrun.training.restarts import state_at
    from esrun.types import Moments

    if not (arrays := in_step.begins_at()):
        return None
    moments = [arrays[name] for name in Moments._fields if name in arrays]
    normalizer = Moments(*moments) if moments else None
    return Start(state_at(run, arrays["policy"], normalizer, arrays.get("references")), NOTHING)


def _trained_as_memory_allows(
    run: "Run", begins: "Start | None", interrupts: Interrupts
) -> "Outcome":
    while True:
        try:
            return _train(run, begins, interrupts)
        except RuntimeError as error:  # as for process 0
            if "RESOURCE_EXHAUSTED" not in str(error) or not in_step.all_have_run_out_of_memory():
                raise
            from esrun.training.retreat import with_less_memory

            run, _ = with_less_memory(run)


def _train(run: "Run", begins: "Start | None", interrupts: Interrupts) -> "Outcome":
    from esrun.training.restarts import search_until

    @contextmanager
    def beginning(progress) -> Iterator[None]:
        with interrupts.at_once(lambda signal: f"ended by {signal}"):
            yield
        garbage_collection.resume()

    return search_until(
        run,
        lambda progress: None,
        start=in_step.starting(run, begins),
        beginning=beginning,
        **in_step.agreed(interrupts),
    )
