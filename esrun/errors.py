"""Errors that are one line for the user, and the exit codes of every command."""

import sys
from collections.abc import Iterable
from difflib import get_close_matches

DONE, FAILED, USAGE, SAVED = 0, 1, 2, 75
"""Exit codes: done, failed, wrong usage or configuration, interrupted with the state saved."""


class ConfigError(ValueError):
    """The configuration is wrong: what must hold, what was given and what to write instead."""


def complain(error: Exception | str) -> int:
    """Print one line on standard error -> USAGE."""
    print(f"esrun: {printable(' '.join(str(error).split()))}", file=sys.stderr)
    return USAGE


def printable(text: str) -> str:
    """-> the text without what could steer a terminal: words from files are shown too."""
    return "".join(c if c.isprintable() else "?" for c in text)


def nearest(given: str, names: Iterable[object]) -> str:
    """-> " (did you mean ...?)" with the names like `given`, nothing where there are none."""
    near = get_close_matches(given, {str(name) for name in names}, n=2, cutoff=0.6)
    return f" (did you mean {' or '.join(near)}?)" if near else ""
