"""(d) The whole command, from the start of its process to its end, cold and warm.

`esrun` trains on pendulum for 200 generations, evaluates every 20 and writes its run folder; evosax
is a script that imports, compiles and runs one scan of as many generations. Cold: an empty compile
cache; warm: one that an earlier process filled: esrun's in XDG_CACHE_HOME, for evosax JAX's own by
JAX_COMPILATION_CACHE_DIR.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import Options, Table, Timing, counted, ratio
from worker import Worker, WorkerError

from esrun.config.compose import composed

NOTES = [
    "from process start to its end; cold: the folder for compiled programs is empty, warm: an "
    "earlier process "
    "filled it (esrun keeps all programs, JAX for evosax those that took it a second or more to "
    "compile)",
    "evosax: a script of imports and one compiled scan, without held-out evaluation, metrics or "
    "run folder",
    "esrun ×: how many times longer it takes than esrun's command",
]


def command(options: Options) -> Table:
    """Pendulum, 100 members x 20 episodes x 200 steps, 48 hidden units."""
    notes, rows = list(NOTES), []
    generations = options.generations or options.size(200, 3)
    size = options.size([], ["task.episodes=2", "strategy.population_size=10"])
    for strategy in ("openai_es", "cma_es"):
        overrides = ["task=pendulum", f"strategy={strategy}", "strategy.population_size=100", *size]
        rows += compared(
            [*overrides, f"generations={generations}"], generations, strategy, options, notes
        )
    return Table("The whole command", notes, rows)


def compared(
    overrides: list[str], generations: int, strategy: str, options: Options, notes: list[str]
) -> list[dict]:
    """-> cold and warm rows for esrun and evosax."""
    spec = {"program": "evosax_program", "config": composed(overrides).config}
    summaries: dict[str, dict] = {}

    def esrun(cache: Path, name: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
            words = [sys.executable, "-m", "esrun", *overrides, f"hydra.run.dir='{folder}'"]
            done = subprocess.run(words, env=environment, capture_output=True, text=True)
            if done.returncode:
                raise WorkerError(done.stderr.strip().splitlines()[-1])
            summaries[name] = json.loads((Path(folder) / "summary.json").read_text())

    def evosax(cache: Path, name: str) -> None:
        with Worker([spec], cached(cache)) as worker:
            worker.turn(generations)(False)

    def timed(program, name: str, kept: Path | None):
        def run(first: bool) -> float:
            with tempfile.TemporaryDirectory() as empty:
                began = time.perf_counter()
                program(kept or Path(empty), name)
                return time.perf_counter() - began

        return run

    with tempfile.TemporaryDirectory() as kept:
        programs = {"esrun": esrun}
        esrun(Path(kept), "esrun")  # fills the cache, as the next one does
        try:
            evosax(Path(kept), "evosax")
            programs["evosax"] = evosax
        except WorkerError as error:
            notes.append(f"evosax left out: {error}")
        sides = {
            f"{name} {how}": timed(program, f"{name} {how}", None if how == "cold" else Path(kept))
            for how in ("cold", "warm")
            for name, program in programs.items()
        }
        timings = {
            name: Timing(seconds[0], seconds) for name, seconds in counted(sides, options).items()
        }
    return [
        {
            "strategy": strategy,
            "generations": generations,
            "side": name,
            "seconds in all": timing.median,
            "of them compiling": summaries.get(name, {}).get("compile_seconds"),
            "esrun ×": None
            if name.startswith("esrun")
            else ratio(timing, timings[name.replace("evosax", "esrun")]),
            "seconds": timing.seconds,
        }
        for name, timing in timings.items()
    ]


def cached(folder: Path) -> dict[str, str]:
    """-> the environment variable that puts JAX's compile cache into `folder`."""
    return {"JAX_COMPILATION_CACHE_DIR": str(folder)}
