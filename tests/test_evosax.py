"""evosax's algorithms behind esrun's interface: the numbers of evosax's own loop, all the names,
and refusals."""

import sys
from typing import get_args

import evosax.algorithms
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from asktell import fresh, tell
from conftest import quickly
from defaults import make_strategy

from esrun.cli import main
from esrun.commands.list import list_options
from esrun.config.check import checked
from esrun.config.compose import composed
from esrun.config.schema.names import EvosaxName
from esrun.errors import ConfigError
from esrun.runs.checkpoint import Checkpoint, load, save
from esrun.training.build import build

NAMES = sorted(get_args(EvosaxName))
N, P = 5, 8
pytestmark = pytest.mark.filterwarnings(
    "ignore:optax.global_norm is deprecated"
)  # evosax calls it in ClipUp


def make(name, n=N, **changes):
    options = {"num_populations": 2} if name.startswith("SV_") else {}
    given = {"name": name, "population_size": P, "options": options}
    return make_strategy("evosax", n, **(given | changes))


def f(x):
    return jnp.sum((x - 1) ** 2 * jnp.arange(1, len(x) + 1))


def first(strategy, n=N):
    """-> a first state, compiled as one."""
    return jax.jit(lambda: fresh(strategy, jnp.zeros(n)))()


def step(strategy, state):
    solutions = strategy.ask(jax.random.key(9), state, jnp.arange(strategy.population_size))
    return tell(strategy, state, solutions, -jax.vmap(f)(solutions))


def trained(name, generations=3):
    """-> the state after some generations of maximising -f."""
    strategy = make(name)
    begin = fresh(strategy, jnp.zeros(N))
    return jax.lax.scan(
        lambda state, _: (step(strategy, state), None), begin, None, length=generations
    )[0]


def test_the_names_are_those_of_evosax():
    assert sorted(evosax.algorithms.algorithms) == NAMES


@pytest.mark.parametrize("name", quickly(NAMES, *NAMES[::3]))
def test_every_algorithm_traces_to_a_state_that_keeps_its_types(name):
    # a scan refuses a state that changes its types or shapes
    state = jax.eval_shape(lambda: trained(name))
    assert (state.mean.shape, state.sigma.shape) == ((N,), ())
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state)} <= {
        "float32",
        "int32",
        "uint32",
        "bool",
    }


@pytest.mark.parametrize(
    "name",
    quickly(
        ["GradientlessDescent", "LGA", "PGPE", "PSO", "RandomSearch", "SV_CMA_ES"],
        *("LGA", "PGPE", "PSO"),
    ),
)
@pytest.mark.usefixtures("quick_to_compile")
def test_three_generations_climb(name):
    state = jax.jit(lambda: trained(name))()
    assert float(f(state.mean)) < float(f(jnp.zeros(N)))
    assert 0 < float(state.sigma) < 1


def keys(generations):
    """-> (init, first population, [(ask, tell)]) as the strategy derives them."""
    init_key, first_key, key = jax.random.split(jax.random.key(0), 3)
    return (
        init_key,
        first_key,
        [jax.random.split(jax.random.fold_in(key, g)) for g in range(generations)],
    )


def climbed(theirs, state, params, pairs):
    """-> evosax's state after its own loop over pairs of keys (ask, tell)."""
    for ask_key, tell_key in pairs:
        population, state = theirs.ask(ask_key, state, params)
        state, _ = theirs.tell(tell_key, population, jax.vmap(f)(population), state, params)
    return state


@pytest.mark.parametrize(
    ("name", "constructor", "replaced"),
    [
        ("Open_ES", {"std_schedule": optax.constant_schedule(0.1)}, {}),
        ("CMA_ES", {}, {"std_init": 0.1}),
    ],
)
@pytest.mark.usefixtures("float64", "quick_to_compile")
def test_a_distribution_goes_the_way_of_evosaxs_own_loop(name, constructor, replaced):
    theirs = evosax.algorithms.algorithms[name](
        population_size=P, solution=jnp.zeros(N), **constructor
    )
    params = theirs.default_params.replace(**replaced)
    init, _, rest = keys(5)
    expected = climbed(theirs, theirs.init(init, jnp.zeros(N), params), params, rest)

    strategy = make(name)
    state, ours = first(strategy), jax.jit(lambda state: step(strategy, state))
    for _ in range(5):
        state = ours(state)
    np.testing.assert_allclose(state.mean, expected.mean, rtol=1e-12)
    np.testing.assert_allclose(state.sigma, expected.std, rtol=1e-12)
    assert np.abs(state.mean).max() > 1e-4


@pytest.mark.parametrize(
    ("name", "constructor"),
    [("SimpleGA", {"std_schedule": optax.constant_schedule(0.1)}), ("DifferentialEvolution", {})],
)
@pytest.mark.usefixtures("float64", "quick_to_compile")
def test_a_population_goes_the_way_of_evosaxs_own_loop(name, constructor):
    theirs = evosax.algorithms.algorithms[name](
        population_size=P, solution=jnp.zeros(N), **constructor
    )
    params = theirs.default_params
    _, first_key, rest = keys(6)
    population = 0.1 * jax.random.normal(first_key, (P, N))
    expected = theirs.init(
        rest[0][1], population, jax.vmap(f)(population), params
    )  # the first generation
    expected = climbed(theirs, expected, params, rest[1:])

    strategy = make(name)
    state, ours = first(strategy), jax.jit(lambda state: step(strategy, state))
    for _ in range(6):
        state = ours(state)
    np.testing.assert_allclose(state.search.population, expected.population, rtol=1e-12)
    np.testing.assert_allclose(state.mean, theirs.get_best_solution(expected), rtol=1e-12)


