"""One generation, cut open: called by hand it computes what the compiled chunk computes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from esrun.training.generation import Seen, evaluated, keys_of, recombined, told
from esrun.training.loop import stop_at
from esrun.training.program import TRAIN, stream

RUNS = {
    "openai_es": ["task=cartpole", "strategy=openai_es", "policy.hidden=[4]",
                  "policy.normalize_input=true"],
    "eggroll": ["task=cartpole", "strategy=eggroll", "policy.hidden=[4]"],
    "cma_es": ["task=cartpole", "strategy=cma_es", "strategy.parents=5", "policy.hidden=[4]"],
    "sine": ["task=sine", "strategy=snes", "policy=rnn", "policy.hidden=[3]"],
}  # fmt: skip
SMALL = ["strategy.population_size=14", "runtime.devices=1", "eval.episodes=2"]


def by_hand(run, state, members):
    """-> the state after a generation of which every part is a program of its own.

    Numbers are arguments, as they are in the chunk: constants would be folded.
    """
    parts, hyper = run.program.parts, run.hyper
    p = parts(hyper).strategy.population_size
    key = stream(np.uint32(run.config.seed), TRAIN)
    drawn = jax.jit(lambda hyper, g: keys_of(parts(hyper), key, g))(hyper, state.generation)
    evaluate = jax.jit(lambda hyper, *x: evaluated(parts(hyper), *x))
    # with its sum: XLA may add while it multiplies, which rounds otherwise than adding afterwards
    recombine = jax.jit(lambda hyper, sums, *x: plus(sums, recombined(parts(hyper), *x)))
    weigh = jax.jit(lambda hyper, *x: parts(hyper).strategy.weigh(*x))
    tell = jax.jit(lambda hyper, *x: told(parts(hyper), *x))

    seen = [evaluate(hyper, drawn, state, here) for here in members]
    fitness = jnp.concatenate([one.fitness for one in seen])[:p]
    weights = weigh(hyper, state.strategy, fitness)
    shapes = jax.eval_shape(
        lambda *x: recombined(parts(hyper), *x), drawn, state, members[0], weights
    )
    sums = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    for here in members:
        sums = recombine(hyper, sums, drawn, state, here, weights)
    steps = sum(one.steps for one in seen).astype(jnp.uint32)
    inputs = functools.reduce(plus, (one.inputs for one in seen))
    return tell(hyper, state, fitness, sums, Seen(fitness, steps, inputs))[0]


def plus(one, other):
    """-> the sum of two trees."""
    return jax.tree.map(jnp.add, one, other)


def advanced(run, generations):
    """-> the state after some generations of the compiled chunk."""
    seed = np.uint32(run.config.seed)
    state = run.program.init(run.hyper, seed)
    return run.program.advance(run.hyper, seed, state, stop_at(run.config, generations))[0]


SLICES = np.arange(18).reshape(3, 6)
"""Of 14 members: the last one is not full."""


@pytest.mark.parametrize("name", RUNS)
def test_by_hand_with_several_slices_it_is_the_chunk_but_for_rounding(built, name):
    # strategies that turn solutions back into samples, (x - mean) / sigma, do so in one kernel with
    # making x, and XLA rounds that kernel otherwise inside the chunk's loop
    run = built(*RUNS[name], *SMALL, "runtime.population_chunk=6")
    one, other = by_hand(run, advanced(run, 0), SLICES), advanced(run, 1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), one, other)


@pytest.mark.parametrize("name", ["openai_es", "eggroll"])
def test_by_hand_with_several_slices_it_is_the_chunk_to_the_bit(built, name):
    run = built(*RUNS[name], *SMALL, "runtime.population_chunk=6")
    before = advanced(run, 3)
    jax.tree.map(np.testing.assert_array_equal, by_hand(run, before, SLICES), advanced(run, 4))


@pytest.mark.parametrize("name", RUNS)
def test_by_hand_with_one_slice_it_is_the_chunk_but_for_rounding(built, name):
    run = built(*RUNS[name], *SMALL)
    first = advanced(run, 0)
    one, other = by_hand(run, first, np.arange(14)[None]), advanced(run, 1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), one, other)


def test_slices_may_be_evaluated_in_any_order_and_company(built):
    run = built(*RUNS["openai_es"], *SMALL, "runtime.population_chunk=6")
    state, parts = advanced(run, 2), run.program.parts(run.hyper)
    drawn = keys_of(parts, stream(np.uint32(0), TRAIN), state.generation)
    evaluate = jax.jit(lambda here: evaluated(parts, drawn, state, here))
    whole = evaluate(jnp.arange(14))
    for here in ([8, 9], [2, 3, 4, 5], [12, 13, 0, 1]):
        np.testing.assert_array_equal(
            evaluate(jnp.asarray(here)).fitness, whole.fitness[jnp.asarray(here)]
        )


def test_padding_counts_nothing(built):
    run = built(*RUNS["openai_es"], *SMALL, "runtime.population_chunk=6")
    state, parts = advanced(run, 1), run.program.parts(run.hyper)
    drawn = keys_of(parts, stream(np.uint32(0), TRAIN), state.generation)
    seen = jax.jit(lambda here: evaluated(parts, drawn, state, here))
    padded, real = seen(jnp.asarray([12, 13, 14, 15])), seen(jnp.asarray([12, 13]))
    assert int(padded.steps) == int(real.steps)
    jax.tree.map(np.testing.assert_array_equal, padded.inputs, real.inputs)
    weights = jnp.ones(14)
    one, other = (
        recombined(parts, drawn, state, jnp.asarray(here), weights)
        for here in ([12, 13, 14, 15], [12, 13])
    )
    np.testing.assert_allclose(one, other, rtol=1e-6)
