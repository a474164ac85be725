"""The rollout plays any environment in one form: legal actions, several agents, trials, feedback,
groups of episodes, rewards that training sees otherwise."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import quickly
from defaults import ROLLOUT, make_policy

from esrun.results.codings import decoded, encoded
from esrun.tasks.environment import Environment, Step
from esrun.tasks.normalizer import fresh
from esrun.tasks.rollout import make_rollout
from esrun.tasks.spaces import Box, Codes, Discrete, Joint, decoding, encoding
from esrun.types import Policy

pytestmark = pytest.mark.usefixtures("quick_to_compile")

ANSWER = Policy(lambda key: None, lambda: (), lambda output, carry, x: (output, carry))
"""Answers its parameters."""


def line(**changes):
    """An environment on a line: it begins at a random place, an action moves it, it ends beyond 3
    and pays where it is."""

    def seen(place, reward=0.0):
        return Step(place, place[None], jnp.asarray(reward), jnp.abs(place) > 3)

    def step(key, place, action):
        place = place + action[0] + 0.1 * jax.random.normal(key)
        return seen(place, place)

    reset = lambda key: seen(jax.random.uniform(key))  # noqa: E731
    return Environment(reset, step, Box((1,)), Box((1,), -1.0, 1.0))._replace(**changes)


def played(environment, keys, members, policy=ANSWER, normalizer=None, held_out=False, **rollout):
    task = make_rollout(environment, **ROLLOUT | rollout)
    play = task.held_out if held_out else task.evaluate
    return jax.jit(lambda keys, members: play(keys, policy, members, normalizer))(keys, members)


def network(input_size=1, output_size=1, **options):
    policy = make_policy("mlp", input_shape=(input_size,), output_size=output_size, **options)
    return policy, jax.vmap(policy.init)(jax.random.split(jax.random.key(5), 6))


def same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize("at_once", quickly([1, 2, 3, 7], 1, 3))
@pytest.mark.parametrize("normalizer", [None, fresh((1,))], ids=["plain", "normalised"])
def test_groups_of_episodes_have_the_same_bits(keys, at_once, normalizer):
    policy, members = network()
    arguments = (line(), keys(7), members, policy, normalizer)
    same(played(*arguments), played(*arguments, episodes_at_once=at_once))


def test_a_task_can_play_fewer_episodes_at_a_time(keys):
    policy, members = network()
    task = make_rollout(line(), **ROLLOUT)
    fewer = task.in_groups_of(2)
    same(*(jax.jit(lambda m, x=x: x.evaluate(keys(5), policy, m, None))(members)
           for x in (task, fewer)))  # fmt: skip
    assert make_rollout(line(), **ROLLOUT | {"episodes_at_once": 2}).in_groups_of is None


def test_members_and_episodes_may_be_one_axis(keys):
    policy, members = network()
    arguments = (line(), keys(4), members, policy)
    for one, other in zip(
        *(jax.tree.leaves(played(*arguments, flat=x)) for x in (True, False)), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_what_training_pays_more_is_not_in_held_out_returns(keys):
    members = jnp.array([[0.5], [0.0]])  # one leaves the line, one does not
    plain = played(line(), keys(4), members)
    more = {"reward_offset": 0.25, "alive_bonus": -1.0}
    paid = played(line(), keys(4), members, **more)
    lengths = plain.measures["length"]
    ended = lengths < ROLLOUT["episode_length"]
    assert ended[0].all()
    assert not ended[1].any()
    expected = plain.returns + 0.25 * lengths - (lengths - ended)
    np.testing.assert_allclose(paid.returns, expected, rtol=1e-5, atol=1e-5)
    same(played(line(), keys(4), members, held_out=True, **more).returns, plain.returns)
    assert make_rollout(line(), **ROLLOUT).held_out is None


# ---- legal actions, several agents ---------------------------------------------------------------


def picky(mask, action):
    """An environment that pays the number of the action, and whose mask stays."""

    def seen(reward):
        return Step(jnp.zeros(()), jnp.zeros(1), reward, jnp.bool_(False), mask)

    def step(key, state, action):
        return seen(jnp.sum(jnp.atleast_1d(action) * jnp.array([100, 10, 1])[-action.size :]) * 1.0)

    return Environment(lambda key: seen(jnp.zeros(())), step, Box((1,)), action)


@pytest.mark.parametrize(
    ("mask", "action", "outputs", "taken"),
    [
        ([1, 0, 1], Discrete(3), [1, 5, 2], 2),
        ([1, 0, 1], Discrete(3), [-7, 5, -8], 0),
        ([0, 1, 1], Discrete(3), [np.nan, np.nan, -1], 1),
        ([0, 1, 1, 0, 1], Codes((2, 3)), [5, 1, 7, 9, 8], 12),
        ([[0, 1, 1], [1, 0, 1]], Joint((2, 3)), [9, 1, 2, 3, 8, 0], 10),
    ],
)
def test_an_illegal_action_is_never_taken(keys, mask, action, outputs, taken):
    seen = played(picky(jnp.array(mask), action), keys(2), jnp.array([outputs], float))
    assert (seen.returns == taken * ROLLOUT["episode_length"]).all()


def test_agents_share_one_policy_and_have_a_carry_each(keys):
    """Each agent answers what it has counted, in a carry of its own."""

    def seen(rewards):
        return Step(jnp.zeros(()), jnp.arange(3.0)[:, None], jnp.sum(rewards), jnp.bool_(False))

    two = Environment(
        lambda key: seen(jnp.zeros(3)),
        lambda key, state, actions: seen(actions[:, 0] * jnp.array([1.0, 10.0, 100.0])),
        Box((1,)),
        Box((1,), -9.0, 9.0),
        agents=3,
    )
    counting = Policy(
        lambda key: None, lambda: jnp.zeros(1), lambda factor, carry, x: (factor * carry, carry + x)
    )
    returns = played(two, keys(1), jnp.ones((1, 1)), counting, episode_length=4).returns
    assert returns == (0 + 1 + 2 + 3) * (0 * 1 + 1 * 10 + 2 * 100)
    moments = fresh((1,))
    inputs = played(two, keys(2), jnp.ones((1, 1)), counting, moments, episode_length=4).inputs
    assert inputs.count == 2 * 4 * 3
    assert inputs.first == 2 * 4 * (0 + 1 + 2)


# ---- adapting ------------------------------------------------------------------------------------


def test_trials_begin_in_the_same_world_and_their_returns_add(keys):
    """The action is so large that a trial ends with its first step."""
    far, members = line(action=Box((1,), -9.0, 9.0)), jnp.array([[5.0]])
    once = played(far, keys(5), members)
    thrice = played(far, keys(5), members, trials=3)
    assert (once.measures["length"] == 1).all()
    assert (thrice.measures["length"] == 3).all()
    np.testing.assert_allclose(thrice.returns, 3 * once.returns, atol=1.0)  # steps are random
    states = [jax.random.uniform(key) for key in keys(5)]
    assert len({float(x) for x in states}) == 5


def test_feedback_shows_the_last_action_the_reward_and_a_beginning(keys):
    """The policy keeps in its carry what it has seen last."""
    keeping = Policy(lambda key: None, lambda: jnp.zeros(4), lambda p, carry, x: (p, x))
    task = make_rollout(line(), **ROLLOUT | {"feedback": True, "trials": 2})
    assert task.input_shape == (4,)  # action, began, observation, reward
    seen = jax.jit(
        lambda member: task.watch(keys(2), keeping, member, None, jnp.arange(2))
    )(jnp.array([0.5]))  # fmt: skip
    shown, totals, steps = seen.observations, np.asarray(seen.totals), int(seen.steps[0])
    assert shown["began"][0, 0] == 1
    assert shown["action"][0, 0] == 0
    np.testing.assert_allclose(shown["action"][1:steps, 0], 0.5)
    np.testing.assert_allclose(
        shown["reward"][1:steps, 0], np.diff(totals[:steps, 0]), rtol=1e-4, atol=1e-5
    )
    assert np.sum(shown["began"][:steps, 0]) == 2


# ---- observations and actions become plain numbers -----------------------------------------------


def test_codes_become_one_hot_and_parts_follow_one_another():
    spaces = {"b": Codes((2, 3), (4, 4, 2)), "a": Discrete(3), "c": (Box((2, 2)), Box(()))}
    encode, shape, about = encoding(spaces)
    grid = np.zeros((4, 4, 2), int)
    grid[0, 0] = [1, 2]
    seen = {"a": np.int32(2), "b": grid, "c": (np.arange(4.0).reshape(2, 2), np.float32(7))}
    x = encode(jax.tree.map(jnp.asarray, seen))
    assert x.shape == shape == (3 + 80 + 4 + 1,)
    assert x[:3].tolist() == [0, 0, 1]
    assert x[3:8].tolist() == [0, 1, 0, 0, 1]
    assert x[-5:].tolist() == [0, 1, 2, 3, 7]
    assert [part["path"] for part in about["parts"]] == [["a"], ["b"], ["c", 0], ["c", 1]]
    assert encoding(spaces["b"]).shape == (4, 4, 5)


def test_squashing_needs_bounds():
    with pytest.raises(ValueError, match="write clip"):
        decoding(Box((2,)), "squash")


@pytest.mark.parametrize("space", [Discrete(4), Codes((2, 3)), Joint((2, 3)), Box((2,), -1.0, 2.0)])
@pytest.mark.parametrize("masked", [False, True])
def test_actions_are_the_same_without_jax(space, masked):
    decode, size, about = decoding(space, "clip")
    if isinstance(space, Box) and masked:
        pytest.skip("numbers are never illegal")
    rng = np.random.default_rng(3)
    for _ in range(20):
        output = rng.normal(size=size)
        mask = rng.random(size) < 0.7
        mask[[0, -1]] = True
        given = (mask,) if masked else ()
        np.testing.assert_allclose(
            decoded(about(), output, *given), decode(jnp.asarray(output), *given), rtol=1e-6
        )


def test_observations_are_the_same_without_jax():
    spaces = {"grid": Codes((2, 3), (4, 4, 2)), "flag": Discrete(3), "rest": (Box((2,)), Box(()))}
    encode, _, about = encoding(spaces)
    rng = np.random.default_rng(4)
    seen = {
        "grid": rng.integers(2, size=(4, 4, 2)), "flag": 1,
        "rest": (rng.normal(size=2), np.float64(0.5)),
    }  # fmt: skip
    plain = json.loads(json.dumps(about))
    np.testing.assert_allclose(encoded(plain, seen), encode(jax.tree.map(jnp.asarray, seen)))
