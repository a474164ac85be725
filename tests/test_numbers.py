"""Numbers at the ends of their range: wide counts, fitness of any scale, limits, inputs, and what a
run that leaves its range says."""

import functools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asktell import fresh, tell
from conftest import quickly
from test_strategies import make
from test_warnings import rows

from esrun.backend import devices
from esrun.config.check import checked
from esrun.config.compose import composed
from esrun.errors import ConfigError
from esrun.runs.health import Health
from esrun.strategies.ars import difference_weights
from esrun.strategies.evosax import make_evosax
from esrun.strategies.parts.clipup import clipup
from esrun.strategies.parts.defaults import decayed
from esrun.strategies.parts.flat import still_where_flat
from esrun.strategies.parts.shaping import (
    length_of,
    mean_and_std,
    signal_to_noise,
    unit_of,
    z_score,
)
from esrun.strategies.parts.termination import TOLCONDITIONCOV, TOLFACUPX, TOLSTAGNATION
from esrun.tasks import normalizer
from esrun.training.build import build
from esrun.training.loop import NOTHING, Start, advance_until
from esrun.training.program import make_program
from esrun.training.restarts import search_until
from esrun.training.score import scored
from esrun.training.stop import is_at_least

SCALES = [1e-30, 1e-10, 1.0, 1e10, 1e30]
RANDOM = np.random.default_rng(0)


def test_a_run_counts_steps_beyond_32_bits(built):
    run = built("task=sine", "task.batch_size=1000", "policy.hidden=[]", "strategy=openai_es",
                "strategy.population_size=8", "generations=3", "eval.episodes=2")  # fmt: skip
    config = run.config.model_copy(deep=True)
    config.stop.env_steps = 2**32 + 8000
    state = run.program.init(run.hyper, jnp.uint32(0))
    near = state._replace(env_steps=jnp.asarray([0, 2**32 - 4000], jnp.uint32))
    start = Start(near, NOTHING._replace(env_steps=2**32 - 4000))
    outcome = advance_until(run.program, run.hyper, config, lambda progress: None, start=start)
    assert outcome.reason.name == "env_steps"
    assert outcome.progress.env_steps == 2**32 - 4000 + 2 * 8000


def test_more_steps_of_a_member_than_it_counts_are_refused(built):
    with pytest.raises(ConfigError, match=r"must be less than 2147483648, got 4294967296"):
        built("task=sine", "task.batch_size=1073741824", "task.episodes=4", "strategy=openai_es")


@pytest.mark.parametrize("scale", SCALES)
def test_weights_do_not_depend_on_the_scale_of_fitness(scale):
    fitness = jnp.asarray(RANDOM.normal(size=16), jnp.float32)
    scaled = jnp.float32(scale) * fitness
    for weigh in (z_score, lambda f: difference_weights(f, 5)):
        np.testing.assert_allclose(weigh(scaled), weigh(fitness), rtol=1e-5)
        assert np.abs(weigh(scaled)).max() > 0.1
    np.testing.assert_allclose(signal_to_noise(scaled), signal_to_noise(fitness), rtol=1e-5)


@pytest.mark.parametrize("scale", SCALES)
def test_figures_scale_with_fitness(scale):
    fitness = RANDOM.normal(size=16)
    there = np.arange(16) != 3
    mean, std = mean_and_std(jnp.asarray(scale * fitness, jnp.float32).at[3].set(jnp.nan), there)
    np.testing.assert_allclose(mean, scale * fitness[there].mean(), rtol=1e-5)
    np.testing.assert_allclose(std, scale * fitness[there].std(), rtol=1e-5)


def test_a_mean_near_the_largest_number_is_finite():
    mean, std = mean_and_std(jnp.full(100, 3e38, jnp.float32), jnp.ones(100, bool))
    np.testing.assert_allclose(mean, 3e38, rtol=1e-6)
    assert 0 <= float(std) < 1e33  # rounding alone


@pytest.mark.parametrize("x", [0.0, 1.0, 3.0, 1e-30, 3e38, 2e-38])
def test_a_unit_is_a_power_of_two_that_loses_no_digit(x):
    unit = unit_of(jnp.asarray([x, -x / 3], jnp.float32))
    mantissa, _ = np.frexp(float(unit))
    assert mantissa == 0.5
    np.testing.assert_array_equal(jnp.float32(x) / unit * unit, np.float32(x))
    assert abs(np.float32(x) / unit) <= 8


