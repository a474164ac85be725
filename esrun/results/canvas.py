"""matplotlib's axes as pixels: no window, no global state."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np

wong = SimpleNamespace(
    BLACK="#000000",
    ORANGE="#E69F00",
    SKY="#56B4E9",
    GREEN="#009E73",
    BLUE="#0072B2",
    RED="#D55E00",
    PURPLE="#CC79A7",
    WHITE="#FFFFFF",
)
"""Colours that the colour-blind can tell apart (Wong: Points of view: Color blindness, Nature
Methods 8, 2011)."""
DPI = 100


@contextmanager
def Canvas(width: int, height: int) -> Iterator[tuple[Any, Callable[[], np.ndarray]]]:  # noqa: N802
    """-> (axes, () -> what was drawn, uint8 [height, width, 3])."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width / DPI, height / DPI), dpi=DPI, layout="constrained")
    drawing = FigureCanvasAgg(figure)

    def pixels() -> np.ndarray:
        drawing.draw()
        return np.asarray(drawing.buffer_rgba())[..., :3].copy()

    yield figure.add_subplot(), pixels
