"""Python's garbage collector, which a command does without until it trains.

Imports and traces make many objects and drop few: looking through them again and again costs half a
second of a start. A caller of esrun as a library, who has not paused it, never sees it changed.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_paused = False


@contextmanager
def paused() -> Iterator[None]:
    """A whole command: without the collector until `resume`, and at its end."""
    global _paused
    gc.disable()
    _paused = True
    try:
        yield
    finally:
        resume()
        gc.freeze()  # the process ends: Python would look through all that lives once more


def resume() -> None:
    """Have the collector work again, where a command has paused it, on what comes from now on:
    what has been imported lives as long as the process."""
    global _paused
    if _paused:
        gc.freeze()
        gc.enable()
        _paused = False
