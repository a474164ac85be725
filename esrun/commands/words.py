"""The words of the command line: its verbs, their flags and what else each takes.

`argparse` reads them; what is KEY=VALUE is left to Hydra's grammar. One line answers what is wrong.
"""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, NoReturn

from esrun.errors import ConfigError, alike, nearest


class Verb(NamedTuple):
    """One verb of the command."""

    function: str
    """"MODULE:FUNCTION", called with the words behind the verb -> the exit code."""
    says: str


VERBS = {
    "train": Verb("esrun.commands.train:train", "train; the same as esrun [KEY=VALUE ...]"),
    "resume": Verb("esrun.commands.resume:resume", "go on from the newest valid checkpoint"),
    "explain": Verb(
        "esrun.commands.explain:explain", "what a run will cost, before anything compiles"
    ),
    "eval": Verb("esrun.commands.eval:evaluate", "how good policies are, on held-out episodes"),
    "plot": Verb("esrun.commands.plot:plot", "learning curves as a picture: PNG, SVG or PDF"),
    "render": Verb("esrun.commands.render:render", "films of what policies do, GIF or MP4"),
    "list": Verb("esrun.commands.list:list_options", "what can be chosen, a sentence each"),
    "doctor": Verb("esrun.commands.doctor:doctor", "what works here, and what to install"),
    "help": Verb("esrun.commands.help:show_help", "help on a verb, or an option's keys"),
}
LATER = ("report",)
"""Verbs that are not there yet."""

KINDS = {
    "tasks": "task",
    "strategies": "strategy",
    "policies": "policy",
    "loggers": "logger",
    "experiments": "experiment",
}
"""What `esrun list` calls the groups of options."""


RUNS: Any = {"nargs": "*", "metavar": "RUN", "help": "a run's folder, a sweep's, latest"}


class Parser(argparse.ArgumentParser):
    """Reads the words of one verb; what is wrong with them is a ConfigError."""

    def error(self, message: str) -> NoReturn:
        """Raise the ConfigError."""
        raise ConfigError(f"{message}: see `esrun help {self._verb()}`")

    def _verb(self) -> str:
        return self.prog.split()[-1]

    def read(self, words: list[str]) -> argparse.Namespace:
        """-> the flags and what else was given. Raises ConfigError."""
        flags = self._option_string_actions
        for word, after in zip(words, [*words, ""][1:], strict=True):
            name, is_pair, value = word.partition("=")
            if word.startswith("--") and not any(flag.startswith(name) for flag in flags):
                after = "" if "=" in after or after.startswith("-") else after
                raise ConfigError(
                    _no_flag(name, value if is_pair else after, list(flags), self._verb())
                )
        return self.parse_intermixed_args(words)


def parsers() -> dict[str, Parser]:
    """-> the parser of each verb."""
    from esrun.config.hydra import parser_of_flags  # --version need not wait for Hydra

    root = Parser("esrun", add_help=False)
    verbs = root.add_subparsers(dest="verb")

    def verb(name: str, **options: Any) -> Parser:
        return verbs.add_parser(name, description=VERBS[name].says, **options)

    keys: Any = {"nargs": "*", "metavar": "KEY=VALUE", "help": "see `esrun --help`"}
    verb("train", add_help=False, parents=[parser_of_flags()])

    resume = verb("resume")
    resume.add_argument("folder", metavar="RUN|SWEEP", help="the folder of a run, or of a sweep")
    resume.add_argument("overrides", **keys)
    resume.add_argument(
        "--force", action="store_true", help="with other keys too, as far as the shapes allow"
    )

    explain = verb("explain")
    explain.add_argument("overrides", **keys)
    explain.add_argument("--json", action="store_true", help="for scripts")
    for flag, metavar, says in (
        ("--config-dir", "DIR", "a folder of your own options"),
        ("--config-name", "NAME", "a primary configuration of your own"),
        ("--config-path", "DIR", "a folder in the place of esrun's own options"),
    ):
        explain.add_argument(flag, metavar=metavar, help=says)
    explain.add_argument("-m", "--multirun", action="store_true", help=argparse.SUPPRESS)

    _evaluating(verb("eval"))
    _rendering(verb("render"))

    plot = verb("plot")
    plot.add_argument("runs", **RUNS)
    plot.add_argument("-o", "--output", metavar="FILE", help="it ends in .png, .svg or .pdf")
    plot.add_argument(
        "--x",
        choices=("generations", "env_steps", "seconds"),
        default="generations",
        help="what the curves are drawn against; generations unless it is said",
    )

    verb("doctor")

    listing = verb("list")
    listing.add_argument("kind", nargs="?", metavar="KIND", help=", ".join(KINDS))
    listing.add_argument("--config-dir", metavar="DIR", help="a folder of your own options")

    helping = verb("help")
    helping.add_argument("about", nargs="?", metavar="VERB|GROUP=OPTION", help="what to explain")
    helping.add_argument("--config-dir", metavar="DIR", help="a folder of your own options")
    return dict(verbs.choices)


