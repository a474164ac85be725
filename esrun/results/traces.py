"""Environments that have nothing to be looked at: what the policy sees, and what it has won."""

from typing import Any

import jax
import numpy as np

from esrun.results.canvas import panel, wong
from esrun.tasks.rollout import Watched

NAMES = {
    "UmbrellaChain-bsuite": ["needed", "carried", "left"],
    "MemoryChain-bsuite": ["left", "query", "bit"],
    "DiscountingChain-bsuite": ["chain", "time"],
    "BernoulliBandit-misc": ["reward", "arm 0", "arm 1", "time"],
    "GaussianBandit-misc": ["reward", "arm 0", "arm 1", "time"],
}
"""What the numbers of an observation are."""
WIDTH, HEIGHT = 440, 330


def trace(name: str, episode: Watched, t: int) -> np.ndarray:
    """-> a picture of row t: the observation as bars, or as an image, over the return so far."""
    every = _numbers(episode.observations)
    seen = np.atleast_1d(every[t]).squeeze()
    low, high = min(0.0, float(every.min())), max(1.0, float(every.max()))
    with panel(WIDTH, HEIGHT) as (axes, pixels):
        figure = axes.figure
        axes.remove()
        top, below = figure.subplots(2, 1)
        if seen.ndim == 2:
            top.imshow(seen, cmap="gray", vmin=low, vmax=high)
            top.set(xticks=[], yticks=[])
        else:
            seen = np.atleast_1d(seen)
            names = NAMES.get(name, [])
            labels = names if len(names) == len(seen) else [str(i) for i in range(len(seen))]
            top.bar(np.arange(len(seen)), seen, color=wong.SKY, edgecolor=wong.BLUE)
            top.set_xticks(np.arange(len(seen)), labels=labels)
            margin = 0.05 * (high - low)
            top.set(ylim=(low - margin, high + margin))
        top.set_ylabel("observation")
        totals = episode.totals
        below.step(np.arange(t + 1), totals[: t + 1], where="post", color=wong.RED)
        below.plot([t], [totals[t]], "o", color=wong.RED)
        least, most = float(min(0, totals.min())), float(max(0, totals.max()))
        margin = 0.08 * max(most - least, 1)
        below.set(xlim=(-0.5, len(totals) - 0.5), ylim=(least - margin, most + margin))
        below.xaxis.get_major_locator().set_params(integer=True)
        below.set(xlabel="step", ylabel="return so far")
        return pixels()


def _numbers(observations: Any) -> np.ndarray:
    """-> [t, ...], the parts of each observation flattened where there are several."""
    parts = [np.asarray(x, float) for x in jax.tree.leaves(observations)]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([x.reshape(len(x), -1) for x in parts], axis=1)
