"""What of a run is evaluated: its policy, the best one, one that was kept, its best members."""

import os
from pathlib import Path

import numpy as np
from jax.flatten_util import ravel_pytree

from esrun.errors import ConfigError
from esrun.results.evaluation import Evaluator, Subject
from esrun.results.policy import Stored, read, unpacked
from esrun.results.where import policy_file
from esrun.runs.folder import shown
from esrun.runs.paths import RunFolder


def of_run(folder: RunFolder, evaluator: Evaluator, best: bool) -> Subject:
    """-> the policy that a run has trained, or its best one. Raises ConfigError."""
    path = policy_file(folder.path, best)
    return _subject(read(path, "policy"), evaluator, path, "best" if best else "last")


def of_generation(folder: RunFolder, evaluator: Evaluator, generation: int) -> Subject:
    """-> the mean policy that a generation left, wherever it was kept. Raises ConfigError."""
    name = f"generation {generation}"
    for path in (folder.kept(generation), folder.policy, folder.policy_best):
        if os.path.exists(path):
            stored = read(path, "policy")
            if stored.about.get("generation") == generation:
                return _subject(stored, evaluator, path, name)
    if generation in folder.saved_generations():
        state = evaluator.state(folder, generation)
        mean = np.asarray(state.strategy.mean)
        return Subject(name, generation, mean, state.normalizer, state.references)
    there = sorted({*folder.kept_generations(), *folder.saved_generations()})
    has = f"it has {', '.join(map(str, there))}" if there else "it keeps none"
    raise ConfigError(
        f"{shown(folder.path)} has no policy of generation {generation}, {has}: a run with "
        f"checkpoint.keep_at=[{generation}] keeps it"
    )


def of_members(folder: RunFolder, evaluator: Evaluator) -> list[Subject]:
    """-> the best members of all generations, best first. Raises ConfigError."""
    path = folder.members_best
    stored = read(path, "members")
    shared = {x: stored.tensors.pop(x) for x in ("references",) if x in stored.tensors}
    rows = {name: stored.tensors.pop(name, None) for name in ("fitness", "generation")}
    columns = [*rows.values(), *stored.tensors.values()]
    counts = {0 if x is None or x.ndim == 0 else len(x) for x in columns}
    fitness, generation = rows.values()
    if len(counts) != 1 or fitness is None or generation is None:
        raise ConfigError(f"{shown(path)} holds no members: its tensors differ in their length")
    found = []
    for i in range(counts.pop()):
        own = {name: x[i] for name, x in stored.tensors.items()} | shared
        one = _subject(Stored(own, stored.about), evaluator, path, f"member {i + 1}")
        told = {"fitness": float(fitness[i])}
        found.append(one._replace(generation=int(generation[i]), more=told))
    return found


def _subject(stored: Stored, evaluator: Evaluator, path: Path, name: str) -> Subject:
    parts = evaluator.parts
    held = unpacked(stored, parts.task, parts.policy, path)
    wanted = evaluator.run.config.policy.normalize_input
    if (held.normalizer is not None) != wanted:
        raise ConfigError(f"{shown(path)} is of another policy than run.json tells of")
    generation = stored.about.get("generation")
    flat = np.asarray(ravel_pytree(held.params)[0])
    generation = generation if type(generation) is int else None
    return Subject(name, generation, flat, held.normalizer, held.references)
