"""The flags of the verbs, and what else each takes: `argparse` reads them, and one line answers
what is wrong."""

import argparse
from functools import partial
from typing import Any, NoReturn

from esrun.commands.words import KINDS, VERBS
from esrun.config import imports
from esrun.errors import ConfigError, alike, nearest

RUNS: Any = {"nargs": "*", "metavar": "RUN", "help": "a run's folder, a sweep's, latest"}
READ: Any = RUNS | {"help": f"{RUNS['help']}; task.file=PATH where the data of its task lie now"}

TUNED = "what all settings have, and what is searched: KEY=interval(a,b), range(a,b), choice(x,y)"


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
        found = self.parse_intermixed_args(words)
        imports.allow(*vars(found).pop("import", None) or ())
        return found


def parsers() -> dict[str, Parser]:
    """-> the parser of each verb."""
    from esrun.config.hydra import parser_of_flags  # --version need not wait for Hydra

    root = Parser("esrun", add_help=False)
    verbs = root.add_subparsers(dest="verb")

    def verb(name: str, **options: Any) -> Parser:
        return verbs.add_parser(name, description=VERBS[name].says, **options)

    def own_modules(parser: Parser) -> Parser:
        says = "a module of your own, whose environments task.env may name"
        parser.add_argument("--import", action="append", metavar="MODULE", help=says)
        return parser

    keys: Any = {"nargs": "*", "metavar": "KEY=VALUE", "help": "see `esrun --help`"}
    own_modules(verb("train", add_help=False, parents=[parser_of_flags()]))

    resume = own_modules(verb("resume"))
    resume.add_argument(
        "folder", metavar="RUN|SWEEP", help="the folder of a run or a sweep, latest"
    )
    resume.add_argument("overrides", **keys)
    resume.add_argument(
        "--force", action="store_true", help="with other keys too, as far as the shapes allow"
    )

    resume.add_argument(
        "--retry-failed",
        action="store_true",
        help="of a sweep what has failed too, anew where nothing was saved",
    )

    _composing(own_modules(verb("tune")), keys | {"help": TUNED})
    explain = own_modules(verb("explain"))
    _composing(explain, keys)
    explain.add_argument("--json", action="store_true", help="for scripts")

    _evaluating(own_modules(verb("eval")))
    _rendering(own_modules(verb("render")))

    _plotting(verb("plot"))
    _reporting(verb("report"))
    verb("doctor")

    listing = verb("list")
    listing.add_argument("kind", nargs="?", metavar="KIND", help=", ".join(KINDS))
    listing.add_argument("--config-dir", metavar="DIR", help="a folder of your own options")

    helping = verb("help")
    helping.add_argument("about", nargs="?", metavar="VERB|GROUP=OPTION", help="what to explain")
    helping.add_argument("--config-dir", metavar="DIR", help="a folder of your own options")
    return dict(verbs.choices)


def _composing(parser: Parser, keys: Any) -> None:
    """Add what verbs take that compose as training does."""
    parser.add_argument("overrides", **keys)
    for flag, metavar, says in (
        ("--config-dir", "DIR", "a folder of your own options"),
        ("--config-name", "NAME", "a primary configuration of your own"),
        ("--config-path", "DIR", "a folder in the place of esrun's own options"),
    ):
        parser.add_argument(flag, metavar=metavar, help=says)
    parser.add_argument("-m", "--multirun", action="store_true", help=argparse.SUPPRESS)


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
    parser.add_argument("runs", **READ)
    much = "how many are played; else as many as the run did"
    _numbered(parser, "--episodes", 2, 10**7, "N", much)
    _policies(parser, which)
    which.add_argument("--members", action="store_true", help="the best members, one by one")
    draws = "draws from the final distribution, as one policy"
    _numbered(which, "--ensemble", 2, 10_000, "N", draws)
    parser.add_argument("--test", action="store_true", help="on the test part of a task with data")
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
    parser.add_argument("runs", **READ)
    many = "of each policy, one after the other; else one"
    _numbered(parser, "--episodes", 1, 100, "N", many)
    _policies(parser, which)
    which.add_argument(
        "--generations", type=several, metavar="G,G,...", help="several, side by side"
    )
    which.add_argument("--all", action="store_true", help="every policy kept, a file each")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="a .gif or .mp4, a .png of what is one picture (--all: a folder); else in the RUN",
    )


def _plotting(parser: Parser) -> None:
    parser.add_argument("runs", **RUNS)
    parser.add_argument("-o", "--output", metavar="FILE", help="it ends in .png, .svg or .pdf")
    parser.add_argument(
        "--x",
        choices=("generations", "env_steps", "seconds"),
        help="what the curves are drawn against; generations unless it is said",
    )
    parser.add_argument(
        "--over",
        metavar="KEY[,KEY...]",
        help="no curves: final scores over a key's values",
    )
    parser.add_argument(
        "--y",
        choices=("eval", "best_fitness"),
        help="with --over: the held-out mean unless it is said, or the best member's fitness",
    )


def _reporting(parser: Parser) -> None:
    what = "the folder of a sweep or a run, latest"
    parser.add_argument("runs", nargs="*", metavar="SWEEP", help=what)
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="[TASK=]MEAN",
        help="the held-out mean that counts as solved",
    )
    parser.add_argument("-o", "--output", metavar="DIR", help="a new folder; else SWEEP/report")


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
