"""esrun as a measured program: the compiled chunk of generations that `esrun` itself runs, on all
local devices."""

from esrun.backend import devices

devices.start("float32", deterministic=False)

import jax  # noqa: E402  (esrun sets JAX up before its first import)
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from esrun.backend import memory  # noqa: E402
from esrun.backend.compilation import Clock  # noqa: E402
from esrun.config.check import checked  # noqa: E402
from esrun.training import step_counts  # noqa: E402
from esrun.training.build import build  # noqa: E402
from esrun.training.stop import Stop  # noqa: E402


class Program:
    """A composed configuration, trained by chunks that end at a generation and nowhere else."""

    def __init__(self, config: dict):
        """`config` is what Hydra composes."""
        self.compiling = Clock().__enter__()
        self.run = build(checked(config))
        self.seed = jnp.uint32(0)
        self.start = self.run.program.init(self.run.hyper, self.seed)
        self.at = 0
        self.last, self.rows = None, {}

    def advance(self, generations: int, keep: bool) -> None:
        """Train from the start for some generations; with `keep`, later calls start from there."""
        stop = Stop(  # NumPy's, as in a run: making arrays of JAX takes longer than small programs
            generation=np.int32(self.at + generations),
            fitness=np.asarray(np.inf, float),
            held_out=np.asarray(np.inf, float),
            env_steps=np.full(2, 2**32 - 1, np.uint32),
        )
        state, rows, done, _ = jax.block_until_ready(
            self.run.program.advance(self.run.hyper, self.seed, self.start, stop)
        )
        self.last, self.rows = (rows["env_steps"], done), rows
        if keep:
            self.start, self.at = state, self.at + generations

    def facts(self) -> dict:
        """-> parameters, steps of a generation that counted, devices in use, memory that was
        predicted and held."""
        local, plan = self.run.local_devices, self.run.program.plan()
        steps, done = self.last
        return {
            "parameters": self.run.parts.n,
            "env_steps": float(np.mean(step_counts.number(np.asarray(steps)[: int(done)]))),
            "devices": len(local),
            "predicted_mb": plan and plan.bytes * memory.sharing(local) / 1e6,
            "held_mb": (memory.peak_of(local, self.compiling.resident) or 0) / 1e6,
        }
