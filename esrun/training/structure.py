"""What of a configuration is structure, which a program is compiled for, and what are numbers."""

from typing import Any

import jax.numpy as jnp


def split(value: Any) -> tuple[Any, Any]:
    """-> (structure, numbers): the same tree twice, its floats in the second and everything else in
    the first."""
    if isinstance(value, float):
        return None, value
    if isinstance(value, dict):
        halves = {key: split(x) for key, x in value.items()}
        return {k: s for k, (s, _) in halves.items()}, {
            k: h for k, (_, h) in halves.items() if h is not None
        }
    if isinstance(value, list) and any(isinstance(x, float) for x in value):
        return None, [float(x) for x in value]
    return value, None


def joined(structure: Any, numbers: Any) -> Any:
    """The inverse of `split`; the numbers may have become arrays."""
    if isinstance(structure, dict):
        numbers = numbers or {}
        return {key: joined(structure[key], numbers.get(key)) for key in structure}
    return structure if numbers is None else numbers


def arrays(tree: Any) -> Any:
    """-> the numbers as arrays."""
    if isinstance(tree, dict):
        return {key: arrays(value) for key, value in tree.items()}
    return jnp.asarray(tree, float)
