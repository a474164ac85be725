"""What pydantic finds wrong, as one line: what must hold, what was given, what to write instead."""

import copy
import functools
import math
import re
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from esrun.config import CONF_DIR, registry
from esrun.config.schema.base import REAL, Model
from esrun.errors import ConfigError, alike, as_typed, clipped, nearest

BRANCHES = ("int", "float", "bool", "str", "constrained-int")
"""Parts of pydantic's location of an error that name a branch of a union, not a key."""


def complaint(error: ValidationError, prefix: str, given: dict, model: type[BaseModel]) -> str:
    """-> the first of pydantic's errors about the `given` that the model refused; `prefix` is
    "strategy." or the like."""
    first = error.errors()[0]
    path = [part for part in first["loc"] if not isinstance(part, str) or _is_key(part)]
    key = prefix + ".".join(map(str, path))
    if first["type"] == "value_error":
        return str(first.get("ctx", {}).get("error"))
    if first["type"] == "extra_forbidden":
        near = nearest(key, [f"{prefix}{x}" for x in _keys_of(model)])
        title = f"{prefix[:-1]}={given.get('name')}" if prefix else "this configuration"
        return f"{key} is not a key of {title}{near}: `esrun --cfg job` shows them"
    if first["type"] == "missing":
        return must_be_given(key, given)
    faults = [one for one in error.errors() if _is_of_one_key(one["loc"], first["loc"])]
    bounds = [one for one in faults if one["type"].startswith(("greater", "less"))]
    musts = list(dict.fromkeys(_must(one) for one in bounds or faults))
    if _accepts(model, given, path, None):
        musts.append("null")
    if first["type"] in ("model_type", "dict_type"):
        return f"{key} must be a mapping of keys, got {_shown(first['input'])}: leave it out"
    line = f"{key} must be {' or '.join(musts)}, got {_shown(first['input'])}"
    whole = next((i for i, part in enumerate(path) if isinstance(part, int)), len(path))
    key, path = prefix + ".".join(map(str, path[:whole])), path[:whole]  # a list is typed as one
    field = model.model_fields.get(str(path[0])) if len(path) == 1 else None
    for like, value in _meant(key, given, faults, field.default if field else None):
        if _accepts(model, given, path, value):
            return f"{line}: write {'' if like else 'for example '}{key}={as_typed(value)}"
    return line


def must_be_given(key: str, given: dict | None = None) -> str:
    """-> the line for a key without a value."""
    example = next(iter(_defaults(key, given or {})), None)
    return f"{key} must be given" + (
        "" if example is None else f": write {key}={as_typed(example)}"
    )


def _shown(value: Any) -> str:
    """-> what was given, of a long one the beginning."""
    return clipped(repr(value), 60)


def _meant(key: str, section: dict, errors: list, factorys: Any) -> Iterator[tuple[bool, Any]]:
    """-> values that may serve, the likeliest first, and whether they are like what was given.
    `factorys` is a plug-in's default."""
    given = errors[0]["input"]
    if isinstance(given, str) and given.casefold() in ("", "none", "null", "nil", "off"):
        yield True, None
    if isinstance(given, float) and not math.isfinite(given):
        yield False, None  # where there may be no limit at all
    literals = [
        literal
        for one in errors
        for literal in re.findall(r"'([^']+)'", one.get("ctx", {}).get("expected", ""))
    ]
    yield from ((True, literal) for literal in alike(str(given), literals))
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        yield True, [given]
    yield from ((False, x) for x in _defaults(key, section))
    yield from ((False, literal) for literal in literals)
    for one in errors:
        ends = one.get("ctx", {})
        for end, step in (("ge", 0), ("gt", 1), ("le", 0), ("lt", -1)):
            if end in ends and abs(ends[end]) < REAL:  # no example is that large
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
        found = model.model_validate(tried)
        if isinstance(found, Model):
            found.resolved()
    except ValidationError as error:  # other keys may be wrong too, and are not asked for here
        return all(one["loc"] and list(one["loc"])[: len(path)] != path for one in error.errors())
    except (ConfigError, KeyError, IndexError, TypeError):
        return False
    return True


def _is_key(part: str) -> bool:
    return "[" not in part and not part.startswith("literal") and part not in BRANCHES


def _is_of_one_key(one: tuple, first: tuple) -> bool:
    return one[: len(first) - 1] == first[:-1] or one[0] == first[0]


def _must(error: Any) -> str:
    """-> "Input should be a valid integer" as "an integer"."""
    message = re.sub(r"^Input should be ", "", error["msg"]).replace("a valid ", "a ")
    message = re.sub(r"\d{20,}", lambda digits: f"{float(digits[0]):g}", message)
    message = message.replace("String should have at least 1 character", "a text")
    return message.replace("a integer", "an integer")


def _defaults(key: str, given: dict) -> list[Any]:
    """-> the values of a key in the primary file and in the options of the same name as the section
    that was `given`, of any where it has none; the option in use comes first, which is the one with
    the same environment or function."""
    group, _, rest = key.partition(".")
    (primary,) = _read("esrun.yaml")
    found = [choice[key] for choice in primary["defaults"] if key in choice]
    found.append(_value(primary, key))
    options = [x for x in _read(f"{group}/*.yaml") if given.get("name") in (None, x.get("name"))]
    options.sort(key=lambda x: any(x.get(what) != given.get(what) for what in ("env", "function")))
    found += [_value(option, rest) for option in options if rest]
    own = registry.OPTIONS.get(group, {})  # where no name is known, whichever has an example
    name = given.get("name")
    found += [x.schema.examples.get(rest) for key, x in own.items() if name in (None, key)]
    return [x for x in found if x is not None]


@functools.cache
def _read(pattern: str) -> list[dict]:
    """-> esrun's own yaml files, which do not change."""
    return [yaml.safe_load(file.read_text()) for file in sorted(CONF_DIR.glob(pattern))]


def _value(node: Any, key: str) -> Any:
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    plain = isinstance(node, (int, float, str, list)) and not str(node).startswith(("$", "?"))
    return node if plain else None


def _keys_of(model: type[BaseModel]) -> Iterator[str]:
    """-> the dotted keys of a model."""
    for name, field in model.model_fields.items():
        yield name
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from (f"{name}.{key}" for key in _keys_of(inner))
