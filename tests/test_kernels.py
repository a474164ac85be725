"""The replaced arithmetic equals XLA's, within the last bits, and steps aside where it would
not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from esrun.backend.rewriting import hoisted, tuned

KEY = jax.random.key(0)


@pytest.mark.parametrize("span", [0.5, 4.0, 100.0, 8000.0])
@pytest.mark.parametrize("name", ["sin", "cos"])
def test_sine_and_cosine_are_right_to_a_part_in_ten_million(name, span):
    x = jax.random.uniform(KEY, (100_000,), minval=-span, maxval=span)
    exact = getattr(np, name)(np.asarray(x, np.float64))
    assert np.max(np.abs(np.asarray(tuned(getattr(jnp, name))(x)) - exact)) < 1.2e-7


def test_remainder_is_exact():
    x = jax.random.uniform(KEY, (100_000,), minval=-9000.0, maxval=9000.0)
    for y in (2 * np.pi, 5.0, 0.37, -4.5 * 2):
        y = np.float32(y)
        inside = np.abs(np.asarray(x)) < 2000 * abs(y)
        got = np.asarray(
            tuned(lambda x, y=y: jax.lax.rem(x, jnp.full_like(x, y)))(jnp.where(inside, x, 1.0))
        )
        np.testing.assert_array_equal(got, np.fmod(np.where(inside, x, np.float32(1)), y))


@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan, 1e30])
def test_huge_and_non_finite_values_get_xlas_own_result(odd):
    x = jnp.linspace(-5, 5, 1000).at[7].set(odd)
    np.testing.assert_array_equal(tuned(jnp.sin)(x), jnp.sin(x))
    np.testing.assert_array_equal(tuned(lambda x: x % 3.0)(x), x % 3.0)


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
@pytest.mark.parametrize("sizes", [(3, 48), (48, 1), (48, 2), (2, 2), (64, 64)])
def test_members_own_products_equal_numpys(sizes, platform, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    a = jax.random.normal(KEY, (10, 20, sizes[0]))
    b = jax.random.normal(jax.random.key(1), (10, *sizes))
    with jax.default_matmul_precision("highest"):  # a GPU's own products would be tf32's
        got = tuned(jax.vmap(jax.vmap(jnp.dot, (0, None))))(a, b)
    np.testing.assert_allclose(got, np.einsum("mei,mio->meo", a, b), rtol=1e-4, atol=1e-5)


def test_a_whole_function_with_loops_and_branches_is_unchanged():
    def f(x, tree):
        def step(carry, row):
            return carry + jnp.tanh(row), jnp.sin(row)

        total, waves = jax.lax.scan(step, jnp.zeros(x.shape[1]), x)
        return {"a": jax.nn.relu(total), "b": (waves % tree[0], jnp.where(x > 0, x, tree[1]))}

    arguments = jax.random.normal(KEY, (300, 5)) * 10, (jnp.float32(2.0), jnp.float32(-1.0))
    for got, expected in zip(
        *map(jax.tree.leaves, (jax.jit(tuned(f))(*arguments), f(*arguments))), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("float64")
def test_float64_is_left_alone():
    x = jnp.linspace(-5, 5, 1000)
    np.testing.assert_array_equal(tuned(jnp.sin)(x), jnp.sin(x))


def in_the_loop(closed):
    """-> the operations in the body of the one loop of a jaxpr."""
    loop = next(equation for equation in closed.jaxpr.eqns if equation.primitive.name == "while")
    return [equation.primitive.name for equation in loop.params["body_jaxpr"].jaxpr.eqns]


def test_what_a_loop_does_not_change_is_computed_before_it():
    def step(w, scale, x):
        gate, rest = jnp.split(w, 2)
        wide = jnp.broadcast_to(scale, x.shape)  # larger than what it is made of: stays where it is
        return jnp.tanh(x @ gate.T) * wide + x @ jnp.sin(rest).T

    def loop(body_of):
        def run(w, scale, x):
            body = body_of((w, scale), x)
            return jax.lax.while_loop(
                lambda ix: ix[0] < 3, lambda ix: (ix[0] + 1, body(ix[1])), (0, x)
            )[1]

        return run

    plain = loop(lambda fixed, x: lambda x: step(*fixed, x))
    lifted = loop(lambda fixed, x: hoisted(lambda fixed, x: step(*fixed, x), fixed, x))
    arguments = jax.random.normal(KEY, (10, 5)), jnp.float32(0.5), jax.random.normal(KEY, (4, 5))
    np.testing.assert_allclose(jax.jit(lifted)(*arguments), jax.jit(plain)(*arguments), rtol=1e-6)
    before, after = (in_the_loop(jax.make_jaxpr(f)(*arguments)) for f in (plain, lifted))
    assert {"split", "sin", "transpose", "broadcast_in_dim"} <= set(before)
    assert {"split", "sin", "transpose"}.isdisjoint(after)
    assert "broadcast_in_dim" in after


def test_what_is_not_understood_costs_a_warning_and_speed_alone(monkeypatch):
    def changed(*arguments):
        raise AttributeError("jaxprs have other fields in this version")

    monkeypatch.setattr("esrun.backend.rewriting._evaluate", changed)
    monkeypatch.setattr("esrun.backend.rewriting._outputs", changed)
    x = jax.random.normal(KEY, (300,))
    with pytest.warns(UserWarning, match="more slowly"):
        np.testing.assert_array_equal(tuned(jnp.sin)(x), jnp.sin(x))
    loop = hoisted(lambda fixed, x: fixed[0] * x, x, x)
    np.testing.assert_array_equal(loop(x), x[0] * x)


def test_an_error_of_the_functions_own_stays_its_own():
    def wrong(x):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        tuned(wrong)(jnp.ones(3))
