"""What pydantic finds wrong, as one line: what must hold, what was given, what to write instead."""

import json
import re
from difflib import get_close_matches
from typing import Any

import yaml
from pydantic import ValidationError

from esrun.config import CONF_DIR, registry
from esrun.errors import nearest

BRANCHES = ("int", "float", "bool", "str", "constrained-int")
"""Parts of pydantic's location of an error that name a branch of a union, not a key."""


def complaint(error: ValidationError, prefix: str, given: dict, known: list[str]) -> str:
    """-> the first of pydantic's errors; `prefix` is "strategy." or the like, `known` are the keys
    that could have been meant."""
    first = error.errors()[0]
    key = prefix + ".".join(part for part in map(str, first["loc"]) if _is_key(part))
    if first["type"] == "value_error":
        return str(first.get("ctx", {}).get("error"))
    if first["type"] == "extra_forbidden":
        title = f"{prefix[:-1]}={given.get('name')}" if prefix else "this configuration"
        where = re.sub(r"\.[^.]*$", "", key)
        hint = nearest(key, known)
        return f"{key} is not a key of {title}{hint}: `esrun --cfg job` shows {where}'s keys"
    if first["type"] == "missing":
        return f"{key} must be given: write {key}=..."
    alike = [one for one in error.errors() if _is_of_one_key(one["loc"], first["loc"])]
    musts = " or ".join(dict.fromkeys(_must(one["msg"]) for one in alike))
    return f"{key} must be {musts}, got {first['input']!r}{_remedy(key, first, given.get('name'))}"


def _is_key(part: str) -> bool:
    return "[" not in part and not part.startswith("literal") and part not in BRANCHES


def _is_of_one_key(one: tuple, first: tuple) -> bool:
    return one[: len(first) - 1] == first[:-1] or one[0] == first[0]


def _must(message: str) -> str:
    """-> "Input should be a valid integer" as "an integer"."""
    message = re.sub(r"^Input should be ", "", message).replace("a valid ", "a ")
    return message.replace("a integer", "an integer")


def _remedy(key: str, first: Any, name: str | None) -> str:
    expected = re.findall(r"'([^']+)'", first.get("ctx", {}).get("expected", ""))
    near = get_close_matches(str(first["input"]), expected, n=1, cutoff=0.5)
    if near:
        return f": write {key}={near[0]}"
    default = _default(key, name)
    return f": write for example {key}={json.dumps(default)}" if default is not None else ""


def _default(key: str, name: str | None) -> Any:
    """The value of a key in the primary file or an option of that `name`, None without one."""
    group, _, rest = key.partition(".")
    files = [CONF_DIR / "esrun.yaml", *sorted((CONF_DIR / group).glob("*.yaml"))]
    for file in files:
        node = yaml.safe_load(file.read_text())
        primary = file.name == "esrun.yaml"
        if not primary and node.get("name") != name:
            continue
        for part in (key if primary else rest).split("."):
            node = node.get(part) if isinstance(node, dict) else None
        if isinstance(node, (int, float, str, list)) and not str(node).startswith("$"):
            return node
    return None


def fields_of(kind: str, name: str) -> list[str]:
    """-> the keys of an option, with its kind before them."""
    return [f"{kind}.{field}" for field in registry.find(kind, name).schema.model_fields]
