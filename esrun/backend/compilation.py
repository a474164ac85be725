"""What JAX spends on tracing and compiling, by its own account."""

import time
from contextvars import ContextVar

import jax

from esrun.backend.machine import resident

EVENTS = (
    "/jax/core/compile/jaxpr_trace_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",
)


_open: ContextVar[tuple["Clock", ...]] = ContextVar("clocks of this thread", default=())


class Clock:
    """Counts compilations and their seconds while it is open, but those of threads that have
    another one open; a context manager."""

    def __init__(self):
        """Nothing counted yet."""
        self.compilations = 0
        self.resident = resident()
        """Bytes of main memory that the process held when the longest compilation was done, at
        first now."""
        self._longest = 0.0
        self._spans: list[tuple[float, float]] = []

    def __enter__(self):
        """-> itself, counting."""
        jax.monitoring.register_event_duration_secs_listener(self._hear)
        self._before = _open.set((*_open.get(), self))
        return self

    def __exit__(self, *error):
        """Stop counting."""
        _open.reset(self._before)
        jax.monitoring.unregister_event_duration_listener(self._hear)

    def _hear(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
        if (clocks := _open.get()) and self not in clocks:
            return
        if event in EVENTS:
            now = time.monotonic()
            self._spans.append((now - duration_secs, now))
            self.compilations += event == EVENTS[-1]
        if event == EVENTS[-1] and duration_secs > self._longest:
            self._longest, self.resident = duration_secs, resident()

    @property
    def seconds(self) -> float:
        """Seconds in which anything was being compiled: programs that compile at the same time
        count once."""
        total, until = 0.0, 0.0
        for begin, end in sorted(self._spans):
            total += max(0.0, end - max(begin, until))
            until = max(until, end)
        return total
