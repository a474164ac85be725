"""What holds for every strategy: slices, weights of zero, ranks, translation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asktell import fresh, tell
from defaults import make_strategy

from esrun.config.compose import options

CHANGES = {
    "openai_es": {"plain": {"antithetic": False},
                  "table": {"noise": "table", "noise_table_size": 100_000},
                  "batches": {"rank_batches": 5}},
    "pgpe": {"": {}, "batches": {"rank_batches": 2}},
    "ars": {"": {"parents": None}, "top": {"parents": 4}},
    "simple_ga": {"": {"elites": 5}, "crossover": {"elites": 5, "crossover": True}},
}  # fmt: skip
"""Numbers for the small populations of these tests, and variants that are to be tested too."""
OTHERS = {"eggroll", "evosax"}
"""eggroll is below; evosax's algorithms make whole populations (tests/test_evosax.py)."""
STRATEGIES = [
    pytest.param(
        *(name, changes),
        id=f"{name}-{variant}".rstrip("-"),
        marks=[pytest.mark.slow] if variant else [],
    )
    for name in options("strategy")
    if name not in OTHERS
    for variant, changes in ({"": {}} | CHANGES.get(name, {})).items()
]
# its solutions are factors of low rank, no points that a function could be evaluated at
EGGROLL = [
    pytest.param("eggroll", {}, id="eggroll"),
    pytest.param(
        "eggroll", {"antithetic": False, "rank": 2}, id="eggroll-plain", marks=pytest.mark.slow
    ),
]
BY_VALUE = {"ars"}
"""Those that weigh members by their fitness itself, not by its order."""
every_strategy = pytest.mark.parametrize(("name", "changes"), STRATEGIES)
every_slice = pytest.mark.parametrize(("name", "changes"), STRATEGIES + EGGROLL)


def make(name, changes, n, population_size):
    """-> the strategy with the numbers of its yaml; EGGROLL's network has a matrix and a bias."""
    if name == "eggroll":
        even = n // 2 * 2
        changes = changes | {
            "unravel": lambda mean: {"w": mean[:even].reshape(-1, 2), "b": mean[even:]}
        }
    return make_strategy(name, n, population_size=population_size, **changes)


def generation(strategy, state, key, fitness_of):
    solutions = strategy.ask(key, state, jnp.arange(strategy.population_size))
    return tell(strategy, state, solutions, fitness_of(solutions))


def after(strategy, mean, fitness_of, generations):
    """-> the state after some generations, its shape no longer the first one."""
    step = jax.jit(lambda state, key: generation(strategy, state, key, fitness_of))
    state = fresh(strategy, mean)
    for g in range(generations):
        state = step(state, jax.random.key(g))
    return state


def search(state):
    """-> the state without its memory of fitness, which termination tests read and no update
    does."""
    return state._replace(history=None) if "history" in state._fields else state


def disturbed(state):
    """-> a state whose arrays of numbers have no structure left."""
    random = np.random.default_rng(0)

    def disturb(x):
        return (
            x + jnp.asarray(0.1 * random.random(x.shape), x.dtype)
            if jnp.issubdtype(x.dtype, jnp.floating)
            else x
        )

    return jax.tree.map(disturb, state)


def ellipsoid(x):
    return -jnp.sum((x - 1) ** 2 * 10 ** jnp.linspace(0, 2, x.shape[1]), axis=1)


def assert_near(one, other, tolerance):
    """Every array agrees to `tolerance` of its largest entry."""

    def near(a, b):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1.0, float(np.abs(b).max())))

    jax.tree.map(near, one, other)


@every_slice
@pytest.mark.usefixtures("float64", "quick_to_compile")
def test_sums_of_slices_add_to_the_sum_of_the_whole(name, changes):
    strategy = make(name, changes, 7, 20)
    state, recombine = disturbed(fresh(strategy, jnp.zeros(7))), jax.jit(strategy.recombine)
    solutions = strategy.ask(jax.random.key(9), state, jnp.arange(20))
    weights = strategy.weigh(state, ellipsoid(solutions))
    slices = [slice(0, 1), slice(1, 4), slice(4, 17), slice(17, 20)]
    parts = [recombine(state, solutions[s], weights[s]) for s in slices]
    assert_near(
        jax.tree.map(lambda *x: sum(x), *parts), recombine(state, solutions, weights), 1e-12
    )


