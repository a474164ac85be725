"""Errors that are one line for the user, and the exit codes of every command."""

import json
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

DONE, FAILED, USAGE, SAVED = 0, 1, 2, 75
"""Exit codes: done, failed, wrong usage or configuration, to be typed again (interrupted with the
state saved, or another process is not there)."""


class ConfigError(ValueError):
    """The configuration is wrong: what must hold, what was given and what to write instead."""


class AbsentError(Exception):
    """Another process of the run is not there: nothing is wrong with the command, which may find it
    when it is typed again."""


class RecordError(ConfigError):
    """A file that tells of a run is damaged."""


class AwayError(ConfigError):
    """What a configuration needs is not there; another time it may be."""


class UntrainableError(ConfigError):
    """No run of this configuration can be trained, whatever is there."""


def tell(line: str, *, wrong: bool = False) -> None:
    """Print a line, on standard error where something is wrong; whole, since another thread may
    print one too."""
    print(f"{printable(line)}\n", end="", file=sys.stderr if wrong else sys.stdout)


def complain(error: Exception | str) -> int:
    """Print one line on standard error -> USAGE."""
    tell(f"esrun: {' '.join(str(error).split())}", wrong=True)
    return USAGE


def first_line(error: BaseException) -> str:
    """-> the first line of an error that says something, or its name."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def why(error: BaseException) -> str:
    """-> what an error of a library's says, as the end of a sentence: without numbers of the
    system's, and no longer than a line."""
    if isinstance(error, MemoryError):
        return "there is not enough memory for it"
    reason = getattr(error, "strerror", None) if isinstance(error, OSError) else None
    return clipped((reason or first_line(error)).rstrip(":. "), 200)


def printable(text: str) -> str:
    """-> the text without what could steer a terminal: words from files are shown too."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else "?" for c in text)


ABBREVIATED = {
    "lr": "learning_rate",
    "std": "sigma",
    "stdev": "sigma",
    "popsize": "population_size",
    "lambda": "population_size",
    "epochs": "generations",
    "iterations": "generations",
    "gens": "generations",
    "maxstepsinepisode": "episode_length",
    "maxsteps": "episode_length",
    "units": "hidden",
    "layers": "hidden",
    "dim": "dimension",
}
"""Other projects' words for a key, in letters alone, and ours."""


def clipped(text: str, length: int) -> str:
    """-> a text with no more letters than that."""
    return text if len(text) <= length else f"{text[: length - 3]}..."


def alike(given: str, names: Iterable[object]) -> list[str]:
    """-> at most two of the names, those that may have been meant, best first; for a dotted key of
    those with the same beginning.

    Case and punctuation do not count: CMA-ES is cma_es.
    """
    group, dot, last = given.rpartition(".")
    inside = [x for x in map(str, names) if x.startswith(f"{group}{dot}")]
    beside = {x.removeprefix(f"{group}{dot}"): x for x in inside if x != given}
    letters = {_letters(name): x for name, x in beside.items()}
    wanted = _letters(last)
    for exact in (wanted, _letters(ABBREVIATED.get(wanted, wanted))):
        if exact in letters:
            return [letters[exact]]
    return [letters[x] for x in get_close_matches(wanted, letters, n=2, cutoff=0.6)]


def as_typed(value: Any) -> str:
    """-> a value as Hydra's grammar reads it, without spaces."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def nearest(given: str, names: Iterable[object]) -> str:
    """-> " (did you mean ...?)" with the names like `given`, nothing where there are none."""
    near = alike(given, names)
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def _letters(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum() or c == ".") or name
