"""`policy.safetensors`: the trained policy, for whoever wants to use it."""

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from esrun import files
from esrun.runs.header import header


def save_policy(path: Path, params: Any, normalizer: Any, metadata: dict[str, Any]) -> None:
    """Write `policy.safetensors`.

    Tensors are named `params/MODULE/NAME` after the haiku tree and, with an input normaliser,
    `normalizer/count|mean|m2` (x is normalised to (x - mean) / sqrt(m2 / count), cut at ±10). The
    metadata has one key, `esrun`, with JSON: `policy` and `task` (the options), `input_shape`,
    `output_size`, `format`. The same parameters are the same bytes.
    """
    tensors = {
        f"params/{module}/{name}": np.asarray(x)
        for module, leaves in params.items()
        for name, x in leaves.items()
    }
    if normalizer is not None:
        tensors |= {f"normalizer/{name}": np.asarray(x) for name, x in normalizer._asdict().items()}
    contiguous = {name: np.ascontiguousarray(x).reshape(x.shape) for name, x in tensors.items()}
    files.write(path, save(contiguous, header("policy", metadata)))
