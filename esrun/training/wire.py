"""What crosses between a run and its workers: bytes, in which words, numbers and arrays stand.

A message is a safetensors file: nothing in it is code, and arrays are taken for what a template
says alone.
"""

import json
from typing import Any

import jax
import numpy as np
from safetensors.numpy import load, save

from esrun.types import PyTree

ABOUT = "about"


def named(tree: PyTree) -> dict[str, Any]:
    """-> the leaves of a tree by their path, in the order of the tree."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): x for path, x in leaves}


def packed(about: dict[str, Any], tree: PyTree = None) -> bytes:
    """-> a message of what JSON knows, and of a tree of arrays."""
    tensors = {
        name: np.ascontiguousarray(x).reshape(np.shape(x)) for name, x in named(tree).items()
    }
    return save(tensors, {ABOUT: json.dumps(about)})


def about(content: bytes) -> dict[str, Any]:
    """-> what a message says besides its arrays."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(json.loads(content[8 : 8 + length])["__metadata__"][ABOUT])


def unpacked(content: bytes, template: PyTree) -> PyTree:
    """-> the arrays of a message, of the structure of a template of arrays or shapes. Raises
    ValueError where it holds others."""
    tensors, expected = load(content), named(template)
    given = {name: (x.shape, x.dtype) for name, x in tensors.items()}
    if given != {name: (x.shape, np.dtype(x.dtype)) for name, x in expected.items()}:
        raise ValueError("a message holds other arrays than this configuration has")
    return jax.tree.unflatten(jax.tree.structure(template), [tensors[name] for name in expected])
