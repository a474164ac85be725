"""One run in its folder: opened, trained, left, closed."""

import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from esrun import garbage_collection
from esrun.backend import cluster, devices, hosts
from esrun.errors import DONE, FAILED, SAVED, complain, first_line
from esrun.runs import ending_early, in_step
from esrun.runs.folder import shown
from esrun.runs.interrupts import Interrupts
from esrun.runs.loggers.telling import SHORTLY, Loggers
from esrun.runs.opening import (
    OpenRun,
    Order,
    about,
    built,
    cut_as_before,
    cut_of,
    held,
    is_done,
    lacks_checkpoints,
    names_in,
    refuse_other_data,
    write_record,
)
from esrun.runs.paths import RunFolder
from esrun.runs.record import Record, doubts
from esrun.runs.sweep_record import begun_with
from esrun.training.worker import Worker

if TYPE_CHECKING:
    from esrun.backend.compilation import Clock
    from esrun.training.loop import Outcome, Progress


def carry_out(order: Order) -> int:
    """Train in a folder -> the exit code.

    Raises ConfigError for an order that cannot be carried out, which leaves nothing behind; any
    failure after that is told in the folder's `summary.json` and log.
    """
    began, folder = time.monotonic(), RunFolder(order.made.folder)
    with (
        in_step.listening() as interrupts,
        held(folder, order.made) as earlier,
        interrupts.saving(),
        cluster.closing(),
    ):
        if earlier is not None and is_done(earlier, order, folder):
            return DONE
        if hosts.here is not None:
            hosts.here.when_lost = partial(ending_early.leave_lost, folder, order)
        with interrupts.at_once(partial(ending_early.leave, folder, order, earlier, began)):
            opened = _opened(order, folder, earlier, interrupts, began)
        if opened is None:
            return FAILED
        with opened.show:
            return _train_and_leave(opened)


def _opened(
    order: Order, folder: RunFolder, earlier: Record | None, interrupts: Interrupts, began: float
) -> OpenRun | None:
    """-> the run, None where it cannot be gone on with or written to, which is said."""
    if order.config.runtime.engine == "ray":
        cluster.open_cluster(Worker, order.config.runtime.workers)
    identity, run = folder.identity(), built(cut_as_before(order.config, earlier))
    in_step.meet_with(run)
    if earlier is not None and lacks_checkpoints(earlier, order, folder):
        return None
    from esrun.runs.console import Show
    from esrun.runs.costs import affordable
    from esrun.runs.origin import begun

    if run.data and (known := begun_with(folder.path, order.given)):
        refuse_other_data(*known, run.data)
    warnings = affordable(run, names_in(order.config, order.choices))
    begins = begun(run, folder, earlier)
    try:
        digest = begins and begins.origin.digest
        write_record(folder, order, earlier, run.local_devices, cut_of(run), digest, run.data)
        every, config = order.config.log.every, order.config
        limits = config.generations, config.stop
        show = Show(folder.log, every, *limits, config.progress, order.place)
        for line in [*(doubts(earlier) if earlier else []), *(f"warning: {x}" for x in warnings)]:
            show.say(line)
        if cluster.here is not None:
            cluster.here.say = show.say
    except OSError as error:
        complain(f"{shown(folder.path)} cannot be written to: {error}")
        return None
    return OpenRun(
        folder=folder,
        built=run,
        order=order,
        about=about(run, order),
        show=show,
        interrupts=interrupts,
        identity=identity,
        earlier=earlier,
        beginning=begins,
        began=began,
    )


def _train_and_leave(opened: OpenRun) -> int:
    """Train and leave -> the exit code."""
    from esrun.backend.compilation import Clock
    from esrun.runs import ending

    loggers = Loggers(opened.show.say)
    try:
        with Clock() as compiling:
            with opened.interrupts.at_once(
                partial(
                    ending_early.leave, opened.folder, opened.order, opened.earlier, opened.began
                )
            ):
                loggers.begin(opened.folder.path, opened.built.config.logger)
            opened, outcome = _trained_as_memory_allows(opened, loggers, compiling)
            outcome, summary = ending.leave(opened, outcome, compiling)
    except Exception as error:
        if hosts.here is not None:
            hosts.here.verdict()
        ending.leave_failed(opened, error)
        if hosts.here is not None:
            hosts.here.leave(first_line(error), FAILED)
        return FAILED
    finally:
        loggers.close()
    ending.close(opened, outcome, summary)
    return {"done": DONE, "interrupted": SAVED}.get(summary["status"], FAILED)


