"""Opening a run: what a command asks for, and a folder that nobody else works in."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from filelock import FileLock, Timeout

from esrun import files
from esrun.backend import devices
from esrun.config.check import KINDS
from esrun.config.schema.run import Config
from esrun.errors import ConfigError, complain, tell
from esrun.runs import in_step, record
from esrun.runs.folder import Made, earlier_run, going_on, shown
from esrun.runs.interrupts import Interrupts
from esrun.runs.paths import RunFolder
from esrun.runs.record import Record, refuse_changes, what_it_computes
from esrun.runs.secrets import masked
from esrun.runs.sweep_show import Place

if TYPE_CHECKING:
    from esrun.runs.console import Show
    from esrun.runs.origin import Beginning
    from esrun.training.build import Run


class InUseError(ConfigError):
    """Another process works in a folder."""


class Order(NamedTuple):
    """What a command asks for."""

    config: Config
    """Checked."""
    given: dict
    """The same as it was composed, to be recorded and compared."""
    made: Made
    choices: dict[str, str]
    """The option that was chosen in each group."""
    going_on: bool = False
    """Whether an earlier run in the folder may be gone on with, as far as the configuration
    allows."""
    force: bool = False
    """Whether it may be as far as the shapes do."""
    retries: bool = False
    """Whether one that has failed, and has no checkpoint, begins anew."""
    secret: frozenset[str] = frozenset()
    """Keys whose values are masked in what is written."""
    hydra: Mapping[str, bytes] = {}
    """The files of Hydra's own record."""
    place: Place | None = None
    """In a sweep of several jobs."""

    @property
    def written(self) -> dict:
        """The configuration as it may be written."""
        return masked(self.given, self.secret)

    @property
    def computes(self) -> str | None:
        """What tells the checkpoints of this run from others', None where any will do."""
        # without null, which is what a key means that an earlier version did not have
        said = {key: x for key, x in what_it_computes(self.written).items() if x is not None}
        content = json.dumps(said, sort_keys=True).encode()
        return None if self.force else hashlib.sha256(content).hexdigest()[:16]


class OpenRun(NamedTuple):
    """A run in its folder, which this process holds the lock of."""

    folder: RunFolder
    built: "Run"
    order: Order
    about: dict
    """What the summary says of it from the beginning."""
    show: "Show"
    interrupts: Interrupts
    identity: tuple[int, int] | None
    """Of the folder when its lock was taken."""
    earlier: Record | None
    """What is known of the run that this one goes on with."""
    beginning: "Beginning | None"
    """Where it begins, if that is not at random and nothing was saved yet."""
    began: float

    def check_folder(self) -> None:
        """Raise FileNotFoundError unless the folder is still the one that is locked."""
        if self.folder.identity() != self.identity:
            raise FileNotFoundError(f"the run folder {self.folder.path} is gone")


@contextmanager
def held(folder: RunFolder, made: Made) -> Iterator[Record | None]:
    """The folder's lock -> what is known of an earlier run in it.

    Raises ConfigError where it cannot be had. Such an error, from here or from inside, leaves of a
    new folder nothing, and so does any other before there is a record.
    """
    lock, new = FileLock(folder.lock), False
    try:
        earlier_run(folder.path)  # the lock is a file too, and is opened in esrun's folders alone
        new = not folder.lock.exists()
        lock.acquire(timeout=0)
    except Timeout:
        where = shown(folder.path)
        raise InUseError(
            f"{where} is in use by another process: wait for it, or stop it first"
        ) from None
    except (ConfigError, OSError) as error:
        made.unmake()
        raise ConfigError(str(error)) from error
    try:
        yield earlier_run(folder.path)
    except Exception as error:
        if isinstance(error, ConfigError) or not folder.record.exists():
            if new:
                folder.lock.unlink(missing_ok=True)
            made.unmake()
        raise
    finally:
        lock.release()


