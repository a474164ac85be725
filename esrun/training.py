"""Training: one generation, and the compiled chunk of generations.

One generation asks, evaluates, gathers fitness, weighs, recombines by slices and updates; see docs/design.md, section
4. A chunk is a `while_loop` over generations inside one compiled program, with its length and all stop rules as
arguments. Python sees the state between chunks and does all input and output there, while the next chunk is already
running.
"""

import functools
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jax.flatten_util import ravel_pytree

from esrun import devices, keys, memory, normalizer
from esrun.strategies.shaping import finite_or_worst
from esrun.types import Incumbent, Policy, PyTree, Strategy, Task, TrainState

CHUNK = 1024
"""Most generations in a chunk: the length of the buffer for their metrics."""

BARREN_LIMIT = 10
"""Generations on end without one finite fitness after which a run gives up."""

MEMORY_OF_CHUNK = {"cpu": 2**25, "gpu": 2**28, "tpu": 2**28}
"""Most bytes of solutions that `population_chunk: auto` holds on a device at a time: what the caches of a CPU keep
between making them and using them; on others larger ones are no faster."""

SHARE_OF_MEMORY = 0.75
"""How much of the memory `population_chunk: auto` plans with; a prediction may be off by a fifth."""

INIT, TRAIN, HELD_OUT, SEARCH = range(4)
"""Streams of random keys: what one draws, no other ever does."""


class Parts(NamedTuple):
    """What a run is composed of, built from its options."""

    task: Task
    policy: Policy
    strategy: Strategy
    unravel: Callable[[Any], PyTree]
    """(parameters [n]) -> the policy's tree."""
    n: int


class Plan(NamedTuple):
    """How a device works through its members, and the memory that this is predicted to take."""

    slices: tuple[int, int]
    """(slices, members a slice)."""
    bytes: int
    """Of a device while a generation runs: the training state as it was and as it will be, and all between."""
    row: dict[str, jax.ShapeDtypeStruct]
    """The generation's metrics."""


class Stop(NamedTuple):
    """Limits at which a chunk ends. Arrays, so that one program serves all limits."""

    generation: jax.Array | np.ndarray  # [] int32
    fitness: jax.Array | np.ndarray  # [] best raw fitness of a member, +inf for none
    held_out: jax.Array | np.ndarray  # [] held-out mean, +inf for none
    env_steps: jax.Array | np.ndarray  # [2] uint32, high and low word


class Program(NamedTuple):
    """The compiled entry points of a run. `hyper` holds every number that is not structure."""

    init: Callable[[Any, Any], TrainState]
    """(hyper, seed) -> TrainState."""
    advance: Callable[[Any, Any, TrainState, Stop], tuple[TrainState, dict, jax.Array, dict]]
    """(hyper, seed, state, stop) -> (state, metrics [CHUNK] each, generations done, which stop rules hold)."""
    evaluate: Callable[[Any, Any, TrainState], tuple[TrainState, jax.Array, dict]]
    """(hyper, seed, state) -> (state, held-out returns [episodes], measures [episodes] each)."""
    parts: Callable[[Any], Parts]
    plan: Callable[[Any], Plan]
    """(hyper) -> how the members are worked through. Traces a generation and compiles nothing."""
    prepare: Callable[[Any, Any, Stop, TrainState | None], None]
    """(hyper, seed, stop, state): compile them all at once; `init` only where there is no state to go on from."""


