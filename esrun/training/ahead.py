"""The program of larger populations, compiled while a search with smaller ones runs."""

import threading
from contextlib import suppress

import jax
import numpy as np

from esrun.backend import everywhere
from esrun.training.build import Run
from esrun.training.stop import stop_at
from esrun.types import TrainState


class Ahead:
    """Compiles one program at a time in a thread: XLA does so without Python's lock."""

    def __init__(self):
        """Nothing is compiled yet."""
        self._thread: threading.Thread | None = None

    def compile(self, run: Run, state: TrainState) -> None:
        """Begin to compile what advances the run, for a state like this one."""
        prepare = run.program.prepare_advance
        busy = self._thread is not None and self._thread.is_alive()
        if busy or prepare is None or jax.process_count() > 1 or run.program.plan() is not None:
            return
        shapes = everywhere.shapes(run.local_devices, state)

        def compiled():
            with suppress(Exception):  # it comes again where the program is needed
                prepare(run.hyper, np.uint32(run.config.seed), shapes, stop_at(run.config, 0))

        self._thread = threading.Thread(target=compiled)
        self._thread.start()

    def wait(self) -> None:
        """Until it is compiled."""
        if self._thread is not None:
            self._thread.join()
