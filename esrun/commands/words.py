"""The words of the command line: its verbs, and what the first word may be.

What is KEY=VALUE is left to Hydra's grammar; `flags` reads the rest.
"""

from collections.abc import Callable
from typing import NamedTuple

from esrun.errors import alike


class Verb(NamedTuple):
    """One verb of the command."""

    function: str
    """"MODULE:FUNCTION", called with the words behind the verb -> the exit code."""
    says: str


VERBS = {
    "train": Verb("esrun.commands.train:train", "train; the same as esrun [KEY=VALUE ...]"),
    "resume": Verb("esrun.commands.resume:resume", "go on from the newest valid checkpoint"),
    "tune": Verb("esrun.commands.tune:tune", "search settings: the best of many trials"),
    "explain": Verb(
        "esrun.commands.explain:explain", "what a run will cost, before anything compiles"
    ),
    "eval": Verb("esrun.commands.eval:evaluate", "how good policies are, on held-out episodes"),
    "plot": Verb("esrun.commands.plot:plot", "learning curves as a picture: PNG, SVG or PDF"),
    "render": Verb("esrun.commands.render:render", "films of what policies do, GIF or MP4"),
    "report": Verb(
        "esrun.commands.report:report", "sweeps compared: a page, with tables and figures"
    ),
    "list": Verb("esrun.commands.list:list_options", "what can be chosen, a sentence each"),
    "doctor": Verb("esrun.commands.doctor:doctor", "what works here, and what to install"),
    "help": Verb("esrun.commands.help:show_help", "help on a verb, or an option's keys"),
}
KINDS = {
    "tasks": "task",
    "strategies": "strategy",
    "policies": "policy",
    "loggers": "logger",
    "experiments": "experiment",
}
"""What `esrun list` calls the groups of options."""


def neither(words: list[str], is_key: Callable[[str], bool]) -> str:
    """-> the line for a first word that is neither a verb nor KEY=VALUE."""
    word, rest = words[0], [x for x in words[1:] if x != "="]
    if is_key(word) and rest and "=" not in rest[0]:
        hint = f": write {word}={rest[0]}"
    else:
        near = alike(word, VERBS)
        hint = f" (did you mean `esrun {near[0]}`?)" if near else ""
        hint += ": see `esrun --help`"
    return f"{word} is neither a verb nor KEY=VALUE{hint}"