def make_program(
    *,
    build: Callable[[Any], Parts],
    local_devices: tuple,
    population_chunk: int | str,
    normalize_input: bool,
    restarting: bool,
    held_out_episodes: int,
) -> Program:
    """A run's program for `local_devices`. `build` makes Parts inside the trace, so that numbers stay arguments."""

    def init(hyper, seed):
        parts = build(hyper)
        mean, _ = ravel_pytree(parts.policy.init(stream(seed, INIT)))
        worst = jnp.full((), -jnp.inf, mean.dtype)
        return TrainState(
            generation=jnp.int32(0),
            strategy=parts.strategy.init(stream(seed, SEARCH), mean),
            normalizer=normalizer.fresh(parts.task.input_shape) if normalize_input else None,
            env_steps=jnp.zeros(2, jnp.uint32),
            best_fitness=worst,
            held_out=worst,
            barren=jnp.int32(0),
            incumbent=Incumbent(mean, worst) if restarting else None,
        )

    def advance(hyper, seed, state, stop):
        parts = build(hyper)
        slices, _, row = plan(hyper)

        def go_on(loop):
            done, state, _ = loop
            stopped = jnp.any(jnp.stack(list(reached(parts.strategy, state, stop).values())))
            return (done < CHUNK) & (state.generation < stop.generation) & ~stopped

        def body(loop):
            done, state, rows = loop
            state, row = generation(parts, slices, stream(seed, TRAIN), state)
            return done + 1, state, {name: column.at[done].set(row[name]) for name, column in rows.items()}

        rows = {name: jnp.zeros(CHUNK, figure.dtype) for name, figure in row.items()}
        done, state, rows = jax.lax.while_loop(go_on, body, (jnp.int32(0), state, rows))
        return state, rows, done, reached(parts.strategy, state, stop)

    def evaluate(hyper, seed, state):
        """Held-out episodes of the mean policy: always the same ones, on keys that training never draws."""
        parts = build(hyper)
        here = devices.slice_of(math.ceil(held_out_episodes / len(local_devices)))
        held_out_keys = keys.fold_in(stream(seed, HELD_OUT), here)
        params = jax.tree.map(lambda x: x[None], parts.unravel(state.strategy.mean))
        seen = parts.task.evaluate(held_out_keys, parts.policy, params, state.normalizer)
        returns, measures = jax.tree.map(
            lambda x: devices.gather(x[0])[:held_out_episodes], (seen.returns, seen.measures)
        )
        return state._replace(held_out=jnp.mean(returns)), returns, measures

    programs = {f.__name__: devices.OnEvery(local_devices, f) for f in (init, advance, evaluate)}
    plans: dict[Any, Plan] = {}

    def plan(hyper):
        leaves, tree = jax.tree.flatten(hyper)
        shapes = tuple(jax.ShapeDtypeStruct(jnp.shape(x), x.dtype) for x in leaves)
        if (tree, shapes) not in plans:
            abstract = (jax.tree.unflatten(tree, shapes), jax.ShapeDtypeStruct((), jnp.uint32))
            plans[tree, shapes] = make_plan(
                parts=build(hyper),
                trace=functools.partial(_trace, build, len(local_devices), *abstract, jax.eval_shape(init, *abstract)),
                device_count=len(local_devices),
                population_chunk=population_chunk,
                limit=SHARE_OF_MEMORY * (memory.of_each(local_devices) or math.inf),
            )
        return plans[tree, shapes]

    def prepare(hyper, seed, stop, state):
        first = {"init": (hyper, seed)} if state is None else {}
        if state is None:
            state = devices.shapes(local_devices, jax.eval_shape(programs["init"], hyper, seed))
        arguments = {"advance": (hyper, seed, state, stop), "evaluate": (hyper, seed, state)} | first
        with ThreadPoolExecutor() as pool:  # XLA compiles without Python's lock; the longest program comes first
            compiling = [pool.submit(programs[name].lowered(*given).compile) for name, given in arguments.items()]
        for program in compiling:
            program.result()

    return Program(**programs, parts=build, plan=plan, prepare=prepare)


def make_unravel(shapes: PyTree) -> Callable[[Any], PyTree]:
    """-> (parameters [n], of JAX or of NumPy) -> the tree, the inverse of JAX's `ravel_pytree`."""
    leaves, tree = jax.tree.flatten(shapes)
    ends = np.cumsum([leaf.size for leaf in leaves])

    def unravel(flat):
        parts = (np if isinstance(flat, np.ndarray) else jnp).split(flat, ends[:-1])
        return jax.tree.unflatten(tree, [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)])

    return unravel


def stream(seed: jax.Array, number: int) -> jax.Array:
    """-> the root key of one of the streams of a run."""
    return keys.fold_in(jax.random.key(seed), number)


