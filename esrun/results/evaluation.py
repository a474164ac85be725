"""Held-out evaluation of what a run has left: the program that training evaluates its mean with.

The same policy on the same episodes gives the same score as in training, to the bit.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from esrun.backend import keys
from esrun.config.schema.run import Config
from esrun.errors import ConfigError
from esrun.runs import checkpoint
from esrun.runs.folder import shown
from esrun.runs.opening import refuse_other_data
from esrun.runs.paths import RunFolder
from esrun.runs.policy import PLAIN
from esrun.runs.record import read_record
from esrun.tasks.references import referred
from esrun.training.archive import parameters
from esrun.training.build import build, scored_on
from esrun.training.generation import Parts, asked, keys_of
from esrun.training.program import DRAWS, HELD_OUT, stream
from esrun.training.programs import maker
from esrun.training.slices import plan_episodes
from esrun.types import Moments, PyTree, TrainState


class Subject(NamedTuple):
    """What is evaluated: parameters, what its inputs are normalised by, its reference inputs."""

    name: str
    generation: int | None
    params: np.ndarray  # [n]
    normalizer: Moments | None
    references: np.ndarray | jax.Array | None
    more: Mapping[str, Any] = MappingProxyType({})
    """What else is told of it."""


class _Mean(NamedTuple):
    """As much of a strategy's state as an evaluation looks at."""

    mean: jax.Array  # [n]


