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
from esrun.training.build import build  # noqa: E402
from esrun.training.program import Stop  # noqa: E402


class Program:
    """A composed configuration, trained by chunks that end at a generation and nowhere else."""

    def __init__(self, config: dict):
        """`config` is what Hydra composes."""
        self.compiling = Clock().__enter__()
        self.run = build(checked(config))
        self.seed = jnp.uint32(0)
        self.start = self.run.program.init(self.run.hyper, self.seed)
        self.env_steps = 0.0

    def advance(self, generations: int, keep: bool) -> None:
        """Train from the start for some generations; with `keep`, later calls start from there."""
        stop = Stop(
            generation=self.start.generation + jnp.int32(generations),
            fitness=jnp.asarray(np.inf, float),
            held_out=jnp.asarray(np.inf, float),
            env_steps=jnp.full(2, 2**32 - 1, jnp.uint32),
        )
        state, rows, done, _ = jax.block_until_ready(
            self.run.program.advance(self.run.hyper, self.seed, self.start, stop)
        )
        self.env_steps = float(np.sum(np.asarray(rows["env_steps"], float)[: int(done)])) / int(
            done
        )
        if keep:
            self.start = state

    def facts(self) -> dict:
        """-> parameters, steps of a generation that counted, devices in use, memory that was
        predicted and held."""
        local, plan = self.run.local_devices, self.run.program.plan()
        return {
            "parameters": self.run.program.parts(self.run.hyper).n,
            "env_steps": self.env_steps,
            "devices": len(local),
            "predicted_mb": plan and plan.bytes * memory.sharing(local) / 1e6,
            "held_mb": (memory.peak_of(local, self.compiling.resident) or 0) / 1e6,
        }
