"""What pictures are drawn on: matplotlib by its objects alone, without a display, without JAX.

It has its own defaults, whatever a `matplotlibrc` says: that of the working directory may be
anybody's, and could have TeX run.
"""

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from esrun.errors import ConfigError, first_line

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
Methods 8, 2011; they are Okabe and Ito's)."""
DPI = 100
"""Of a panel of a film."""
FORMATS = ("png", "svg", "pdf")
LOOK: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "svg.hashsalt": "esrun",  # the same picture, the same bytes
    "pdf.fonttype": 42,
}
SAYS = {
    "png": {"Software": "esrun"},
    "svg": {"Creator": "esrun", "Date": None},
    "pdf": {"Creator": "esrun", "CreationDate": None},
}
"""What a file says of itself; no date."""


@contextlib.contextmanager
def canvas(width: float, height: float, look: Mapping[Any, Any] | None = None) -> Iterator[Any]:
    """-> an empty matplotlib Figure of so many inches, to be drawn and encoded inside, with
    settings of its own. Raises ConfigError where there is no matplotlib that works."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter that the font lacks
        try:
            matplotlib = _matplotlib()
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except Exception as error:  # of the packages below it, or of the user's own matplotlibrc
            raise ConfigError(f"matplotlib cannot be loaded: {first_line(error)}") from error
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            for name, value in {**LOOK, **(look or {})}.items():
                matplotlib.rcParams[name] = value
            figure = Figure(figsize=(width, height), layout="constrained")
            FigureCanvasAgg(figure)
            yield figure


@contextlib.contextmanager
def panel(width: int, height: int) -> Iterator[tuple[Any, Callable[[], np.ndarray]]]:
    """-> (axes on a canvas of so many pixels, () -> what was drawn, uint8 [height, width, 3])."""
    with canvas(width / DPI, height / DPI) as figure:
        axes = figure.add_subplot()
        axes.grid(False)
        yield axes, lambda: pixels(figure)


def pixels(figure: Any) -> np.ndarray:
    """-> what was drawn on a Figure, uint8 [height, width, 3]."""
    figure.set_dpi(DPI)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()


def _matplotlib() -> Any:
    if "matplotlib" not in sys.modules:
        logging.getLogger("matplotlib").setLevel(logging.ERROR)  # a home that it cannot write to
        os.environ["MPLBACKEND"] = "agg"
        with contextlib.chdir(os.path.abspath(os.sep)):  # where a working directory's file is not
            import matplotlib
    import matplotlib

    return matplotlib


def encoded(figure: Any, kind: str) -> bytes:
    """-> the picture as a file of one of FORMATS; the same bytes for the same picture."""
    made = io.BytesIO()
    figure.savefig(made, format=kind, dpi=120, metadata=SAYS[kind])
    return made.getvalue()


def said(text: str) -> str:
    """-> a text that matplotlib takes for no formula."""
    return text.replace("$", r"\$")
