"""gymnax environments as tasks: a rollout is a plain Python loop, whatever happens at an episode's
end."""

from functools import partial

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import quickly
from defaults import ROLLOUT, make_policy
from flax import struct
from gymnax.environments import environment, spaces

from esrun.tasks import normalizer
from esrun.tasks.gymnax import make_gymnax
from esrun.tasks.rollout import stride_of
from esrun.types import Policy

pytestmark = pytest.mark.usefixtures("quick_to_compile")

# ---- environments whose returns are known by hand ------------------------------------------------


@struct.dataclass
class State(environment.EnvState):
    end: jax.Array
    """The step that ends the episode."""


@struct.dataclass
class Params(environment.EnvParams):
    max_steps_in_episode: int = 1000
    pay: float = 1.0
    shortest: int = 2
    longest: int = 9


class Payday(environment.Environment):
    """Pays `pay` a step and 100 at the last one, which a draw at reset decides. Everything after it
    is NaN."""

    def reset_env(self, key, params):
        end = jax.random.randint(key, (), params.shortest, params.longest + 1)
        return jnp.zeros(2), State(time=jnp.int32(0), end=end)

    def step_env(self, key, state, action, params):
        time = state.time + 1
        reward = jnp.where(time == state.end, 100.0, params.pay)
        after = time > state.end
        observation = jnp.where(after, jnp.nan, jnp.stack([time, state.end]).astype(float))
        return (
            observation,
            state.replace(time=time),
            jnp.where(after, jnp.nan, reward),
            time >= state.end,
            {},
        )

    def action_space(self, params=None):
        return spaces.Discrete(2)

    def observation_space(self, params):
        return spaces.Box(0, 10, (2,))


class Echo(environment.Environment):
    """Pays the first number of the action, never ends, and shows the time: as an int32 box or as a
    category."""

    def __init__(self, observed):
        super().__init__()
        self.observed = observed

    def reset_env(self, key, params):
        return self.show(0), State(time=jnp.int32(0), end=jnp.int32(-1))

    def show(self, time):
        return jnp.int32(time) if self.observed == "category" else jnp.full((1,), time, jnp.int32)

    def step_env(self, key, state, action, params):
        time = state.time + 1
        return self.show(time), state.replace(time=time), action[0], jnp.bool_(False), {}

    @property
    def default_params(self):
        return Params()

    def action_space(self, params=None):
        return spaces.Box(jnp.array([-2.0, 0.0]), jnp.array([1.0, 5.0]), (2,))

    def observation_space(self, params):
        return (
            spaces.Discrete(6)
            if self.observed == "category"
            else spaces.Box(0, 100, (1,), jnp.int32)
        )


Payday.default_params = property(lambda self: Params())
gymnax.register("Payday-test", Payday)
gymnax.register("EchoBox-test", lambda: Echo("box"))
gymnax.register("EchoCategory-test", lambda: Echo("category"))

ANSWER = Policy(lambda key: None, lambda: (), lambda output, carry, x: (output, carry))
"""Answers its parameters."""


def task(env, episode_length, env_params=(), **rollout):
    own = {"episode_length": episode_length, **rollout}
    return make_gymnax(env=env, env_params=dict(env_params), **ROLLOUT | own)


def evaluate(task, keys, policy, members, normalizer=None):
    return jax.jit(lambda keys, members: task.evaluate(keys, policy, members, normalizer))(
        keys, members
    )


def population(policy, size, seed=0):
    return jax.vmap(policy.init)(jax.random.split(jax.random.key(seed), size))


def member(members, i):
    return jax.tree.map(lambda x: x[i], members)


# ---- a rollout is a plain loop -------------------------------------------------------------------


def by_hand(env, env_params, policy, episode_length, decode, encode=lambda x: x.astype(float)):
    """-> (params, key) -> (return, steps) of one episode, step by step in Python."""
    environment, defaults = gymnax.make(env)
    env_params = defaults.replace(**env_params)
    reset = jax.jit(lambda key: environment.reset_env(key, env_params))

    @jax.jit
    def step(params, key, observation, state, carry):
        output, carry = policy.apply(params, carry, encode(observation))
        return *environment.step_env(key, state, decode(output), env_params)[:4], carry

    def play(params, key):
        reset_key, step_key = jax.random.split(key)
        observation, state = reset(reset_key)
        carry, total = policy.initial_carry(), 0.0
        for t in range(episode_length):
            key = jax.random.fold_in(step_key, t)
            observation, state, reward, terminated, carry = step(
                params, key, observation, state, carry
            )
            total += float(reward)
            if terminated:
                return total, t + 1
        return total, episode_length

    return play


