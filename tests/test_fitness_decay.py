"""Decay on the side of the reward: formulas by hand, and what of a run knows of it."""

import json
from pathlib import Path

import bits
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import quickly
from defaults import chosen

from esrun.strategies.parts.fitness_decay import DECAYS, make_fitness_decay
from esrun.training.generation import asked, evaluated, keys_of
from esrun.training.pieces import Pieces
from esrun.training.program import TRAIN, stream
from esrun.training.stop import stop_at

pytestmark = pytest.mark.usefixtures("quick_to_compile")

SINE = ["task=sine", "task.reward=inverse_square", "policy.hidden=[3]", "eval.episodes=2",
        "strategy.population_size=14", "archive.top_k=3"]  # fmt: skip


def by_hand(decay, solutions, fitness, c):
    """-> the fitness [m] after a decay, member by member."""
    out = []
    given = np.asarray(solutions, np.float64), np.asarray(fitness, np.float64)
    for w, f in zip(*given, strict=True):
        l1, l2 = sum(abs(x) for x in w), sum(x * x for x in w)
        divided = {"divide_l1": f / (c * l1), "divide_l2": f / (c * l2)}
        out.append(divided.get(decay, f - c * l2))
    return np.array(out)


def words(strategy, decay, c):
    return [f"strategy={strategy}", f"strategy.fitness_decay={decay}",
            f"strategy.fitness_decay_coefficient={c}"]  # fmt: skip


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_each_decay_is_its_formula(decay, n):
    random = np.random.default_rng(n)
    solutions, fitness = random.normal(size=(6, n)), np.array([3.0, -2.0, 0.0, 1e4, 0.5, -1e-3])
    c = -0.3 if decay == "subtract_l2" else 2.5
    given = jnp.asarray(solutions, jnp.float32), jnp.asarray(fitness, jnp.float32)
    np.testing.assert_allclose(
        make_fitness_decay(decay, c)(*given), by_hand(decay, solutions, fitness, c), rtol=3e-5
    )


@pytest.mark.parametrize("decay", DECAYS)
def test_what_is_not_finite_stays_so(decay):
    fitness = jnp.array([jnp.nan, jnp.inf, -jnp.inf, 1.0])
    decayed = make_fitness_decay(decay, 1.0)(jnp.ones((4, 3)), fitness)
    np.testing.assert_array_equal(jnp.isfinite(decayed), [False, False, False, True])


CASES = {
    "divide_l1": words("openai_es", "divide_l1", 2),
    "divide_l2": words("openai_es", "divide_l2", 1),
    "subtract_l2": words("openai_es", "subtract_l2", 4),
    "rewarding": words("openai_es", "subtract_l2", -4),
    "pgpe": words("pgpe", "divide_l2", 0.5),
    "z_score": [*words("openai_es", "divide_l2", 1), "strategy.shaping=z_score"],
}


@pytest.mark.parametrize("case", quickly(CASES, "divide_l1"))
def test_members_are_selected_by_what_is_left_and_all_else_stays_raw(built, case):
    run = built(*SINE, *CASES[case], "runtime.population_chunk=6")
    options, seed = run.config.strategy, np.uint32(0)
    before = run.program.init(run.hyper, seed)
    parts = run.program.parts(run.hyper)

    @jax.jit
    def members(state):
        drawn, numbers = keys_of(parts, stream(seed, TRAIN), state.generation), jnp.arange(14)
        solutions = asked(parts, drawn, state, numbers)
        return solutions, evaluated(parts, drawn, state, numbers, solutions).fitness

    here = jax.tree.map(np.asarray, before)
    solutions, fitness = map(np.asarray, members(here))
    decay, c = options.fitness_decay, options.fitness_decay_coefficient
    decayed = by_hand(decay, solutions, fitness, c)
    assert not np.array_equal(np.argsort(decayed), np.argsort(fitness))
    strategy, state, told = parts.strategy, here.strategy, jnp.asarray(decayed, jnp.float32)
    weights = strategy.weigh(state, told)
    expected = strategy.update(state, strategy.recombine(state, solutions, weights), told)
    after, rows, *_ = run.program.advance(run.hyper, seed, before, stop_at(run.config, 1))
    np.testing.assert_allclose(after.strategy.mean, expected.mean, atol=2e-6)
    row = {name: np.asarray(x)[0] for name, x in rows.items()}
    assert row["decayed_fitness_mean"] == pytest.approx(decayed.mean(), rel=1e-4)
    assert row["fitness_mean"] == pytest.approx(fitness.mean(), rel=1e-5)
    assert row["fitness_std"] == pytest.approx(fitness.std(), rel=1e-4)
    best = np.sort(fitness)[::-1]
    assert row["fitness_best"] == row["best_so_far"] == best[0]
    np.testing.assert_array_equal(after.archive.fitness, best[:3])
    plus, minus = decayed[::2], decayed[1::2]
    ratio = np.sqrt(np.mean(((plus - minus) / 2) ** 2) / np.var((plus + minus) / 2))
    assert row["signal_to_noise"] == pytest.approx(ratio, rel=1e-3)