class Evaluator:
    """Evaluates policies of one run's kind. Nothing is compiled before it is needed."""

    def __init__(self, config: Config):
        """`config` is the run's, its `eval.episodes` how many are played."""
        self.run = build(config)
        self.parts = self.run.parts
        self._wide = config.runtime.precision == "float64"

    def figures(self, subject: Subject, seed: int, on_test: bool = False) -> dict[str, Any]:
        """-> what is said of a policy on the held-out episodes of a seed (see `statistics`), or on
        the examples of the task's `test` part."""
        from esrun.results.statistics import figures  # scipy.stats takes a second

        evaluate = self.run.program.test if on_test else self.run.program.evaluate
        assert evaluate is not None
        return figures(*self._played(evaluate, seed, *self._arrays(subject)))

    def watching(self, episodes: int) -> Callable[[Subject, int], PyTree]:
        """-> (subject, seed) -> what happens in the first held-out episodes of that seed, as the
        task tells it (NumPy's, see `Task.watch`), or in all of its validation part. They are played
        among those that training's evaluation plays; it is compiled once."""
        task = self.parts.task
        size = scored_on(self.run.config, task)
        block = plan_episodes(size, self.run.local_devices).size
        episodes = task.validation.size if task.validation else episodes
        if task.simulators:
            from esrun.results import simulated

            seen = simulated.watching(self.run, episodes, block)
            return lambda subject, seed: seen(*self._arrays(subject)[:2], seed)

        @jax.jit
        def watch(hyper: Any, seed: jax.Array, params, normalizer, references):
            parts = self.run.program.parts(hyper)
            assert parts.task.watch is not None
            held_out = jnp.arange(max(block, episodes))
            if parts.task.validation is None:
                held_out = keys.fold_in(stream(seed, HELD_OUT), held_out)
            member = referred(parts.policy, parts.unravel(params), references, normalizer)
            return parts.task.watch(
                held_out, parts.policy, member, normalizer, jnp.arange(episodes)
            )

        def watched(subject: Subject, seed: int) -> PyTree:
            with jax.enable_x64(self._wide):
                seen = watch(self.run.hyper, jnp.uint32(seed), *self._arrays(subject))
                return jax.tree.map(np.asarray, seen)

        return watched

    def _arrays(self, subject: Subject) -> tuple[jax.Array, Moments | None, jax.Array | None]:
        with jax.enable_x64(self._wide):
            own = subject.params, subject.normalizer, subject.references
            return jax.tree.map(jnp.asarray, own)

    def ensemble(self, state: TrainState, count: int, seed: int) -> dict[str, Any]:
        """-> what is said of `count` draws from the distribution of a `state`, acting together:
        discrete actions are voted for, continuous ones averaged. `draws_mean`, `draws_std` and
        `draws_worst` are of the means that the draws have alone."""
        from esrun.results.statistics import figures

        draws, alone = self._drawn(state, count), self.run.program.evaluate
        given = state.normalizer, state.references
        returns = [self._played(alone, seed, one, *given)[0] for one in draws]
        means = np.mean(np.asarray(returns, np.float64), axis=1)
        interface = self.parts.task.interface
        action = interface.about()["action"] if interface else PLAIN["action"]
        workers = self.run.config.runtime.workers if self.parts.task.simulators else None
        together = maker(workers)(
            build=lambda hyper: ensembled(self.run.program.parts(hyper), count, action),
            local_devices=self.run.local_devices,
            population_chunk="auto",
            normalize_input=state.normalizer is not None,
            restarting=False,
            held_out_episodes=scored_on(self.run.config, self.parts.task),
        ).evaluate
        return figures(*self._played(together, seed, draws.ravel(), *given)) | {
            "draws": count,
            "draws_mean": float(np.mean(means)),
            "draws_std": float(np.std(means, ddof=1)),
            "draws_worst": float(np.min(means)),
        }

    def state(self, folder: RunFolder, generation: int | None = None) -> TrainState:
        """-> the training state of the newest checkpoint that can be used, or of the one of a
        generation. Raises ConfigError."""
        template = jax.eval_shape(self.run.program.init, self.run.hyper, jnp.uint32(0))
        paths = checkpoint.found(folder.checkpoints)
        wanted = [x for x in paths if generation in (None, int(x.name[:10]))]
        if not wanted:
            raise ConfigError(f"{shown(folder.path)} has no checkpoint")
        try:
            return checkpoint.load(wanted[0], template).state
        except checkpoint.DamagedError as error:
            raise ConfigError(f"{shown(wanted[0])} cannot be used: {error}") from error

    def _played(
        self, evaluate: Callable, seed: int, *given: Any
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """-> returns [e], measures [e] each, of what is `given` of a state (see `_state_of`)."""
        with jax.enable_x64(self._wide):
            state = _state_of(*jax.tree.map(jnp.asarray, given))
            _, returns, measures = evaluate(self.run.hyper, np.uint32(seed), state)
            return np.asarray(returns), jax.tree.map(np.asarray, measures)

    def _drawn(self, state: TrainState, count: int) -> np.ndarray:
        """-> [count, n] members of the distribution of a state: whole populations, one key each."""
        p = self.parts.strategy.population_size

        @jax.jit
        def population(hyper: Any, state: TrainState, number: jax.Array) -> jax.Array:
            parts = self.run.program.parts(hyper)
            drawn = keys_of(parts, stream(jnp.uint32(self.run.config.seed), DRAWS), number)
            solutions = asked(parts, drawn, state, jnp.arange(p))
            return parameters(state, parts.strategy, solutions)

        with jax.enable_x64(self._wide):
            numbers = (jnp.int32(number) for number in range(-(-count // p)))
            return np.concatenate([population(self.run.hyper, state, x) for x in numbers])[:count]


def evaluator_of(folder: RunFolder, config: Config) -> Evaluator:
    """-> what evaluates the policies of a run. Raises ConfigError where its task has read other
    data than the run's."""
    made, record = Evaluator(config), read_record(folder.path)
    refuse_other_data(folder.path, record and record.data, made.run.data)
    return made


def _state_of(
    mean: jax.Array, normalizer: Moments | None, references: jax.Array | None
) -> TrainState:
    """-> as much of a training state as an evaluation looks at."""
    none = jnp.zeros(())
    return TrainState(
        generation=jnp.int32(0),
        strategy=_Mean(mean),
        normalizer=normalizer,
        env_steps=none,
        best_fitness=none,
        held_out=none,
        barren=none,
        incumbent=None,
        archive=None,
        references=references,
    )


def ensembled(parts: Parts, count: int, action: dict[str, Any]) -> Parts:
    """-> the parts with a policy of `count` members that act together, its parameters [count n];
    `action` says what outputs become."""
    policy = parts.policy

    def unravel(flat: jax.Array) -> PyTree:
        return jax.vmap(parts.unravel)(flat.reshape(count, -1))

    def initial_carry() -> PyTree:
        return jax.tree.map(lambda x: jnp.stack([x] * count), policy.initial_carry())

    def apply(params: PyTree, carry: PyTree, x: jax.Array) -> tuple[jax.Array, PyTree]:
        outputs, carry = jax.vmap(policy.apply, (0, 0, None))(params, carry, x)
        return together(outputs, action), carry

    refer = policy.refer and jax.vmap(policy.refer, (0, None))
    whole = policy._replace(initial_carry=initial_carry, apply=apply, refer=refer)
    return parts._replace(policy=whole, unravel=unravel, n=count * parts.n)


def together(outputs: jax.Array, action: dict[str, Any]) -> jax.Array:
    """Outputs [k, output_size] -> the output [output_size] that becomes the action of most of them,
    or for a continuous one the mean of their actions."""
    kind = action["kind"]
    if kind in ("argmax", "joint"):
        return _votes(outputs)
    if kind == "heads":
        ends = np.cumsum(action["sizes"])[:-1].tolist()
        return jnp.concatenate([_votes(head) for head in jnp.split(outputs, ends, axis=1)])
    if kind == "clip":
        low, high = (jnp.asarray(action[bound], outputs.dtype) for bound in ("low", "high"))
        return jnp.mean(jnp.clip(outputs, low, high), axis=0)
    if kind == "squash":
        limit = 1 - jnp.finfo(outputs.dtype).eps
        return jnp.arctanh(jnp.clip(jnp.mean(jnp.tanh(outputs), axis=0), -limit, limit))
    return jnp.mean(outputs, axis=0)


def _votes(outputs: jax.Array) -> jax.Array:
    """Outputs [k, n] -> [n]: how many have their largest one there; where as many have, and where
    the most are illegal, those decide that are surer."""
    votes = jax.nn.one_hot(jnp.argmax(outputs, axis=1), outputs.shape[1], dtype=outputs.dtype)
    return jnp.sum(votes, axis=0) + jnp.mean(jax.nn.softmax(outputs, axis=1), axis=0) / 2
