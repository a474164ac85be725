"""The compiled program: devices, chunks, seeds, limits, what compiles and what does not."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import quickly

from esrun.backend.compilation import Clock
from esrun.training import step_counts
from esrun.training.program import make_unravel
from esrun.training.stop import ENV_STEPS, FITNESS, stop_at

OPENAI = ("strategy=openai_es", "strategy.population_size=24")
CMA = ("strategy=cma_es", "strategy.population_size=24")
SINE = ("task=sine", "policy.hidden=[8]")
ROSENBROCK = ("task=rosenbrock", "task.dimension=6")
PENDULUM = ("task=pendulum", "task.episodes=2", "task.episode_length=50", "policy.hidden=[8]")


def advanced(run, *generations):
    """-> the state after each of the given generations, chunk by chunk."""
    seed = jnp.uint32(run.config.seed)
    state = run.program.init(run.hyper, seed)
    for generation in generations:
        state, rows, done, reached = run.program.advance(
            run.hyper, seed, state, stop_at(run.config, generation)
        )
    return state, rows, done, reached


def distance(a, b):
    """-> the largest relative distance between two arrays of the strategies' states."""

    def arrays(state):
        strategy = state.strategy
        if hasattr(
            strategy, "B"
        ):  # eigenvectors of near eigenvalues are arbitrary, their sum is not
            strategy = strategy._replace(B=(strategy.B * strategy.D) @ strategy.B.T)
        # a history that is not full yet holds minus infinity
        return [
            np.nan_to_num(np.asarray(x, np.float64), neginf=0.0) for x in jax.tree.leaves(strategy)
        ]

    pairs = zip(arrays(a), arrays(b), strict=True)
    return max(float(np.linalg.norm(x - y) / (np.linalg.norm(x) + 1e-12)) for x, y in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [OPENAI, CMA], ids=["openai_es", "cma_es"])
@pytest.mark.parametrize("task", [SINE, ROSENBROCK], ids=["sine", "rosenbrock"])
def test_devices_and_population_chunks_change_nothing_but_the_order_of_sums(built, strategy, task):
    # in float32 two members whose fitness agrees to 1e-7 change ranks now and then, and the
    # searches part
    work = [*strategy, *task, "runtime.precision=float64"]
    alone, _, _, _ = advanced(built(*work, "runtime.devices=1"), 20)
    for spread in (["runtime.devices=2"], ["runtime.devices=2", "runtime.population_chunk=5"]):
        together, _, _, _ = advanced(built(*work, *spread), 20)
        assert distance(alone, together) < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [OPENAI, CMA], ids=["openai_es", "cma_es"])
