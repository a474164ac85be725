"""What pydantic finds wrong, as one line: what must hold, what was given, what to write instead."""

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from esrun.config import CONF_DIR, registry
from esrun.errors import alike, nearest

BRANCHES = ("int", "float", "bool", "str", "constrained-int")
"""Parts of pydantic's location of an error that name a branch of a union, not a key."""


def complaint(
    error: ValidationError, prefix: str, given: dict, known: list[str], model: type[BaseModel]
) -> str:
    """-> the first of pydantic's errors about the `given` that the model refused; `prefix` is
    "strategy." or the like, `known` are the keys that could have been meant."""
    first = error.errors()[0]
    path = [part for part in first["loc"] if not isinstance(part, str) or _is_key(part)]
    key = prefix + ".".join(map(str, path))
    if first["type"] == "value_error":
        return str(first.get("ctx", {}).get("error"))
    if first["type"] == "extra_forbidden":
        title = f"{prefix[:-1]}={given.get('name')}" if prefix else "this configuration"
        return f"{key} is not a key of {title}{nearest(key, known)}: `esrun --cfg job` shows them"
    name = given.get("name")
    if first["type"] == "missing":
        return must_be_given(key, name)
    faults = [one for one in error.errors() if _is_of_one_key(one["loc"], first["loc"])]
    musts = list(dict.fromkeys(_must(one["msg"]) for one in faults))
    if _accepts(model, given, path, None):
        musts.append("null")
    if first["type"] in ("model_type", "dict_type"):
        return f"{key} must be a mapping of keys, got {_shown(first['input'])}: leave it out"
    line = f"{key} must be {' or '.join(musts)}, got {_shown(first['input'])}"
    whole = next((i for i, part in enumerate(path) if isinstance(part, int)), len(path))
    key, path = prefix + ".".join(map(str, path[:whole])), path[:whole]  # a list is typed as one
    field = model.model_fields.get(str(path[0])) if len(path) == 1 else None
    for like, value in _meant(key, name, faults, field.default if field else None):
        if _accepts(model, given, path, value):
            return f"{line}: write {'' if like else 'for example '}{key}={as_typed(value)}"
    return line


def must_be_given(key: str, name: str | None = None) -> str:
    """-> the line for a key without a value."""
    example = _default(key, name)
    return f"{key} must be given" + (
        "" if example is None else f": write {key}={as_typed(example)}"
    )


def as_typed(value: Any) -> str:
    """-> a value as Hydra's grammar reads it, without spaces."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _shown(value: Any) -> str:
    """-> what was given, of a long one the beginning."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _meant(key: str, name: str | None, errors: list, factorys: Any) -> Iterator[tuple[bool, Any]]:
    """-> values that may serve, the likeliest first, and whether they are like what was given.
    `factorys` is a plug-in's default."""
    given = errors[0]["input"]
    if isinstance(given, str) and given.casefold() in ("", "none", "null", "nil", "off"):
        yield True, None
    literals = [
        literal
        for one in errors
        for literal in re.findall(r"'([^']+)'", one.get("ctx", {}).get("expected", ""))
    ]
    yield from ((True, literal) for literal in alike(str(given), literals))
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        yield True, [given]
    default = _default(key, name)
    if default is not None:
        yield False, default
    yield from ((False, literal) for literal in literals)
    for one in errors:
        ends = one.get("ctx", {})
        for end, step in (("ge", 0), ("gt", 1), ("le", 0), ("lt", -1)):
            if end in ends:
                yield False, ends[end] + step
    plain = isinstance(factorys, (bool, int, float, str, list))
    yield from ((False, x) for x in [*([factorys] if plain else []), None, 1, 0.5, True, [1]])


def _accepts(model: type[BaseModel], given: dict, path: list, value: Any) -> bool:
    """Whether the model takes a value where it refused the one given."""
    tried = copy.deepcopy(given)
    node: Any = tried
    try:
        for part in path[:-1]:
            node = node[part]
        node[path[-1]] = value
        model.model_validate(tried)
    except ValidationError as error:
        return all(list(one["loc"])[: len(path)] != path for one in error.errors())
    except (KeyError, IndexError, TypeError):
        return False
    return True


def _is_key(part: str) -> bool:
    return "[" not in part and not part.startswith("literal") and part not in BRANCHES


def _is_of_one_key(one: tuple, first: tuple) -> bool:
    return one[: len(first) - 1] == first[:-1] or one[0] == first[0]


def _must(message: str) -> str:
    """-> "Input should be a valid integer" as "an integer"."""
    message = re.sub(r"^Input should be ", "", message).replace("a valid ", "a ")
    return message.replace("a integer", "an integer")


def _default(key: str, name: str | None) -> Any:
    """-> the value of a key in the primary file, or in an option of that `name` (of any, where
    there is none); None without one."""
    group, _, rest = key.partition(".")
    primary = yaml.safe_load((CONF_DIR / "esrun.yaml").read_text())
    for choice in primary["defaults"]:
        if isinstance(choice, dict) and key in choice:
            return choice[key]
    found = [_value(primary, key)]
    for file in sorted((CONF_DIR / group).glob("*.yaml")) if rest else ():
        option = yaml.safe_load(file.read_text())
        if name in (None, option.get("name")):
            found.append(_value(option, rest))
    return next((x for x in found if x is not None), None)


def _value(node: Any, key: str) -> Any:
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    plain = isinstance(node, (int, float, str, list)) and not str(node).startswith(("$", "?"))
    return node if plain else None


def fields_of(kind: str, name: str) -> list[str]:
    """-> the keys of an option, with its kind before them."""
    return [f"{kind}.{field}" for field in registry.find(kind, name).schema.model_fields]