@pytest.mark.parametrize("scale", SCALES)
def test_clipups_step_has_its_length_whatever_the_gradients(scale):
    gradient = jnp.asarray([3.0, -4.0]) * jnp.float32(scale)
    np.testing.assert_allclose(length_of(gradient), 5 * scale, rtol=1e-5)
    step = clipup(jnp.zeros(2), gradient, learning_rate=0.1, momentum=0.9, max_speed=0.2)
    np.testing.assert_allclose(step, [0.06, -0.08], rtol=1e-5)


def test_a_limit_bounds_the_decay_alone():
    generations = jnp.arange(4)
    np.testing.assert_allclose(decayed(0.4, 0.5, 0.1, generations), [0.4, 0.2, 0.1, 0.1])
    np.testing.assert_allclose(decayed(0.001, 0.5, 0.1, generations), 4 * [0.001])


@pytest.mark.parametrize("name", ["openai_es", "eggroll", "simple_ga", "simple_gaussian"])
def test_a_step_size_below_its_limit_is_the_one_that_runs(name):
    strategy = make(name, {"sigma": 0.001, **({"elites": 5} if name == "simple_ga" else {})}, 4, 20)
    state = fresh(strategy, jnp.zeros(4))
    np.testing.assert_allclose(state.sigma, 0.001, rtol=1e-6)
    fitness = jnp.arange(20.0)
    for g in range(3):
        solutions = strategy.ask(jax.random.key(g), state, jnp.arange(20))
        state = tell(strategy, state, solutions, fitness)
        assert 0.001 - 1e-6 < float(state.sigma) < 0.002


def test_a_learning_rate_below_its_limit_is_the_one_that_runs():
    steps = []
    for rate in (1e-5, 0.05):
        strategy = make("openai_es", {"learning_rate": rate}, 4, 20)
        state = fresh(strategy, jnp.zeros(4))
        solutions = strategy.ask(jax.random.key(0), state, jnp.arange(20))
        steps.append(tell(strategy, state, solutions, jnp.arange(20.0)).mean)
    np.testing.assert_allclose(steps[0] / 1e-5, steps[1] / 0.05, rtol=1e-4)


def test_a_speed_limit_bounds_the_derived_learning_rate_and_contradicts_a_given_one(built):
    strategy = make("pgpe", {"max_speed": 0.01, "momentum": 0.0}, 4, 20)
    state = fresh(strategy, jnp.zeros(4))
    solutions = strategy.ask(jax.random.key(0), state, jnp.arange(20))
    after = tell(strategy, state, solutions, solutions[:, 0])
    np.testing.assert_allclose(jnp.linalg.norm(after.mean), 0.01, rtol=1e-5)
    with pytest.raises(ConfigError, match=r"strategy\.max_speed=0\.2"):
        built("task=cartpole", "strategy=pgpe", "strategy.learning_rate=0.1",
              "strategy.max_speed=0.05")  # fmt: skip


def evosax(name, **changes):
    options = {"population_size": 8, "sigma": 0.1, "optimizer": None, "learning_rate": None}
    return make_evosax(n=3, name=name, **(options | {"params": {}, "options": {}} | changes))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "sigma"), [("Rm_ES", 1e-4), ("GESMR_GA", 50.0)])
def test_evosaxs_bounds_give_way_to_sigma(name, sigma):
    strategy = evosax(name, sigma=sigma)
    settings = jax.eval_shape(strategy.init, jax.random.key(0), jnp.zeros(3))
    assert settings.sigma.shape == ()
    state = fresh(strategy, jnp.zeros(3))
    for fitness in (jnp.arange(8.0), jnp.arange(8.0) ** 2):
        state = tell(
            strategy, state, strategy.ask(jax.random.key(0), state, jnp.arange(8)), fitness
        )
        assert sigma / 10 < float(state.sigma) < 10 * sigma


def test_evosaxs_own_name_of_sigma_is_refused():
    for params, line in {
        "std_init": r"strategy\.params\.std_init must not be given.*write strategy\.sigma=0\.5",
        "std_min": r"strategy\.params\.std_min must be at most strategy\.sigma, got 0\.5 and 0\.1",
    }.items():
        with pytest.raises(ValueError, match=line):
            evosax("CMA_ES", params={params: 0.5})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_an_input_out_of_range_is_left_out_whole_and_counted(bad):
    data = RANDOM.normal(size=(20, 3)).astype(np.float32)
    spoilt = data.copy()
    spoilt[[3, 7], [0, 2]] = bad
    counts = np.arange(20) != 7  # what does not count is not counted as spoilt either

    def seen(x, counts):
        sums = jax.vmap(normalizer.observe, in_axes=(None, 0, 0))
        return jax.tree.map(lambda x: jnp.sum(x, axis=0), sums(moments, x, counts))

    moments = normalizer.fresh((3,))
    one = seen(jnp.asarray(spoilt), jnp.asarray(counts))
    other = seen(jnp.asarray(data), jnp.asarray(counts & (np.arange(20) != 3)))
    assert (int(one.ignored), int(other.ignored)) == (1, 0)
    jax.tree.map(
        np.testing.assert_array_equal,
        normalizer.merge(moments, one),
        normalizer.merge(moments, other),
    )