def _trained_as_memory_allows(
    opened: OpenRun, loggers: Loggers, clock: "Clock"
) -> tuple[OpenRun, "Outcome"]:
    while True:
        try:
            return opened, _train(opened, loggers, clock)
        except RuntimeError as error:  # XLA's errors are RuntimeErrors with a code in the text
            if "RESOURCE_EXHAUSTED" not in str(error) or not in_step.all_have_run_out_of_memory():
                raise
            from esrun.training.retreat import with_less_memory

            smaller, line = with_less_memory(opened.built)
            opened.show.say(line)
            opened = opened._replace(built=smaller)


def _train(opened: OpenRun, loggers: Loggers, clock: "Clock") -> "Outcome":
    """Resources and callbacks, nothing else."""
    from esrun.runs.checkpoint_writer import Saver
    from esrun.runs.health import Health
    from esrun.runs.kept_policies import Keeper
    from esrun.runs.metrics import Metrics
    from esrun.training.restarts import search_until

    folder, built, show, order = opened.folder, opened.built, opened.show, opened.order
    decay = getattr(built.config.strategy, "fitness_decay", None)
    health = Health(built.config.runtime.precision, decay)
    with Saver(
        folder.checkpoints, built.config.checkpoint, show.say, opened.check_folder, order.computes
    ) as saver:
        start = saver.restore(built) if opened.earlier is not None or saver.any() else None
        generation = start.progress.generation if start else 0
        _announce(opened, generation if start else None)
        keeper = Keeper(folder, built, order.written, show.say, opened.check_folder, generation)
        if start:
            show.resume(start.progress)
        start = in_step.starting(built, start or (opened.beginning and opened.beginning.start))
        with Metrics(folder.metrics, generation, show.say) as metrics, keeper:
            loggers.go_on(folder.metrics, generation)

            def report(progress):
                for line in metrics.add(progress):
                    loggers.log(line)
                show.progress(progress)
                for warning in health.look(progress.rows, len(progress.searches)):
                    show.say(warning)

            def save(state, progress, final):
                keeper.keep(state, progress)
                if final:
                    metrics.retry()

                def before():
                    metrics.sync(progress.generation)
                    keeper.sync(progress.generation)

                saver.save(state, progress, final, before)
                if final:
                    keeper.sync(progress.generation)

            @contextmanager
            def beginning(progress):
                leave = partial(_leave_beginning, opened, loggers, progress, clock)
                with opened.interrupts.at_once(leave):
                    yield
                garbage_collection.resume()

            return search_until(
                built,
                report,
                start=start,
                save=save,
                beginning=beginning,
                say=show.say,
                **in_step.agreed(opened.interrupts),
            )


def _leave_beginning(
    opened: OpenRun, loggers: Loggers, progress: "Progress", clock: "Clock", signal: str
) -> str:
    from esrun.runs import ending

    line = ending.leave_beginning(opened, progress, clock, signal)
    loggers.close(SHORTLY)
    return line


def _announce(opened: OpenRun, resumed: int | None) -> None:
    """The panel at the beginning."""
    built, names, config = opened.built, opened.about, opened.built.config
    parts = built.parts
    episodes, task, env = parts.task.episodes, names["task"], getattr(config.task, "env", None)
    task = f"{task} {env}" if env and task == config.task.name else task
    where = " ".join(devices.names(built.local_devices))
    rows = {
        "task": f"{task}, {episodes} episode{'s' * (episodes > 1)} a member",
        "policy": f"{names['policy']}, {parts.n} parameters",
        "strategy": f"{names['strategy']}, {parts.strategy.population_size} members",
        "devices": f"{where} ({built.local_devices[0].device_kind})",
    }
    if resumed is None and opened.beginning is not None:
        rows["begins at"] = opened.beginning.origin.about
    if resumed is not None:
        rows["resumed"] = f"after generation {resumed}"
    opened.show.panel("esrun", rows, below={"run folder": shown(opened.folder.path)})
    opened.show.status("compiling")