def is_done(earlier: Record, order: Order, folder: RunFolder) -> bool:
    """Whether nothing is left to do. Raises ConfigError where the earlier run cannot be gone on
    with."""
    where = shown(folder.path)
    if not order.going_on:
        remedy = going_on(folder.path)
        raise ConfigError(f"{where} holds a run already: to go on with it, write {remedy}")
    refuse_changes(earlier.config, order.given, order.force)
    done = earlier.done and earlier.generations >= order.config.generations
    if done:
        tell(f"{where} is done already ({earlier.stop_reason})")
    return done


def lacks_checkpoints(earlier: Record, order: Order, folder: RunFolder) -> bool:
    """Whether a run that got somewhere has lost all of its checkpoints, which is said: it would
    silently begin anew."""
    from esrun.runs import checkpoint  # JAX comes with it

    if earlier.generations == 0 or order.force or checkpoint.found(folder.checkpoints):
        return False
    where = shown(folder.path)
    if order.retries and earlier.failed:
        tell(f"{where} has no checkpoint from before it failed: it begins anew")
        return False
    complain(
        f"{where} has done {earlier.generations} generations and has no checkpoint of them: put "
        f"its checkpoints/ back, or begin anew with {going_on(folder.path, '--force')}"
    )
    return True


def refuse_other_data(folder: Path, began_with: str | None, now: str | None) -> None:
    """Raise ConfigError where the data that a task has read are not those that the run in a folder
    `began_with`, by their digests; None of one that has noted none."""
    if began_with not in (None, now):
        raise ConfigError(
            f"the data must be those that {shown(folder)} began with (digest {began_with}), got "
            f"others ({now}): put the same files back, write task.file=PATH where they lie, or "
            "begin a new run"
        )


def names_in(config: Config, choices: Mapping) -> dict[str, str]:
    """-> what the user calls task, strategy and policy, by the options that were chosen."""
    return {kind: choices.get(kind) or getattr(config, kind).name for kind in KINDS}


def built(config: Config) -> "Run":
    """-> the run. JAX is set up before anything imports it. Raises ConfigError."""
    devices.start(config.runtime.precision, config.runtime.deterministic)
    from esrun.training.build import build

    return build(config)


def cut_as_before(config: Config, earlier: Record | None) -> Config:
    """-> the configuration, with the blocks that the run began with where they went by the memory
    of its machine. Another search has other blocks: those of a restarting run are cut anew."""
    cut, runtime = earlier and earlier.blocks, config.runtime
    by_memory = cut and cut.by == "memory" and runtime.population_chunk == "auto"
    anew = not by_memory or config.strategy.restarting() is not None
    chunk = in_step.cut(cut.members if cut and not anew else runtime.population_chunk)
    runtime = runtime.model_copy(update={"population_chunk": chunk})
    return config.model_copy(update={"runtime": runtime})


def cut_of(run: "Run") -> record.Cut:
    """-> how a run's population is cut."""
    from esrun.training.slices import goes_by_memory, plan_blocks

    chunk = run.config.runtime.population_chunk
    blocks = plan_blocks(run.parts, run.local_devices, chunk)
    by_memory = chunk == "auto" and goes_by_memory(run.local_devices)
    by = "memory" if by_memory else "configuration"
    return record.Cut(count=blocks.count, members=blocks.size, by=by)


def write_record(
    folder: RunFolder,
    order: Order,
    earlier: Record | None,
    local_devices: tuple = (),
    blocks: record.Cut | None = None,
    start: str | None = None,
    data: str | None = None,
) -> None:
    """Write what makes the folder a run's; the devices and blocks may not be known yet."""
    if earlier and earlier.blocks and (blocks is None or earlier.blocks.by == "memory"):
        blocks = earlier.blocks  # the run's own, wherever it goes on
    digests = {"start": start, "data": data}
    about = record.describe(order.written, order.choices, earlier, local_devices, blocks, digests)
    files.write_json(folder.record, about)
    for name, content in order.hydra.items():
        files.make_folder(folder.hydra)
        files.write(folder.hydra / name, content, flush=False)  # nothing goes on from these


def about(run: "Run", order: Order) -> dict:
    """-> what the summary says of a run from the beginning."""
    return {
        "num_params": run.parts.n,
        **names_in(order.config, order.choices),
        "seed": order.config.seed,
        "devices": devices.names(run.local_devices),
    }
