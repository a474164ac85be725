"""Where a search begins that does not begin at random: `policy.start`.

The numbers themselves, or the policy that another run has left. Its file may be a stranger's:
nothing of it is run, and no more is believed of it than that its tensors are those of the policy.
"""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse

from esrun import files
from esrun.errors import ConfigError, printable
from esrun.header import read_header
from esrun.runs import in_step
from esrun.runs.checkpoint import found
from esrun.runs.folder import shown
from esrun.runs.paths import RunFolder
from esrun.runs.record import Record
from esrun.training.build import Run
from esrun.training.loop import NOTHING, Start
from esrun.training.restarts import state_at
from esrun.types import Moments

LARGEST = 2**32
"""Bytes that the file may have; no room is taken for more than it has."""
READING = (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError)
"""What reading a foreign file may raise."""
NAMED = 3
"""Tensors of other shapes that a message names."""


class Origin(NamedTuple):
    """A first mean and where it is from."""

    mean: np.ndarray  # [n]
    normalizer: Moments | None = None
    """That of the file, where the run has one too."""
    references: np.ndarray | None = None
    """Those of the file, where the run has some."""
    file: Path | None = None
    """None for numbers that the configuration says."""
    digest: str | None = None
    """The first 16 hexadecimal digits of the file's SHA-256."""

    @property
    def about(self) -> str:
        """In words."""
        if self.file is None:
            return "policy.start"
        normalizer = "" if self.normalizer is None else ", with its input normaliser"
        return f"{shown(self.file)} ({self.digest}){normalizer}"


class Beginning(NamedTuple):
    """A run that has just begun at its origin."""

    origin: Origin
    start: Start


def origin(run: Run) -> Origin | None:
    """-> where the search begins, None where it does so at random. Raises ConfigError for what is
    no beginning of this run."""
    start = run.config.policy.start
    if start is None:
        return None
    begins = _of_file(run, start) if isinstance(start, str) else _of_numbers(run, start)
    numbers = jax.tree.leaves((begins.mean, begins.normalizer, begins.references))
    dtype = jnp.zeros(()).dtype
    if not all(np.isfinite(np.asarray(x, dtype)).all() for x in numbers):
        raise ConfigError(
            f"policy.start must be finite numbers, and {begins.about} has others: begin with "
            "another policy, or write policy.start=null"
        )
    return begins


def begun(run: Run, folder: RunFolder, earlier: Record | None) -> Beginning | None:
    """-> the beginning of a run that has no checkpoint yet, None where it is at random.

    Raises ConfigError for an origin that is none, with which the run would be at its end, or which
    is another one than an `earlier` process began with.
    """
    begins = None if found(folder.checkpoints) else origin(run)
    if begins is None:
        in_step.begins_at()
        return None
    if earlier is not None and earlier.start not in (None, begins.digest):
        raise ConfigError(
            f"policy.start has changed since this run began, when its digest was "
            f"{printable(earlier.start)}, got {begins.about}: put it back, or start a new run"
        )
    moments = begins.normalizer._asdict() if begins.normalizer else {}
    in_step.begins_at({"policy": begins.mean, "references": begins.references, **moments})
    try:
        return Beginning(
            begins, Start(state_at(run, begins.mean, begins.normalizer, begins.references), NOTHING)
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _of_numbers(run: Run, numbers: list[float]) -> Origin:
    n = run.parts.n
    if len(numbers) != n:
        raise ConfigError(
            f"policy.start must be {n} numbers, one a parameter, got {len(numbers)}: write a list "
            f"of {n}, or policy.start=null"
        )
    return Origin(np.asarray(numbers))


def _of_file(run: Run, start: str) -> Origin:
    path = files.STARTED_IN / start
    path = RunFolder(path).policy if path.is_dir() else path
    content, tensors = _read(path)
    parts = run.parts
    params = jax.eval_shape(lambda: parts.policy.init(jax.random.key(0)))
    wanted = {
        f"params/{module}/{name}": x.shape
        for module, leaves in params.items()
        for name, x in leaves.items()
    }
    if k := parts.policy.references:
        wanted |= {"references": (k, *parts.task.input_shape)}
    given = {name: x for name, x in tensors.items() if not name.startswith("normalizer/")}
    _refuse_others(path, wanted, {name: x.shape for name, x in given.items()})
    # in the order of the tree, which is that of the flat vector
    mean = np.concatenate([np.ravel(given[name]) for name in _in_order(params)])
    digest = hashlib.sha256(content).hexdigest()[:16]
    normalizer = _normalizer(run, path, tensors)
    return Origin(mean, normalizer, given.get("references"), path, digest)


def _in_order(params: Any) -> list[str]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    return [f"params/{path[0].key}/{path[1].key}" for path, _ in leaves]


def _read(path: Path) -> tuple[bytes, dict[str, np.ndarray]]:
    try:
        content = files.read(path, LARGEST)
        read_header(content, "policy")
        return content, parse(content)
    except FileNotFoundError as error:
        raise ConfigError(
            f"policy.start must be a run that has left a policy, or the file of one, and "
            f"{shown(path)} is not there: write policy.start=RUN or policy.start=null"
        ) from error
    except READING as error:
        reason = printable(" ".join(str(error).split())[:200])
        raise ConfigError(
            f"policy.start must be the file of a policy, and {shown(path)} is none: {reason}"
        ) from error


def _refuse_others(path: Path, wanted: dict[str, tuple], given: dict[str, tuple]) -> None:
    """Raise ConfigError unless a file has the tensors that are wanted, by name and shape."""
    differing = [x for x in sorted(wanted | given) if wanted.get(x) != given.get(x)]
    if not differing:
        return
    shapes = [
        f"{name[:80]} is {_shape(given.get(name))} there and {_shape(wanted.get(name))} here"
        for name in differing[:NAMED]
    ]
    more = f" and {len(differing) - NAMED} others" if len(differing) > NAMED else ""
    raise ConfigError(
        f"policy.start must be a policy of this task and architecture, and {shown(path)} is "
        f"another: {printable(', '.join(shapes))}{more}: take over its "
        "run's task= and policy= keys, or write policy.start=null"
    )


def _shape(shape: tuple | None) -> str:
    return "missing" if shape is None else str(list(shape))


def _normalizer(run: Run, path: Path, tensors: dict[str, np.ndarray]) -> Moments | None:
    """-> the file's input normaliser where both have one."""
    seen = {name: tensors.get(f"normalizer/{name}") for name in Moments._fields}
    if not getattr(run.config.policy, "normalize_input", False) or seen["count"] is None:
        return None
    shape = run.parts.task.input_shape
    wanted = {"normalizer/count": (), "normalizer/mean": shape, "normalizer/m2": shape}
    given = {name: x.shape for name, x in tensors.items() if name.startswith("normalizer/")}
    _refuse_others(path, wanted, given)
    moments: Any = Moments(**seen)  # type: ignore
    if np.any(moments.count < 0) or np.any(moments.m2 < 0):
        raise ConfigError(
            f"policy.start must be the file of a policy, and {shown(path)} is none: its input "
            "normaliser counts less than nothing"
        )
    return moments
