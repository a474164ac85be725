"""The command: the first word decides which verb, and every error ends here.

JAX is imported by the verbs that need it, not here.
"""

import os
import sys

from esrun.runs import process_signals  # it needs nothing, and nothing else is needed before it

TRAINING = ("train", "resume", "tune")
"""Verbs whose result is a run folder, whatever the console took of it."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command -> its exit code (see `esrun.errors`); 130 when it was interrupted twice.

    Without arguments it is the whole life of a process: it takes those of the command line and
    answers signals from here until Python is gone.
    """
    if arguments is not None:
        return _run(arguments)
    process = process_signals.take_over()
    from esrun import stdio
    from esrun.errors import DONE, FAILED, complain

    stdio.take_over()
    code = _run(sys.argv[1:])
    if reason := stdio.lost():
        complain(f"standard output could not be written: {reason}")
        if code == DONE and _split(sys.argv[1:])[0] not in TRAINING:
            code = FAILED
    if process:
        process.close(code)
    return code


def command() -> int:
    """The `esrun` command itself, in whose process nobody has changed anything -> as `main`."""
    from esrun.backend import traces

    traces.allow()
    return main()


def _run(words: list[str]) -> int:
    from esrun import garbage_collection
    from esrun.errors import SAVED, AbsentError, ConfigError, complain

    with garbage_collection.paused():
        try:
            return _run_verb(words)
        except ConfigError as error:
            return complain(error)
        except AbsentError as error:
            complain(error)
            return SAVED


def _run_verb(words: list[str]) -> int:
    if words in (["--version"], ["train", "--version"]):
        from esrun import __version__

        print(f"esrun {__version__}")
        return 0
    from pkgutil import resolve_name

    from esrun.commands.words import VERBS, neither
    from esrun.errors import ConfigError

    verb, rest = _split(words)
    if not _has_directory():
        raise ConfigError("the working directory is gone: cd to one that is there")
    if verb == "train" and rest and _is_neither_flag_nor_override(rest[0]):
        from esrun.config.compose import composed, keys

        raise ConfigError(neither(rest, lambda word: word in keys(composed([]).config)))
    return resolve_name(VERBS[verb].function)(rest)


def _has_directory() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _split(words: list[str]) -> tuple[str, list[str]]:
    """-> the verb and what comes behind it."""
    from esrun.commands.words import VERBS

    return (words[0], words[1:]) if words[:1] and words[0] in VERBS else ("train", words)


def _is_neither_flag_nor_override(word: str) -> bool:
    return "=" not in word and not word.startswith(("-", "~", "+"))