def fitting(option, task, **changes):
    """-> the policy for a task's inputs and outputs."""
    sizes = {"input_shape": task.input_shape, "output_size": task.output_size}
    return make_policy(option, **sizes, **changes)


mlp = partial(fitting, "mlp", hidden=[8], activation="tanh", init="normal")
rnn = partial(fitting, "rnn", hidden=[4])

ROLLOUTS = {
    "Pendulum-v1": (mlp, {}, 40, lambda y: jnp.clip(y, -2, 2), None),
    "CartPole-v1": (mlp, {"gravity": 20.0}, 60, jnp.argmax, None),
    "Catch-bsuite": (mlp, {}, 30, jnp.argmax, None),
    "FrozenLake-misc": (mlp, {}, 30, jnp.argmax, lambda x: jax.nn.one_hot(x, 16)),
    "BernoulliBandit-misc": (rnn, {}, 20, jnp.argmax, None),
}


@pytest.mark.parametrize(
    "env", quickly(sorted(ROLLOUTS), "Pendulum-v1", "FrozenLake-misc", "BernoulliBandit-misc")
)
def test_rollout_is_a_plain_loop(env, keys):
    make, env_params, length, decode, encode = ROLLOUTS[env]
    subject = task(env, length, env_params)
    policy = make(subject)
    members = population(policy, 2)
    seen = evaluate(subject, keys(3), policy, members)
    play = by_hand(
        env, env_params, policy, length, decode, **({"encode": encode} if encode else {})
    )
    for i in range(2):
        returns, steps = np.array([play(member(members, i), key) for key in keys(3)]).T
        np.testing.assert_allclose(seen.returns[i], returns, rtol=1e-3, atol=1e-4)
        assert seen.steps[i] == steps.sum()


# ---- the end of an episode -----------------------------------------------------------------------


def ends(keys, shortest=2, longest=9):
    """-> the steps at which Payday's episodes end."""
    reset_keys = jax.vmap(jax.random.split)(keys)[:, 0]
    return np.array([int(jax.random.randint(key, (), shortest, longest + 1)) for key in reset_keys])


def test_last_reward_counts_and_rewards_after_the_end_do_not(keys):
    episodes = keys(12)
    seen = evaluate(task("Payday-test", 50), episodes, ANSWER, jnp.zeros((1, 2)))
    lengths = ends(episodes)
    assert len(set(lengths)) > 3
    np.testing.assert_array_equal(seen.returns[0], lengths - 1 + 100)


@pytest.mark.parametrize(("length", "stride"), [(50, 10), (4, 4), (11, 1)])
def test_looking_at_the_ends_less_often_changes_nothing(length, stride, keys, monkeypatch):
    """As an accelerator does: several steps between two looks."""
    often = evaluate(task("Payday-test", length), keys(12), ANSWER, jnp.zeros((1, 2)))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    seldom = evaluate(task("Payday-test", length), keys(12), ANSWER, jnp.zeros((1, 2)))
    assert stride_of(length) == stride
    np.testing.assert_array_equal(often.returns, seldom.returns)
    np.testing.assert_array_equal(often.steps, seldom.steps)


def test_steps_are_counted_up_to_each_end(keys):
    episodes = keys(12)
    seen = evaluate(task("Payday-test", 50), episodes, ANSWER, jnp.zeros((3, 2)))
    np.testing.assert_array_equal(seen.steps, [ends(episodes).sum()] * 3)


def test_episode_length_cuts_an_episode(keys):
    episodes = keys(12)
    seen = evaluate(task("Payday-test", 4), episodes, ANSWER, jnp.zeros((1, 2)))
    lengths = ends(episodes)
    assert {True, False} == set(lengths <= 4)
    np.testing.assert_array_equal(seen.returns[0], np.where(lengths <= 4, lengths - 1 + 100, 4))
    assert seen.steps[0] == np.minimum(lengths, 4).sum()


