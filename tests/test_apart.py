"""Blocks evaluated apart, and a generation that is told of them: the bits of the compiled chunk."""

import jax
import numpy as np
import pytest
from conftest import quickly

from esrun.training.apart import zeros
from esrun.training.stop import stop_at

SMALL = ("policy.hidden=[4]", "eval.episodes=2", "runtime.population_chunk=6")
RUNS = {
    "openai_es": ("task=cartpole", "strategy=openai_es", "strategy.population_size=22",
                  "policy.normalize_input=true", "archive.top_k=3"),
    "table": ("task=cartpole", "strategy=openai_es", "strategy.population_size=22",
              "strategy.noise=table", "strategy.noise_table_size=10000", "archive.top_k=0"),
    "decay": ("task=sine", "strategy=openai_es", "strategy.population_size=22",
              "strategy.fitness_decay=divide_l1", "strategy.fitness_decay_coefficient=1"),
    "eggroll": ("task=cartpole", "strategy=eggroll", "strategy.population_size=22"),
    "cma_es": ("task=cartpole", "strategy=cma_es", "strategy.population_size=14"),
    "restarts": ("task=cartpole", "strategy=cma_es", "strategy.population_size=14",
                 "strategy.restarts=bipop"),
    "gru": ("task=pendulum", "task.episode_length=20", "task.episodes=2", "strategy=snes",
            "strategy.population_size=14", "policy=rnn", "policy.normalize_input=true"),
    "gymnasium": ("task=gymnasium", "task.env=CartPole-v1", "task.episode_length=30",
                  "task.episodes=2", "strategy=openai_es", "strategy.population_size=22",
                  "policy.normalize_input=true", "archive.top_k=3"),
}  # fmt: skip


def apart(run, state, generations, hands=None):
    """-> (the state, the rows) of generations whose blocks are seen one after another, the last
    ones first, and their sums made by so many `hands`, if they are."""
    blocks, seed, rows = run.program.apart, np.uint32(run.config.seed), []
    for _ in range(generations):
        seen = blocks.nothing(run.hyper, seed, state)
        for number in reversed(blocks.wanted(run.hyper)):
            one = blocks.seen(run.hyper, seed, state, [number])
            jax.tree.map(lambda all, x: all.__setitem__(number, x[0]), seen, one)  # noqa: B023
        sums = hands and summed(run, state, seen, blocks.level(run.hyper, hands))
        stop = stop_at(run.config, 10**6)
        state, row, done, _ = blocks.told(run.hyper, seed, state, stop, seen, sums)
        assert int(done) == 1
        rows.append({name: np.asarray(column)[0] for name, column in row.items()})
    return state, rows


def summed(run, state, seen, level):
    """-> the sums of all members, one subtree of a level after another."""
    blocks, seed = run.program.apart, np.uint32(run.config.seed)
    count = -(-len(seen.fitness) // 2**level)
    sums = zeros(blocks.shapes_of_sums(run.hyper, seed, state), count)
    for number in reversed(range(count)):
        one = blocks.summed(run.hyper, seed, state, seen, level, [number])
        jax.tree.map(lambda all, x: all.__setitem__(number, x[0]), sums, one)  # noqa: B023
    return blocks.together(sums)


@pytest.mark.parametrize("hands", [None, 2, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("devices", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", quickly(RUNS, "openai_es"))
def test_blocks_seen_apart_have_the_bits_of_the_chunk(built, name, devices, hands):
    hidden = SMALL if name != "gru" else SMALL[1:]
    run = built(*RUNS[name], *hidden, f"runtime.devices={devices}")
    seed = np.uint32(run.config.seed)
    begin = run.program.init(run.hyper, seed)
    whole, rows, done, _ = run.program.advance(run.hyper, seed, begin, stop_at(run.config, 5))
    assert int(done) == 5
    if hands and run.program.apart.level(run.hyper, hands) is None:
        pytest.skip("its sums are not shared")
    state, own = apart(run, begin, 5, hands)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(a, b)
    for i, row in enumerate(own):
        for column, x in row.items():
            np.testing.assert_array_equal(np.asarray(rows[column])[i], x)
