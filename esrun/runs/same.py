"""What must be the same in all processes that train one run: what they are asked for, and what is
installed."""

from typing import Any

from esrun.config import imports
from esrun.config.extras import versions
from esrun.config.trees import flat
from esrun.errors import ConfigError
from esrun.runs.record import PACKAGES

OWN = (
    *("runtime.hosts", "runtime.devices", "runtime.workers", "runtime.parallel_runs"),
    *("task.file", "logger", "log", "progress", "checkpoint", "archive", "resume"),
)
"""Keys that each process may have for itself, or that process 0 alone reads."""
SHARED = ("checkpoint.keep_at", "archive.top_k")
"""Those below them that are everybody's: where chunks end, and what is part of the state."""

ALWAYS = (*PACKAGES, "gymnasium", "scipy", "scikit-learn")
"""Packages whose versions must be the same before JAX starts; others are those of the options."""


def everywhere() -> dict[str, str]:
    """-> what processes have, whatever they are asked for: versions, and modules of the user's
    own."""
    modules = {f"--import {name}": digest for name, digest in imports.digests().items()}
    return versions(ALWAYS) | modules


def asked_for(config: dict) -> dict[str, Any]:
    """-> what a configuration asks of all processes."""
    own = tuple(f"{key}." for key in OWN)
    return {
        key: value
        for key, value in flat(config).items()
        if key in SHARED or not f"{key}.".startswith(own)
    }


def refuse_other_versions(told: list[dict[str, str]]) -> None:
    """Raise ConfigError unless all have the same versions of the packages that they have."""
    for number, its in enumerate(told):
        for name in told[0].keys() & its.keys():
            if its[name] != told[0][name]:
                raise ConfigError(
                    f"all hosts must have the same {name}, got {told[0][name]} and, of process "
                    f"{number}, {its[name]}"
                )
