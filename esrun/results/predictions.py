"""The sine task's picture: what a policy predicts, against the curve."""

from collections.abc import Callable

import numpy as np

from esrun.results.canvas import panel, wong
from esrun.tasks.sine import Predicted


def sine_frames(seen: Predicted) -> tuple[Callable[[int], np.ndarray], list[str]]:
    """-> (number of the episode -> its picture, a caption for each)."""
    low, high = float(seen.x.min()), float(seen.x.max())
    curve = np.linspace(low, high, 400)
    finite = seen.predictions[np.isfinite(seen.predictions)]
    reach = min(3.0, 1.15 * max(1.0, float(np.max(np.abs(finite), initial=1.0))))

    def picture(number: int) -> np.ndarray:
        x, said = seen.x[number], seen.predictions[number]
        with panel(420, 340) as (axes, pixels):
            axes.vlines(x, seen.targets[number], said, color="0.75", linewidth=1)
            axes.plot(curve, np.sin(curve), color=wong.BLUE, label="target: sin x")
            axes.plot(x, said, ".", color=wong.RED, label="prediction")
            axes.set(xlim=(low, high), ylim=(-reach, 1.35 * reach))
            axes.set(xlabel="x of the next point (rad)", ylabel="value")
            axes.legend(loc="upper right", ncols=2, fontsize=8)
            return pixels()

    errors = np.mean(np.abs(seen.predictions - seen.targets), axis=1)
    captions = [
        f"episode {i}: return {total:.6g}, mean absolute error {error:.3g}"
        for i, (total, error) in enumerate(zip(seen.returns, errors, strict=True))
    ]
    return picture, captions