def _number(word: str, least: int, most: int) -> int:
    if not (word.isdecimal() and least <= int(word) <= most):
        raise argparse.ArgumentTypeError(
            f"must be a whole number from {least} to {most}, got {word}"
        )
    return int(word)


def _numbered(to: Any, flag: str, least: int, most: int, name: str, says: str, **more: Any) -> None:
    """Add a flag that takes a whole number."""
    read = partial(_number, least=least, most=most)
    to.add_argument(flag, type=read, metavar=name, help=says, **more)


def _evaluating(parser: Parser) -> None:
    which = parser.add_mutually_exclusive_group()
    parser.add_argument("runs", **RUNS)
    much = "how many are played; else as many as the run did"
    _numbered(parser, "--episodes", 2, 10**7, "N", much)
    _policies(parser, which)
    which.add_argument("--members", action="store_true", help="the best members, one by one")
    draws = "draws from the final distribution, as one policy"
    _numbered(which, "--ensemble", 2, 10_000, "N", draws)
    parser.add_argument("--json", action="store_true", help="a list with an object for each line")


def _policies(parser: Parser, which: Any) -> None:
    """Add what `eval` and `render` share."""
    whose = "whose held-out episodes; else the run's own"
    _numbered(parser, "--seed", 0, 2**32 - 1, "S", whose)
    _numbered(which, "--generation", 1, 2**31 - 1, "G", "the mean that a generation left")
    which.add_argument("--best", action="store_true", help="the mean with the best held-out score")


def _rendering(parser: Parser) -> None:
    def several(words: str) -> tuple[int, ...]:
        return tuple(_number(word.strip(), 1, 2**31 - 1) for word in words.split(","))

    which = parser.add_mutually_exclusive_group()
    parser.add_argument("runs", **RUNS)
    many = "of each policy, one after the other"
    _numbered(parser, "--episodes", 1, 100, "N", many, default=1)
    _policies(parser, which)
    which.add_argument(
        "--generations", type=several, metavar="G,G,...", help="several, side by side"
    )
    which.add_argument("--all", action="store_true", help="every policy kept, a file each")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="a .gif or .mp4 (--all: a folder); else in the RUN"
    )


def neither(words: list[str], is_key: Callable[[str], bool]) -> str:
    """-> the line for a first word that is neither a verb nor KEY=VALUE."""
    word, rest = words[0], [x for x in words[1:] if x != "="]
    if is_key(word) and rest and "=" not in rest[0]:
        hint = f": write {word}={rest[0]}"
    else:
        near = alike(word, [*VERBS, *LATER])
        hint = f" (did you mean `esrun {near[0]}`?)" if near else ""
        hint += ": see `esrun --help`"
    return f"{word} is neither a verb nor KEY=VALUE{hint}"


def _no_flag(name: str, value: str, flags: list[str], verb: str) -> str:
    """-> the line for a flag that there is not, which may have been meant as a key."""
    from esrun.config.compose import composed, keys

    known = list(keys(composed([]).config))
    wanted = name.strip("-").replace("-", "_")
    last = {key.rpartition(".")[2]: key for key in reversed(known)}
    meant = (
        [wanted]
        if wanted in known
        else [last[x] for x in (wanted, *alike(wanted, last)) if x in last]
    )
    if meant and value:
        return f"{name} is not a flag: write {meant[0]}={value}"
    near = nearest(name, [flag for flag in flags if flag.startswith("--")])
    return f"{name} is not a flag{near}: see `esrun help {verb}`"
