"""One generation, cut open: called by hand it computes what the compiled chunk computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import quickly

from esrun.backend.fences import Fence
from esrun.training.generation import Seen, asked, evaluated, keys_of, recombined, told
from esrun.training.program import TRAIN, stream
from esrun.training.slices import plan_blocks
from esrun.training.stop import stop_at

RUNS = {
    "openai_es": ["task=cartpole", "strategy=openai_es", "policy.hidden=[4]",
                  "policy.normalize_input=true"],
    "eggroll": ["task=cartpole", "strategy=eggroll", "policy.hidden=[4]"],
    "decay": ["task=sine", "strategy=openai_es", "policy.hidden=[4]",
              "strategy.fitness_decay=divide_l1", "strategy.fitness_decay_coefficient=1"],
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

    def piece(function):
        """Fenced as in the chunk: XLA rounds a piece otherwise when it is a whole program."""
        fenced = jax.jit(
            lambda true, hyper, *x: Fence(true).around(lambda *x: function(parts(hyper), *x), *x)
        )
        return lambda *x: fenced(np.bool_(True), *x)

    ask, evaluate, recombine = piece(asked), piece(evaluated), piece(recombined)
    weigh = piece(lambda parts, *x: parts.strategy.weigh(*x))
    tell = jax.jit(lambda hyper, *x: told(parts(hyper), *x))

    solutions = [ask(hyper, drawn, state, here) for here in members]
    seen = [
        evaluate(hyper, drawn, state, here, own)
        for here, own in zip(members, solutions, strict=True)
    ]
    fitness = jnp.concatenate([one.fitness for one in seen])[:p]
    decayed = None
    if seen[0].decayed is not None:
        decayed = jnp.concatenate([one.decayed for one in seen])[:p]
    everyone = Seen(fitness, *tree([(one.steps, one.inputs) for one in seen]), decayed)
    weights = weigh(hyper, state.strategy, everyone.selected_by)
    sums = [
        recombine(hyper, drawn, state, here, weights, own)
        for here, own in zip(members, solutions, strict=True)
    ]
    return tell(hyper, drawn, state, fitness, tree(sums), everyone)[0]


def tree(sums):
    """-> the total, added as the chunk adds: in a balanced tree over the numbers of the blocks."""
    while len(sums) > 1:
        pairs = [sums[i : i + 2] for i in range(0, len(sums), 2)]
        sums = [plus(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    return sums[0]


def plus(one, other):
    """-> the sum of two trees."""
    return jax.tree.map(jnp.add, one, other)


def advanced(run, generations):
    """-> the state after some generations of the compiled chunk."""
    seed = np.uint32(run.config.seed)
    state = run.program.init(run.hyper, seed)
    return run.program.advance(run.hyper, seed, state, stop_at(run.config, generations))[0]


BLOCKS = {"three blocks, the last not full": 6, "one block": 14}


@pytest.mark.parametrize("blocks", quickly(BLOCKS, "three blocks, the last not full"))
@pytest.mark.parametrize("name", quickly(RUNS, "openai_es"))
def test_by_hand_it_is_the_chunk_to_the_bit(built, name, blocks):
    size = BLOCKS[blocks]
    run = built(*RUNS[name], *SMALL, f"runtime.population_chunk={size}")
    blocks = plan_blocks(run.program.parts(run.hyper), run.local_devices, size)
    assert blocks.count * blocks.size >= 14
    members = np.arange(blocks.count * blocks.size).reshape(blocks.count, blocks.size)
    before = advanced(run, 2)
    jax.tree.map(np.testing.assert_array_equal, by_hand(run, before, members), advanced(run, 3))


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
    np.testing.assert_array_equal(padded.steps, real.steps)
    jax.tree.map(np.testing.assert_array_equal, padded.inputs, real.inputs)
    weights = jnp.ones(14)
    one, other = (
        recombined(parts, drawn, state, jnp.asarray(here), weights)
        for here in ([12, 13, 14, 15], [12, 13])
    )
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), one, other)
