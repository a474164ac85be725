"""What a logger is, and what all of esrun's own tell of a run."""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from esrun import files
from esrun.config.trees import flat
from esrun.runs.folder import SWEEP
from esrun.runs.lines import LARGEST, lines_until
from esrun.runs.paths import RunFolder
from esrun.runs.record import FORMAT


class Tracker(NamedTuple):
    """A logger that is also told of the end. A plain function of a line is a logger too."""

    log: Callable[[dict], None]
    """(a generation's line of metrics) -> nothing."""
    close: Callable[[], None]
    """Called once, after the last line, when `summary.json` is written."""
    last: int | None = None
    """The generation that an earlier process has told last, 0 before any: it is told again, and
    what came after it. None where that is not known."""
    note: str = ""
    """A line to be shown at the beginning."""

    def __call__(self, line: dict) -> None:
        """Tell a line."""
        self.log(line)


class News:
    """What of a line was not told yet: a generation's line comes twice where its score is late."""

    def __init__(self, before: int = 0, told: Mapping[str, int] | None = None):
        """Figures of generations up to `before` count as told; those in `told`, which has a
        generation for each, up to that one."""
        self._before, self._told = before, dict(told or {})

    def of(self, line: dict[str, Any]) -> dict[str, int | float]:
        """-> its figures that are new, which count as told from here on."""
        generation = line["generation"]
        new = {
            name: x
            for name, x in line.items()
            if isinstance(x, (int, float)) and generation > self._told.get(name, self._before)
        }
        self._told |= dict.fromkeys(new, generation)
        return new


def earlier_lines(path: Path, first: int, last: int) -> Iterator[dict]:
    """-> the lines of `metrics.jsonl` of these generations, both included, in their order. Raises
    OSError."""
    if first > last:
        return
    with files.open_to_read(path, LARGEST) as file:
        lines, _, _ = lines_until(file, last)
    for line in lines:
        told = json.loads(line)
        if told["generation"] >= first:
            yield told


def configuration(folder: Path) -> dict[str, Any]:
    """-> the configuration as `run.json` has it, secrets masked, but for what loggers are told
    themselves. Raises OSError, ValueError."""
    config = files.read_json(RunFolder(folder).record)["config"]
    return {key: x for key, x in config.items() if key != "logger"}


def hyperparameters(folder: Path) -> dict[str, Any]:
    """-> its dotted keys that have a value."""
    return {key: x for key, x in flat(configuration(folder)).items() if x is not None}


def status(folder: Path) -> str:
    """-> how the run has ended: "done", "interrupted" or "failed"."""
    try:
        return str(files.read_json(RunFolder(folder).summary)["status"])
    except (OSError, ValueError, KeyError, TypeError):
        return "failed"


def sweep_of(folder: Path) -> str | None:
    """-> the name of the sweep that a run is a job of."""
    return folder.parent.name if (folder.parent / SWEEP).is_file() else None


def kept_id(path: Path) -> str | None:
    """-> what a tracker knows the run by, None where the file does not say it."""
    try:
        found = files.read_json(path)["id"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) and re.fullmatch("[0-9a-f]{16,32}", found) else None


def keep_id(path: Path, identity: str) -> str:
    """Write down what a tracker knows the run by -> that. Raises OSError."""
    files.write_json(path, {"format": FORMAT, "id": identity})
    return identity


def set_unless_set(variables: Mapping[str, str]) -> None:
    """Set environment variables that are not set."""
    for name, value in variables.items():
        os.environ.setdefault(name, value)
