"""`policy.safetensors` and its like: trained policies, for whoever wants to use them."""

from typing import Any

import numpy as np
from safetensors.numpy import save

from esrun.header import header
from esrun.training.generation import Parts
from esrun.types import Archive, TrainState

PLAIN = {"observation": {"kind": "float"}, "action": {"kind": "output"}}
"""The interface of a task that says none."""


def describe(written: dict[str, Any], parts: Parts) -> dict[str, Any]:
    """-> what a policy's file says of every policy of a run, whose configuration is `written`."""
    own = ("keep_every", "start")  # the run's, not the architecture's
    options = {key: x for key, x in written["policy"].items() if key not in own}
    return {
        "policy": options,
        "task": written["task"],
        "input_shape": parts.task.input_shape,
        "output_size": parts.task.output_size,
        "interface": parts.task.interface.about() if parts.task.interface else PLAIN,
    }


def packed(params: Any, normalizer: Any, metadata: dict[str, Any], references: Any = None) -> bytes:
    """-> the content of `policy.safetensors`.

    Tensors are named `params/MODULE/NAME` after the haiku tree and, with an input normaliser,
    `normalizer/count|mean|m2` (x is normalised to (x - mean) / sqrt(m2 / count), cut at ±10), and
    `references` where the policy has reference inputs, not normalised. The
    metadata has one key, `esrun`, with JSON: `policy` and `task` (the options), `input_shape`,
    `output_size`, `generation`, `format`; in `policy_best.safetensors` also `eval_mean`, the score
    by which it is the best. The same parameters are the same bytes.
    """
    return _packed("policy", _tensors(params, normalizer, references), metadata)


def packed_mean(state: TrainState, parts: Parts, metadata: dict[str, Any]) -> bytes:
    """-> the content of the file of a state's mean policy."""
    params = parts.unravel(np.asarray(state.strategy.mean))
    return packed(params, state.normalizer, metadata, state.references)


def packed_members(
    archive: Archive, parts: Parts, metadata: dict[str, Any], references: Any
) -> bytes | None:
    """-> the content of `members_best.safetensors`, None where there are no members: the tensors of
    a policy, each [k, ...] for k members, best first, and their `fitness` and `generation` [k].
    They share their `references`."""
    found = int(np.isfinite(archive.fitness).sum())
    if not found:
        return None
    members = np.asarray(archive.members)[:found]
    each = [_tensors(parts.unravel(x), None, None) for x in members]
    tensors = {name: np.stack([one[name] for one in each]) for name in each[0]}
    if archive.normalizer is not None:
        moments = archive.normalizer._asdict()
        tensors |= {f"normalizer/{name}": np.asarray(x)[:found] for name, x in moments.items()}
    tensors |= {
        "fitness": np.asarray(archive.fitness)[:found],
        "generation": np.asarray(archive.generation)[:found],
    }
    return _packed("members", tensors | _shared(references), metadata)


def _tensors(params: Any, normalizer: Any, references: Any) -> dict[str, np.ndarray]:
    tensors = {
        f"params/{module}/{name}": np.asarray(x)
        for module, leaves in params.items()
        for name, x in leaves.items()
    }
    if normalizer is not None:
        tensors |= {f"normalizer/{name}": np.asarray(x) for name, x in normalizer._asdict().items()}
    return tensors | _shared(references)


def _shared(references: Any) -> dict[str, np.ndarray]:
    return {} if references is None else {"references": np.asarray(references)}


def _packed(kind: str, tensors: dict[str, np.ndarray], metadata: dict[str, Any]) -> bytes:
    contiguous = {name: np.ascontiguousarray(x).reshape(x.shape) for name, x in tensors.items()}
    return save(contiguous, header(kind, metadata))
