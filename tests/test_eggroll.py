"""EGGROLL against OpenAI-ES with its perturbations written out, in every kind of network."""

import math
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asktell import fresh, tell
from conftest import quickly
from defaults import make_policy, make_strategy
from jax.flatten_util import ravel_pytree

from esrun.policies.products import OneHot

VECTOR = {"input_shape": (3,), "output_size": 2, "activation": "tanh"}
NETWORKS = {
    "mlp": make_policy("mlp", **VECTOR, hidden=[5, 4]),
    "cnn": make_policy(
        "cnn", input_shape=(4, 4, 2), output_size=2, channels=[3], kernel=2, hidden=[4]
    ),
} | {
    cell: make_policy("rnn", **VECTOR, cell=cell, hidden=[4]) for cell in ("gru", "lstm", "vanilla")
}

pytestmark = pytest.mark.usefixtures("float64", "quick_to_compile")
make_eggroll = partial(make_strategy, "eggroll", population_size=12)


def written_out(solutions, params, rank):
    """-> E [m, n] of normals [m, k], leaf by leaf with NumPy."""
    rows = []
    for row in np.asarray(solutions):
        rest, leaves = row, []
        for leaf in jax.tree.leaves(params):
            if leaf.ndim == 1:
                leaves.append(rest[: leaf.size])
                rest = rest[leaf.size :]
            else:
                i, o = leaf.size // leaf.shape[-1], leaf.shape[-1]
                a, b = (
                    rest[: i * rank].reshape(i, rank),
                    rest[i * rank : (i + o) * rank].reshape(o, rank),
                )
                leaves.append((a @ b.T).ravel() / math.sqrt(rank))
                rest = rest[(i + o) * rank :]
        assert not len(rest)
        rows.append(np.concatenate(leaves))
    return np.stack(rows)


@pytest.mark.parametrize("network", quickly(NETWORKS, "mlp", "cnn", "gru"))
@pytest.mark.parametrize("rank", quickly([1, 3], 3))
def test_networks_and_updates_equal_those_of_perturbations_written_out(network, rank):
    policy = NETWORKS[network]
    params = jax.tree.map(lambda x: jnp.asarray(x, float), policy.init(jax.random.key(0)))
    mean, unravel = ravel_pytree(params)
    strategy = make_eggroll(len(mean), unravel=unravel, rank=rank)
    state = fresh(strategy, mean)
    solutions = strategy.ask(jax.random.key(1), state, jnp.arange(12))
    E = written_out(solutions, params, rank)
    np.testing.assert_array_equal(E[::2], -E[1::2])  # mirrored

    x = jax.random.normal(jax.random.key(2), (4, 4, 2) if network == "cnn" else (3,))
    express = strategy.express(state)
    for member in (0, 5):
        low, carry = policy.apply(express(solutions[member]), policy.initial_carry(), x)
        full, expected = policy.apply(
            unravel(mean + state.sigma * E[member]), policy.initial_carry(), x
        )
        np.testing.assert_allclose(low, full, rtol=1e-9, atol=1e-12)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), carry, expected
        )

    plain = make_strategy("openai_es", len(mean), population_size=12)
    fitness = jax.random.normal(jax.random.key(3), (12,))
    here = tell(strategy, state, solutions, fitness)
    there = tell(plain, fresh(plain, mean), mean + state.sigma * E, fitness)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-12), here, there)


def test_an_entry_of_the_perturbation_has_variance_one():
    params = {"w": jnp.zeros((20, 30)), "b": jnp.zeros(30)}
    mean, unravel = ravel_pytree(params)
    strategy = make_eggroll(630, unravel=unravel, rank=2, population_size=2000)
    E = written_out(
        strategy.ask(jax.random.key(1), fresh(strategy, mean), jnp.arange(2000)), params, 2
    )
    np.testing.assert_allclose(E.var(axis=0).mean(), 1, atol=0.01)
    assert (
        4 < (E[:, 40:] ** 4).mean() < 7.5
    )  # 3 (r + 2) / r = 6: no Gaussian, whose fourth moment is 3


WIDE = {
    "mlp": make_policy("mlp", input_shape=(64,), output_size=1, hidden=[64]),
    "cnn": make_policy("cnn", input_shape=(8, 8), output_size=1, channels=[16, 16], hidden=[]),
} | {
    cell: make_policy("rnn", input_shape=(64,), output_size=1, hidden=[64], cell=cell)
    for cell in ("gru", "lstm", "vanilla")
}


@pytest.mark.parametrize("network", WIDE)
@pytest.mark.parametrize("x", [jnp.ones(64), OneHot(jnp.int32(3), 64)], ids=["vector", "one-hot"])
def test_wide_layers_share_one_product_with_the_base(network, x):
    """The members' forward pass holds no array of the size of all their weights."""
    policy = WIDE[network]
    x = jnp.asarray(x).reshape(8, 8) if network == "cnn" else x
    mean, unravel = ravel_pytree(policy.init(jax.random.key(0)))
    strategy = make_eggroll(len(mean), unravel=unravel, population_size=32)
    state = fresh(strategy, mean)

    def outputs(members):
        express, carry = strategy.express(state), policy.initial_carry()
        solutions = strategy.ask(jax.random.key(1), state, members)
        return jax.vmap(lambda z: policy.apply(express(z), carry, x)[0])(solutions)

    text = jax.jit(outputs).lower(jnp.arange(32)).as_text()
    assert re.search(r"<32x\d+xf64", text)  # the activations
    assert not re.search(r"<32x\d{2,}x\d{2,}xf64", text)  # no member's own weights


@pytest.mark.parametrize("network", ["mlp", "gru", "lstm", "vanilla"])
@pytest.mark.parametrize("rank", [1, 3])
def test_a_one_hot_input_is_the_vector(network, rank):
    policy = NETWORKS[network]
    mean, unravel = ravel_pytree(policy.init(jax.random.key(0)))
    strategy = make_eggroll(len(mean), unravel=unravel, rank=rank)
    state = fresh(strategy, mean)
    params = strategy.express(state)(strategy.ask(jax.random.key(1), state, jnp.arange(2))[1])
    for number in range(3):
        x, carry = OneHot(jnp.int32(number), 3), policy.initial_carry()
        looked_up, expected = (policy.apply(params, carry, y) for y in (x, jnp.eye(3)[number]))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), looked_up, expected)
