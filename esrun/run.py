"""One run from its configuration to its summary."""

import os
import shutil
import time
import traceback
from pathlib import Path

from esrun import console, registry, rundir
from esrun.config import KINDS, ConfigError, Run, build, checked
from esrun.metrics import Metrics

DONE, FAILED, USAGE = 0, 1, 2


def run(cfg: dict, folder: Path, choices: dict[str, str]) -> int:
    """Train in `folder`, which is empty but for Hydra's record -> the exit code.

    A configuration that turns out wrong takes the folder with it; any other failure is told in its `summary.json` and
    log.
    """
    began = time.monotonic()
    try:
        config = checked(cfg)
        built = build(config)
        loggers = [
            registry.factory("logger", name)(folder=folder, **options.model_dump(exclude={"name"}))
            for name, options in config.logger.items()
        ]
    except (ConfigError, ValueError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        print_error(str(error))
        return USAGE

    rundir.write_json(folder / "run.json", rundir.describe(cfg, choices, rundir.command_line(), built.local_devices))
    names = {kind: choices.get(kind) or getattr(config, kind).name for kind in KINDS}
    with console.Show(folder / "esrun.log", config.log.every, config.generations) as show:
        try:
            summary = _train(built, cfg, folder, names, show, loggers, began)
        except Exception as error:
            show.say(traceback.format_exc())
            rundir.write_json(folder / "summary.json", {"status": "failed", "stop_reason": repr(error)} | names)
            print_error(f"the run failed: {error!r}; {folder / 'esrun.log'} has the traceback")
            return FAILED
        show.panel("done", _closing_rows(summary), below={"run folder": shown(folder)})
    return DONE


def _train(built: Run, cfg: dict, folder: Path, names: dict, show: console.Show, loggers: list, began: float) -> dict:
    from esrun.compilation import Clock
    from esrun.loop import train

    parts = built.program.parts(built.hyper)
    p = parts.strategy.population_size
    devices = [f"{device.platform}:{device.id}" for device in built.local_devices]
    show.panel(
        "esrun",
        {
            "task": f"{names['task']}, {parts.task.episodes} episode{'s' * (parts.task.episodes > 1)} a member",
            "policy": f"{names['policy']}, {parts.n} parameters",
            "strategy": f"{names['strategy']}, {p} members",
            "devices": f"{' '.join(devices)} ({built.local_devices[0].device_kind})",
        },
        below={"run folder": shown(folder)},
    )
    with Clock() as compiling, Metrics(folder / "metrics.jsonl", p) as metrics:

        def report(progress):
            for line in metrics.add(progress):
                for log in loggers:
                    log(line)
            show.progress(progress)

        outcome = train(built.program, built.hyper, built.config, report)

    rundir.save_policy(
        folder / "policy.safetensors",
        parts.unravel(outcome.state.strategy.mean),
        outcome.state.normalizer,
        {
            "policy": cfg["policy"],
            "task": cfg["task"],
            "input_shape": parts.task.input_shape,
            "output_size": parts.task.output_size,
        },
    )
    score = outcome.score
    summary = {
        "status": "done",
        "stop_reason": outcome.reason,
        "generations": outcome.progress.generation,
        "evaluations": outcome.progress.generation * p,
        "env_steps": outcome.progress.env_steps,
        "wall_seconds": round(time.monotonic() - began, 3),
        "compile_seconds": round(compiling.seconds, 3),
        "best_fitness": outcome.progress.best_fitness,
        "eval": {"mean": score.mean, "std": score.std, "ci95": score.ci95, "episodes": score.episodes} | score.measures,
        "num_params": parts.n,
        **names,
        "seed": built.config.seed,
        "devices": devices,
    }
    rundir.write_json(folder / "summary.json", summary)
    training = max(outcome.progress.seconds, 1e-9)
    summary["env_steps_per_second"] = outcome.progress.env_steps / training
    summary["held_out"] = console.held_out(score)
    return summary


def _closing_rows(summary: dict) -> dict[str, str]:
    return {
        "held-out": summary["held_out"],
        "best fitness": f"{summary['best_fitness']:.4g} (one member, one generation's episodes)",
        "stopped by": f"{summary['stop_reason']}, after {summary['generations']} generations",
        "work": f"{summary['env_steps']:.3g} env steps, {summary['env_steps_per_second']:.3g} a second",
        "time": f"{summary['wall_seconds']:.1f} s, {summary['compile_seconds']:.1f} s of it compiling",
    }


def shown(folder: Path) -> str:
    """-> a path as a user would type it: relative where that is shorter."""
    return min(str(folder), os.path.relpath(folder), key=len)


def print_error(line: str) -> None:
    """One line for the user on standard error."""
    import sys

    print(f"esrun: {line}", file=sys.stderr)
