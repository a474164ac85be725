"""From a configuration to a run: JAX started, parts made, programs found or made.

Runs whose structure is the same share one program, whatever their numbers (see
`esrun.config.schema.base`).
"""

import functools
import inspect
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from esrun.backend import cache, devices
from esrun.config import registry
from esrun.config.check import KINDS
from esrun.config.schema.run import Config
from esrun.errors import ConfigError
from esrun.strategies.parts.flat import still_where_flat
from esrun.strategies.parts.noise import make_table
from esrun.training.generation import Parts
from esrun.training.loop import stop_at
from esrun.training.program import MEAN_EXPLODED, Program, make_program, make_unravel, reached
from esrun.training.slices import worth

MOST_STEPS = 2**31
"""Of a member's environment steps in a generation: they are counted in 32 bits, their sums in
64."""
USUAL_SIGMA, USUAL_BOUND = (1e-5, 1e6), 1e3
"""Step sizes, and numbers of a policy, with which no first state can be at its end."""


class Run(NamedTuple):
    """A configuration ready to train."""

    config: Config
    program: Program
    hyper: Any
    local_devices: tuple


def split(value: Any) -> tuple[Any, Any]:
    """-> (structure, numbers): the same tree twice, its floats in the second and everything else in
    the first."""
    if isinstance(value, float):
        return None, value
    if isinstance(value, dict):
        halves = {key: split(x) for key, x in value.items()}
        return {k: s for k, (s, _) in halves.items()}, {
            k: h for k, (_, h) in halves.items() if h is not None
        }
    if isinstance(value, list) and any(isinstance(x, float) for x in value):
        return None, [float(x) for x in value]
    return value, None


def joined(structure: Any, numbers: Any) -> Any:
    """The inverse of `split`; the numbers may have become arrays."""
    if isinstance(structure, dict):
        numbers = numbers or {}
        return {key: joined(structure[key], numbers.get(key)) for key in structure}
    return structure if numbers is None else numbers


def build(config: Config) -> Run:
    """-> the run. Sets JAX up for it. Raises ConfigError for what only the built parts can tell."""
    devices.start(config.runtime.precision, config.runtime.deterministic)
    cache.use()
    models = {kind: getattr(config, kind) for kind in KINDS}
    chosen = {kind: model.model_dump(exclude=model.run_keys) for kind, model in models.items()}
    structure, numbers = split(chosen)
    runtime = config.runtime
    try:
        hyper = {kind: _arrays(numbers.get(kind, {})) for kind in KINDS}
        dtype = str(jnp.zeros(()).dtype)
        tables = [
            (kind, *table) for kind, model in models.items() for table in model.tables().items()
        ]
        for kind, argument, size in tables:
            hyper[kind][argument] = make_table(size, dtype)
        parts = _assembler(json.dumps(structure, sort_keys=True))
        first = parts(hyper)
        refuse_more_steps_than_are_counted(first)
        most = worth(first, devices.all_local(), runtime.population_chunk)
        local = devices.choose(runtime.devices, most)
        for kind, argument, _ in tables:
            hyper[kind][argument] = devices.replicated(local, hyper[kind][argument])
        program = _program(
            parts,
            local,
            runtime.population_chunk,
            runtime.precision,
            config.eval.episodes,
            getattr(config.policy, "normalize_input", False),
            config.strategy.restarting() is not None,
        )
        run = Run(config, program, hyper, local)
        if is_extreme(config):
            refuse_an_end_before_the_beginning(run)
    except ValueError as error:
        raise ConfigError(" ".join(str(error).split())) from error
    return run


def refuse_more_steps_than_are_counted(parts: Parts) -> None:
    """Raise ValueError where a member could take more environment steps than it can count."""
    if parts.task.steps is not None and parts.task.steps >= MOST_STEPS:
        raise ValueError(
            "a member's environment steps in a generation must be less than "
            f"{MOST_STEPS}, got {parts.task.steps}: write task.episodes=1 or shorter episodes"
        )


def is_extreme(config: Config) -> bool:
    """Whether a first state that ends the run at once is to be feared: finding out takes a
    compilation."""
    sigma = getattr(config.strategy, "sigma", 1.0)
    bounds = [abs(x) for x in config.policy.model_dump().values() if isinstance(x, float)]
    return not USUAL_SIGMA[0] <= sigma <= USUAL_SIGMA[1] or max(bounds, default=0.0) > USUAL_BOUND


def refuse_an_end_before_the_beginning(run: Run) -> None:
    """Raise ValueError where the first state of a new run would end it by the run's own tests."""
    strategy = run.program.parts(run.hyper).strategy
    state = run.program.init(run.hyper, jnp.uint32(run.config.seed))
    held = reached(strategy, state, stop_at(run.config, run.config.generations))
    reasons = sorted((x for x, yes in held.items() if yes), key=lambda x: not x.failed)
    if not reasons:
        return
    largest, sigma = float(jnp.max(jnp.abs(state.strategy.mean))), float(state.strategy.sigma)
    remedy = f"strategy.sigma={float(f'{0.1 * max(1.0, largest):.1g}'):g}"
    if MEAN_EXPLODED in reasons:
        bounded = {"low", "high"} <= run.config.policy.model_fields_set
        remedy = "policy.low=-5 policy.high=5" if bounded else "a first policy of smaller numbers"
    raise ValueError(
        f"the first step size must suit the first policy, whose parameters are up to {largest:.3g},"
        f" got {sigma:.3g}, with which the run would end by {reasons[0].name} before its first "
        f"generation: write {remedy}"
    )


def _arrays(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _arrays(value) for key, value in tree.items()}
    return jnp.asarray(tree, float)


@functools.cache
def _assembler(structure: str) -> Callable[[Any], Parts]:
    """-> what makes Parts of numbers, one for all runs of the same structure."""
    chosen = json.loads(structure)
    names = {kind: chosen[kind].pop("name") for kind in KINDS}
    factories = {kind: registry.factory(kind, name) for kind, name in names.items()}
    wanted = inspect.signature(factories["strategy"]).parameters

    def parts(hyper) -> Parts:
        options = {kind: joined(chosen[kind], hyper[kind]) for kind in KINDS}
        task = factories["task"](**options["task"])
        policy = factories["policy"](
            input_shape=task.input_shape, output_size=task.output_size, **options["policy"]
        )
        params = jax.eval_shape(lambda: policy.init(jax.random.key(0)))
        n, unravel = sum(x.size for x in jax.tree.leaves(params)), make_unravel(params)
        given = {"n": n, "name": names["strategy"], "unravel": unravel}
        strategy = factories["strategy"](
            **{key: x for key, x in given.items() if key in wanted}, **options["strategy"]
        )
        return Parts(task, policy, still_where_flat(strategy), unravel, n)

    return parts


@functools.cache
def _program(
    parts: Callable[[Any], Parts],
    local: tuple,
    population_chunk: int | str,
    precision: str,
    held_out_episodes: int,
    normalize_input: bool,
    restarting: bool,
) -> Program:
    """One program for all runs of the same structure: a sweep over numbers compiles once.

    `precision` only tells programs apart: they are traced in the one that JAX has.
    """
    return make_program(
        build=parts,
        local_devices=local,
        population_chunk=population_chunk,
        normalize_input=normalize_input,
        restarting=restarting,
        held_out_episodes=held_out_episodes,
    )
