"""Words of the command line that Hydra's grammar cannot read, and how to quote them."""

import re
import shlex
from collections.abc import Iterable

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException


def quoted(text: str) -> str:
    """-> a text as Hydra's grammar reads it: a backslash counts only where a quote follows."""
    text = re.sub(r"(\\*)'", lambda found: f"{found[1] * 2}\\'", text)
    return "'" + re.sub(r"\\+$", lambda found: found[0] * 2, text) + "'"


def readable(text: str) -> str:
    """-> a quoted text to be typed: double quotes are easier to read within the shell's."""
    return quoted(text) if set(text) & {'"', "\\"} else f'"{text}"'


def to_be_quoted(words: Iterable[str]) -> str | None:
    """-> one line for the first word with letters that the grammar does not have, and how to type
    it; None where that is not what is wrong."""
    parser = OverridesParser.create()
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or _reads(parser, word) or not _reads(parser, f"{key}=x"):
            continue
        remedy = f"{key}={readable(value)}"
        if not set(value) & set("()[]{},") and _reads(parser, remedy):
            return f"{word} has letters that must be quoted: write {shlex.quote(remedy)}"
    return None


def _reads(parser: OverridesParser, word: str) -> bool:
    try:
        parser.parse_override(word)
    except HydraException:
        return False
    return True
