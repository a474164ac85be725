"""The command: the first word decides which verb, and every error ends here.

JAX is imported by the verbs that need it, not here.
"""

import sys

from esrun.runs import interrupts  # it needs nothing, and nothing else is needed before it

VERBS = {
    "train": "esrun.commands.train:train",
    "resume": "esrun.commands.resume:resume",
    "explain": "esrun.commands.explain:explain",
    "list": "esrun.commands.list:list_options",
}
LATER = ("eval", "render", "plot", "report", "doctor")


def main(arguments: list[str] | None = None) -> int:
    """Run one command -> its exit code (see `esrun.errors`); 130 when it was interrupted twice.

    Without arguments it is the whole life of a process: it takes those of the command line and
    answers signals from here until Python is gone.
    """
    process = interrupts.take_over() if arguments is None else None
    code = _run(sys.argv[1:] if arguments is None else arguments)
    if process:
        process.close(code)
    return code


def _run(words: list[str]) -> int:
    from esrun import collector
    from esrun.errors import ConfigError, complain

    with collector.paused():
        try:
            return _run_verb(words)
        except ConfigError as error:
            return complain(error)


def _run_verb(words: list[str]) -> int:
    from difflib import get_close_matches
    from pkgutil import resolve_name

    from esrun.errors import ConfigError

    if words[:1] and words[0] in LATER:
        raise ConfigError(f"`esrun {words[0]}` is not there yet in this version")
    verb, rest = (words[0], words[1:]) if words[:1] and words[0] in VERBS else ("train", words)
    if rest == ["--version"]:
        from esrun import __version__

        print(f"esrun {__version__}")
        return 0
    if verb == "train" and rest and _is_neither_flag_nor_override(rest[0]):
        near = get_close_matches(rest[0], [*VERBS, *LATER], n=1)
        hint = f" (did you mean `esrun {near[0]}`?)" if near else ""
        raise ConfigError(f"{rest[0]} is neither a verb nor KEY=VALUE{hint}: see `esrun --help`")
    return resolve_name(VERBS[verb])(rest)


def _is_neither_flag_nor_override(word: str) -> bool:
    return "=" not in word and not word.startswith(("-", "~", "+"))
