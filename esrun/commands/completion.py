"""What a shell may complete: verbs, their flags and run folders from the parsers of `words`,
KEY=VALUE by Hydra.

The shell's function is Hydra's (`esrun -sc install=bash`), which asks `esrun -sc query=bash`; the
answer comes from here, so that one function completes everything. Whatever goes wrong is no answer:
the prompt is no place for a message.
"""

import contextlib
import io
import os
from argparse import ArgumentParser
from itertools import pairwise
from pathlib import Path

from esrun.commands.flags import parsers
from esrun.commands.words import VERBS
from esrun.config import hydra
from esrun.config.loader import Source
from esrun.runs.paths import RECORDS

RUNS = ("multirun/*/sweep.json", "multirun/*/*/sweep.json", *RECORDS)


def answer(shell: str, source: Source) -> str:
    """-> the candidates for what stands in COMP_LINE, as the shell's function reads them."""
    found: list[str] = []
    with (
        contextlib.suppress(Exception, SystemExit),
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        found = candidates(os.environ["COMP_LINE"], source)
    return ("\n" if shell == "fish" else " ").join(found)


def candidates(line: str, source: Source) -> list[str]:
    """-> what the last word of a command line may become."""
    words = line.split()
    if not line[-1:].strip():
        words.append("")
    at = next((i for i, x in enumerate(words) if os.path.basename(x) == "esrun"), 0)
    *before, last = words[at + 1 :] or [""]
    verb = before[0] if before[:1] and before[0] in VERBS else None
    given = before[1:] if verb else before
    parser = parsers()[verb or "train"]
    for flag, value in pairwise(before):
        if flag in ("--config-dir", "-cd"):
            source = source._replace(directory=value)
    asking = parser._option_string_actions.get(before[-1]) if before else None
    if asking is not None and asking.choices:
        return [str(choice) for choice in asking.choices if str(choice).startswith(last)]
    if before[-1:] and before[-1] in ("--config-dir", "-cd", "--config-path", "-cp"):
        return _folders(last)
    found = [] if before else [name for name in VERBS if name.startswith(last)]
    if last.startswith("-"):
        return [flag for flag in _flags(parser) if flag.startswith(last)]
    positionals = [action for action in parser._actions if not action.option_strings]
    typed = _words_of(given)
    if positionals[0].metavar in ("RUN", "SWEEP"):
        return found + _runs(last)
    if positionals[0].metavar == "RUN|SWEEP":
        if not typed:
            return found + _runs(last)
        del typed[0]
    if verb in ("list", "help"):
        return found + _about(verb, last, source)
    keys = hydra.completed(source, " ".join([*typed, last]))
    return list(dict.fromkeys([*found, *keys]))


def _flags(parser: ArgumentParser) -> list[str]:
    return sorted(flag for flag in parser._option_string_actions if flag.startswith("--"))


def _words_of(given: list[str]) -> list[str]:
    """-> what is neither a flag nor the value of one."""
    taking = ("--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn")
    return [
        word
        for word, one_before in zip(given, ["", *given], strict=False)
        if not word.startswith("-") and one_before not in taking
    ]


def _about(verb: str, last: str, source: Source) -> list[str]:
    """-> what `esrun list` and `esrun help` may be asked about."""
    from esrun.commands.words import KINDS

    if verb == "list":
        return [kind for kind in KINDS if kind.startswith(last)]
    options = (
        f"{group}={name}" for group in KINDS.values() for name in hydra.listed(source, group)
    )
    return [x for x in (*VERBS, *options) if x.startswith(last)]


def _runs(last: str) -> list[str]:
    """-> run folders, newest last; the folders below what is typed where that leads elsewhere."""
    here = Path()
    found = [str(path.parent) for pattern in RUNS for path in sorted(here.glob(pattern))]
    matching = [folder for folder in found if folder.startswith(last)]
    return matching or _folders(last)


def _folders(last: str) -> list[str]:
    folder, _, name = last.rpartition("/")
    place = Path(f"{folder}/" if "/" in last else ".")
    begin = f"{folder}/" if "/" in last else ""
    return sorted(
        f"{begin}{path.name}/"
        for path in place.iterdir()
        if path.is_dir() and path.name.startswith(name)
    )