@pytest.mark.parametrize("length", [1, 7])
def test_an_episode_that_never_ends_lasts_episode_length(length, keys):
    seen = evaluate(task("EchoBox-test", length), keys(2), ANSWER, jnp.ones((1, 2)))
    np.testing.assert_array_equal(seen.returns, [[length, length]])
    assert seen.steps[0] == 2 * length


def test_environment_parameters_take_effect_and_may_be_traced(keys):
    episodes = keys(5)

    def returns(pay):
        subject = task("Payday-test", 50, {"pay": pay, "shortest": 5})
        return subject.evaluate(episodes, ANSWER, jnp.zeros((1, 2)), None).returns[0]

    for pay in (0.5, -3.0):
        np.testing.assert_array_equal(
            jax.jit(returns)(pay), (ends(episodes, shortest=5) - 1) * pay + 100
        )


def test_gravity_changes_a_pendulum(keys):
    def cost(g):
        subject = task("Pendulum-v1", 1, {"g": g, "l": 1.0})
        return evaluate(subject, keys(6), ANSWER, jnp.zeros((1, 1))).returns, task(
            "Pendulum-v1", 2, {"g": g}
        )

    (first_earth, earth), (first_moon, moon) = cost(10.0), cost(1.6)
    # the first cost is of the start, where nothing has fallen yet
    np.testing.assert_array_equal(first_earth, first_moon)
    returns = [
        evaluate(subject, keys(6), ANSWER, jnp.zeros((1, 1))).returns for subject in (earth, moon)
    ]
    assert np.all(np.abs(returns[0] - returns[1]) > 1e-4)


def test_an_unknown_environment_parameter_is_an_error():
    with pytest.raises(TypeError, match="warp"):
        task("Pendulum-v1", 10, {"warp": 9.0})


# ---- inputs and actions --------------------------------------------------------------------------


def test_categories_become_one_hot(keys):
    subject = task("EchoCategory-test", 6)
    assert subject.input_shape == (6,)
    values = jnp.array([0.5, -1.0, 0.25, 1.0, -2.0, 0.75])
    policy = Policy(
        lambda key: None, lambda: (), lambda w, carry, x: (jnp.stack([w @ x, 0.0]), carry)
    )
    partial = [
        evaluate(task("EchoCategory-test", t), keys(1), policy, values[None]).returns[0, 0]
        for t in (1, 2, 6)
    ]
    assert partial == [0.5, -0.5, -0.5]  # 0.5 - 1 after two, and after all six


def test_integer_observations_become_floats(keys):
    kinds = []

    def apply(w, carry, x):
        kinds.append(x.dtype)
        return jnp.stack([w * x[0], 0.0]), carry

    seen = evaluate(
        task("EchoBox-test", 4),
        keys(1),
        Policy(lambda key: None, lambda: (), apply),
        jnp.array([0.25]),
    )
    assert set(kinds) == {jnp.zeros(()).dtype}
    assert seen.returns[0, 0] == 0.25 * (0 + 1 + 2 + 3)


@pytest.mark.parametrize(
    ("mode", "output", "action"),
    [
        ("clip", 0.5, 0.5),
        ("clip", -1.75, -1.75),
        ("clip", 40.0, 1.0),
        ("clip", -40.0, -2.0),
        ("squash", 0.0, -0.5),
        ("squash", 40.0, 1.0),
        ("squash", -40.0, -2.0),
        ("squash", 0.5, -2 + 3 * (np.tanh(0.5) + 1) / 2),
    ],
)
def test_continuous_action_between_minus_two_and_one(mode, output, action, keys):
    subject = task("EchoBox-test", 1, action=mode)
    assert subject.output_size == 2
    seen = evaluate(subject, keys(1), ANSWER, jnp.array([[output, 0.0]]))
    assert seen.returns[0, 0] == pytest.approx(action, rel=1e-6)


