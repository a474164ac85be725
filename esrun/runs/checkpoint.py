"""Checkpoints: the whole training state in one safetensors file, verified before it counts.

`checkpoints/GENERATION-DIGEST.safetensors`: the digest is the first 16 hexadecimal digits of the
file's SHA-256, so a shell can check one too. A file is written under a temporary name, flushed to
the disk, renamed and read back before an older one is removed: whatever happens, the newest valid
checkpoint stays. Nothing in it is code, and no size in it is believed.
"""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse
from safetensors.numpy import save as serialise

from esrun import files
from esrun.config.schema.run import LARGEST_ARCHIVE
from esrun.header import header, read_header
from esrun.runs.paths import CHECKPOINT as NAME

PARTIAL = re.compile(NAME.pattern + r"\.[0-9a-f]{8}\.partial")
READING = (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError)
"""What reading a foreign file may raise."""
HEADER_LIMIT = 2**20
"""Bytes that names and metadata may take."""
ARCHIVE = "archive/"
"""Before the names of what may have any number of rows: `archive.top_k` may be another one when a
run goes on, and earlier versions kept none."""


class DamagedError(ValueError):
    """A checkpoint that cannot be used; the message says why."""


class Checkpoint(NamedTuple):
    """What a run goes on from."""

    state: Any
    """The training state, leaves as NumPy arrays."""
    progress: dict
    """What the host keeps count of: generation, env_steps, seconds, best_fitness, score."""


def save(folder: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write and verify a checkpoint, then remove all but the newest `keep` -> its path.

    Raises OSError when the disk refuses; older checkpoints are then untouched.
    """
    files.make_folder(folder)
    tensors = {
        name: np.ascontiguousarray(x).reshape(np.shape(x))
        for name, x in named(checkpoint.state).items()
    }
    content = serialise(tensors, header("checkpoint", {"progress": checkpoint.progress}))
    path = folder / f"{checkpoint.progress['generation']:010d}-{digest(content)}.safetensors"
    files.write(path, content)
    if digest(files.read(path, len(content))) != digest(content):
        path.unlink()
        raise OSError(f"{path} reads back otherwise than it was written")
    # the new one stays whatever lies beside it; what is newer by its name is none that was read
    older = [other for other in found(folder) if other.name[:10] < path.name[:10]]
    for old in older[keep - 1 :]:
        if old.is_file():
            old.unlink(missing_ok=True)
    for partial in folder.glob("*.partial"):
        # left by a process that was killed
        if PARTIAL.fullmatch(partial.name) and partial.is_file():
            partial.unlink(missing_ok=True)
    return path


def digest(content: bytes) -> str:
    """-> the first 16 hexadecimal digits of the SHA-256."""
    return hashlib.sha256(content).hexdigest()[:16]


def found(folder: Path) -> list[Path]:
    """-> the checkpoint files by name, newest first; whether they are valid is not looked at."""
    names = (
        [path for path in folder.glob("*.safetensors") if NAME.fullmatch(path.name)]
        if folder.is_dir()
        else []
    )
    return sorted(names, reverse=True)


def load(
    path: Path, template: Any, check: Callable[[Checkpoint], Any] = lambda checkpoint: None
) -> Checkpoint:
    """Read a checkpoint of the structure of `template`, a tree of arrays or shapes. Raises
    DamagedError for any other.

    `check` raises ValueError or TypeError for one that is none. The file's size is held
    against the template's before it is read, its digest before it is parsed.
    """
    expected = named(template)
    limit = _most_bytes(expected) + HEADER_LIMIT
    try:
        content = files.read(path, limit)
        match = NAME.fullmatch(path.name)
        if match is None or digest(content) != match[2]:
            raise DamagedError("its content does not have the digest in its name")
        progress = read_header(content, "checkpoint")["progress"]
        if progress["generation"] != int(match[1]):
            raise DamagedError("it is of another generation than its name says")
        tensors = _resized(parse(content), expected)
        if {name: _kind(x) for name, x in tensors.items()} != {
            name: _kind(x) for name, x in expected.items()
        }:
            raise DamagedError("it holds another state than this configuration has")
        leaves = [tensors[name] for name in expected]
        checkpoint = Checkpoint(jax.tree.unflatten(jax.tree.structure(template), leaves), progress)
        check(checkpoint)
        return checkpoint
    except READING as error:
        raise (
            error
            if isinstance(error, DamagedError)
            else DamagedError(f"it cannot be read: {' '.join(str(error).split())[:200]}")
        ) from error


def _most_bytes(expected: dict[str, Any]) -> int:
    """-> the bytes of a state with the largest archive."""
    sizes = {name: x.size * x.dtype.itemsize for name, x in expected.items()}
    rest = sum(size for name, size in sizes.items() if not name.startswith(ARCHIVE))
    member = sum(
        size for name, size in sizes.items() if name.startswith(("strategy/mean", "normalizer/"))
    )
    return rest + LARGEST_ARCHIVE * (member + 16)  # fitness and generation


def _resized(tensors: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """-> the tensors with as many rows of the archive as are expected, those that it lacks
    empty."""
    fitted = {name: x for name, x in tensors.items() if not name.startswith(ARCHIVE)}
    for name in (name for name in expected if name.startswith(ARCHIVE)):
        shape, dtype = _kind(expected[name])
        found = tensors.get(name, np.zeros((0, *shape[1:]), dtype))
        if _kind(found) != ((len(found), *shape[1:]), dtype):
            return tensors
        fitted[name] = np.full(shape, -np.inf if name == f"{ARCHIVE}fitness" else 0, dtype)
        fitted[name][: len(found)] = found[: shape[0]]
    return fitted


def _kind(x: Any) -> tuple[tuple[int, ...], np.dtype]:
    return x.shape, np.dtype(x.dtype)


def named(tree: Any) -> dict[str, Any]:
    """-> the leaves of a tree by their path, in the order of the tree."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): x for path, x in leaves}


def newest(
    folder: Path,
    template: Any,
    warn: Callable[[str], Any],
    check: Callable[[Checkpoint], Any] = lambda checkpoint: None,
) -> Checkpoint | None:
    """-> the newest valid checkpoint, None where there never was one; `warn` is told of each one
    passed over.

    Raises DamagedError when there are some and none is valid.
    """
    paths = found(folder)
    for path in paths:
        try:
            return load(path, template, check)
        except DamagedError as error:
            warn(f"checkpoint {path.name} is passed over: {error}")
    if paths:
        raise DamagedError(f"none of the {len(paths)} checkpoints in {folder} can be used")
    return None
