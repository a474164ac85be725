"""The 24 noiseless functions of BBOB, COCO's black-box optimisation benchmark, from the package
bbobax.

Definitions: Hansen, Finck, Ros and Auger: Real-Parameter Black-Box Optimization Benchmarking 2009:
Noiseless Functions Definitions, INRIA RR-6829, https://inria.hal.science/inria-00362633. bbobax:
https://github.com/maxencefaldor/bbobax.

The instances are not COCO's numbered ones: the number seeds bbobax's own draw of optimum, rotations
and peaks, from the distributions of the definitions. Fitness is -(f - f_opt), so no f_opt is drawn.
"""

import jax
import jax.numpy as jnp
from bbobax import BBOB_PROBLEMS, BBOBParams, BBOBProblem

from esrun.tasks.blackbox import minimized
from esrun.types import Number, Task

INSTANCES = 0xBB0B2009
"""Seed of all instances; far from the seeds of runs, whose keys are then other ones."""

OPTIMUM_FROM_ROTATION = (9, 19)
"""Functions of s R x + 1/2, optimal where all of that is 1. bbobax puts their optimum anywhere
instead."""


def make_bbob(*, function: int, dimension: int, instance: Number, episodes: int) -> Task:
    """Minimise f1 to f24, `function`, over R^dimension. `instance` is a whole number and may be
    traced."""
    problem, params = drawn(function, dimension, instance)
    unused = jax.random.key(0)  # for noise, of which there is none
    return minimized(lambda x: problem.evaluate(unused, x, params).fitness, dimension, episodes)


def drawn(function: int, dimension: int, instance: Number) -> tuple[BBOBProblem, BBOBParams]:
    """-> (the function, its instance: optimum `x_opt`, rotations `r` and `q`)."""
    problem = list(BBOB_PROBLEMS.values())[function - 1](num_dims=dimension)
    key = jax.random.fold_in(jax.random.key(INSTANCES), function)
    params = problem.sample(jax.random.fold_in(key, jnp.asarray(instance).astype(jnp.uint32)))
    if function in OPTIMUM_FROM_ROTATION:
        scale = max(1.0, dimension**0.5 / 8)
        params = params.replace(x_opt=jnp.sum(params.r, axis=0) / (2 * scale))
    return problem, params
