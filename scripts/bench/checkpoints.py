"""What checkpoints cost, and whether memory grows.

Pendulum as in the case `command`, with checkpoints at their default interval and with none but the
last; training alone is counted, from `metrics.jsonl`. Then 10^5 generations of a small run, whose
resident memory is read from /proc every second.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import Options, Table, Timing, counted, ratio
from worker import WorkerError


def checkpoints(options: Options) -> Table:
    """Pendulum with OpenAI-ES, 100 members x 20 episodes x 200 steps."""
    generations = options.generations or options.size(1000, 40)
    work = [
        "task=pendulum",
        "strategy=openai_es",
        "strategy.population_size=100",
        f"generations={generations}",
    ]
    none = ["checkpoint.every=1000000", "checkpoint.seconds=1e9"]
    sides = {
        name: lambda first, words=words: trained([*work, *words])
        for name, words in (("default", []), ("none", none))
    }  # fmt: skip
    timings = {
        name: Timing(seconds[0], seconds) for name, seconds in counted(sides, options).items()
    }
    rows = [
        {
            "run": f"pendulum, {generations} generations",
            "checkpoints": name,
            "seconds": timing.median,
            "default / none": ratio(timings["default"], timings["none"])
            if name == "default"
            else None,
            "raw": timing.seconds,
        }
        for name, timing in timings.items()
    ]
    return Table("Checkpoints", ["seconds of training alone, without start and compiling"], rows)


def trained(words: list[str]) -> float:
    """-> the seconds of training of one run."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command(words, folder), capture_output=True, text=True)
        if done.returncode:
            raise WorkerError(done.stderr.strip().splitlines()[-1])
        return json.loads((Path(folder) / "metrics.jsonl").read_text().splitlines()[-1])[
            "wall_seconds"
        ]


def memory(options: Options) -> Table:
    """Sine sequences with OpenAI-ES, 16 members: a run of many short generations that never
    converges."""
    generations = options.generations or options.size(100_000, 500)
    words = [
        "task=sine",
        "strategy=openai_es",
        "strategy.population_size=16",
        "policy.hidden=[4]",
        "log.every=10000",
    ]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            command([*words, f"generations={generations}"], folder),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        sizes = []
        while process.poll() is None:
            status = Path(f"/proc/{process.pid}/status").read_text()
            sizes += [
                int(line.split()[1]) / 1024
                for line in status.splitlines()
                if line.startswith("VmRSS")
            ]
            time.sleep(1)
    settled = sizes[min(60, len(sizes) // 3) : -2] or sizes
    row = {
        "run": f"sine, {generations} generations",
        "seconds": float(len(sizes)),
        "MB at the end": settled[-1],
        "MB a minute": (settled[-1] - settled[0]) / max(len(settled) - 1, 1) * 60,
    }
    return Table(
        "Memory",
        ["growth of the resident set from the first minute (or third) of the run to its end"],
        [row],
    )


def command(words: list[str], folder: str) -> list[str]:
    """-> the command line that trains in `folder`."""
    return [sys.executable, "-m", "esrun", *words, f"hydra.run.dir='{folder}'"]