def _trace(build, device_count: int, hyper, seed, state, slices: tuple[int, int]) -> tuple[int, dict]:
    """A generation, traced -> (bytes that it holds, its row of metrics)."""

    def one(hyper, seed, state):
        return generation(build(hyper), slices, stream(seed, TRAIN), state)

    traced = jax.make_jaxpr(one, axis_env=[(devices.AXIS, device_count)], return_shape=True)
    jaxpr, (_, row) = traced(hyper, seed, state)
    return memory.peak(jaxpr) + memory.tree_bytes((hyper, state, state)), row


def make_plan(*, parts: Parts, trace: Callable, device_count: int, population_chunk: int | str, limit: float) -> Plan:
    """-> the plan: with "auto", slices of at most MEMORY_OF_CHUNK with which a device holds at most `limit` bytes.

    `trace`: (slices, members a slice) -> (bytes, row of metrics). Where nothing fits, slices are of one unit.
    """
    slices = plan_slices(parts, device_count, population_chunk)
    while True:
        held, row = trace(slices)
        members, unit = slices[1], parts.strategy.unit
        if population_chunk != "auto" or held <= limit or members <= unit:
            return Plan(slices, held, row)
        fitting = int(members * limit / held)
        slices = plan_slices(parts, device_count, max(unit, min(fitting, members - unit)))