@pytest.mark.parametrize("mode", ["clip", "squash"])
def test_actions_never_leave_their_space(mode, keys):
    outputs = jnp.stack([jnp.linspace(-9, 9, 101), jnp.zeros(101)], axis=1)
    actions = np.asarray(
        evaluate(task("EchoBox-test", 1, action=mode), keys(1), ANSWER, outputs).returns
    )
    assert actions.min() >= -2
    assert actions.max() <= 1
    assert np.all(np.diff(actions[:, 0]) > -1e-6)  # up to tanh's rounding


def test_discrete_action_is_the_largest_output(keys):
    """A bandit of eleven arms, whose shuffled pay tells which was pulled."""
    environment, params = gymnax.make("SimpleBandit-bsuite")
    reset_key, _ = jax.random.split(keys(1)[0])
    _, state = environment.reset_env(reset_key, params)
    seen = evaluate(task("SimpleBandit-bsuite", 1), keys(1), ANSWER, jnp.eye(11) - 0.5)
    np.testing.assert_allclose(seen.returns[:, 0], state.rewards, rtol=1e-6)


# ---- members, carries, normaliser ----------------------------------------------------------------


def test_equal_members_get_equal_returns(keys):
    subject = task("FrozenLake-misc", 12)
    policy = mlp(subject)
    one = population(policy, 1)
    twins = jax.tree.map(lambda x: jnp.concatenate([x, x]), one)
    seen = evaluate(subject, keys(3), policy, twins)
    np.testing.assert_array_equal(seen.returns[0], seen.returns[1])
    assert seen.steps[0] == seen.steps[1]


def test_episodes_differ_with_their_key_and_with_nothing_else(keys):
    subject = task("Pendulum-v1", 10)
    a, b, c = keys(3)
    seen = evaluate(subject, jnp.stack([a, b, a, c]), ANSWER, jnp.zeros((1, 1))).returns[0]
    assert seen[0] == seen[2]
    assert len(set(map(float, seen))) == 3


def test_carry_is_fresh_in_every_episode_and_its_own_in_every_member(keys):
    def count_calls(step, carry, x):
        return jnp.stack([carry, 0.0]), carry + step

    policy = Policy(lambda key: None, lambda: jnp.zeros(()), count_calls)
    seen = evaluate(task("EchoBox-test", 4), keys(3), policy, jnp.array([0.125, 0.0625]))
    np.testing.assert_array_equal(
        seen.returns, [[0.125 * 6] * 3, [0.0625 * 6] * 3]
    )  # 0 + 1 + 2 + 3 steps


def test_normalizer_sees_live_inputs_alone(keys):
    """Payday shows [0, 0], then [t, end], the last one never acted on, and NaN after the end."""
    episodes = keys(12)
    moments = normalizer.Moments(jnp.array(1.0), jnp.array([1.0, 2.0]), jnp.zeros(2))
    inputs = evaluate(task("Payday-test", 50), episodes, ANSWER, jnp.zeros((2, 2)), moments).inputs
    shown = np.array([[t, end * (t > 0)] for end in ends(episodes) for t in range(end)], float)
    for i in range(2):
        assert inputs.count[i] == len(shown)
        np.testing.assert_allclose(inputs.first[i], (shown - [1, 2]).sum(0), rtol=1e-6)
        np.testing.assert_allclose(inputs.second[i], ((shown - [1, 2]) ** 2).sum(0), rtol=1e-6)


def test_policy_sees_normalized_inputs(keys):
    policy = Policy(
        lambda key: None, lambda: (), lambda w, carry, x: (jnp.stack([w * x[0], 0.0]), carry)
    )
    moments = normalizer.Moments(
        jnp.array(4.0), jnp.array([1.0]), jnp.array([4.0 * 16])
    )  # mean 1, deviation 4
    seen = evaluate(task("EchoBox-test", 4), keys(1), policy, jnp.ones(1), moments)
    assert seen.returns[0, 0] == pytest.approx(((0 - 1) + (1 - 1) + (2 - 1) + (3 - 1)) / 4)


def test_without_a_normalizer_no_inputs_are_kept(keys):
    assert evaluate(task("EchoBox-test", 2), keys(1), ANSWER, jnp.zeros((1, 2))).inputs is None