@pytest.mark.parametrize("name", quickly(["Open_ES", "SimpleGA"], "Open_ES"))
def test_a_member_has_the_same_bits_in_any_company(name):
    strategy = make(name, n=33, population_size=50)
    state, ask = first(strategy, 33), jax.jit(strategy.ask)
    whole = np.asarray(ask(jax.random.key(9), state, jnp.arange(50)))
    for members in ([0], [7, 8, 9], list(range(25, 50))):
        np.testing.assert_array_equal(
            ask(jax.random.key(9), state, jnp.asarray(members)), whole[members]
        )


@pytest.mark.parametrize("name", ["CMA_ES", "SimpleGA"])
@pytest.mark.usefixtures("quick_to_compile")
def test_a_failed_evaluation_counts_as_the_worst(name):
    strategy = make(name)
    update = jax.jit(lambda state, fitness: strategy.update(state, (), fitness))
    state = update(first(strategy), -jnp.arange(8.0))
    failed = update(state, jnp.array([3.0, jnp.nan, 1.0, 2.0, -jnp.inf, 5.0, 0.0, -4.0]))
    worst = update(state, jnp.array([3.0, -4.0, 1.0, 2.0, -4.0, 5.0, 0.0, -4.0]))
    jax.tree.map(np.testing.assert_array_equal, failed, worst)


@pytest.mark.usefixtures("quick_to_compile")
def test_sigma_params_optimizer_and_options_reach_evosax():
    assert float(first(make("PGPE", sigma=0.25)).sigma) == 0.25
    # SimpleES moves its deviations by the share c_std of the way
    one, other = (
        jax.jit(lambda state, s=s: step(s, state))(first(s)).search.std
        for s in (make("SimpleES", params={"c_std": share}) for share in (0.01, 0.1))
    )
    np.testing.assert_allclose(other - 0.1, 10 * (one - 0.1), rtol=1e-3, atol=1e-6)
    assert np.abs(other - 0.1).max() > 1e-4
    # a step of plain gradient descent is ten times as long with ten times the learning rate
    short, long = (
        jax.jit(lambda state, s=s: step(s, state))(first(s)).mean
        for s in (make("Open_ES", optimizer="sgd", learning_rate=rate) for rate in (0.01, 0.1))
    )
    np.testing.assert_allclose(long, 10 * short, rtol=1e-5)
    assert first(make("SV_CMA_ES", options={"num_populations": 4})).search.mean.shape == (4, N)


@pytest.mark.parametrize("name", ["CMA_ES", "PSO"])
def test_a_state_comes_back_from_a_checkpoint_and_goes_on_to_the_same_bits(name, tmp_path):
    strategy = make(name)
    ours = jax.jit(lambda state: step(strategy, state))
    state = ours(ours(first(strategy)))
    path = save(tmp_path, Checkpoint(jax.tree.map(np.asarray, state), {"generation": 2}), 1)
    back = load(path, jax.eval_shape(lambda: fresh(strategy, jnp.zeros(N)))).state
    jax.tree.map(np.testing.assert_array_equal, ours(back), ours(state))


def complaint(*overrides, until=checked):
    with pytest.raises(ConfigError) as caught:
        until(checked(composed(["task=sphere", "strategy=evosax", *overrides]).config))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_the_schema_refuses():
    for overrides, parts in {
        ("strategy.name=Open_SE",): [
            "strategy.name must be a registered strategy",
            "did you mean Open_ES",
            "PGPE",
        ],
        ("strategy.sigma=0",): ["strategy.sigma must be greater than 0"],
        ("strategy.optimizer=adam",): ["must be given together", "strategy.learning_rate=0.01"],
        ("+strategy.options.params_path=x.pkl",): [
            "strategy.options.params_path must be",
            "got 'x.pkl'",
        ],
    }.items():
        line = complaint(*overrides, until=lambda config: None)
        assert all(part in line for part in parts), line


def test_what_evosax_refuses():
    for overrides, parts in {
        ("strategy.name=Open_ES", "strategy.population_size=9"): [
            "Open_ES refuses",
            "must be even",
        ],
        ("strategy.name=PGPE", "+strategy.params.std_rl=0.1"): [
            "strategy.params of PGPE",
            "did you mean std_lr",
        ],
        ("strategy.name=LES", "+strategy.options.params_path=1"): [
            "strategy.options of LES must be of none"
        ],
        ("strategy.name=SV_CMA_ES",): ["strategy.options.num_populations", "got 100 and None"],
        ("strategy.name=PSO", "strategy.optimizer=adam", "strategy.learning_rate=1e-2"): [
            "takes none, got adam"
        ],
    }.items():
        line = complaint(*overrides, until=build)
        assert all(part in line for part in parts), line


def test_without_evosax_one_line_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr("esrun.config.check.find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["esrun"])
    assert main(["task=sphere", "strategy=evosax", "strategy.name=Open_ES"]) == 2
    error = capsys.readouterr().err
    assert "strategy.name=Open_ES needs the package evosax" in error
    assert f"{sys.executable} -m pip install 'evosax" in error
    assert error.count("\n") == 1


def test_the_list_shows_it_once(capsys):
    assert list_options(["strategies"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()].count("evosax") == 1