@every_slice
@pytest.mark.parametrize(
    ("n", "x64"),
    [
        (3, False),
        pytest.param(5, True, marks=pytest.mark.slow),
        pytest.param(33, False, marks=pytest.mark.slow),
        pytest.param(241, False, marks=pytest.mark.slow),
        pytest.param(241, True, marks=pytest.mark.slow),
    ],  # with 3 and 5 XLA fuses some rows in another way
    ids=["3-float32", "5-float64", "33-float32", "241-float32", "241-float64"],
)
def test_a_member_has_the_same_bits_in_any_company(name, changes, n, x64):
    with jax.enable_x64(x64):
        strategy = make(name, changes, n, 50)
        state = disturbed(fresh(strategy, jnp.zeros(n)))
        ask, key = jax.jit(strategy.ask), jax.random.key(9)
        whole = np.asarray(ask(key, state, jnp.arange(50)))
        for m in (1, 7, 25):
            for first in range(0, 50, 4):
                members = (first + np.arange(m * strategy.unit)) % 50  # whole units
                np.testing.assert_array_equal(ask(key, state, jnp.asarray(members)), whole[members])


@every_slice
@pytest.mark.usefixtures("float64", "quick_to_compile")
def test_a_member_of_weight_zero_is_not_there(name, changes):
    strategy = make(name, changes, 7, 20)
    state, recombine = disturbed(fresh(strategy, jnp.zeros(7))), jax.jit(strategy.recombine)
    solutions = strategy.ask(jax.random.key(9), state, jnp.arange(20))
    weights = strategy.weigh(state, ellipsoid(solutions)).at[12:].set(0)
    sums = recombine(state, solutions, weights)
    others = recombine(state, solutions.at[12:].set(1e3), weights)
    jax.tree.map(np.testing.assert_array_equal, others, sums)
    assert_near(recombine(state, solutions[:12], weights[:12]), sums, 1e-12)


def strategies(*, by_value):
    chosen = [strategy for strategy in STRATEGIES if (strategy.values[0] in BY_VALUE) == by_value]
    return pytest.mark.parametrize(("name", "changes"), chosen)


@strategies(by_value=False)
@pytest.mark.usefixtures("quick_to_compile")
def test_a_monotone_map_of_fitness_leaves_the_update_to_the_bit(name, changes):
    strategy = make(name, changes, 7, 20)
    state = after(strategy, jnp.zeros(7), ellipsoid, 3)
    fitness = jnp.asarray(
        np.random.default_rng(0).permutation(20) // 2, jnp.float32
    )  # every value twice: ties stay ties

    @jax.jit
    def updated(fitness):
        return search(generation(strategy, state, jax.random.key(9), lambda _: fitness))

    expected = updated(fitness)
    assert not np.array_equal(expected.mean, state.mean)
    for rising in (jnp.exp, lambda f: f**3 - 100, lambda f: 1e20 * f):
        jax.tree.map(np.testing.assert_array_equal, updated(rising(fitness)), expected)


@strategies(by_value=True)
@pytest.mark.usefixtures("float64", "quick_to_compile")
def test_scale_and_offset_of_fitness_leave_the_update(name, changes):
    strategy = make(name, changes, 7, 20)
    state = after(strategy, jnp.zeros(7), ellipsoid, 3)
    fitness = jnp.asarray(np.random.default_rng(0).normal(size=20))

    def updated(fitness):
        return generation(strategy, state, jax.random.key(9), lambda _: fitness)

    assert_near(updated(1e6 * fitness - 100), updated(fitness), 1e-9)
    assert (
        np.abs(updated(jnp.exp(fitness)).mean - updated(fitness).mean).max() > 1e-4
    )  # by value indeed


@every_strategy
@pytest.mark.usefixtures("float64", "quick_to_compile")
def test_a_shifted_problem_is_the_same_problem(name, changes):
    strategy = make(name, changes, 7, 20)
    shift = jnp.asarray(np.random.default_rng(0).normal(size=7))
    here = search(after(strategy, jnp.zeros(7), ellipsoid, 20))
    there = search(after(strategy, shift, lambda x: ellipsoid(x - shift), 20))
    places = {"mean", "archive"} & set(there._fields)
    assert_near(
        there._replace(**{place: getattr(there, place) - shift for place in places}), here, 1e-9
    )
    assert np.abs(here.mean).max() > 0.1
