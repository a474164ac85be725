"""Numbers gone bad: NaN members rank last, hopeless runs end with a name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from defaults import make_policy, make_strategy

from esrun.backend import devices, everywhere
from esrun.training.generation import Parts
from esrun.training.loop import Progress, Start, advance_until
from esrun.training.program import make_program
from esrun.training.stop import BARREN_LIMIT
from esrun.types import Evaluation, Task

pytestmark = pytest.mark.usefixtures("quick_to_compile")


def make_faulty(*, share, after):
    """A sphere in 8 dimensions. The first `share` of a slice fails, and all of it once it is nearer
    than `after`."""

    def evaluate(keys, policy, members, normalizer):
        x = members["~"]["x"]
        fitness = -jnp.sum(x**2, axis=1)
        fails = (jnp.arange(len(x)) < share * len(x)) | (jnp.mean(-fitness) < after)
        fails &= len(x) > 1  # the held-out evaluation of the mean is of a single member
        returns = jnp.where(fails, jnp.nan, fitness)[:, None] * jnp.ones(len(keys))
        return Evaluation(returns, jnp.ones(len(x), jnp.int32), None, {})

    return Task((0,), 8, 1, evaluate)


@pytest.fixture
def faulty(built):
    """-> (task, options) -> (program, config) of a run on a faulty task."""

    def make(task, **options):
        config = built("task=sphere", "task.dimension=8", "eval.episodes=2").config
        config.generations, config.eval.every = 200, 50
        numbers = {"sigma": 0.1, "learning_rate": 0.1, "sigma_limit": 0.0} | options

        def build(hyper):
            policy = make_policy("vector", input_shape=(0,), output_size=8, low=-1.0, high=1.0)
            _, unravel = jax.flatten_util.ravel_pytree({"~": {"x": jnp.zeros(8)}})
            strategy = make_strategy(
                "openai_es",
                8,
                population_size=20,
                sigma_decay=1.0,
                learning_rate_decay=1.0,
                **numbers,
            )
            return Parts(task, policy, strategy, unravel, 8)

        local = devices.choose(2, 20)
        program = make_program(
            build=build,
            local_devices=local,
            population_chunk="auto",
            normalize_input=False,
            restarting=False,
            held_out_episodes=2,
        )
        return program, config

    return make


def trained(program, config):
    """-> (outcome, rows, generations that were saved)."""
    rows, saved = [], []
    outcome = advance_until(
        program,
        {},
        config,
        lambda p: rows.extend(p.rows),
        save=lambda state, p, final: saved.append(p.generation),
    )
    return outcome, rows, saved


def test_a_tenth_of_nan_members_is_counted_and_learning_goes_on(faulty):
    outcome, rows, _ = trained(
        *faulty(make_faulty(share=0.2, after=-1.0))
    )  # a fifth of each device's ten
    assert outcome.reason.name == "generations"
    assert {row["non_finite"] for row in rows} == {4}
    assert all(
        np.isfinite([row["fitness_mean"], row["fitness_std"], row["fitness_best"]]).all()
        for row in rows
    )
    assert outcome.score.mean > -0.2


def test_without_a_finite_member_the_run_ends_with_a_name_and_saves_no_more(faulty):
    outcome, rows, saved = trained(*faulty(make_faulty(share=0.0, after=0.5)))
    assert outcome.reason.name == "non_finite_fitness"
    assert outcome.score is None
    assert [row["non_finite"] for row in rows[-BARREN_LIMIT:]] == [20] * BARREN_LIMIT
    assert rows[-BARREN_LIMIT - 1]["non_finite"] < 20
    assert max(saved) < outcome.progress.generation


def test_a_generation_without_a_finite_member_moves_nothing(faulty):
    program, config = faulty(make_faulty(share=0.0, after=1e9))
    before = program.init({}, jnp.uint32(0)).strategy.mean
    outcome, _, _ = trained(program, config)
    assert outcome.progress.generation == BARREN_LIMIT
    np.testing.assert_array_equal(outcome.state.strategy.mean, before)


def test_an_exploded_sigma_ends_the_run_with_a_name(faulty):
    outcome, _, saved = trained(*faulty(make_faulty(share=0.0, after=-1.0), sigma=1e16))
    assert (outcome.reason.name, saved) == ("sigma_exploded", [])


def test_a_collapsed_sigma_ends_the_run_with_a_name(faulty):
    outcome, _, _ = trained(*faulty(make_faulty(share=0.0, after=-1.0), sigma=1e-12))
    assert outcome.reason.name == "sigma_collapsed"
    assert outcome.score is not None


@pytest.mark.parametrize(
    ("rate", "name"), [(np.inf, "mean_exploded"), (np.nan, "non_finite_state")]
)
def test_a_state_that_is_not_finite_ends_the_run_with_a_name(faulty, rate, name):
    outcome, _, saved = trained(*faulty(make_faulty(share=0.0, after=-1.0), learning_rate=rate))
    assert outcome.reason.name == name
    assert saved == []


def test_an_indefinite_covariance_matrix_ends_the_run_with_a_name(built):
    run = built(
        "task=sphere",
        "strategy=cma_es",
        "strategy.population_size=10",
        "generations=50",
        "eval.episodes=2",
    )
    state = run.program.init(run.hyper, jnp.uint32(0))
    broken = state._replace(strategy=state.strategy._replace(C=-jnp.eye(10)))
    start = Start(
        everywhere.replicated(run.local_devices, jax.tree.map(np.asarray, broken)),
        Progress(0, 0, 0, 0.0, 0.0, [], None, []),
    )
    outcome = advance_until(run.program, run.hyper, run.config, lambda progress: None, start=start)
    assert outcome.reason.name == "indefinite_C"
    assert outcome.progress.generation <= 2
