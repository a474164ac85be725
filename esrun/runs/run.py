"""One run in its folder: started or resumed, trained, saved, summed up."""

import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from esrun import files
from esrun.config import registry
from esrun.config.check import KINDS, Run, build, checked
from esrun.errors import ConfigError
from esrun.runs import console, rundir
from esrun.runs.folder import LOCK, RECORD, Made, earlier_run, shown
from esrun.runs.interrupts import Interrupts
from esrun.runs.record import Record, refuse_changes

DONE, FAILED, USAGE, SAVED = 0, 1, 2, 75


def run(
    cfg: dict,
    made: Made,
    choices: dict[str, str],
    *,
    going_on: bool = False,
    force: bool = False,
    secret: frozenset[str] = frozenset(),
    hydras: Mapping[str, bytes] = {},
) -> int:
    """Train in a folder -> the exit code.

    A folder that holds a run already is gone on with if `going_on`, as far as the configuration
    allows (`force`: as far as the shapes do). The keys in `secret` are masked in what is written.
    `hydras` are the files of Hydra's own record. A configuration that turns out wrong leaves
    nothing behind; any other failure is told in the folder's `summary.json` and log.
    """
    began = time.monotonic()
    folder = made.folder
    lock = FileLock(folder / LOCK)
    try:
        config = checked(cfg)
        earlier_run(folder)  # the lock is a file too, and is opened only in a folder of esrun's
        new = not (folder / LOCK).exists()
        lock.acquire(timeout=0)
    except Timeout:
        print_error(f"{shown(folder)} is in use by another process: wait for it, or stop it first")
        return USAGE
    except (OSError, ValueError) as error:
        made.unmake()
        print_error(str(error))
        return USAGE
    try:
        try:
            earlier = earlier_run(folder)
            if earlier is not None:
                if not going_on:
                    raise ConfigError(
                        f"{shown(folder)} holds a run already: write resume={shown(folder)} to go "
                        "on with it"
                    )
                refuse_changes(earlier.config, cfg, force)
                if earlier.done and earlier.generations >= config.generations:
                    print(f"{shown(folder)} is done already ({earlier.stop_reason})")
                    return DONE
            built = build(config)
        except ValueError as error:
            if new:
                (folder / LOCK).unlink(missing_ok=True)
            made.unmake()
            print_error(str(error))
            return USAGE
        return _locked(rundir.masked(cfg, secret), folder, choices, built, earlier, began, hydras)
    finally:
        lock.release()


def _locked(
    cfg: dict,
    folder: Path,
    choices,
    built: Run,
    earlier: Record | None,
    began: float,
    hydras: Mapping[str, bytes],
) -> int:
    names = {kind: choices.get(kind) or getattr(built.config, kind).name for kind in KINDS}
    try:
        record = rundir.describe(cfg, choices, rundir.command_line(), built.local_devices)
        rundir.write_json(folder / RECORD, record)  # first: from here on this is a run folder
        for name, content in hydras.items():
            files.make_folder(folder / ".hydra")
            files.write(folder / ".hydra" / name, content)
    except OSError as error:
        print_error(f"{shown(folder)} cannot be written to: {error}")
        return FAILED
    with (
        Interrupts() as interrupts,
        console.Show(
            folder / "esrun.log", built.config.log.every, built.config.generations
        ) as show,
    ):
        try:
            loggers = [
                registry.factory("logger", options.name)(
                    folder=folder, **options.model_dump(exclude={"name"})
                )
                for options in built.config.logger.values()
            ]
            while True:
                try:
                    summary = _train(
                        built,
                        cfg,
                        folder,
                        names,
                        show,
                        loggers,
                        interrupts,
                        earlier is not None,
                        began,
                    )
                    break
                except (
                    RuntimeError
                ) as error:  # XLA's errors are RuntimeErrors with a code in the text
                    if "RESOURCE_EXHAUSTED" not in str(error):
                        raise
                    built = _with_less_memory(built, show)
        except Exception as error:
            show.say(traceback.format_exc())
            failed = {"status": "failed", "stop_reason": f"{type(error).__name__}: {error}"} | names
            _try_to_write(folder / "summary.json", failed)
            print_error(
                f"the run failed: {error!r}; {shown(folder / 'esrun.log')} has the traceback"
            )
            return FAILED
        show.panel(summary["status"], _closing_rows(summary), below=_next_step(summary, folder))
    return {"done": DONE, "interrupted": SAVED}.get(summary["status"], FAILED)


def _with_less_memory(built: Run, show: console.Show) -> Run:
    """The same run with half the population chunk. Raises MemoryError when there is nothing left to
    halve."""
    from esrun.training.slices import plan_slices

    parts, plan = built.program.parts(built.hyper), built.program.plan()
    chunk = built.config.runtime.population_chunk
    _, members = plan.slices if plan else plan_slices(parts, built.local_devices, chunk)
    if members <= parts.strategy.unit:
        raise MemoryError(
            "the device has no room for one member: make task.episodes or policy.hidden smaller"
        )
    built.config.runtime.population_chunk = members // 2
    show.say(
        f"out of memory with {members} members at a time: going on with "
        f"runtime.population_chunk={members // 2}"
    )
    return build(built.config)