@pytest.mark.usefixtures("quick_to_compile")
@pytest.mark.parametrize("count", quickly([1, 2], 2))
def test_one_spoilt_input_of_one_member_spoils_no_normaliser_of_a_run(built, count):
    def spoilt(*words):
        evaluation = plain(*words)
        inputs = jax.vmap(lambda x: normalizer.observe(words[3], x, jnp.bool_(True)))(
            jnp.ones((len(evaluation.steps), 1)).at[1].set(jnp.nan)
        )
        return evaluation._replace(inputs=jax.tree.map(jnp.add, evaluation.inputs, inputs))

    run = built("task=sine", "task.batch_size=2", "policy.hidden=[]", "policy.normalize_input=true",
                "strategy=openai_es", "strategy.population_size=8", "generations=3",
                "runtime.population_chunk=4", f"runtime.devices={count}",
                "eval.episodes=2")  # fmt: skip
    plain = run.program.parts(run.hyper).task.evaluate

    def build(hyper):
        parts = run.program.parts(hyper)
        return parts._replace(task=parts.task._replace(evaluate=spoilt))

    program = make_program(
        build=build, local_devices=run.local_devices, population_chunk=4, normalize_input=True,
        restarting=False, held_out_episodes=2,
    )  # fmt: skip
    outcome, figures = ended(run._replace(program=program))
    assert not outcome.reason.failed
    assert [row["non_finite_inputs"] for row in figures] == 3 * [2]  # one in each of two blocks
    assert np.isfinite(outcome.state.normalizer.m2).all()


def test_what_is_not_finite_reaches_no_limit():
    for x in (jnp.nan, jnp.inf, -jnp.inf):
        for limit in (-1.0, jnp.inf, -jnp.inf):
            assert not is_at_least(jnp.asarray(x), jnp.asarray(limit))
    assert is_at_least(jnp.asarray(2.0), jnp.asarray(2.0))


def test_termination_tests_have_pycmas_names():
    names = [reason.name for reason in (TOLFACUPX, TOLCONDITIONCOV, TOLSTAGNATION)]
    assert names == ["tolfacupx", "tolconditioncov", "tolstagnation"]


FUNCTION = ["task=sphere", "task.dimension=3", "eval.episodes=2", "runtime.devices=1"]


def ended(run):
    """-> (outcome, rows) of a run."""
    rows = []
    outcome = advance_until(
        run.program, run.hyper, run.config, lambda progress: rows.extend(progress.rows)
    )
    return outcome, rows


@pytest.mark.parametrize("strategy", ["openai_es", "cma_es"])
@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["strategy.sigma=1e-30"], "(sigma_collapsed|noeffectcoord)"),
        (["strategy.sigma=1e20"], "sigma_exploded"),
        (["policy.low=1e16", "policy.high=1e17"], "mean_exploded"),
    ],
    ids=["collapsed", "exploded", "far"],
)
def test_a_run_that_would_end_before_it_begins_is_refused_and_the_remedy_works(
    built, strategy, words, name
):
    with pytest.raises(ConfigError, match=rf"by {name} before its first generation") as caught:
        built(*FUNCTION, f"strategy={strategy}", *words)
    remedy = str(caught.value).split("write ")[1].split()
    built(*FUNCTION, f"strategy={strategy}", *words, *remedy)


def test_a_step_size_is_held_against_the_policys_own_numbers(built):
    words = [*FUNCTION, "strategy=cma_es", "policy.low=-1000", "policy.high=1000"]
    with pytest.raises(ConfigError, match="by noeffectcoord before its first generation"):
        built(*words, "strategy.sigma=1e-5")
    with pytest.raises(ConfigError, match=r"mean_exploded.*write policy\.init_scale=1$"):
        built("task=cartpole", "strategy=openai_es", "policy.init_scale=1e20")
    small = checked(composed([*words, "strategy.sigma=1e-5"]).config)
    build(small, begins=False)  # one of many searches may


