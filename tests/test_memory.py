"""Memory: a bit shown once and named later, which a recurrent network learns and no other can."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from defaults import make_policy, make_strategy
from jax.flatten_util import ravel_pytree
from probes import make_memory

from esrun.training.generation import Parts
from esrun.training.program import make_program
from esrun.training.stop import Stop

pytestmark = [pytest.mark.runs, pytest.mark.usefixtures("quick_to_compile")]

TASK = make_memory(delay=4, noise=0.5, episodes=8)
SIZES = {"input_shape": TASK.input_shape, "output_size": TASK.output_size}


def mlp():
    return make_policy("mlp", **SIZES, hidden=[16], activation="tanh")


def rnn(cell):
    return make_policy("rnn", **SIZES, cell=cell, hidden=[8])


def held_out(policy, generations):
    """-> the held-out returns [64] of the policy trained from seed 0."""
    flat, unravel = ravel_pytree(policy.init(jax.random.key(0)))
    constant = {"sigma_decay": 1.0, "learning_rate_decay": 1.0}
    strategy = make_strategy(
        "openai_es", len(flat), population_size=64, sigma=0.1, learning_rate=0.05, **constant
    )
    program = make_program(
        build=lambda hyper: Parts(TASK, policy, strategy, unravel, len(flat)),
        local_devices=tuple(jax.local_devices()),
        population_chunk="auto",
        normalize_input=False,
        restarting=False,
        held_out_episodes=64,
    )
    never = jnp.float32(jnp.inf)
    stop = Stop(jnp.int32(generations), never, never, jnp.full(2, 2**32 - 1, jnp.uint32))
    seed = jnp.uint32(0)
    state, *_ = program.advance({}, seed, program.init({}, seed), stop)
    return np.asarray(program.evaluate({}, seed, state)[1])


def test_a_recurrent_network_remembers():
    assert held_out(rnn("gru"), generations=150).mean() >= 0.9


def test_a_network_without_memory_gets_half_and_no_more():
    np.testing.assert_allclose(held_out(mlp(), generations=150), 0.5, rtol=1e-5)


def test_the_probes_return_by_hand(keys):
    """A latch that answers 3 times the bit gives the truth a probability of sigmoid(3), one that
    forgets a half."""
    first = rnn("vanilla")
    params = jax.tree.map(jnp.zeros_like, first.init(jax.random.key(0)))
    forgetful = TASK.evaluate(keys(2), first, jax.tree.map(lambda x: x[None], params), None)
    np.testing.assert_allclose(forgetful.returns, [[0.5, 0.5]])
    np.testing.assert_array_equal(forgetful.steps, [2 * 2 * 5])

    def latch(scale, carry, x):
        carry = jnp.where(jnp.abs(x[0]) == 1, x[0], carry)
        return (scale * carry)[None], carry

    remembering = first._replace(initial_carry=lambda: jnp.zeros(()), apply=latch)
    seen = TASK.evaluate(keys(2), remembering, jnp.array([3.0, -3.0]), None)
    right = 1 / (1 + np.exp(-3))
    np.testing.assert_allclose(seen.returns, [[right, right], [1 - right, 1 - right]], rtol=1e-6)