def test_one_generation_of_pendulum_agrees_on_one_and_two_devices(built, strategy):
    run = [
        built(*strategy, *PENDULUM, "policy.normalize_input=true", f"runtime.devices={n}")
        for n in (1, 2)
    ]
    alone, together = (advanced(r, 1)[0] for r in run)
    assert distance(alone, together) < 1e-5
    for a, b in zip(alone.normalizer, together.normalizer, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


TWO = ["runtime.devices=2"]


@pytest.mark.slow
@pytest.mark.parametrize("spread", quickly([TWO, [*TWO, "runtime.population_chunk=8"]], TWO))
def test_a_population_that_does_not_divide_is_whole(built, spread):
    options = [
        *PENDULUM,
        "strategy=openai_es",
        "strategy.antithetic=false",
        "strategy.population_size=101",
    ]
    alone, _, _, _ = advanced(built(*options, "runtime.devices=1"), 1)
    together, rows, _, _ = advanced(built(*options, *spread), 1)
    assert distance(alone, together) < 1e-5
    assert int(step_counts.number(rows["env_steps"])[0]) == 101 * 2 * 50


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(built):
    states = [advanced(built(*OPENAI, *PENDULUM, f"seed={seed}"), 3)[0] for seed in (1, 1, 2)]
    same = [
        bool(jnp.array_equal(states[0].strategy.mean, state.strategy.mean)) for state in states[1:]
    ]
    assert same == [True, False]


@pytest.mark.parametrize("strategy", [OPENAI, CMA], ids=["openai_es", "cma_es"])
def test_the_length_of_chunks_changes_no_bit(built, strategy):
    run = built(*strategy, *PENDULUM)
    whole, pieces = advanced(run, 6)[0], advanced(run, 1, 3, 6)[0]
    assert all(map(jnp.array_equal, jax.tree.leaves(whole), jax.tree.leaves(pieces)))


def test_only_the_first_chunk_compiles(built):
    run = built(*OPENAI, *SINE, "policy.hidden=[9]")
    state, _, _, _ = advanced(run, 1)
    with Clock() as clock:
        for generation in (4, 5, 9):
            state, _, _, _ = run.program.advance(
                run.hyper, jnp.uint32(0), state, stop_at(run.config, generation)
            )
    assert int(state.generation) == 9
    assert clock.compilations == 0


@pytest.mark.parametrize("devices", quickly([1, 2], 2))
@pytest.mark.parametrize("going_on", quickly([False, True], True), ids=["fresh", "going_on"])
def test_a_prepared_program_compiles_nothing_more(built, devices, going_on):
    # a structure of its own for each case: what an earlier one compiled is still there
    run = built(
        *CMA, *SINE, f"policy.hidden=[{10 + 2 * devices + going_on}]", f"runtime.devices={devices}"
    )
    seed = np.uint32(3)
    state = run.program.init(run.hyper, seed) if going_on else None
    run.program.prepare(run.hyper, seed, stop_at(run.config, 0), state)
    with Clock() as clock:
        state = state or run.program.init(run.hyper, seed)
        state, *_ = run.program.advance(run.hyper, seed, state, stop_at(run.config, 2))
        state, *_ = run.program.evaluate(run.hyper, seed, state)
        state, *_ = run.program.advance(run.hyper, seed, state, stop_at(run.config, 4))
    assert clock.compilations == 0
    assert int(state.generation) == 4


def test_programs_that_compile_at_the_same_time_count_once(monkeypatch):
    clock = Clock()
    for now, seconds in (
        (10.0, 2.0),
        (11.0, 2.0),
        (20.0, 1.0),
        (11.5, 3.0),
    ):  # 8 to 11.5 and 19 to 20
        monkeypatch.setattr("esrun.backend.compilation.time.monotonic", lambda now=now: now)
        clock._hear("/jax/core/compile/backend_compile_duration", seconds)
    assert clock.seconds == pytest.approx(4.5)
    assert clock.compilations == 4


@pytest.mark.parametrize("of", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
def test_parameters_come_back_from_their_flat_form(of):
    tree = {
        "b": {"w": jnp.arange(6.0).reshape(2, 3), "b": jnp.float32(7)},
        "a": {"w": jnp.ones((2, 1, 2))},
    }
    flat, _ = jax.flatten_util.ravel_pytree(tree)
    again = make_unravel(jax.eval_shape(lambda: tree))(of(flat))
    assert jax.tree.structure(again) == jax.tree.structure(tree)
    assert all(map(np.array_equal, jax.tree.leaves(again), jax.tree.leaves(tree)))


def test_a_sweep_over_numbers_and_seeds_compiles_once(built):
    advanced(built(*OPENAI, *PENDULUM, "policy.hidden=[7]"), 1)
    means = []
    with Clock() as clock:
        for override in (
            "strategy.sigma=0.2",
            "strategy.learning_rate=0.3",
            "task.env_params.g=5",
            "seed=9",
        ):
            means.append(
                np.asarray(
                    advanced(built(*OPENAI, *PENDULUM, "policy.hidden=[7]", override), 1)[
                        0
                    ].strategy.mean
                )
            )
    assert clock.compilations == 0
    assert len({mean.tobytes() for mean in means}) == 4


def test_the_compilation_counter_counts(built):
    with Clock() as clock:
        advanced(built(*OPENAI, *SINE, "policy.hidden=[11]"), 1)
    assert clock.compilations >= 2  # init and advance
    assert clock.seconds > 0


def test_best_fitness_ends_the_chunk_in_the_generation_that_reaches_it(built):
    free = built(*CMA, *ROSENBROCK)
    _, rows, _, _ = advanced(free, 30)
    best = np.asarray(rows["fitness_best"][:30])
    target = float(np.maximum.accumulate(best)[17])
    first = int(np.argmax(best >= target)) + 1
    state, _, done, reached = advanced(built(*CMA, *ROSENBROCK, f"stop.fitness={target!r}"), 30)
    assert int(done) == first == int(state.generation)
    assert FITNESS in reached.held()


def test_env_steps_end_the_chunk_in_the_generation_that_reaches_them(built):
    state, _, done, reached = advanced(
        built(*OPENAI, *PENDULUM, f"stop.env_steps={24 * 100 * 3 + 1}"), 10
    )
    assert int(done) == 4
    assert [int(x) for x in state.env_steps] == [0, 24 * 100 * 4]
    assert ENV_STEPS in reached.held()


def test_a_reached_limit_leaves_later_chunks_nothing_to_do(built):
    run = built(*OPENAI, *PENDULUM, "stop.env_steps=1")
    assert int(advanced(run, 5, 9)[2]) == 0


def test_counts_beyond_32_bits_are_exact():
    counts = np.array([2**31 - 1, 2**32 - 1, 5, 0] * 1000, np.uint32)
    sums = step_counts.summed(jnp.asarray(counts)) + step_counts.summed(jnp.asarray(counts))
    steps = int(step_counts.number(step_counts.carried(sums)))
    assert steps == 2 * int(counts.sum(dtype=np.uint64))


@pytest.mark.parametrize(
    ("x", "y"), [(2**34 - 2, 5), (2**32 - 1, 1), (0, 0), (2**63, 2**62 + 2**33 - 1)]
)
def test_wide_numbers_carry(x, y):
    pair = [jnp.asarray([z >> 32, z & (2**32 - 1)], jnp.uint32) for z in (x, y)]
    assert int(step_counts.number(step_counts.added(*pair))) == x + y


def test_held_out_episodes_do_not_depend_on_the_number_of_devices(built):
    scores = []
    for devices in (1, 2):
        run = built(*OPENAI, *PENDULUM, "eval.episodes=5", f"runtime.devices={devices}")
        state = run.program.init(run.hyper, jnp.uint32(4))
        scores.append(np.asarray(run.program.evaluate(run.hyper, jnp.uint32(4), state)[1]))
    assert scores[0].shape == (5,)
    np.testing.assert_array_equal(scores[0], scores[1])
