"""A chunk of generations one by one, for what evaluates them outside of a compiled program."""

from collections.abc import Callable
from typing import Any

import numpy as np

from esrun.training.program import CHUNK
from esrun.training.stop import Reached, Stop
from esrun.types import TrainState


def one_by_one(
    state: TrainState,
    stop: Stop,
    reached: Reached,
    generation: Callable[[TrainState], tuple[TrainState, dict[str, Any], Reached]],
) -> tuple[TrainState, dict[str, np.ndarray], np.int32, Reached]:
    """-> as `Program.advance`, for which stop rules are `reached` now. A `generation` (state) ->
    (state, a row of metrics, which stop rules hold then)."""
    rows: list[dict[str, Any]] = []
    while not reached.held() and len(rows) < CHUNK and state.generation < stop.generation:
        state, row, reached = generation(state)
        rows.append(row)
    columns = {name: np.stack([row[name] for row in rows]) for name in rows[0]} if rows else {}
    return state, columns, np.int32(len(rows)), reached
