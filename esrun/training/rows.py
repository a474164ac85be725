"""The rows of metrics of a chunk of generations: one array of all figures of a type.

A column each would be two kernels of the compiled loop and a copy to the host for every figure.
"""

import functools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Place(NamedTuple):
    """Where a figure lies."""

    name: str
    dtype: str
    first: int
    """Of its columns."""
    shape: tuple[int, ...]
    """In a generation."""


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["figures"], meta_fields=["places"]
)
@dataclass(frozen=True)
class Rows(Mapping):
    """Figures by name: a column [rows, ...] each, of NumPy; reading one waits for the devices."""

    figures: dict[str, jax.Array]  # by type: [rows, all figures of the type]
    places: tuple[Place, ...]

    def __getitem__(self, name: str) -> np.ndarray:
        for place in self.places:
            if place.name == name:
                return _cut(np.asarray(self.figures[place.dtype]), place)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (place.name for place in self.places)

    def __len__(self) -> int:
        return len(self.places)

    def first(self, count: int) -> dict[str, np.ndarray]:
        """-> the columns of the first rows, each type read in one piece."""
        figures = {dtype: np.asarray(x)[:count] for dtype, x in self.figures.items()}
        return {place.name: _cut(figures[place.dtype], place) for place in self.places}

    def with_row(self, number: jax.Array, row: dict[str, jax.Array]) -> "Rows":
        """-> the rows with one of them filled in."""
        parts = {dtype: [] for dtype in self.figures}
        for place in self.places:
            parts[place.dtype].append(jnp.ravel(row[place.name]))
        figures = {
            dtype: jax.lax.dynamic_update_index_in_dim(x, jnp.concatenate(parts[dtype]), number, 0)
            for dtype, x in self.figures.items()
        }
        return Rows(figures, self.places)

    @staticmethod
    def written(fixed: tuple) -> bytes:
        """-> the places as a kept trace holds them (see `esrun.backend.traces`)."""
        return json.dumps(fixed).encode()

    @staticmethod
    def read(content: bytes) -> tuple:
        """-> what was `written`."""
        return tuple(
            tuple(Place(name, dtype, first, tuple(shape)) for name, dtype, first, shape in places)
            for places in json.loads(content)
        )


def _cut(figures: np.ndarray, place: Place) -> np.ndarray:
    if not place.shape:
        return figures[:, place.first]
    column = figures[:, place.first : place.first + math.prod(place.shape)]
    return column.reshape(len(figures), *place.shape)


def empty(row: dict[str, Any], count: int) -> Rows:
    """-> so many rows of zeros, for figures of such shapes."""
    widths: dict[str, int] = {}
    places = []
    for name, figure in row.items():
        dtype = str(figure.dtype)
        places.append(Place(name, dtype, widths.get(dtype, 0), tuple(figure.shape)))
        widths[dtype] = widths.get(dtype, 0) + math.prod(figure.shape)
    return Rows({x: jnp.zeros((count, n), x) for x, n in widths.items()}, tuple(places))
