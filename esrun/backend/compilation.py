"""What JAX spends on tracing and compiling, by its own account."""

import time

import jax

from esrun.backend.machine import resident

EVENTS = (
    "/jax/core/compile/jaxpr_trace_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",
)


class Clock:
    """Counts compilations and their seconds while it is open; a context manager."""

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
        return self

    def __exit__(self, *error):
        """Stop counting."""
        jax.monitoring.unregister_event_duration_listener(self._hear)

    def _hear(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
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
