"""Yaml of bounded size: what a file becomes is looked at before it is read.

An alias (`*a`) stands for all that its anchor holds, and what holds nine of them, nine times over,
fills any memory. Counting costs no more than the text is long.
"""

import os
from pathlib import Path

import yaml

from esrun import files
from esrun.errors import ConfigError

BYTES, NODES, DEPTH = 2**20, 20_000, 64
"""What the file of an option may have, with every alias spelled out."""


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
