"""esrun's own program whose blocks workers of Ray evaluate, where the configuration says so."""

from esrun.backend import cluster
from esrun.training.worker import Worker

KNOWN = 10
"""Generations in which both ways to add up have been tried."""


class Program:
    """As `esrun_program.Program`."""

    def __init__(self, config: dict, shares: bool = True):
        """`shares`: whether workers may share the sums of an update."""
        runtime = config["runtime"]
        if runtime["engine"] == "ray":
            cluster.open_cluster(Worker, runtime["workers"])  # before JAX: Ray forks
        from esrun_program import Program

        from esrun.training.sharing import Sharing

        self.inside = Program(config)
        if not shares:
            Sharing.shares = lambda self, workers: False
        self.wanted = runtime["workers"] if runtime["engine"] == "ray" else 0

    def advance(self, generations: int, keep: bool) -> None:
        """Train; the first time until all workers are at work, and it is known who adds up."""
        self.inside.advance(generations, keep)
        while keep and self._rows("workers", -1) < self.wanted:
            self.inside.advance(1, keep)
        if keep and self.wanted:
            self.inside.advance(KNOWN, keep)

    def facts(self) -> dict:
        """-> bytes that the latest generation moved, among others."""
        return self.inside.facts() | {"bytes": self._rows("engine_bytes", -1)}

    def _rows(self, name: str, at: int) -> float:
        return float(self.inside.rows[name][at]) if name in self.inside.rows else 0.0
