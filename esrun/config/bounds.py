"""Yaml of bounded size: what a file becomes is looked at before it is read.

An alias (`*a`) stands for all that its anchor holds, and what holds nine of them, nine times over,
fills any memory; so do interpolations of interpolations. Counting costs no more than the text is
long.
"""

import os
import re
from pathlib import Path
from typing import Any

import yaml

from esrun import files
from esrun.config.trees import flat
from esrun.errors import ConfigError

BYTES, NODES, DEPTH = 2**20, 20_000, 64
"""What the file of an option may have, with every alias spelled out."""

CHARACTERS = 2**20
"""What a configuration may have, with every interpolation spelled out."""

REFERENCE = re.compile(r"\$\{([^${}:]+)\}")
"""An interpolation of a key; what a resolver makes of its arguments is its own affair."""


def check_yaml(path: str) -> None:
    """Raise ConfigError for a yaml file that is too large, too deep, or no plain file. Whether it
    is good yaml is for others to say."""
    try:
        content = files.read(Path(os.path.realpath(path)), BYTES)
        largest, deepest = _extent(content)
    except (OSError, yaml.YAMLError, ValueError) as error:
        if isinstance(error, files.RefusedError):
            raise ConfigError(f"{path} is not read: {error}") from error
        return
    if largest > NODES or deepest > DEPTH:
        raise ConfigError(
            f"{path} must have at most {NODES} values, aliases spelled out, {DEPTH} levels deep"
        )


def check_interpolations(tree: Any) -> None:
    """Raise ConfigError for an unresolved configuration whose interpolations (`${a}`) would become
    more than CHARACTERS: what holds another twice, and is held twice, doubles each time."""
    values = flat(tree)
    leaves = {name: str(value) for name, value in values.items()}
    sizes: dict[str, int] = {}
    below: dict[str, list[str]] = {}
    for name in leaves:
        path = name.split(".")
        for depth in range(len(path)):
            below.setdefault(".".join(path[: depth + 1]), []).append(name)

    def size(name: str) -> int:
        if name not in sizes:
            sizes[name] = len(leaves[name])  # a circle is for OmegaConf to name
            at = f"{name}.0" if isinstance(values[name], list) else name
            for key in REFERENCE.findall(leaves[name]):
                sizes[name] += sum(map(size, below.get(_absolute(key, at, below), ())))
        return sizes[name]

    if sum(map(size, leaves)) > CHARACTERS:
        raise ConfigError(
            f"a configuration must have at most {CHARACTERS} characters, interpolations spelled out"
        )


def _absolute(key: str, at: str, known: dict[str, list[str]]) -> str:
    """-> the key that an interpolation at `at` means, or the list that its element lies in."""
    up = len(key) - len(key.lstrip("."))
    path = re.split(r"[.\[]", key.lstrip(".").replace("]", ""))
    path = [*(at.split(".")[:-up] if up else []), *path]
    while path and ".".join(path) not in known:
        path.pop()
    return ".".join(path)


def _extent(content: bytes) -> tuple[int, int]:
    """-> (values with every alias spelled out, levels), or the first that is beyond the bounds."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    total = deepest = 0
    for event in yaml.parse(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.AliasEvent):
            # an anchor that is not closed yet would hold itself
            total += sizes.get(event.anchor, NODES + 1)
        elif isinstance(event, (yaml.CollectionEndEvent)):
            anchor, before = open_nodes.pop()
            if anchor:
                sizes[anchor] = total - before
        elif isinstance(event, yaml.NodeEvent):
            total += 1
            if isinstance(event, yaml.CollectionStartEvent):
                open_nodes.append((event.anchor, total - 1))
                deepest = max(deepest, len(open_nodes))
            elif event.anchor:
                sizes[event.anchor] = 1
        if total > NODES or deepest > DEPTH:
            break
    return total, deepest
