"""The test of `esrun doctor`: train, resume and eval in a folder, by the commands themselves."""

import contextlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from esrun import files
from esrun.errors import DONE, ConfigError, first_line
from esrun.runs.paths import RunFolder

SMALL = (
    *("task=pendulum", "task.episode_length=20", "task.episodes=2"),
    *("policy.hidden=[8]", "policy.normalize_input=true"),
    *("strategy=openai_es", "strategy.population_size=8"),
    *("eval.every=2", "eval.episodes=4", "progress=off"),
)
"""A run of seconds that has a bit of everything."""


class BrokenError(Exception):
    """A step that does not do what it should; the message says which, and what it did."""


def steps(folder: Path) -> Iterator[tuple[str, str]]:
    """-> (a step, what it has shown), one after another, in an empty folder. Raises BrokenError."""
    from esrun.commands.eval import evaluate
    from esrun.commands.resume import resume
    from esrun.commands.train import train
    from esrun.config.quoting import quoted

    whole, parts = RunFolder(folder / "whole"), RunFolder(folder / "parts")

    def trained(run: RunFolder, generations: int) -> None:
        place = f"hydra.run.dir={quoted(str(run.path))}"
        _done("train", train, *SMALL, f"generations={generations}", place)

    trained(whole, 4)
    yield "train", "4 generations"
    trained(parts, 2)
    _done("resume", resume, str(parts.path), "generations=4")
    if files.read(whole.policy) != files.read(parts.policy):
        raise BrokenError("resume: a run that was resumed has another policy than one in one go")
    if not _same_state(whole, parts):
        raise BrokenError("resume: a run that was resumed has another state than one in one go")
    yield "resume", "the same bits as in one go"
    (row,) = json.loads(_done("eval", evaluate, str(whole.path), "--json"))
    expected = files.read_json(whole.summary)["eval"]
    for name, value in expected.items():
        if row.get(name) != value:
            raise BrokenError(f"eval: {name} is {row.get(name)}, and {value} in summary.json")
    yield "eval", "summary.json to the last digit"


def _done(name: str, command: Callable[[list[str]], int], *words: str) -> str:
    """-> what a command printed. Raises BrokenError unless it did what it was asked."""
    out, errors = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            code = command(list(words))
    except ConfigError as error:
        raise BrokenError(f"{name}: {first_line(error)}") from error
    if code != DONE:
        said = errors.getvalue().strip().splitlines() or out.getvalue().strip().splitlines() or [""]
        raise BrokenError(f"{name}: exit code {code}: {said[-1]}")
    return out.getvalue()


def _same_state(one: RunFolder, other: RunFolder) -> bool:
    """Whether two runs have ended with the same tensors."""
    from safetensors.numpy import load

    def newest(run: RunFolder) -> dict:
        path = max(run.checkpoints.glob("*.safetensors"))
        return {name: x.tobytes() for name, x in load(files.read(path)).items()}

    return newest(one) == newest(other)
