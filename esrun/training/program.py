"""Training: the compiled chunk of generations.

A chunk is a `while_loop` over generations inside one compiled program, with its length and all stop
rules as arguments. Python sees the state between chunks and does all input and output there, while
the next chunk is already running.
"""

import functools
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from esrun.backend import devices, everywhere, keys
from esrun.backend.fences import Fence
from esrun.tasks import normalizer
from esrun.tasks.references import all_referred
from esrun.training import archive, rows
from esrun.training.apart import Apart
from esrun.training.blocks import over_blocks
from esrun.training.generation import Parts, generation
from esrun.training.memory_plan import FittingProgram, Plan
from esrun.training.slices import plan_episodes
from esrun.training.stop import Reached, Stop, reached
from esrun.types import Incumbent, PyTree, TrainState

CHUNK = 1024
"""Most generations in a chunk: the length of the buffer for their metrics."""

INIT, TRAIN, HELD_OUT, SEARCH, DRAWS, REFERENCES = range(6)
"""Streams of random keys: what one draws, no other ever does."""


class Program(NamedTuple):
    """The compiled entry points of a run. `hyper` holds every number that is not structure."""

    init: everywhere.OnEvery
    """(hyper, seed) -> TrainState."""
    advance: Callable[[Any, Any, TrainState, Stop], tuple[TrainState, Mapping, Any, Reached]]
    """(hyper, seed, state, stop) -> (state, metrics [CHUNK, ...] each, generations done, which stop
    rules hold)."""
    evaluate: Callable[[Any, Any, TrainState], tuple[TrainState, jax.Array, dict]]
    """(hyper, seed, state) -> (state, held-out returns [episodes], measures [episodes] each)."""
    parts: Callable[[Any], Parts]
    plan: Callable[[], Plan | None]
    """-> how the members are worked through, None until `advance` is compiled."""
    prepare: Callable[[Any, Any, Stop, TrainState | None], None]
    """(hyper, seed, stop, state): compile them all at once but for `test`; `init` only where there
    is no state to go on from."""
    apart: Any
    """The same generations, their blocks evaluated elsewhere: an `Apart`, or a `HostedApart`."""
    test: Callable[[Any, Any, TrainState], tuple[TrainState, jax.Array, dict]] | None = None
    """As `evaluate`, on the task's `test` part."""
    prepare_advance: Callable[[Any, Any, TrainState, Stop], Any] | None = None
    """(hyper, seed, state, stop): compile `advance` alone, for arrays or shapes."""


def make_program(
    *,
    build: Callable[[Any], Parts],
    local_devices: tuple,
    population_chunk: int | str,
    normalize_input: bool,
    restarting: bool,
    held_out_episodes: int,
    top_k: int = 0,
    name: str = "",
) -> Program:
    """A run's program for `local_devices`; the `top_k` best members are kept. `build` makes Parts
    inside the trace, so that numbers stay arguments. `name`: all of the run that its traces depend
    on, "" where they are not to be kept."""

    def advance(blocks, build, hyper, seed, state, stop, elsewhere=None):
        parts = build(hyper)
        train_key = train_key_of(seed)
        # traced once, though its metrics' shapes are asked for before the loop is
        once = functools.partial(generation, parts, blocks, train_key, elsewhere=elsewhere)
        one = jax.jit(once, inline=True)

        def go_on(loop):
            done, state, _ = loop
            stopped = jnp.any(reached(parts.strategy, state, stop).hold)
            return (done < CHUNK) & (state.generation < stop.generation) & ~stopped

        def body(loop):
            done, state, filled = loop
            state, row = one(state)
            return done + 1, state, filled.with_row(done, row)

        begin = jnp.int32(0), state, rows.empty(jax.eval_shape(one, state)[1], CHUNK)
        done, state, filled = jax.lax.while_loop(go_on, body, begin)
        return state, filled, done, reached(parts.strategy, state, stop)

    init = beginning(build, normalize_input, restarting, top_k)
    evaluate = scored_by("validation", build, local_devices, held_out_episodes)
    initial, scoring = (
        everywhere.OnEvery(local_devices, function, name=name and f"{function.__name__} {name}")
        for function in (init, evaluate)
    )
    advancing = FittingProgram(advance, build, local_devices, population_chunk, name)

    prepared, lock = set(), threading.Lock()

    def prepare(hyper, seed, stop, state):
        with lock:  # runs side by side share the program
            prepare_alone(hyper, seed, stop, state)

    def prepare_alone(hyper, seed, stop, state):
        shapes = tuple((x.shape, x.dtype) for x in jax.tree.leaves(hyper))
        if state is None and shapes in prepared:
            return  # by an earlier run: what was compiled is not traced again
        begins = state is None
        with ThreadPoolExecutor() as pool:  # XLA compiles without Python's lock

            def compiled(call):
                return pool.submit(copy_context().run, call)

            programs = []
            if begins:
                programs.append(compiled(initial.lowered(hyper, seed).compile))
                state = everywhere.shapes(local_devices, initial.results(hyper, seed))
            # the longest one comes first of those that wait for each other's cores
            programs.append(compiled(advancing.compiling(hyper, seed, state, stop)))
            programs.append(compiled(scoring.lowered(hyper, seed, state).compile))
        for program in programs:
            program.result()
        if begins:
            prepared.add(shapes)

    def prepare_advance(hyper, seed, state, stop):
        with lock:
            if advancing.planned() is None:
                advancing.compiling(hyper, seed, state, stop)()

    return Program(
        init=initial,
        advance=advancing,
        evaluate=scoring,
        parts=build,
        plan=advancing.planned,
        prepare=prepare,
        test=everywhere.OnEvery(local_devices, scored_by("test", build, local_devices)),
        prepare_advance=prepare_advance,
        apart=Apart(advance, train_key_of, build, local_devices, population_chunk),
    )


