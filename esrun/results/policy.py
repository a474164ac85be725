"""Trained policies, as a run has left them: read, checked against their architecture, called."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import BaseModel, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as parse

from esrun import files
from esrun.config import registry
from esrun.config.check import option
from esrun.errors import ConfigError
from esrun.results.where import policy_file
from esrun.runs.folder import shown
from esrun.runs.header import LARGEST, read_header
from esrun.tasks.normalizer import normalize
from esrun.types import Moments, Policy, PyTree, Task

READING = (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError)
"""What reading a foreign file may raise."""


class Stored(NamedTuple):
    """What a file of policies holds."""

    tensors: dict[str, np.ndarray]
    about: dict[str, Any]
    """Its metadata."""


class Trained(NamedTuple):
    """A policy and what it was trained on."""

    params: PyTree
    normalizer: Moments | None
    policy: Policy
    task: Task
    generation: int | None
    """None where an earlier version did not write it down."""


class LoadedPolicy:
    """A trained policy that can be called: `action, carry = policy(observation, carry)`."""

    def __init__(self, trained: Trained):
        """Nothing is compiled before the first call."""
        self.params, self.normalizer = trained.params, trained.normalizer
        self.generation = trained.generation
        self._policy, self._wide = trained.policy, _is_wide(trained.params)
        interface = trained.task.interface

        def step(params, normalizer, observation, carry, mask):
            x = jax.tree.map(jnp.asarray, observation)
            x = interface.encode(x) if interface else jnp.asarray(x).astype(float)
            x = x if normalizer is None else normalize(normalizer, x)
            output, carry = trained.policy.apply(params, carry, x)
            if interface is None:
                return output, carry
            more = () if mask is None else (jnp.asarray(mask) != 0,)
            return interface.decode(output, *more), carry

        self._step = jax.jit(step)

    def __call__(
        self, observation: Any, carry: PyTree = None, mask: Any = None
    ) -> tuple[jax.Array, PyTree]:
        """One step: an observation, as the environment gives it, and the carry of the step before
        -> (action, carry). A carry of None begins an episode. Where `mask` is false, an action is
        illegal and never taken.

        It may be traced: `jax.vmap(policy)` takes a batch of observations and of carries.
        """
        with jax.enable_x64(self._wide):
            carry = self._policy.initial_carry() if carry is None else carry
            return self._step(self.params, self.normalizer, observation, carry, mask)


def load(run: str | Path, best: bool = False) -> LoadedPolicy:
    """-> the policy that a run has trained; with `best` the one whose held-out mean was best.

    `run` is a run folder, "latest", or a file such as RUN/policies/50.safetensors. Input normaliser
    and decoding of actions are part of it. Raises `esrun.errors.ConfigError`, a ValueError of one
    line, for what is no policy. Nothing of the folder is run.
    """
    return LoadedPolicy(trained(policy_file(run, best)))


def trained(path: Path) -> Trained:
    """-> the policy in a file, checked. Raises ConfigError."""
    stored = read(path, "policy")
    task, policy = parts_of(stored.about, path)
    with jax.enable_x64(_is_wide(stored.tensors)):
        params, normalizer = (
            jax.tree.map(jnp.asarray, tree) for tree in unpacked(stored, task, policy, path)
        )
    return Trained(params, normalizer, policy, task, stored.about.get("generation"))


def read(path: Path, kind: str) -> Stored:
    """-> what a file of a kind ("policy", "members") holds. Raises ConfigError."""
    try:
        content = files.read(path, LARGEST)
        return Stored(parse(content), read_header(content, kind))
    except FileNotFoundError as error:
        raise ConfigError(f"{shown(path)} is not there") from error
    except READING as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{shown(path)} cannot be read: {reason}") from error


class _About(BaseModel):
    """What is read of a policy's metadata."""

    task: dict[str, Any]
    policy: dict[str, Any]
    generation: int | None = Field(default=None, ge=0, lt=2**31)


def parts_of(about: dict[str, Any], path: Path) -> tuple[Task, Policy]:
    """-> the task and the policy, made by the factories that the metadata name. Raises
    ConfigError."""
    try:
        checked = _About.model_validate(about)
        task = _made("task", checked.task)
        sizes = {"input_shape": task.input_shape, "output_size": task.output_size}
        return task, _made("policy", checked.policy, **sizes)
    except (ValidationError, ConfigError, ValueError) as error:
        reason = " ".join(str(error).split())[:400]
        raise ConfigError(f"{shown(path)} is of no policy that esrun knows: {reason}") from error


def _made(kind: str, options: dict[str, Any], **sizes: Any) -> Any:
    model = option(kind, options, kind)
    chosen = model.model_dump(exclude={"name", *model.run_keys})
    return registry.factory(kind, options["name"])(**sizes, **chosen)


def unpacked(stored: Stored, task: Task, policy: Policy, path: Path) -> tuple[PyTree, Any]:
    """-> (params, normaliser or None) as NumPy arrays. Raises ConfigError where the tensors are not
    those of the policy."""
    params = jax.eval_shape(partial(policy.init, jax.random.key(0)))
    moments: Any = {"count": (), "mean": task.input_shape, "m2": task.input_shape}
    wanted = {
        f"params/{module}/{name}": x.shape
        for module, leaves in params.items()
        for name, x in leaves.items()
    }
    if any(name.startswith("normalizer/") for name in stored.tensors):
        wanted |= {f"normalizer/{name}": shape for name, shape in moments.items()}
    given = {name: x.shape for name, x in stored.tensors.items()}
    if given != wanted:
        raise ConfigError(f"{shown(path)} holds other parameters than its architecture has")
    return _tree(stored.tensors, params)


def _tree(tensors: dict[str, np.ndarray], params: PyTree) -> tuple[PyTree, Moments | None]:
    tree = {
        module: {name: tensors[f"params/{module}/{name}"] for name in leaves}
        for module, leaves in params.items()
    }
    seen: Any = {name: tensors.get(f"normalizer/{name}") for name in Moments._fields}
    return tree, None if seen["count"] is None else Moments(**seen)


def _is_wide(tree: PyTree) -> bool:
    """Whether the numbers have 64 bits."""
    return any(x.dtype == np.float64 for x in jax.tree.leaves(tree))
