"""What a study tells while its trials run: a line for each that begins, is judged and ends."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from esrun.errors import clipped
from esrun.runs.secrets import masked_word
from esrun.runs.sweep_board import Board
from esrun.runs.sweep_show import Place

LONGEST = 300
"""Letters of a setting."""


class TrialBoard(Board):
    """The show of a study; a context manager. Runs are told apart by trial and seed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        """Nothing runs yet."""
        super().__init__([], clock)

    def run(self, name: str) -> Place:
        """-> where a run stands: its lines and its bar come here."""
        with self._lock:
            self._told[name] = self._clock()
        return Place(name, lambda left: left, partial(self.say, name), partial(self.tell, name))

    def over(self, name: str) -> None:
        """Its bar is gone."""
        with self._lock:
            self._bars.pop(name, None)
            self._refresh()

    def line(self, text: str) -> None:
        """A line that stays."""
        with self._lock:
            self._print(text)

    def _name(self, job: Any) -> str:
        return str(job)


def setting(values: list[str]) -> str:
    """-> the words of a setting as they are read: numbers in four digits."""
    return clipped(" ".join(_short(masked_word(word)) for word in values), LONGEST)


def _short(word: str) -> str:
    key, _, value = word.partition("=")
    try:
        return f"{key}={float(value):.4g}" if "." in value or "e" in value else word
    except ValueError:
        return word


def scores(found: list[float]) -> str:
    """-> the scores of a setting's seeds."""
    return " ".join("failed" if x == float("-inf") else f"{x:.4g}" for x in found)