def test_without_a_decay_nothing_is_told_of_one(built):
    run = built(*SINE, "strategy=openai_es")
    state = run.program.init(run.hyper, np.uint32(0))
    _, rows, *_ = run.program.advance(run.hyper, np.uint32(0), state, stop_at(run.config, 1))
    assert "decayed_fitness_mean" not in rows


def test_where_fitness_is_flat_the_weights_alone_are_selected(built):
    run = built(*chosen("own"), "task.episode_length=2", *SINE[2:],
                *words("openai_es", "subtract_l2", 1), "strategy.sigma=0.3")  # fmt: skip
    before = run.program.init(run.hyper, np.uint32(0))
    l2 = float(np.sum(np.asarray(before.strategy.mean) ** 2))
    after, rows, *_ = run.program.advance(run.hyper, np.uint32(0), before, stop_at(run.config, 20))
    assert np.sum(np.asarray(after.strategy.mean) ** 2) < 0.9 * l2
    np.testing.assert_array_equal(rows["fitness_std"][:20], 0)
    np.testing.assert_array_equal(rows["tied"][:20], 0)


@pytest.mark.slow
@pytest.mark.parametrize("case", quickly(CASES, "divide_l1"))
def test_one_device_and_two_have_the_same_bits(built, case):
    words = [*SINE, *CASES[case], "runtime.population_chunk=4"]
    one, two = (bits.digests(built, [*words, f"runtime.devices={n}"]) for n in (1, 2))
    assert one == two


def test_a_run_goes_on_to_the_same_bits(in_process):
    words = [*SINE, *CASES["divide_l2"], "checkpoint.every=1", "progress=off"]
    assert in_process(*words, "generations=4", "hydra.run.dir=whole")[0] == 0
    assert in_process(*words, "generations=2", "hydra.run.dir=cut")[0] == 0
    assert in_process("resume", "cut", "generations=4")[0] == 0
    whole, cut = (Path(x, "policy.safetensors").read_bytes() for x in ("whole", "cut"))
    assert whole == cut
    lines = [Path(x, "metrics.jsonl").read_text().splitlines() for x in ("whole", "cut")]
    told = [[json.loads(line)["decayed_fitness_mean"] for line in own] for own in lines]
    assert len(told[0]) == 4
    assert told[0] == told[1]


def test_where_processes_step_the_environments_too(built):
    run = built("task=gymnasium", "task.env=CartPole-v1", "task.episode_length=20",
                "task.episodes=2", "policy.hidden=[3]", "eval.episodes=2",
                "strategy.population_size=10", "runtime.population_chunk=4", "runtime.workers=1",
                *words("openai_es", "subtract_l2", 1e6))  # fmt: skip
    seed, hyper = np.uint32(0), run.hyper
    before = run.program.init(hyper, seed)
    pieces, strategy = Pieces(run.program.parts), run.program.parts(hyper).strategy
    drawn = pieces.drawn(hyper, seed, before.generation)
    solutions = pieces.ask(hyper, drawn, before, np.arange(10))
    # so dear that what the members are paid decides nothing
    decayed = jnp.asarray(by_hand("subtract_l2", solutions, np.zeros(10), 1e6), jnp.float32)
    sums = strategy.recombine(before.strategy, solutions, strategy.weigh(before.strategy, decayed))
    expected = strategy.update(before.strategy, sums, decayed)
    after, rows, *_ = run.program.advance(hyper, seed, before, stop_at(run.config, 1))
    np.testing.assert_allclose(after.strategy.mean, expected.mean, atol=2e-6)
    assert 1 <= rows["fitness_mean"][0] <= 20
    assert rows["decayed_fitness_mean"][0] == pytest.approx(float(decayed.mean()), rel=1e-4)
