"""Any gymnax environment (Lange 2022, https://github.com/RobertTLange/gymnax) as a task."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from einops import reduce, repeat

from esrun.backend import devices
from esrun.backend.deferred import deferred
from esrun.backend.keys import fold_in
from esrun.backend.rewriting import hoisted, tuned
from esrun.tasks.normalizer import normalize, nothing, observe
from esrun.types import Evaluation, Interface, PyTree, Sums, Task

# some of its modules make arrays when they are imported, and five import these for their pictures:
# 1 s of a start
with jax.enable_x64(False), deferred("matplotlib.pyplot", "seaborn"):
    import gymnax

    from esrun.tasks.interface import decoding, encoding, make_decoder, make_encoder


class Episode(NamedTuple):
    """One running episode of one member."""

    observation: jax.Array
    environment: Any  # gymnax state
    carry: PyTree  # the policy's
    total: jax.Array  # [] return so far
    steps: jax.Array  # [] int32
    alive: jax.Array  # [] bool
    inputs: Sums | None


class Watched(NamedTuple):
    """Episodes, step by step: row t is what was there before step t; later rows than LONGEST are
    missing."""

    states: Any  # gymnax states, [t, k, ...] each
    observations: jax.Array  # [t, k, ...]
    totals: jax.Array  # [t, k] return so far
    steps: jax.Array  # [k] int32
    returns: jax.Array  # [k]


LONGEST = 20_000
"""Most steps of an episode that are kept to be looked at."""


def make_gymnax(
    *, env: str, env_params: dict, episodes: int, episode_length: int, action: str
) -> Task:
    """The environment `env` with gymnax's parameters but for `env_params`, for at most
    `episode_length` steps.

    Observations become flat or image-like floats, discrete ones one-hot. A discrete action is the
    argmax of the output; a continuous one is clipped ("clip") or squashed by tanh ("squash") into
    the action space.

    The environment itself computes in 32 bits whatever the precision of the run.
    """
    environment, params = opened(env, env_params, episode_length)
    reset_env, step_env = in_32_bits(environment.reset_env), in_32_bits(environment.step_env)
    observations, actions = environment.observation_space(params), environment.action_space(params)
    encode, input_shape = make_encoder(observations)
    decode, output_size = make_decoder(actions, action)

    def about():
        return {"observation": encoding(observations), "action": decoding(actions, action)}

    stride = stride_of(episode_length)

    def begun(keys, policy, members, normalizer):
        """-> (episodes [m, e] at their beginning, (t, episodes) -> episodes a step later)."""
        reset_keys, step_keys = fold_in(keys, 0), fold_in(keys, 1)

        def reset(key):
            observation, state = reset_env(key, params)
            zero, none = jnp.zeros(()), jnp.int32(0)
            inputs = normalizer and nothing(input_shape)
            return Episode(
                observation, state, policy.initial_carry(), zero, none, jnp.bool_(True), inputs
            )

        def step(member, key, episode):
            x, inputs = encode(episode.observation), episode.inputs
            if normalizer is not None:
                inputs = jax.tree.map(jnp.add, inputs, observe(normalizer, x, episode.alive))
                x = normalize(normalizer, x)
            output, carry = policy.apply(member, episode.carry, x)
            observation, state, reward, terminated, _ = step_env(
                key, episode.environment, decode(output), params
            )
            return Episode(
                observation,
                state,
                carry,
                # where, not a product: it may be NaN after the end. The last reward counts
                total=episode.total + jnp.where(episode.alive, reward, 0.0),
                steps=episode.steps + episode.alive,
                alive=episode.alive & ~terminated,
                inputs=inputs,
            )

        m = len(jax.tree.leaves(members)[0])
        start = jax.tree.map(
            lambda x: repeat(x, "e ... -> m e ...", m=m), jax.vmap(reset)(reset_keys)
        )
        all_steps = jax.vmap(jax.vmap(step, in_axes=(None, 0, 0)), in_axes=(0, None, 0))
        all_steps = tuned(hoisted(all_steps, members, step_keys, start))

        # step keys are made once for all members, who share them (common random numbers)
        return start, lambda t, running: all_steps(fold_in(step_keys, t), running)

    def evaluate(keys, policy, members, normalizer):
        start, step = begun(keys, policy, members, normalizer)

        # the loop stands outside the vmaps and so ends as soon as every episode has
        def one_step(i, loop):
            t, running = loop
            return t + 1, step(t, running)

        def body(loop):
            if stride == 1:
                return one_step(0, loop)
            return jax.lax.fori_loop(0, stride, one_step, loop)

        def unfinished(loop):
            t, running = loop
            return (t < episode_length) & jnp.any(running.alive)

        _, done = jax.lax.while_loop(unfinished, body, (jnp.int32(0), start))
        return Evaluation(
            returns=done.total,
            steps=reduce(done.steps, "m e -> m", "sum").astype(jnp.int32),
            inputs=jax.tree.map(lambda x: reduce(x, "m e ... -> m ...", "sum"), done.inputs),
            measures={"length": done.steps} | succeeded(env, done),
        )

    def watch(keys, policy, member, normalizer, which):
        members = jax.tree.map(lambda x: x[None], member)
        start, step = begun(keys, policy, members, normalizer)

        def seen(running):
            those = running.environment, running.observation, running.total
            return jax.tree.map(lambda x: x[0, which], those)

        def body(loop):
            t, running, rows = loop
            running = step(t, running)
            kept = jax.tree.map(
                lambda all, x: all.at[t + 1].set(x, mode="drop"), rows, seen(running)
            )
            return t + 1, running, kept

        def unfinished(loop):
            t, running, _ = loop
            return (t < episode_length) & jnp.any(running.alive[0, which])

        length = min(episode_length, LONGEST) + 1
        rows = jax.tree.map(
            lambda x: jnp.zeros((length, *x.shape), x.dtype).at[0].set(x), seen(start)
        )
        _, done, rows = jax.lax.while_loop(unfinished, body, (jnp.int32(0), start, rows))
        states, observations, totals = rows
        steps, returns = done.steps[0, which], done.total[0, which]
        return Watched(states, observations, totals, steps, returns)

    steps = episodes * episode_length
    interface = Interface(encode, decode, about)
    return Task(input_shape, output_size, episodes, evaluate, steps, interface, watch)


def opened(env: str, env_params: dict, episode_length: int) -> tuple[Any, Any]:
    """-> (gymnax's environment, its parameters). Raises ValueError where it needs data that is not
    there."""
    # some branch on their own arrays as they are made
    with jax.ensure_compile_time_eval(), jax.enable_x64(False):
        try:
            environment, defaults = gymnax.make(env)
        except OSError as error:
            raise ValueError(f"task.env={env} needs data that gymnax downloads: {error}") from error
    arrays = {
        key: jnp.asarray(value) for key, value in env_params.items() if isinstance(value, list)
    }
    # a float in BernoulliBandit-misc, which relies on it
    limit = type(defaults.max_steps_in_episode)(episode_length)
    return environment, defaults.replace(**env_params | arrays, max_steps_in_episode=limit)


GOALS = ("Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0", "FourRooms-misc")
"""Environments that end an episode where it has reached its goal, and only there."""
REWARDED = ("FrozenLake-misc", "Catch-bsuite", "MemoryChain-bsuite")
"""Environments whose episodes have a positive return if they have reached their goal, and only
then."""


def succeeded(env: str, done: Episode) -> dict[str, jax.Array]:
    """-> whether each episode [m, e] has reached the goal, where the environment has one."""
    if env in GOALS:
        return {"success": (~done.alive).astype(jnp.int32)}
    return {"success": (done.total > 0).astype(jnp.int32)} if env in REWARDED else {}


def stride_of(episode_length: int) -> int:
    """-> the steps between two looks at whether all episodes have ended, a divisor of their length.

    On a CPU a look costs nothing; an accelerator stands still until the host has seen the answer.
    """
    most = 1 if devices.on_cpu() else 10
    return max(k for k in range(1, most + 1) if episode_length % k == 0)


def in_32_bits(function: Callable) -> Callable:
    """-> the function traced without 64-bit types, which its arguments lose as well.

    Environments are written for JAX's default types: with 64-bit ones some mix the two where XLA
    allows no mixing.
    """

    def narrow(x):
        wide = isinstance(x, jax.Array) and x.dtype in (jnp.float64, jnp.int64, jnp.uint64)
        return x.astype(f"{x.dtype.kind}4") if wide else x

    def wrapped(*arguments):
        arguments = jax.tree.map(narrow, arguments)
        with jax.enable_x64(False):
            return function(*arguments)

    return wrapped
