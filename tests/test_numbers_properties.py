"""Any fitness that there is: ties, NaN, infinities, scales from 1e-30 to 1e30, in any order.

Strategies are asked and told here, each compiled once; hypothesis looks for the fitness that breaks
what holds for all.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asktell import fresh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_strategies import BY_VALUE, STRATEGIES, ellipsoid, make, search

from esrun.strategies.parts.flat import still_where_flat

N, P = 3, 10
SHAPED = [
    pytest.param(name, {"shaping": shaping}, id=f"{name}-{shaping}")
    for name in ("openai_es", "pgpe")
    for shaping in ("z_score", "raw")
]
every = pytest.mark.parametrize(("name", "changes"), STRATEGIES + SHAPED)
by_order = pytest.mark.parametrize(
    ("name", "changes"), [one for one in STRATEGIES if one.values[0] not in BY_VALUE]
)
by_value = pytest.mark.parametrize(
    ("name", "changes"),
    [one for one in STRATEGIES if one.values[0] in BY_VALUE]
    + [one for one in SHAPED if one.values[1]["shaping"] == "z_score"],
)
quick = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)

magnitudes = st.builds(
    lambda digits, exponent: np.float32(digits * 10.0**exponent),
    st.integers(-9, 9),
    st.integers(-30, 30),
)
odd = st.sampled_from([np.float32(x) for x in (np.nan, np.inf, -np.inf)])
small = st.integers(-3, 3).map(np.float32)  # many ties
generations = st.lists(magnitudes | small | small | odd, min_size=P, max_size=P).map(np.asarray)


@functools.cache
def compiled(name, changes):
    """-> (some state, (state, number, fitness [p]) -> the state behind that generation)."""
    strategy = still_where_flat(make(name, dict(changes), N, P))
    members = jnp.arange(P)

    @jax.jit
    def step(state, number, fitness):
        solutions = strategy.ask(jax.random.fold_in(jax.random.key(7), number), state, members)
        fitness = jnp.where(jnp.isnan(fitness[0]) & (number < 0), ellipsoid(solutions), fitness)
        weights = strategy.weigh(state, fitness)
        return strategy.update(state, strategy.recombine(state, solutions, weights), fitness)

    state = fresh(strategy, jnp.linspace(-1.0, 2.0, N))
    for number in (-1, -2):  # of the ellipsoid
        state = step(state, number, jnp.full(P, jnp.nan))
    return state, step


def prepared(name, changes):
    """-> the same; hypothesis's many examples share what was compiled."""
    few = {"elites": 4} if name == "simple_ga" else {}
    few |= {"parents": 3} if changes.get("parents") == 4 else {}
    return compiled(name, tuple((changes | few).items()))


def same(one, other):
    jax.tree.map(np.testing.assert_array_equal, search(one), search(other))


@every
@pytest.mark.usefixtures("quick_to_compile")
@quick
@given(level=magnitudes, spoilt=st.lists(odd, min_size=P, max_size=P), all_spoilt=st.booleans())
def test_a_generation_that_tells_nothing_changes_nothing(name, changes, level, spoilt, all_spoilt):
    state, step = prepared(name, changes)
    fitness = np.asarray(spoilt) if all_spoilt else np.full(P, level)
    same(step(state, 1, fitness), state)


@every
@pytest.mark.usefixtures("quick_to_compile")
@quick
@given(sequence=st.lists(generations, min_size=1, max_size=4))
def test_no_fitness_poisons_a_state(name, changes, sequence):
    if changes.get("shaping") == "raw":
        sequence = [np.clip(fitness, -1e6, 1e6) for fitness in sequence]  # its steps are as long
    state, step = prepared(name, changes)
    for number, fitness in enumerate(sequence):
        state = step(state, number, fitness)
    for x in jax.tree.leaves(search(state)):
        assert np.isfinite(np.asarray(x)).all()


@by_order
@pytest.mark.usefixtures("quick_to_compile")
@quick
@given(sequence=st.lists(generations, min_size=1, max_size=4))
def test_only_the_order_of_fitness_counts(name, changes, sequence):
    state, step = prepared(name, changes)
    one = other = state
    for number, fitness in enumerate(sequence):
        finite = np.isfinite(fitness)
        places = np.searchsorted(np.unique(fitness[finite]), fitness[finite])
        mapped = np.full(P, np.nan, np.float32)
        mapped[finite] = places - 3.0  # strictly rising, and distinct in float32
        one, other = step(one, number, fitness), step(other, number, mapped)
    same(one, other)


@by_value
@pytest.mark.usefixtures("quick_to_compile")
@quick
@given(
    fitness=st.lists(st.integers(-50, 50), min_size=P, max_size=P),
    offset=st.integers(-1000, 1000),
    exponent=st.integers(-95, 95),
    spoilt=st.lists(st.booleans(), min_size=P, max_size=P),
)
def test_scale_and_offset_of_fitness_do_not_count(name, changes, fitness, offset, exponent, spoilt):
    state, step = prepared(name, changes)
    plain = np.where(spoilt, np.nan, np.asarray(fitness, np.float32)).astype(np.float32)
    moved = np.ldexp(plain + np.float32(offset), exponent)  # exactly
    one, other = step(state, 1, plain), step(state, 1, moved)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5), one, other)
