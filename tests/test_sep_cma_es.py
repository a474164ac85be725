"""Separable CMA-ES against SepCMA of PyPI's cmaes, and the evaluations that it needs."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asktell import evolved, fresh, tell
from cmaes import SepCMA
from defaults import make_strategy

from esrun.strategies.sep_cma_es import constants

pytestmark = pytest.mark.usefixtures("float64", "quick_to_compile")
make = partial(make_strategy, "sep_cma_es", population_size="auto", sigma=0.5)


@pytest.mark.parametrize("n", [2, 10, 1000])
@pytest.mark.parametrize("population_size", [4, 5, 12])
def test_constants_equal_those_of_cmaes(n, population_size):
    ours = constants(n, population_size, population_size // 2)
    theirs = SepCMA(mean=np.zeros(n), sigma=1.0, population_size=population_size)
    padding = np.zeros(population_size - population_size // 2)
    np.testing.assert_allclose(
        ours.weights, np.concatenate([theirs._weights, padding]), rtol=1e-12, atol=1e-15
    )
    names = {
        "mu_eff": "mu_eff",
        "c_sigma": "c_sigma",
        "d_sigma": "d_sigma",
        "c_c": "cc",
        "c_1": "c1",
        "c_mu": "cmu",
    }
    for our_name, their_name in (names | {"chi_n": "chi_n"}).items():
        np.testing.assert_allclose(
            getattr(ours, our_name), getattr(theirs, f"_{their_name}"), rtol=1e-12
        )


def test_a_large_population_in_few_dimensions_leaves_variances_positive():
    theirs = SepCMA(mean=np.zeros(2), sigma=1.0, population_size=100)
    assert theirs._c1 + theirs._cmu > 1  # without a bound
    ours = constants(2, 100, 50)
    np.testing.assert_allclose(ours.c_1 + ours.c_mu, 1, rtol=1e-12)
    assert (
        float(
            evolved(make(2, population_size=100), jnp.ones(2), lambda x: jnp.sum(x**2), 30).C.min()
        )
        > 0
    )


@pytest.mark.parametrize("n", [2, 10, 40])
def test_fifty_updates_equal_those_of_cmaes(n):
    # cmaes counts a generation before it uses the number in h_sigma, one ahead of the tutorial's:
    # ours starts at 1
    strategy, first_mean = make(n), np.linspace(1, 2, n)
    theirs = SepCMA(mean=first_mean.copy(), sigma=0.05, seed=1)
    state = fresh(strategy, jnp.asarray(first_mean))._replace(
        generation=jnp.int32(1), sigma=jnp.asarray(0.05)
    )
    update = jax.jit(lambda state, x, fitness: tell(strategy, state, x, fitness))
    scales = 10 ** np.linspace(0, 2, n)
    for _ in range(50):
        solutions = np.array([theirs.ask() for _ in range(theirs.population_size)])
        values = ((solutions - 0.3) ** 2 * scales).sum(axis=1)
        theirs.tell(list(zip(solutions, values, strict=True)))
        state = update(state, solutions, -values)
    pairs = {"mean": "mean", "sigma": "sigma", "p_sigma": "p_sigma", "p_c": "pc", "C": "C"}
    for our_name, their_name in pairs.items():
        their = getattr(theirs, f"_{their_name}")
        np.testing.assert_allclose(
            getattr(state, our_name), their, rtol=0, atol=1e-9 * np.abs(their).max()
        )


def test_a_separable_ellipsoid_is_solved_in_6000_evaluations():
    # n 10, p 10; the full CMA-ES needs about as many in 10-D (BBOB-2009, f2: 6100 to 1e-8)
    scales = 10 ** jnp.linspace(0, 6, 10)
    state = evolved(make(10, sigma=2.0), jnp.full(10, 3.0), lambda x: jnp.sum(scales * x**2), 600)
    assert float(jnp.sum(scales * state.mean**2)) < 1e-8
    np.testing.assert_allclose(
        jnp.log10(state.C[0] / state.C[-1]), 6, atol=1
    )  # C has become the inverse Hessian


def test_more_parents_than_members_are_refused():
    with pytest.raises(
        ValueError, match=r"strategy\.parents must be at most the population size 8, got 9"
    ):
        make(5, population_size=8, parents=9)
