"""Secrets, which are written nowhere: values of keys whose name looks like one."""

import re
from typing import Any

SECRET = re.compile(r"(token|secret|password|passwd|api_?key|credential)", re.IGNORECASE)
HIDDEN = "***"


def masked(value: Any, secret: frozenset[str] = frozenset(), key: str = "") -> Any:
    """-> the same tree with secrets hidden: the dotted keys in `secret`, and all whose name looks
    like one."""
    if isinstance(value, dict):
        return {name: masked(x, secret, f"{key}.{name}".lstrip(".")) for name, x in value.items()}
    if isinstance(value, list):
        return [masked_word(x) if isinstance(x, str) else masked(x, secret, key) for x in value]
    return (
        HIDDEN
        if value is not None and (key in secret or SECRET.search(key.rpartition(".")[2]))
        else value
    )


def masked_word(word: str) -> str:
    """-> one KEY=VALUE of a command line, the value hidden if the key looks like a secret's."""
    key, equals, _ = word.partition("=")
    return key + equals + HIDDEN if equals and SECRET.search(key) else word
