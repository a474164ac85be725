"""Policies in files: read, checked against their architecture, made again.

Such a file may be a stranger's: nothing of it is run, and no more is believed of it than that its
tensors are those of the policy it names.
"""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse

from esrun import files
from esrun.config import registry
from esrun.config.check import option
from esrun.errors import ConfigError
from esrun.header import LARGEST, read_header
from esrun.types import Moments, Policy, PyTree

READING = (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError)
"""What reading a foreign file may raise."""


class Held(NamedTuple):
    """A policy as its file holds it, in NumPy arrays."""

    params: PyTree
    normalizer: Moments | None
    references: np.ndarray | None


class Stored(NamedTuple):
    """What a file of policies holds."""

    tensors: dict[str, np.ndarray]
    about: dict[str, Any]
    """Its metadata."""


def read(path: Path, kind: str, name: str) -> Stored:
    """-> what a file of a kind ("policy", "members") holds, which messages call `name`. Raises
    ConfigError."""
    try:
        content = files.read(path, LARGEST)
        return Stored(parse(content), read_header(content, kind))
    except FileNotFoundError as error:
        raise ConfigError(f"{name} is not there") from error
    except READING as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{name} cannot be read: {reason}") from error


def made(kind: str, options: dict[str, Any], **sizes: Any) -> Any:
    """-> the part that the options of a kind ("task", "policy") describe. Raises ConfigError,
    ValueError."""
    model = option(kind, options, kind)
    chosen = model.model_dump(exclude={"name", *model.run_keys})
    chosen |= {"data": None} if model.reads else {}
    return registry.factory(kind, options["name"])(**sizes, **chosen)


def unpacked(stored: Stored, input_shape: tuple[int, ...], policy: Policy, name: str) -> Held:
    """-> what the file holds. Raises ConfigError where the tensors are not those of the policy."""
    params = jax.eval_shape(partial(policy.init, jax.random.key(0)))
    moments: Any = {"count": (), "mean": input_shape, "m2": input_shape}
    wanted = {
        f"params/{module}/{leaf}": x.shape
        for module, leaves in params.items()
        for leaf, x in leaves.items()
    }
    if any(tensor.startswith("normalizer/") for tensor in stored.tensors):
        wanted |= {f"normalizer/{moment}": shape for moment, shape in moments.items()}
    if policy.references:
        wanted |= {"references": (policy.references, *input_shape)}
    given = {tensor: x.shape for tensor, x in stored.tensors.items()}
    if given != wanted:
        raise ConfigError(f"{name} holds other parameters than its architecture has")
    return _tree(stored.tensors, params)


def _tree(tensors: dict[str, np.ndarray], params: PyTree) -> Held:
    tree = {
        module: {name: tensors[f"params/{module}/{name}"] for name in leaves}
        for module, leaves in params.items()
    }
    seen: Any = {name: tensors.get(f"normalizer/{name}") for name in Moments._fields}
    moments = None if seen["count"] is None else Moments(**seen)
    return Held(tree, moments, tensors.get("references"))
