"""A policy whose outputs are its parameters, one row a step: what an episode will do is known
before it begins."""

import jax
import jax.numpy as jnp
import numpy as np

from esrun.types import Policy

SCRIPTED = Policy(
    init=lambda key: None,
    initial_carry=lambda: jnp.int32(0),
    apply=lambda rows, t, x: (rows[t % len(rows)], t + 1),
)
"""Answers row t of its parameters [t, output_size] at step t."""


def scripts(task, members, steps=64, seed=0):
    """-> outputs at random [members, steps, output_size]."""
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=(members, steps, task.output_size)), jnp.float32)


def evaluate(task, keys, members, policy=SCRIPTED):
    """-> (returns [m, e], lengths [m, e], success [m, e] or None) of the task."""
    seen = jax.jit(lambda keys, members: task.evaluate(keys, policy, members, None))(keys, members)
    return seen.returns, seen.measures["length"], seen.measures.get("success")


def watched(task, key, rows):
    """-> what the task tells of one episode, NumPy's arrays without the axis of episodes, and how
    many steps it had."""
    seen = jax.jit(lambda key, rows: task.watch(key[None], SCRIPTED, rows, None, jnp.arange(1)))(
        key, rows
    )
    states, observations = jax.tree.map(lambda x: np.asarray(x)[:, 0], seen[:2])
    return states, observations, int(seen.steps[0])


def check_it_goes_on(typed, folder, words):
    """A run that is cut after 2 generations and goes on leaves the policy of one that is not."""
    assert typed(*words, "generations=3", "hydra.run.dir=whole").returncode == 0
    assert typed(*words, "generations=2", "hydra.run.dir=parts").returncode == 0
    assert typed("resume", "parts", "generations=3").returncode == 0
    whole, parts = (folder / x / "policy.safetensors" for x in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()
