"""What a run and its workers compare: what they are, and whether they compute the same bits."""

import hashlib
from typing import Any

import jax
import numpy as np

from esrun.config.check import KINDS
from esrun.config.extras import packages_of, versions
from esrun.config.plugins import origin, points
from esrun.config.schema.run import Config
from esrun.training import wire
from esrun.training.apart import Apart
from esrun.training.stop import stop_at

UNTOLD = ("top_k_mean",)
"""Figures of a generation that a worker does not have."""


def filled(nothing: Any, seen: Any) -> Any:
    """-> what was seen of the first blocks, with nothing for those of padding behind them."""
    if len(nothing.fitness) == len(seen.fitness):
        return seen
    return jax.tree.map(lambda x, own: np.concatenate([own, x[len(own) :]]), nothing, seen)


def unlimited(config: Config) -> Config:
    """-> the configuration without limits at which a run stops."""
    free = dict.fromkeys(type(config.stop).model_fields)
    return config.model_copy(update={"stop": config.stop.model_copy(update=free)})


def digest_of_row(rows: dict[str, Any]) -> str:
    """-> a digest of the figures of a generation, the first of `rows`, that everybody has."""
    content = hashlib.sha256()
    for name in sorted(rows.keys() - {*UNTOLD}):
        content.update(f"{name} {np.asarray(rows[name])[0].tobytes().hex()}\n".encode())
    return content.hexdigest()[:16]


def about(run: Any) -> dict[str, Any]:
    """-> what of a `training.build.Run` must be the same everywhere: versions, devices, blocks,
    data, and the digest of what a block of a first generation comes to, and of the state after
    it. Compiles both programs."""
    apart: Apart = run.program.apart
    blocks = apart.blocks(run.hyper)
    plugins = sorted({origin(x) for kind in (*KINDS, "logger") for x in points(kind)})
    return {
        **versions(("esrun", "jax", "jaxlib", "numpy", *packages_of(run.config))),
        "plug-ins": ", ".join(plugins),
        "device": run.local_devices[0].device_kind,
        "blocks": f"{blocks.count} of {blocks.size}",
        "data": run.data,
        "probe": _probe(run, apart),
    }


def _probe(run: Any, apart: Apart) -> str:
    seed, content = np.uint32(run.config.seed), hashlib.sha256()
    state = run.program.init(run.hyper, seed)
    seen = apart.seen(run.hyper, seed, state, [0])
    nothing = apart.nothing(run.hyper, seed, state)
    all_seen = jax.tree.map(lambda x, own: np.concatenate([own, x[1:]]), nothing, seen)
    limits = stop_at(unlimited(run.config), 0)
    after, *_ = apart.told(run.hyper, seed, state, limits, all_seen)
    for name, x in wire.named((seen, after._replace(archive=None))).items():
        content.update(f"{name} {np.asarray(x).tobytes().hex()}\n".encode())
    return content.hexdigest()[:16]