def _train(
    built: Run, cfg, folder: Path, names, show, loggers, interrupts, resuming: bool, began: float
) -> dict[str, Any]:
    import numpy as np

    from esrun.backend import memory
    from esrun.backend.compilation import Clock
    from esrun.runs.health import Health
    from esrun.runs.metrics import Metrics
    from esrun.runs.saver import Saver
    from esrun.training.loop import FAILURES
    from esrun.training.restarts import train

    parts = built.program.parts(built.hyper)
    p = parts.strategy.population_size
    devices = [f"{device.platform}:{device.id}" for device in built.local_devices]
    health = Health(built.config.runtime.precision)
    with (
        Clock() as compiling,
        Saver(folder / "checkpoints", built.config.checkpoint, show.say) as saver,
    ):
        start = saver.restore(built) if resuming or saver.any() else None
        generation = start.progress.generation if start else 0
        show.panel(
            "esrun",
            {
                "task": f"{names['task']}, {parts.task.episodes} episode{'s' * (parts.task.episodes > 1)} a member",
                "policy": f"{names['policy']}, {parts.n} parameters",
                "strategy": f"{names['strategy']}, {p} members",
                "devices": f"{' '.join(devices)} ({built.local_devices[0].device_kind})",
            }
            | ({"resumed": f"behind generation {generation}"} if start else {}),
            below={"run folder": shown(folder)},
        )
        show.status(console.Text("compiling"))
        with Metrics(folder / "metrics.jsonl", generation, show.say) as metrics:

            def report(progress):
                for line in metrics.add(progress):
                    for log in loggers:
                        log(line)
                show.progress(progress)
                for warning in health.look(progress.rows, len(progress.searches)):
                    show.say(warning)

            outcome = train(
                built,
                report,
                start=start,
                save=lambda state, progress, final: saver.save(
                    state, progress, final, metrics.sync
                ),
                interrupted=lambda: interrupts.name is not None,
                say=show.say,
            )

    failed = outcome.reason in FAILURES
    if not failed:
        rundir.save_policy(
            folder / "policy.safetensors",
            parts.unravel(np.asarray(outcome.state.strategy.mean)),
            outcome.state.normalizer,
            {
                "policy": cfg["policy"],
                "task": cfg["task"],
                "input_shape": parts.task.input_shape,
                "output_size": parts.task.output_size,
            },
        )
    score, progress, plan = outcome.score, outcome.progress, built.program.plan()
    held_out = None
    if score:
        held_out = {
            "mean": score.mean,
            "std": score.std,
            "ci95": score.ci95,
            "episodes": score.episodes,
        }
        held_out |= score.measures
    summary = {
        "status": "failed" if failed else "interrupted" if outcome.reason == "signal" else "done",
        "stop_reason": interrupts.name if outcome.reason == "signal" else outcome.reason,
        "generations": progress.generation,
        "evaluations": progress.evaluations,
        "env_steps": progress.env_steps,
        "wall_seconds": round(time.monotonic() - began, 3),
        "compile_seconds": round(compiling.seconds, 3),
        "best_fitness": progress.best_fitness,
        "eval": held_out,
        "num_params": parts.n,
        **names,
        "seed": built.config.seed,
        "devices": devices,
        "peak_memory_bytes": memory.peak_of(built.local_devices, compiling.resident),
        "predicted_memory_bytes": plan and plan.bytes * memory.sharing(built.local_devices),
    }
    if progress.searches:
        summary["restarts"] = progress.searches
    rundir.write_json(folder / "summary.json", summary)
    summary["training_seconds"] = progress.seconds
    summary["held_out"] = console.held_out(score) if score else "-"
    return summary


def _closing_rows(summary: dict) -> dict[str, str]:
    from esrun.backend.memory import shown

    rate = summary["env_steps"] / max(summary["training_seconds"], 1e-9)
    known = (summary["peak_memory_bytes"], summary["predicted_memory_bytes"])
    held, planned = (shown(size) if size else "?" for size in known)
    return {
        "held-out": summary["held_out"],
        "best fitness": f"{summary['best_fitness']:.4g} (one member, one generation's episodes)",
        "stopped by": f"{summary['stop_reason']}, after {summary['generations']} generations",
        "work": f"{summary['env_steps']:.3g} env steps, {rate:.3g} a second",
        "time": f"{summary['wall_seconds']:.1f} s, {summary['compile_seconds']:.1f} s of it compiling",
        "memory": f"{held} at most, {planned} of arrays predicted",
    }


def _next_step(summary: dict, folder: Path) -> dict[str, str]:
    more = (
        "" if summary["status"] == "interrupted" else f" generations={2 * summary['generations']}"
    )
    return {"run folder": shown(folder), "to go on": f"esrun resume {shown(folder)}{more}"}


def _try_to_write(path: Path, content: dict) -> None:
    try:
        rundir.write_json(path, content)
    except OSError as error:
        print_error(f"{path.name} could not be written: {error}")


def print_error(line: str) -> None:
    """One line for the user on standard error."""
    print(f"esrun: {' '.join(line.split())}", file=sys.stderr)