def scored_by(
    part: str, build: Callable[[Any], Parts], local_devices: tuple, episodes: int = 0
) -> Callable[[Any, Any, TrainState], tuple[TrainState, jax.Array, dict]]:
    """-> (hyper, seed, state) -> the mean policy's held-out score: on the `part` of the task's data
    or, where it has none, on `episodes`, always the same ones, on keys that training never
    draws."""

    def evaluate(hyper, seed, state):
        parts, fence = build(hyper), Fence(state.generation >= 0)
        examples = getattr(parts.task, part)
        count = examples.size if examples else episodes

        def play(numbers, _):
            params = jax.tree.map(lambda x: x[None], parts.unravel(state.strategy.mean))
            params = all_referred(parts.policy, params, state.references, state.normalizer)
            if examples:
                drawn, held_out = numbers, examples.evaluate
            else:
                drawn = keys.fold_in(stream(seed, HELD_OUT), numbers)
                held_out = parts.task.held_out or parts.task.evaluate
            seen = held_out(drawn, parts.policy, params, state.normalizer)
            return jax.tree.map(lambda x: x[0], (seen.returns, seen.measures)), ()

        played, _ = over_blocks(plan_episodes(count, local_devices), fence, play)
        gathered = devices.gather(played)
        returns, measures = jax.tree.map(lambda x: jnp.ravel(x)[:count], gathered)
        held_out = fence.around(jnp.mean, returns)
        return state._replace(held_out=held_out), returns, measures

    return evaluate


def beginning(
    build: Callable[[Any], Parts], normalize_input: bool, restarting: bool, top_k: int
) -> Callable[[Any, Any], TrainState]:
    """-> (hyper, seed) -> the first state."""

    def init(hyper, seed):
        parts = build(hyper)
        mean, _ = ravel_pytree(parts.policy.init(stream(seed, INIT)))
        worst = jnp.full((), -jnp.inf, mean.dtype)
        moments = normalizer.fresh(parts.task.input_shape) if normalize_input else None
        references = None
        if parts.policy.references:
            assert parts.task.references is not None
            draw, fence = parts.task.references, Fence(seed.astype(float) >= 0)
            key = stream(seed, REFERENCES)
            references = fence.around(lambda key: draw(key, parts.policy.references), key)
        return TrainState(
            generation=jnp.int32(0),
            strategy=parts.strategy.init(stream(seed, SEARCH), mean),
            normalizer=moments,
            env_steps=jnp.zeros(2, jnp.uint32),
            best_fitness=worst,
            held_out=worst,
            barren=jnp.int32(0),
            incumbent=Incumbent(mean, worst) if restarting else None,
            archive=archive.empty(top_k, mean, moments),
            references=references,
        )

    return init


def make_unravel(shapes: PyTree) -> Callable[[Any], PyTree]:
    """-> (parameters [n], of JAX or of NumPy) -> the tree, the inverse of JAX's `ravel_pytree`."""
    leaves, tree = jax.tree.flatten(shapes)
    ends = np.cumsum([leaf.size for leaf in leaves])

    def unravel(flat):
        parts = (np if isinstance(flat, np.ndarray) else jnp).split(flat, ends[:-1])
        return jax.tree.unflatten(
            tree, [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
        )

    return unravel


def train_key_of(seed: jax.Array) -> jax.Array:
    """-> the root key of training."""
    return stream(seed, TRAIN)


def stream(seed: jax.Array, number: int) -> jax.Array:
    """-> the root key of one of the streams of a run."""
    return keys.fold_in(jax.random.key(seed), number)
