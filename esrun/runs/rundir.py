"""The run folder: what a run leaves on disk, each file whole or not there."""

import json
import math
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from esrun import files
from esrun.runs import git

SECRET = re.compile(r"(token|secret|password|passwd|api_?key|credential)", re.IGNORECASE)
HIDDEN = "***"
PACKAGES = ("jax", "jaxlib", "dm-haiku", "optax", "gymnax", "numpy")


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON; numbers that JSON does not have become null."""
    files.write(path, (json.dumps(plain(content), indent=2) + "\n").encode())


def plain(value: Any) -> Any:
    """-> the same tree in JSON's types; NaN and infinities become None."""
    if isinstance(value, dict):
        return {str(key): plain(x) for key, x in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(x) for x in value]
    if hasattr(value, "tolist"):  # an array or a number of NumPy's
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def masked(value: Any, secret: frozenset[str] = frozenset(), key: str = "") -> Any:
    """-> the same tree with secrets hidden: the dotted keys in `secret`, and all whose name looks
    like one."""
    if isinstance(value, dict):
        return {name: masked(x, secret, f"{key}.{name}".lstrip(".")) for name, x in value.items()}
    if isinstance(value, list):
        return [masked_word(x) if isinstance(x, str) else masked(x, secret, key) for x in value]
    return (
        HIDDEN
        if value is not None and (key in secret or SECRET.search(key.rpartition(".")[2]))
        else value
    )


def masked_word(word: str) -> str:
    """-> one KEY=VALUE of a command line, the value hidden if the key looks like a secret's."""
    key, equals, _ = word.partition("=")
    return key + equals + HIDDEN if equals and SECRET.search(key) else word


def describe(
    config: dict, choices: dict[str, str], arguments: list[str], local_devices: tuple
) -> dict:
    """-> what `run.json` holds: all that is needed to know what ran, and where; `config` has its
    secrets masked."""
    return {
        "config": config,
        "choices": choices,
        "command": [masked_word(word) for word in arguments],
        "versions": {"python": platform.python_version(), "esrun": version("esrun")} | _versions(),
        "devices": [
            f"{device.platform}:{device.id} {device.device_kind}" for device in local_devices
        ],
        "platform": f"{platform.system()}-{platform.release()}-{platform.machine()}",  # .platform() starts `uname`
        "git": git.commit(Path.cwd()),
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "?"
    return found


def save_policy(path: Path, params: Any, normalizer: Any, metadata: dict[str, Any]) -> None:
    """Write `policy.safetensors`.

    Tensors are named `params/MODULE/NAME` after the haiku tree and, with an input normaliser,
    `normalizer/count|mean|m2` (x is normalised to (x - mean) / sqrt(m2 / count), cut at ±10). The
    metadata's values are JSON: `policy` and `task` (the options), `input_shape`, `output_size`,
    `format`.
    """
    import numpy as np  # here, so that commands that train nothing need not wait for it
    from safetensors.numpy import save

    tensors = {
        f"params/{module}/{name}": np.asarray(x)
        for module, leaves in params.items()
        for name, x in leaves.items()
    }
    if normalizer is not None:
        tensors |= {f"normalizer/{name}": np.asarray(x) for name, x in normalizer._asdict().items()}
    metadata = {"format": "esrun policy 1", **metadata}
    contiguous = {name: np.ascontiguousarray(x).reshape(x.shape) for name, x in tensors.items()}
    files.write(path, save(contiguous, {key: json.dumps(plain(x)) for key, x in metadata.items()}))


def command_line() -> list[str]:
    """-> the command that was typed."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]
