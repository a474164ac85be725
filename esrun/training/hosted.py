"""Training where environments are stepped outside of the compiled program, by worker processes.

The same parts as those of the compiled chunk (`esrun.training.generation`), each a program of its
own, called one by one: members are asked for, act in their environments, are weighed and
recombined, and the generation is told. The blocks are those of the compiled chunk too.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from esrun.backend import among, everywhere, machine
from esrun.tasks.simulators import Pool, Simulators, together
from esrun.training.blocks import Blocks
from esrun.training.generation import Parts
from esrun.training.hosted_apart import HostedApart, seeds_of, seen, structure_of, told
from esrun.training.memory_plan import Plan
from esrun.training.one_by_one import one_by_one
from esrun.training.pieces import Pieces
from esrun.training.program import Program, beginning
from esrun.training.slices import plan_blocks, plan_episodes
from esrun.types import PyTree, TrainState


def make_hosted_program(
    *,
    build: Callable[[Any], Parts],
    local_devices: tuple,
    population_chunk: int | str,
    normalize_input: bool,
    restarting: bool,
    held_out_episodes: int,
    workers: int | str,
    top_k: int = 0,
) -> Program:
    """As `make_program`, for a task with `simulators`; policy and strategy live on the first
    device. `workers` processes step the environments, "auto": one a core."""
    one = among.own(local_devices)[:1]
    initial = everywhere.OnEvery(one, beginning(build, normalize_input, restarting, top_k))
    pieces = Pieces(build)

    def plan(hyper) -> Blocks:
        return plan_blocks(pieces.parts(hyper), one, population_chunk)

    def advance(hyper, seed, state, stop):
        blocks = plan(hyper)

        def one(state):
            state, row = generation(pieces, pool(hyper), blocks, hyper, seed, state)
            return state, jax.tree.map(np.asarray, row), pieces.reached(hyper, state, stop)

        return one_by_one(state, stop, pieces.reached(hyper, state, stop), one)

    def evaluate(hyper, seed, state):
        blocks = plan_episodes(held_out_episodes, one)
        numbers = np.arange(blocks.count * blocks.size)
        episodes = pieces.held_out(seed, numbers).reshape(blocks.count, -1)
        mean = pieces.mean(hyper, state)

        def play(i):
            real = numbers[i * blocks.size : (i + 1) * blocks.size] < held_out_episodes
            act = pieces.acting(pieces.act_of(state.normalizer), hyper, mean, (1, blocks.size))
            return lambda number: pool(hyper).play(number, seeds_of(episodes[i]), real, act)

        def of(numbers: Iterable[int]) -> list[list]:
            return [[x.totals, x.steps, x.terminated] for x in together(map(play, numbers))]

        played = among.shared(blocks.count, of)
        totals, steps, terminated = (
            np.concatenate(x)[:held_out_episodes] for x in zip(*played, strict=True)
        )
        returns = jnp.asarray(totals, float)
        held_out = pieces.mean_of(returns)
        measures = {"length": steps, "terminated": terminated.astype(np.int32)}
        return state._replace(held_out=held_out), returns, measures

    def pool(hyper) -> Pool:
        return pool_of(pieces.parts(hyper).task.simulators, workers)

    planned: list[Plan] = []

    def prepare(hyper, seed, stop, state):
        planned[:] = [Plan(plan(hyper), 0)]

    return Program(
        init=initial,
        advance=advance,
        evaluate=evaluate,
        parts=build,
        plan=lambda: planned[0] if planned else None,
        prepare=prepare,
        apart=HostedApart(pieces, plan, pool),
    )


_POOLS: dict[tuple[str, int], Pool] = {}
"""The latest workers, for the runs that follow."""


def pool_of(simulators: Simulators, workers: int | str) -> Pool:
    """-> the workers of a task, the same ones for all runs that order the same."""
    wanted = json.dumps(simulators.order), machine.cores() if workers == "auto" else int(workers)
    if wanted not in _POOLS:
        for pool in _POOLS.values():
            pool.workers.close()
        _POOLS.clear()
        _POOLS[wanted] = Pool(simulators, wanted[1])
    return _POOLS[wanted]


def generation(
    pieces: Pieces, pool: Pool, blocks: Blocks, hyper: Any, seed: Any, state: TrainState
) -> tuple[TrainState, dict]:
    """One generation -> (state, a row of metrics)."""
    kept: dict[int, PyTree | None] = {}

    def look(numbers: list[int]) -> list[list]:
        found = seen(pieces, pool, blocks, hyper, seed, state, numbers, kept)
        return [jax.tree.leaves(one) for one in found]

    structure = structure_of(pieces.parts(hyper), state)
    done = [jax.tree.unflatten(structure, x) for x in among.shared(blocks.count, look)]
    return told(pieces, blocks, hyper, seed, state, done, kept)
