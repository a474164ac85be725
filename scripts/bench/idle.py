"""How long the devices stand still in a run's steady state: the whole command under JAX's profiler.

Run as a program it is the profiled child. A CPU's device is busy while it executes a program, an
accelerator while a kernel runs on one of its streams.
"""

import gzip
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

from measure import Options, Table
from worker import WorkerError

COMMANDS = {
    "sine, OpenAI-ES": [
        "task=sine",
        "strategy=openai_es",
        "policy.hidden=[256,256]",
        "strategy.population_size=256",
    ],
    "sphere, CMA-ES": ["task=sphere", "task.dimension=500", "strategy=cma_es"],
}
SECONDS = 15
"""Of training."""
SETTLED = 0.3
"""The share of the profile after which a run counts as steady."""

NOTES = [
    "the whole command with its defaults: metrics, checkpoints and held-out evaluations included",
    "idle: of the steady part, the first 30 % and the last chunk left out; longest: the longest "
    "pause",
]


def idle(options: Options) -> Table:
    """A row for every command."""
    rows = [profiled(name, overrides, options) for name, overrides in COMMANDS.items()]
    return Table("Idle devices, from a profile", NOTES, rows)


def profiled(name: str, overrides: list[str], options: Options) -> dict:
    """-> the row of a command."""
    limits = [
        f"stop.seconds={options.size(SECONDS, 2)}",
        f"generations={2**31 - 1}",
        "eval.every=1000",
    ]
    with tempfile.TemporaryDirectory() as folder:
        words = [*overrides, *limits, f"hydra.run.dir={folder}/run"]
        child = subprocess.run(
            [sys.executable, str(Path(__file__).resolve()), folder, *words],
            capture_output=True,
            text=True,
        )
        found = next(Path(folder).rglob("perfetto_trace.json.gz"), None)
        if found is None:
            raise WorkerError(
                (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
            )
        with gzip.open(found) as file:
            events = json.load(file)
    devices = busy(events["traceEvents"] if isinstance(events, dict) else events)
    shares, pauses = zip(*map(steady, devices.values()), strict=True)
    return {
        "run": name,
        "devices": len(devices),
        "seconds": max(spans[-1][1] - spans[0][0] for spans in devices.values()) / 1e6,
        "idle %": 100 * max(shares),
        "longest ms": max(pauses) / 1e3,
    }


def busy(events: list[dict]) -> dict[str, list[tuple[float, float]]]:
    """-> for every device the spans in which it worked, in microseconds, merged and in order."""
    names = {
        kind: {
            (e["pid"], e.get("tid") if kind == "thread_name" else None): e["args"].get("name", "")
            for e in events if e.get("ph") == "M" and e["name"] == kind
        }
        for kind in ("process_name", "thread_name")
    }  # fmt: skip
    spans = defaultdict(list)
    for e in events:
        if e.get("ph") != "X":
            continue
        process = names["process_name"].get((e["pid"], None), "")
        thread = names["thread_name"].get((e["pid"], e["tid"]), "")
        if "device" in process and "Stream" in thread:
            spans[process].append((e["ts"], e["ts"] + e["dur"]))
        elif "PjRtCpuClient" in thread and e["name"].startswith("ThunkExecutor::Execute"):
            spans[thread].append((e["ts"], e["ts"] + e["dur"]))
    return {device: merged(sorted(own)) for device, own in spans.items()}


def merged(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """-> the spans with those that touch made one."""
    whole = [spans[0]]
    for begin, end in spans[1:]:
        if begin <= whole[-1][1]:
            whole[-1] = (whole[-1][0], max(end, whole[-1][1]))
        else:
            whole.append((begin, end))
    return whole


def steady(spans: list[tuple[float, float]]) -> tuple[float, float]:
    """-> (the share of the steady part in which nothing ran, the longest pause in microseconds)."""
    begin = spans[0][0] + SETTLED * (spans[-1][1] - spans[0][0])
    pauses = [b[0] - a[1] for a, b in pairwise(spans[:-1]) if a[1] >= begin]
    return sum(pauses) / max(spans[-2][1] - begin, 1.0), max(pauses, default=0.0)


def child(folder: str, overrides: list[str]) -> None:
    """Run the command under the profiler."""
    from esrun.backend import devices

    devices.start("float32", deterministic=False)
    import jax

    from esrun.cli import main

    options = jax.profiler.ProfileOptions()
    options.host_tracer_level, options.python_tracer_level = 1, 0
    sys.argv[1:] = overrides
    with jax.profiler.trace(folder, create_perfetto_trace=True, profiler_options=options):
        main()


if __name__ == "__main__":
    child(sys.argv[1], sys.argv[2:])
