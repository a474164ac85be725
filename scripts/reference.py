"""Every key on one page, docs/reference.md: made from the yaml files of conf/, whose comments say
units and sources, and from the schema, which says what may be written.

    python scripts/reference.py             # writes the page
    python scripts/reference.py --check     # exit code 1 where the page is not what they say
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import yaml

from esrun.commands.list import sentence
from esrun.config.registry import find
from esrun.config.schema.base import names_of
from esrun.config.schema.run import Config

ROOT = Path(__file__).parent.parent
CONF, PAGE = ROOT / "conf", ROOT / "docs" / "reference.md"
GROUPS = {
    "task": "Tasks",
    "strategy": "Strategies",
    "policy": "Policies",
    "logger": "Loggers",
    "experiment": "Experiments",
}
OF_32_BITS = 2**24
"""From here on a bound is what 32 bits hold, and tells a reader nothing."""
SIGNS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
OPENING = """
# Every key

What can be written behind `esrun`: what a key may be, and what it is where nothing is written.
`esrun help strategy=cma_es` prints an option's part of this page, `esrun list` the names,
`esrun --help` every key of a configuration with its value. What a shell would expand is quoted:
`'policy.hidden=[64,64]'`. `null` leaves the choice to the rule that is told.

`python scripts/reference.py` makes this page from the files of `conf/`.