def plan_slices(parts: Parts, device_count: int, population_chunk: int | str) -> tuple[int, int]:
    """-> (slices, members a slice) that a device works through in turn, in whole units; the last ones may be padded."""
    here = math.ceil(parts.strategy.population_size / device_count)
    if population_chunk == "auto":
        population_chunk = max(1, MEMORY_OF_CHUNK[jax.default_backend()] // solution_bytes(parts))
    units = math.ceil(here / parts.strategy.unit)
    count = math.ceil(units / max(1, int(population_chunk) // parts.strategy.unit))
    return count, math.ceil(units / count) * parts.strategy.unit


def solution_bytes(parts: Parts) -> int:
    """-> the bytes of one member's solution."""
    key, mean = jax.eval_shape(lambda: (jax.random.key(0), jnp.zeros(parts.n)))
    state = jax.eval_shape(parts.strategy.init, key, mean)
    unit = jax.ShapeDtypeStruct((parts.strategy.unit,), jnp.int32)
    solutions = jax.tree.leaves(jax.eval_shape(parts.strategy.ask, key, state, unit))
    return sum(x.size * x.dtype.itemsize for x in solutions) // parts.strategy.unit


def generation(
    parts: Parts, slices: tuple[int, int], train_key: jax.Array, state: TrainState
) -> tuple[TrainState, dict]:
    """One generation on one of the devices -> (state, a row of metrics), both the same on all of them.

    Best, mean and standard deviation are over the members whose fitness is finite.

    A slice is made, evaluated and forgotten; `recombine` makes it again from its member numbers, so that a device never
    holds more than one slice of solutions. A device with a single slice keeps it.
    """
    task, strategy = parts.task, parts.strategy
    p = strategy.population_size
    count, m = slices
    ask_key, task_key = keys.split(keys.fold_in(train_key, state.generation))
    episode_keys = keys.split(task_key, task.episodes)
    members = rearrange(devices.slice_of(count * m), "(count m) -> count m", m=m)

    def ask(numbers):
        return strategy.ask(ask_key, state.strategy, jnp.minimum(numbers, p - 1))

    def evaluate(numbers, solutions):
        seen = task.evaluate(episode_keys, *expressed(parts, state, solutions), state.normalizer)
        real = numbers < p
        sums = jax.tree.map(lambda x: jnp.tensordot(real.astype(x.dtype), x, 1), seen.inputs)
        return jnp.mean(seen.returns, axis=1), jnp.sum(jnp.where(real, seen.steps, 0)), sums

    def recombine(numbers, solutions, weights):
        own = jnp.where(numbers < p, weights[jnp.minimum(numbers, p - 1)], 0)
        return strategy.recombine(state.strategy, solutions, own)

    if count == 1:
        solutions = ask(members[0])
        fitness, steps, inputs = evaluate(members[0], solutions)
    else:
        fitness, steps, inputs = jax.lax.map(lambda numbers: evaluate(numbers, ask(numbers)), members)
        fitness = rearrange(fitness, "count m -> (count m)")
        steps, inputs = jax.tree.map(lambda x: jnp.sum(x, axis=0), (steps, inputs))

    fitness = devices.gather(fitness)[:p]
    weights = strategy.weigh(state.strategy, fitness)

    if count == 1:
        sums = recombine(members[0], solutions, weights)
    else:

        def add(sums, numbers):
            return jax.tree.map(jnp.add, sums, recombine(numbers, ask(numbers), weights)), None

        shapes = jax.eval_shape(lambda: recombine(members[0], ask(members[0]), weights))
        sums, _ = jax.lax.scan(add, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes), members)

    sums, steps, inputs = devices.total((sums, steps.astype(jnp.uint32), inputs))
    after = strategy.update(state.strategy, sums, fitness)
    step = jnp.linalg.norm(after.mean - state.strategy.mean)
    finite = jnp.isfinite(fitness)
    row = {
        "fitness_best": jnp.max(finite_or_worst(fitness)),
        "fitness_mean": jnp.mean(fitness, where=finite),
        "fitness_std": jnp.std(fitness, where=finite),
        "sigma": state.strategy.sigma,
        "non_finite": p - jnp.sum(finite, dtype=jnp.int32),
        "tied": jnp.mean(tied(fitness), dtype=fitness.dtype),
        "step_per_sigma": step / state.strategy.sigma,
        "step_per_mean": step / jnp.linalg.norm(state.strategy.mean),
        "env_steps": steps,
    } | strategy.diagnose(state.strategy, fitness)
    return (
        TrainState(
            generation=state.generation + 1,
            strategy=after,
            normalizer=state.normalizer and normalizer.merge(state.normalizer, inputs),
            env_steps=add_wide(state.env_steps, steps),
            best_fitness=jnp.maximum(state.best_fitness, row["fitness_best"]),
            held_out=state.held_out,
            barren=jnp.where(jnp.any(finite), 0, state.barren + 1),
            incumbent=state.incumbent,
        ),
        row,
    )


def expressed(parts: Parts, state: TrainState, solutions: PyTree) -> tuple[Policy, PyTree]:
    """-> the policy and its members' params [m, ...], as a task wants them.

    What members share, such as the mean that a low-rank perturbation is added to, enters the policy from outside the
    members' axis: a product with it stays one product for all of them.
    """
    if parts.strategy.express is None:
        return parts.policy, jax.vmap(parts.unravel)(solutions)
    express = parts.strategy.express(state.strategy)

    def apply(solution, carry, x):
        return parts.policy.apply(express(solution), carry, x)

    return parts.policy._replace(apply=apply), solutions


def tied(fitness: jax.Array) -> jax.Array:
    """Fitness [p] -> [p] bool in ascending order of fitness, whether another member has the same."""
    ascending = jnp.sort(finite_or_worst(fitness))  # the sort of the ranks: compiled and done once
    same = ascending[1:] == ascending[:-1]
    return jnp.append(same, False) | jnp.append(False, same)


def add_wide(wide: jax.Array, x: jax.Array) -> jax.Array:
    """A [2] uint32 number (high and low word) + x [] uint32."""
    low = wide[1] + x
    return jnp.stack([wide[0] + (low < x), low])


def reached(strategy: Strategy, state: TrainState, stop: Stop) -> dict[str, jax.Array]:
    """-> which of the stop rules hold, each [] bool. Besides what the user set: whether going on makes sense at all."""
    mean, sigma = state.strategy.mean, state.strategy.sigma
    steps, limit = state.env_steps, stop.env_steps
    return {
        "fitness": state.best_fitness >= stop.fitness,
        "eval": state.held_out >= stop.held_out,
        "env_steps": (steps[0] > limit[0]) | ((steps[0] == limit[0]) & (steps[1] >= limit[1])),
        "sigma_collapsed": sigma < jnp.finfo(sigma.dtype).eps * jnp.max(jnp.abs(mean)) / 16,
        "sigma_exploded": sigma > 1e15,
        "non_finite_fitness": state.barren >= BARREN_LIMIT,
        "non_finite_state": ~(jnp.isfinite(sigma) & jnp.all(jnp.isfinite(mean))),
    } | strategy.ended(state.strategy)