def test_a_mean_beyond_its_range_fails_the_run(built):
    run = built("task=pendulum", "task.episodes=1", "task.episode_length=5", "policy.hidden=[2]",
                "strategy=openai_es", "strategy.population_size=4", "strategy.learning_rate=1e38",
                "eval.episodes=2", "generations=20", "runtime.devices=1")  # fmt: skip
    outcome, _ = ended(run)
    assert outcome.reason.failed
    assert outcome.reason.name == "mean_exploded"
    assert outcome.reason.why == "the mean has grown beyond 1e+15"
    assert outcome.score is None


def test_an_optimizer_that_overflows_fails_the_run(built):
    # the slope of a fourth power at 1e7 is of the order of 1e23
    run = built("task=rosenbrock", "task.dimension=3", "policy.low=-1e7", "policy.high=1e7",
                "strategy=openai_es", "strategy.population_size=4", "strategy.shaping=raw",
                "strategy.sigma=100", "generations=9", "eval.episodes=2",
                "runtime.devices=1")  # fmt: skip
    outcome, _ = ended(run)
    assert (outcome.reason.name, outcome.reason.failed) == ("optimizer_overflow", True)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_not_finite_fails_the_run(built, bad):
    run = built(*FUNCTION, "strategy=openai_es", "strategy.population_size=4", "generations=3")

    def evaluate(hyper, seed, state):
        state, returns, measures = run.program.evaluate(hyper, seed, state)
        return state._replace(held_out=jnp.asarray(bad)), returns.at[0].set(bad), measures

    saved = []
    outcome = advance_until(
        run.program._replace(evaluate=evaluate),
        run.hyper,
        run.config,
        lambda progress: None,
        save=lambda state, progress, final: saved.append(final),
    )
    assert (outcome.reason.name, outcome.reason.failed) == ("non_finite_eval", True)
    assert True not in saved


def test_a_score_that_is_not_finite_ends_a_restarting_run_that_was_long_enough(built):
    run = built(*FUNCTION, "strategy=cma_es", "strategy.restarts=ipop", "generations=3")

    def evaluate(hyper, seed, state):
        state, returns, measures = run.program.evaluate(hyper, seed, state)
        return state._replace(held_out=jnp.asarray(jnp.nan)), returns * jnp.nan, measures

    said = []
    program = run.program._replace(evaluate=evaluate)
    outcome = search_until(run._replace(program=program), lambda progress: None, say=said.append)
    assert (outcome.reason.name, outcome.progress.generation) == ("non_finite_eval", 3)
    assert said == []


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200, 8e307])
def test_scores_and_warnings_of_any_scale(scale):
    values = np.array([0.5, -1.0, 2.0, 1.0])
    score = scored(1, scale * values, {})
    np.testing.assert_allclose(score.mean / scale, values.mean(), rtol=1e-12)
    np.testing.assert_allclose(score.std / scale, values.std(ddof=1), rtol=1e-12)
    noisy = {name: lambda g: scale * values[g % 4] for name in ("fitness_best", "fitness_mean")}
    one, other = (
        Health("float64").look(rows(100, fitness_std=1.0, axis_ratio=1e300, condition=1.0, **x))
        for x in (noisy, {name: lambda g: values[g % 4] for name in noisy})
    )
    assert "no better than in the first" in one[0]
    assert one == other


@pytest.mark.parametrize(
    "strategy", quickly(["sep_cma_es", "lm_ma_es", "ma_es", "snes", "cma_es"], "cma_es", "ma_es")
)
def test_at_the_optimum_of_one_parameter_a_run_is_done(built, strategy):
    run = built("task=sphere", "task.dimension=1", f"strategy={strategy}", "generations=400",
                "eval.episodes=2", "runtime.devices=1")  # fmt: skip
    outcome, rows = ended(run)
    assert not outcome.reason.failed, outcome.reason
    assert -1e-10 < outcome.score.mean <= 0
    assert np.isfinite([row["sigma"] for row in rows]).all()


@pytest.mark.parametrize("name", ["cma_es", "sep_cma_es", "ma_es", "lm_ma_es"])
@pytest.mark.usefixtures("quick_to_compile")
def test_ties_without_signal_move_sigma_as_untied_noise_does(name):
    strategy, first = still_where_flat(make(name, {}, 20, 20)), make(name, {}, 20, 20)

    def noise(kind, key):
        values = jax.random.normal(key, (20,))
        tied = jnp.stack([values, jnp.sign(values), jnp.minimum(values, -0.25)])
        return tied[kind]  # untied, two values, the best 60 % tied

    def step(kind, state, number):
        ask_key, key = jax.random.split(jax.random.fold_in(jax.random.key(3), number))
        solutions = strategy.ask(ask_key, state, jnp.arange(20))
        return tell(strategy, state, solutions, noise(kind, key)), None

    @jax.jit
    def last(kind):
        begin = fresh(first, jnp.zeros(20))
        state, _ = jax.lax.scan(functools.partial(step, kind), begin, jnp.arange(100))
        return state.sigma / begin.sigma

    untied, *ties = (float(last(kind)) for kind in range(3))
    for sigma in ties:
        assert 1 / 3 < sigma / untied < 3, (untied, ties)


