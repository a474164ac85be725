"""From a configuration to a run: JAX started, parts made, programs found or made.

Runs whose structure is the same share one program, whatever their numbers (see
`esrun.config.schema.base`).
"""

import hashlib
import inspect
import json
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from esrun.backend import among, cache, cluster, devices, everywhere, machine, memory
from esrun.config import imports, registry
from esrun.config.check import KINDS
from esrun.config.schema.base import TaskModel
from esrun.config.schema.run import Config
from esrun.errors import ConfigError, UntrainableError
from esrun.strategies.parts.noise import make_table
from esrun.training import programs
from esrun.training.beginning import (
    is_extreme,
    refuse_an_end_before_the_beginning,
    refuse_more_steps_than_are_counted,
    refuse_unknown_references,
)
from esrun.training.far import over_workers
from esrun.training.generation import Parts
from esrun.training.program import Program
from esrun.training.rooms import room_of
from esrun.training.slices import worth
from esrun.training.structure import arrays, split
from esrun.types import Task

NO_ROOM = (
    "the run needs more memory than there is: make strategy.population_size, "
    "strategy.noise_table_size or policy.hidden smaller"
)


class Run(NamedTuple):
    """A configuration ready to train."""

    config: Config
    program: Program
    hyper: Any
    local_devices: tuple
    parts: Parts
    """Made of `hyper`."""
    data: str | None = None
    """The digest of the data that the task has read, None where it reads none."""


def build(config: Config, begins: bool = True, least: int | None = None, where: tuple = ()) -> Run:
    """-> the run. Sets JAX up for it. Raises ConfigError for what only the built parts can tell.

    `begins`: whether it may begin with its first state, which must not be at its end already.
    `least`: the members of the first search, of one that follows it; searches whose populations
    differ little share a program. None: this is the first. `where`: the devices, if they are
    not to be chosen.
    """
    devices.start(config.runtime.precision, config.runtime.deterministic)
    cache.use()
    models = {kind: getattr(config, kind) for kind in KINDS}
    chosen, structure, numbers = _chosen(models)
    runtime = config.runtime
    try:
        p = chosen["strategy"].get("population_size")
        _check_room(p if isinstance(p, int) else 0, models)
        hyper = {kind: arrays(numbers.get(kind, {})) for kind in KINDS}
        dtype = str(jnp.zeros(()).dtype)
        long: dict[tuple[str, str], Any] = {
            (kind, argument): make_table(size, dtype)
            for kind, model in models.items()
            for argument, size in model.tables().items()
        }
        data = _data(config.task, chosen["task"])
        if data is not None:
            long["task", "data"], structure["task"]["data"] = data
        _place(long, hyper)
        parts = programs.assembler(_text(structure), runtime.precision)
        first = parts(hyper)
        refuse_more_steps_than_are_counted(first)
        refuse_unknown_references(first)
        local = where or _chosen_devices(config, first)
        local = among.own(local)[:1] if first.task.simulators else local
        _place(everywhere.replicated(local, long), hyper)
        restarting = config.strategy.restarting() is not None
        if least is not None and not first.task.simulators:
            _make_room(structure, hyper, first, least)
        program = programs.program(
            programs.assembler(_text(structure), runtime.precision),
            local,
            runtime.workers if first.task.simulators else None,
            runtime.population_chunk,
            runtime.precision,
            scored_on(config, first.task),
            getattr(config.policy, "normalize_input", False),
            restarting,
            config.archive.top_k,
            _text(structure) if registry.are_code(models) and not imports.allowed() else "",
        )._replace(parts=parts)
        if begins and is_extreme(config):
            refuse_an_end_before_the_beginning(config, program, hyper)
    except ConfigError:
        raise
    except ValueError as error:
        raise UntrainableError(" ".join(str(error).split())) from error
    except (MemoryError, RuntimeError) as error:  # XLA's are RuntimeErrors with a code in the text
        if isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise UntrainableError(NO_ROOM) from error
    return _worked_at(Run(config, program, hyper, local, parts(hyper), data and data[1]), least)


def _worked_at(run: Run, least: int | None) -> Run:
    """-> the run, its blocks evaluated by workers where this process has a cluster."""
    if cluster.here is None:
        return run
    return run._replace(program=over_workers(run, least, cluster.here))


def _chosen_devices(config: Config, parts: Parts) -> tuple:
    most = worth(parts, devices.found(), config.runtime.population_chunk)
    return devices.choose(config.runtime.devices, most)


def _chosen(models: dict[str, Any]) -> tuple[dict, dict, dict]:
    """-> the options of each kind, their structure and their numbers."""
    chosen = {kind: model.model_dump(exclude=model.run_keys) for kind, model in models.items()}
    fixed = {kind: {key: chosen[kind][key] for key in x.fixed} for kind, x in models.items()}
    free = {
        kind: {key: x for key, x in options.items() if key not in fixed[kind]}
        for kind, options in chosen.items()
    }
    structure, numbers = split(free)
    return chosen, {kind: structure[kind] | fixed[kind] for kind in models}, numbers


def _place(arguments: dict[tuple[str, str], Any], hyper: dict[str, dict[str, Any]]) -> None:
    """Put arguments of factories among their numbers."""
    for (kind, argument), value in arguments.items():
        hyper[kind][argument] = value


def scored_on(config: Config, task: Task) -> int:
    """-> how many held-out episodes the mean policy is scored by."""
    return task.validation.size if task.validation else config.eval.episodes


def _data(model: TaskModel, options: dict[str, Any]) -> tuple[Any, str] | None:
    """-> (what the task's files hold, its digest), None where it has no files. Raises
    ConfigError."""
    read = registry.reader(model)
    if read is None:
        return None
    data = read(**{key: x for key, x in options.items() if key != "name"})
    content = hashlib.sha256()
    for array in jax.tree.leaves(data):
        content.update(f"{array.dtype}{array.shape}".encode())
        content.update(np.asarray(array).tobytes())
    return jax.tree.map(jnp.asarray, data), content.hexdigest()[:16]


def _check_room(population_size: int, models: dict[str, Any]) -> None:
    """Raise ValueError where what the parts are made with does not fit into the machine."""
    tables = sum(size for model in models.values() for size in model.tables().values())
    whole, need = machine.memory(), 32 * population_size + 4 * tables
    if whole and need > whole:
        raise ValueError(NO_ROOM.replace("more memory", f"{memory.shown(need)} at least, more"))


def _make_room(structure: dict[str, Any], hyper: dict[str, Any], parts: Parts, least: int) -> None:
    """Give the `parts` room for more members than there are, whose number becomes one of the
    `hyper`; not where the strategy knows of no such thing."""
    strategy = structure["strategy"]
    factory = registry.factory("strategy", strategy["name"])
    if "members" in inspect.signature(factory).parameters:
        room = room_of(parts, least)
        strategy |= {"population_size": room.most, "members": None, "least": room.least}
        hyper["strategy"]["members"] = jnp.int32(parts.strategy.population_size)


def _text(structure: dict[str, Any]) -> str:
    return json.dumps(structure, sort_keys=True)