[The run](#the-run)"""
HEADER = "| key | may be | default | |\n|---|---|---|---|"
FOLDERS = """
### Folders

| key | default | |
|---|---|---|
| `hydra.run.dir` | `outputs/DATE/TIME` | the run folder |
| `hydra.sweep.dir` | `multirun/DATE/TIME` | a sweep's (`-m`), with its runs in `0`, `1`, ... |
"""


class Key(NamedTuple):
    """A key as a yaml file has it."""

    path: tuple[str, ...]
    written: str | None
    """Its value as it is written there, None for a section."""
    comment: str


def keys_of(text: str) -> list[Key]:
    """-> the keys of a yaml file in their order, a section before the keys in it."""
    lines = text.splitlines()

    def walk(mapping: yaml.MappingNode, path: tuple[str, ...]) -> Iterator[Key]:
        for name, value in mapping.value:
            is_section = isinstance(value, yaml.MappingNode) and not value.flow_style
            end = (name if is_section else value).end_mark
            first = re.match(r":?\s*#\s*(.*)", lines[end.line][end.column :])
            more = takewhile(lambda line: re.match(r"\s{8,}#", line), lines[end.line + 1 :])
            comment = " ".join([first[1], *(x.strip(" #") for x in more)]) if first else ""
            written = None if is_section else _written(text, value)
            yield Key((*path, name.value), written, comment)
            if isinstance(value, yaml.MappingNode):
                yield from walk(value, (*path, name.value))

    node = yaml.compose(text, yaml.SafeLoader)
    return list(walk(node, ())) if isinstance(node, yaml.MappingNode) else []


def words(schema: dict, plural: str = "") -> str:
    """-> what a JSON schema allows, in words; `plural` is an s where several are meant."""
    if "anyOf" in schema:
        return ", or ".join(words(x, plural) for x in schema["anyOf"])
    choices = schema.get("enum", [schema["const"]] if "const" in schema else [])
    if choices:
        told = [code(x if isinstance(x, str) else json.dumps(x)) for x in choices]
        return " or ".join(filter(None, [", ".join(told[:-1]), told[-1]]))
    if schema["type"] == "array":
        return f"list of {words(schema['items'], 's')}"
    if schema["type"] in ("integer", "number"):
        is_whole = schema["type"] == "integer" or "multipleOf" in schema
        told = [
            f" {sign} {schema[name]:.10g}"
            for name, sign in SIGNS.items()
            if name in schema and (abs(schema[name]) < OF_32_BITS or schema[name] == 2**32)
        ]
        return f"{'whole number' if is_whole else 'number'}{plural}{' and'.join(told)}"
    return {
        "boolean": "`true` or `false`",
        "null": "`null`",
        "string": f"text{plural}",
        "object": "keys with values",
    }[schema["type"]]


def code(text: str) -> str:
    """-> text as code."""
    return f"`{text}`"


def prose(comment: str) -> str:
    """-> a comment as Markdown."""
    linked = re.sub(r"(https?://[^\s)]*[^\s).,;])", r"<\1>", comment)
    return re.sub(r"([*|])", r"\\\1", linked)


def default(written: str) -> str:
    """-> a value as it is written, `esrun.yaml`'s references to other keys resolved."""
    other = re.fullmatch(r"\$\{oc\.select:(.+),(.+)\}", written)
    if other:
        return f"{code(other[1])}, or else {code(other[2])}"
    return "to be given" if written == "???" else code(written)


def allowed(schema: dict, path: tuple[str, ...], written: str) -> str:
    """-> what the key of a JSON schema may be; of a mapping's own keys, what is like their
    defaults."""
    for name in path:
        if "$ref" in schema:
            schema = schema["$defs"][schema["$ref"].rpartition("/")[2]]
        schema = {"$defs": schema.get("$defs", {})} | schema.get("properties", {}).get(name, {})
    if "type" in schema or "anyOf" in schema or "enum" in schema or "const" in schema:
        return words(schema)
    kinds = {bool: "boolean", int: "integer", float: "number", list: "array", str: "string"}
    value = yaml.safe_load(written)
    number = {"type": kinds[type(value[0] if isinstance(value, list) else value)]}
    return words({"type": "array", "items": number} if isinstance(value, list) else number)


def _written(text: str, value: yaml.Node) -> str:
    """-> a value as it is written; a list over several lines as one."""
    whole = text[value.start_mark.index : value.end_mark.index]
    scalars = isinstance(value, yaml.SequenceNode) and not value.flow_style
    if scalars and all(isinstance(x, yaml.ScalarNode) for x in value.value):
        return f"[{', '.join(x.value for x in value.value)}]"
    return whole


def rows(keys: list[Key], schema: dict, prefix: str = "") -> Iterator[str]:
    """-> the rows of a table."""
    for key in keys:
        name = code(prefix + ".".join(key.path))
        if key.written is None:
            yield f"| {name} | | | {prose(key.comment)} |"
        else:
            may_be = allowed(schema, key.path, key.written)
            yield f"| {name} | {may_be} | {default(key.written)} | {prose(key.comment)} |"


def run() -> Iterator[str]:
    """-> the part on a run's own keys: conf/esrun.yaml."""
    schema = Config.model_json_schema()
    ours = [
        key
        for key in keys_of((CONF / "esrun.yaml").read_text())
        if key.path[0] not in ("defaults", "hydra", "logger")
    ]
    yield f"\n## The run\n\n{HEADER}"
    yield from rows([key for key in ours if len(key.path) == 1 and key.written], schema)
    for section in (key for key in ours if key.written is None):
        about = prose(section.comment)
        says = f"\n{about[0].upper()}{about[1:]}.\n" if about else ""
        yield f"\n### {section.path[0]}\n{says}\n{HEADER}"
        yield from rows([x for x in ours if x.path[:-1] == section.path], schema)
    yield FOLDERS.rstrip()


def group(name: str, title: str) -> Iterator[str]:
    """-> the part on a group of options, an option a section."""
    files = sorted((CONF / name).glob("*.yaml"))
    chosen = "'logger=[...]'" if name == "logger" else f"{name}="
    yield f"\n## {title}: `{chosen}`\n\n| | |\n|---|---|"
    for file in files:
        yield f"| [`{file.stem}`](#{name}{file.stem}) | {prose(sentence(file.read_text()))} |"
    for file in files:
        yield f"\n### {name}={file.stem}\n"
        yield from option(name, file)


def option(name: str, file: Path) -> Iterator[str]:
    """-> what the yaml of an option says."""
    text = file.read_text()
    data = yaml.safe_load(text)
    lines = [line for line in text.splitlines() if not line.startswith("# @package")]
    head = [x.removeprefix("#").strip() for x in lines[: _first(lines)]]
    yield prose("\n".join(head))
    brings = [
        code(f"{group.split('/')[-1].split('@')[0]}={value}")
        for entry in (data or {}).get("defaults", [])
        if isinstance(entry, dict)
        for group, value in entry.items()
    ]
    if brings:
        yield f"\nIt brings {', '.join(brings)}."
    keys = [key for key in keys_of(text) if key.path[0] not in ("defaults", "name")]
    if name == "experiment":
        settings = (f"{'.'.join(x.path)}={x.written}" for x in keys if x.written)
        yield f"\nIt sets {', '.join(map(code, settings))}."
        return
    schema = find(name, data["name"]).schema
    prefix = f"{name}.{data['name']}." if name == "logger" else f"{name}."
    if len(names_of(schema)) > 1 and data["name"] != file.stem:  # one yaml for many of them
        keys = [key for key in keys_of(text) if key.path[0] != "defaults"]
    if keys:
        yield f"\n{HEADER}"
        yield from rows(keys, schema.model_json_schema(), prefix)


def _first(lines: list[str]) -> int:
    """-> the number of the first line that is no comment."""
    return next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))


def page() -> str:
    """-> the page."""
    links = (f"[{title}](#{title.lower()}-{name})" for name, title in GROUPS.items())
    parts = [" · ".join([OPENING.lstrip(), *links]), *run()]
    for name, title in GROUPS.items():
        parts += group(name, title)
    return "\n".join(parts) + "\n"


def main() -> int:
    """Write the page, or say whether it is the one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    if not parser.parse_args().check:
        PAGE.write_text(page())
    elif PAGE.read_text() != page():
        print("docs/reference.md is not what conf/ says: type python scripts/reference.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