@pytest.mark.slow
def test_every_run_is_still_where_nothing_is_told(built):
    run = built(*FUNCTION, "strategy=openai_es", "strategy.population_size=4")
    strategy = run.program.parts(run.hyper).strategy
    state = fresh(strategy, jnp.ones(3))
    solutions = strategy.ask(jax.random.key(0), state, jnp.arange(4))
    moving = tell(strategy, state, solutions, solutions[:, 0])
    assert not np.array_equal(moving.mean, state.mean)
    jax.tree.map(
        np.testing.assert_array_equal, tell(strategy, moving, solutions, jnp.zeros(4)), moving
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Open_ES", "SimpleGA"])
def test_evosax_stands_still_and_draws_another_population(name):
    strategy = still_where_flat(evosax(name))
    step = jax.jit(lambda state, x, fitness: tell(strategy, state, x, fitness))
    ask = jax.jit(lambda state: strategy.ask(jax.random.key(0), state, jnp.arange(8)))
    state = first = fresh(strategy, jnp.ones(3))
    for fitness in (jnp.full(8, 2.0), jnp.full(8, jnp.nan), jnp.full(8, 2.0)):
        before, state = ask(state), step(state, ask(state), fitness)
        np.testing.assert_array_equal(state.mean, first.mean)
        assert not np.array_equal(ask(state), before)
    better = ask(state)
    state = step(state, better, -jnp.sum((better - 5) ** 2, axis=1))
    assert not np.array_equal(state.mean, first.mean)


@pytest.mark.slow
def test_evosaxs_population_takes_one_that_is_better_as_a_whole():
    strategy = still_where_flat(evosax("DifferentialEvolution"))
    state = fresh(strategy, jnp.ones(3))
    for fitness in (jnp.arange(8.0), jnp.full(8, 9.0)):
        state = tell(
            strategy, state, strategy.ask(jax.random.key(0), state, jnp.arange(8)), fitness
        )
    np.testing.assert_array_equal(state.search.fitness, -9.0)


EARLY = """
from esrun.backend import devices
from esrun.config import plugins, registry
devices.cores = lambda: 3

def make_early(*, dimension: int):
    pass

class Point:
    name, value, dist = "early", "early:make_early", None

    def load(self):
        import jax.numpy as jnp
        jnp.zeros(1)  # as gymnax does when it is imported
        return make_early

plugins.points = lambda kind: [Point()]
if {by_plugin}:
    registry.find("task", "early")
else:
    Point().load()
devices.start("float32", False)
devices.start("float32", False)
import jax
print(len(jax.devices()))
"""


@pytest.mark.parametrize("by_plugin", [True, False])
def test_whatever_starts_jax_first_all_cores_are_found_or_a_line_says_so(by_plugin):
    free = {k: x for k, x in os.environ.items() if k not in ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS")}
    done = subprocess.run(
        [sys.executable, "-c", EARLY.format(by_plugin=by_plugin)],
        capture_output=True, text=True, check=True, env=free | {"JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    if by_plugin:
        assert (done.stdout, done.stderr) == ("3\n", "")
    else:
        assert done.stdout == "1\n"
        assert done.stderr.count("\n") == 1
        assert "started with 1 of 3 devices" in done.stderr
        assert "set JAX_NUM_CPU_DEVICES=3" in done.stderr


def test_what_came_too_late_for_determinism_is_said(monkeypatch, capsys):
    monkeypatch.setenv("XLA_FLAGS", "--other")
    devices.start("float32", True)  # the tests' JAX has long been started
    assert capsys.readouterr().err == ""  # processors add in one order anyhow
    monkeypatch.setenv("XLA_FLAGS", "--other")
    monkeypatch.setattr(devices, "on_cpu", lambda devices=None: False)
    devices.start("float32", True)
    assert "set XLA_FLAGS=--xla_gpu_deterministic_ops=true" in capsys.readouterr().err
    devices.start("float32", True)
    assert capsys.readouterr().err == ""
