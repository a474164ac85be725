"""The programs of this process: one for all runs of the same structure, and few at a time."""

import functools
import inspect
import json
import threading
from collections.abc import Callable
from typing import Any

import jax

from esrun.backend import machine
from esrun.config import registry
from esrun.config.check import KINDS
from esrun.strategies.parts.flat import still_where_flat
from esrun.training.generation import Parts
from esrun.training.program import Program, make_program, make_unravel
from esrun.training.structure import joined

KEPT = 16
"""Most programs at a time: with its share of JAX's caches each has some 60 MB and 800 mappings."""

NO_PADDING = {"members": None, "least": None}


def _in_turn(cached: Any) -> Any:
    """-> a cached function that threads call one after another, so that none makes what another one
    is making."""
    lock = threading.RLock()

    def call(*arguments):
        with lock:
            return cached(*arguments)

    wrapped: Any = functools.wraps(cached)(call)
    wrapped.cache_clear, wrapped.cache_info = cached.cache_clear, cached.cache_info
    return wrapped


@_in_turn
@functools.lru_cache(maxsize=4 * KEPT)  # what is let go of here keeps its program from being found
def assembler(structure: str, precision: str) -> Callable[[Any], Parts]:
    """-> what makes Parts of numbers, one for all runs of the same structure.

    `precision` only tells them apart: they are made in the one that JAX has.
    """
    known, chosen = {}, json.loads(structure)
    names = {kind: chosen[kind].pop("name") for kind in KINDS}
    factories = {kind: registry.factory(kind, name) for kind, name in names.items()}
    wanted = inspect.signature(factories["strategy"]).parameters

    def parts(hyper) -> Parts:
        options = {kind: joined(chosen[kind], hyper[kind]) for kind in KINDS}
        task = factories["task"](**options["task"])
        policy = factories["policy"](
            input_shape=task.input_shape, output_size=task.output_size, **options["policy"]
        )
        if "params" not in known:
            known["params"] = jax.eval_shape(lambda: policy.init(jax.random.key(0)))
        params = known["params"]
        n = sum(x.size for x in jax.tree.leaves(params))
        if n >= 2**31:
            raise ValueError(
                f"the policy must have less than 2147483648 parameters, got {n}: make "
                "policy.hidden or what the task shows smaller"
            )
        unravel = make_unravel(params)
        given = {"n": n, "name": names["strategy"], "unravel": unravel} | NO_PADDING
        strategy = factories["strategy"](
            **{key: x for key, x in given.items() if key in wanted} | options["strategy"]
        )
        return Parts(task, policy, still_where_flat(strategy), unravel, n, known)

    return parts


@_in_turn
@functools.cache
def program(
    parts: Callable[[Any], Parts],
    local: tuple,
    workers: int | str | None,
    population_chunk: int | str,
    precision: str,
    held_out_episodes: int,
    normalize_input: bool,
    restarting: bool,
    top_k: int,
    name: str = "",
) -> Program:
    """One program for all runs of the same structure: a sweep over numbers compiles once.

    `precision` only tells programs apart: they are traced in the one that JAX has. `name`: of the
    structure, where its traces may be kept.
    """
    if program.cache_info().currsize >= KEPT or machine.crowded():
        _forget_all()
    told = {
        "normalize_input": normalize_input,
        "restarting": restarting,
        "held_out_episodes": held_out_episodes,
        "top_k": top_k,
    }
    if workers is None and name:
        told["name"] = json.dumps([name, precision, told], sort_keys=True)
    return maker(workers)(
        build=parts, local_devices=local, population_chunk=population_chunk, **told
    )


def maker(workers: int | str | None) -> Callable[..., Program]:
    """-> what makes programs: `make_program`, or one whose environments are stepped by
    `workers`."""
    if workers is None:
        return make_program
    from esrun.training.hosted import make_hosted_program

    return functools.partial(make_hosted_program, workers=workers)


def _forget_all() -> None:
    """Let go of all programs; a run that goes on keeps its own. (JAX's caches hold on to each of
    them and know of no way to let go of one.)"""
    program.cache_clear()
    jax.clear_caches()
