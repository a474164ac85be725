"""Nested dictionaries and their dotted keys."""

from typing import Any


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """-> the leaves of nested dictionaries by their dotted key."""
    if isinstance(tree, dict) and tree:
        return {
            name: x
            for key, value in tree.items()
            for name, x in flat(value, f"{prefix}{key}.").items()
        }
    return {prefix[:-1]: tree}
