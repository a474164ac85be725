"""Trained policies, as a run has left them: read, checked against their architecture, called."""

import functools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import BaseModel, Field, ValidationError

from esrun.errors import ConfigError
from esrun.results.codings import refuse_shape, refuse_unfit
from esrun.results.where import policy_file
from esrun.runs.folder import shown
from esrun.runs.policy import PLAIN
from esrun.tasks import stored
from esrun.tasks.normalizer import normalize
from esrun.tasks.references import referred
from esrun.tasks.stored import Held, Stored, made
from esrun.types import Policy, PyTree, Task


class Trained(NamedTuple):
    """A policy and what it was trained on."""

    held: Held
    """Arrays of JAX."""
    policy: Policy
    task: Task
    generation: int | None
    """None where an earlier version did not write it down."""


class LoadedPolicy:
    """A trained policy that can be called: `action, carry = policy(observation, carry)`."""

    def __init__(self, trained: Trained):
        """Nothing is compiled before the first call, but for a policy with reference inputs."""
        self.params, self.normalizer, self.references = trained.held
        self.generation = trained.generation
        self._policy, self._wide = trained.policy, _is_wide(self.params)
        interface, self._params = trained.task.interface, self.params
        if trained.policy.refer is not None:
            with jax.enable_x64(self._wide):
                refer = jax.jit(functools.partial(referred, trained.policy))
                self._params = refer(self.params, self.references, self.normalizer)

        self._coding = interface.about()["observation"] if interface else PLAIN["observation"]

        def step(params, normalizer, observation, carry, mask):
            x = jax.tree.map(jnp.asarray, observation)
            x = interface.encode(x) if interface else jnp.asarray(x).astype(float)
            refuse_shape(x.shape, trained.task.input_shape)
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

        It may be traced: `jax.vmap(policy)` takes a batch of observations and of carries. Raises
        ValueError for what is no observation, as far as that is known before it runs.
        """
        refuse_unfit(self._coding, jax.tree.map(_known, observation))
        with jax.enable_x64(self._wide):
            carry = self._policy.initial_carry() if carry is None else carry
            return self._step(self._params, self.normalizer, observation, carry, mask)


def _known(x: Any) -> Any:
    """-> an observation's array, of one that is traced an array of zeros in its place."""
    traced = isinstance(x, jax.core.Tracer)  # pyright: ignore[reportAttributeAccessIssue]
    return np.zeros(x.shape, x.dtype) if traced else x


def load(run: str | Path, best: bool = False) -> LoadedPolicy:
    """-> the policy that a run has trained; with `best` the one whose held-out mean was best.

    `run` is a run folder, "latest", or a file such as RUN/policies/50.safetensors. Input normaliser
    and decoding of actions are part of it. Raises `esrun.errors.ConfigError`, a ValueError of one
    line, for what is no policy. Nothing of the folder is run.
    """
    return LoadedPolicy(trained(policy_file(run, best)))


def trained(path: Path) -> Trained:
    """-> the policy in a file, checked. Raises ConfigError."""
    found = read(path, "policy")
    task, policy = parts_of(found.about, path)
    with jax.enable_x64(_is_wide(found.tensors)):
        held = jax.tree.map(jnp.asarray, unpacked(found, task, policy, path))
    return Trained(held, policy, task, found.about.get("generation"))


def read(path: Path, kind: str) -> Stored:
    """-> what a file of a kind ("policy", "members") holds. Raises ConfigError."""
    return stored.read(path, kind, shown(path))


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
        task = made("task", checked.task)
        sizes = {"input_shape": task.input_shape, "output_size": task.output_size}
        return task, made("policy", checked.policy, **sizes)
    except (ValidationError, ConfigError, ValueError) as error:
        reason = " ".join(str(error).split())[:400]
        raise ConfigError(f"{shown(path)} is of no policy that esrun knows: {reason}") from error


def unpacked(found: Stored, task: Task, policy: Policy, path: Path) -> Held:
    """-> what the file holds. Raises ConfigError where the tensors are not those of the policy."""
    return stored.unpacked(found, task.input_shape, policy, shown(path))


def _is_wide(tree: PyTree) -> bool:
    """Whether the numbers have 64 bits."""
    return any(x.dtype == np.float64 for x in jax.tree.leaves(tree))
