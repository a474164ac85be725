"""JaxMARL as tasks: episodes are those of a loop over the package's own steps, for agents that are
alike and for others, with and without those who play against them."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import quickly
from defaults import ROLLOUT
from scripted import check_it_goes_on, evaluate, scripts, watched

from esrun.config.schema.environments import GRIDS
from esrun.tasks.jaxmarl import Match, make_jaxmarl, opened, registered_envs
from esrun.tasks.jaxmarl_views import quiet

pytestmark = pytest.mark.usefixtures("quick_to_compile")

ABSENT = {"LearnedPolicyEnemySMAX", *(x for x in registered_envs if x.startswith("JaxRobotarium"))}
"""What needs a network or a package that is not here."""


def task(env, env_params=(), team="all", opponent="random", **rollout):
    own = {"env_params": dict(env_params), "team": team, "opponent": opponent}
    return make_jaxmarl(env=env, **own, **ROLLOUT | rollout)


@functools.cache
def compiled(env):
    """-> a game's own two functions."""
    game = opened(env, {})
    return jax.jit(quiet(game.reset)), jax.jit(quiet(game.step_env))


def by_hand(env, rows, key, length, act, others=None):
    """-> (rewards by agent [t], observations by agent [t + 1], states) of the package's own loop:
    `act` (row, state) -> the actions of the policy's agents by name, `others` (key) those of the
    rest."""
    reset, step = compiled(env)
    reset_key, step_key = jax.random.split(key)
    observed, state = reset(reset_key)
    rewards, seen, states, over = [], [observed], [state], False
    for t in range(length):
        if over:
            break
        key, theirs = jax.random.fold_in(step_key, t), {}
        if others:
            key, their_key = jax.random.split(key)
            theirs = others(their_key)
        actions = act(rows[t % len(rows)], state) | theirs
        observed, state, reward, done, _ = step(key, state, actions)
        rewards.append(reward)
        seen.append(observed)
        states.append(state)
        over = bool(done["__all__"])
    return rewards, seen, states


def together(names, rewards):
    """-> the return of agents of those names."""
    return sum(np.mean([float(reward[name]) for name in names]) for reward in rewards)


def test_agents_that_are_alike_share_a_policy(keys):
    """Cooperative navigation: three agents see 18 numbers and have five actions each."""
    subject = task("MPE_simple_spread_v3", episode_length=40)
    assert (subject.input_shape, subject.output_size) == ((18,), 5)
    members = scripts(subject, 2)
    returns, lengths, _ = evaluate(subject, keys(2), members)
    names = [f"agent_{i}" for i in range(3)]

    def act(row, state):
        return dict.fromkeys(names, jnp.argmax(row))

    for i in range(2):
        for j, key in enumerate(keys(2)):
            rewards, _, _ = by_hand("MPE_simple_spread_v3", members[i], key, 40, act)
            np.testing.assert_allclose(returns[i, j], together(names, rewards), rtol=1e-4)
            assert (
                lengths[i, j] == len(rewards) == 26
            )  # its own limit, 25, is looked at before a step


def test_agents_that_differ_are_padded_and_shown_their_number(keys):
    """A speaker sees 3 numbers and says one of 3 words, a listener sees 11 and has 5 actions."""
    subject = task("MPE_simple_speaker_listener_v4", episode_length=6)
    assert (subject.input_shape, subject.output_size) == ((11 + 2,), 5)
    rows = scripts(subject, 1).at[0, 1].set(jnp.arange(5.0))  # the last two are no words
    returns, _, _ = evaluate(subject, keys(1), rows)

    def act(row, state):
        return {"speaker_0": jnp.argmax(row[:3]), "listener_0": jnp.argmax(row)}

    own = by_hand("MPE_simple_speaker_listener_v4", rows[0], keys(1)[0], 6, act)
    names = ["speaker_0", "listener_0"]
    np.testing.assert_allclose(returns[0, 0], together(names, own[0]), rtol=1e-4)
    _, (numbers, agents), _ = watched(subject, keys(1)[0], rows[0])
    for t, seen in enumerate(own[1]):
        np.testing.assert_allclose(numbers[t, 0, :3], seen["speaker_0"], atol=1e-5)
        np.testing.assert_array_equal(numbers[t, 0, 3:], 0)
        np.testing.assert_allclose(numbers[t, 1], seen["listener_0"], atol=1e-5)
    np.testing.assert_array_equal(agents[0], [0, 1])
    encoded = jax.vmap(subject.interface.encode)((numbers[0], agents[0]))
    np.testing.assert_array_equal(encoded[:, 11:], np.eye(2))


@pytest.mark.slow
def test_what_is_not_legal_is_never_done(keys):
    """In Hanabi all but one agent may only pass, who acts may not."""
    subject = task("hanabi", episode_length=8)
    rows = scripts(subject, 1)
    game = opened("hanabi", {})
    did = []

    def act(row, state):
        legal = game.get_legal_moves(state)
        actions = {a: jnp.argmax(jnp.where(legal[a], row, -jnp.inf)) for a in game.agents}
        did.append([int(actions[a]) for a in game.agents])
        return actions

    returns, lengths, _ = evaluate(subject, keys(1), rows)
    rewards, _, _ = by_hand("hanabi", rows[0], keys(1)[0], 8, act)
    assert returns[0, 0] == pytest.approx(together(game.agents, rewards))
    assert lengths[0, 0] == len(rewards)
    passing = game.action_space("agent_0").n - 1
    assert all((passing in pair) and pair != [passing, passing] for pair in did)


def test_who_is_not_of_the_team_acts_at_random(keys):
    """Three chase one, who pays for what they win: the return is theirs alone."""
    subject = task("MPE_simple_tag_v3", team=["adversary"], episode_length=25)
    rows = scripts(subject, 1)
    hunters = [f"adversary_{i}" for i in range(3)]

    def act(row, state):
        return dict.fromkeys(hunters, jnp.argmax(row))

    def others(key):
        (key,) = jax.random.split(key, 1)
        return {"agent_0": jax.random.categorical(key, jnp.zeros(5))}

    returns, _, _ = evaluate(subject, keys(6), rows)
    own = [by_hand("MPE_simple_tag_v3", rows[0], key, 25, act, others)[0] for key in keys(2)]
    np.testing.assert_allclose(returns[0, :2], [together(hunters, x) for x in own], rtol=1e-4)
    assert np.all(returns >= 0)
    prey = task("MPE_simple_tag_v3", team=["agent_0"], episode_length=25)
    assert (prey.input_shape, prey.output_size) == (subject.input_shape, subject.output_size)
    assert np.mean(evaluate(prey, keys(6), scripts(prey, 1))[0]) < 0


def test_a_team_in_the_middle_keeps_its_places(keys):
    """Alice and Bob are the second and third of three."""
    subject = task("MPE_simple_crypto_v3", team=["bob", "alice"], episode_length=4)
    rows = scripts(subject, 1)

    def act(row, state):
        return dict.fromkeys(("alice_0", "bob_0"), jnp.argmax(row))

    def others(key):
        (key,) = jax.random.split(key, 1)
        return {"eve_0": jax.random.categorical(key, jnp.zeros(4))}

    own = by_hand("MPE_simple_crypto_v3", rows[0], keys(1)[0], 4, act, others)[0]
    returns, _, _ = evaluate(subject, keys(1), rows)
    np.testing.assert_allclose(returns[0, 0], together(["alice_0", "bob_0"], own), rtol=1e-4)


@pytest.mark.parametrize(
    ("env", "more", "said"),
    [
        ("MPE_simple_spread", {}, r"\(did you mean MPE_simple_spread_v3"),
        ("switch_riddle", {"env_params": {"agents": 4}}, r"\(did you mean num_agents\?\)"),
        ("switch_riddle", {"team": ["agnt_0"]}, r"got agnt_0 \(did you mean agent_0"),
        ("LearnedPolicyEnemySMAX", {}, "write task.env=SMAX"),
        ("switch_riddle", {"opponent": "gone"}, "gone is not there"),
    ],
)
def test_what_the_package_has_not_is_said_in_a_line(env, more, said):
    with pytest.raises(ValueError, match=said) as error:
        task(env, **more)
    assert "\n" not in str(error.value)


def test_parameters_reach_the_environment():
    assert task("MPE_simple_spread_v3", {"num_agents": 2, "num_landmarks": 2}).input_shape == (12,)
    battle = task("SMAX", {"scenario": "3m"})
    assert battle.output_size == 5 + 3
    assert task("overcooked", {"layout": "cramped_room"}).input_shape == (4, 5, 26)


def test_nothing_is_printed_and_streams_stay(capfd, tmp_path, monkeypatch):
    import subprocess
    import sys

    code = (
        "import io, sys; sys.stderr = own = io.StringIO()\n"
        "from esrun.tasks.jaxmarl import opened\n"
        "opened('MPE_simple_v3', {}); assert sys.stderr is own, sys.stderr\n"
        "assert not own.getvalue(), own.getvalue()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


QUICK = ("MPE_simple_spread_v3", "overcooked", "switch_riddle")


@pytest.mark.parametrize("env", quickly([x for x in registered_envs if x not in ABSENT], *QUICK))
def test_every_environment_is_one(env):
    subject = task(env, episode_length=4)
    members = scripts(subject, 1, steps=4)
    keys = jax.random.split(jax.random.key(0))
    returns, _, _ = jax.eval_shape(lambda members: evaluate(subject, keys, members), members)
    assert returns.shape == (1, 2)
    assert (len(subject.input_shape) == 3) == (env in GRIDS)


DRAWN = (
    "MPE_simple_spread_v3", "MPE_simple_world_comm_v3", "SMAX", "HeuristicEnemySMAX", "jaxnav",
    "overcooked", "overcooked_v2", "storm", "storm_2p", "storm_np",
)  # fmt: skip


@pytest.mark.parametrize("env", quickly(DRAWN, "MPE_simple_spread_v3", "overcooked"))
def test_pictures_are_drawn_from_arrays_of_numpys(env):
    with warnings.catch_warnings(action="ignore"):
        _, state = opened(env, {}).reset(jax.random.key(0))

    def plain(x):
        keys = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(x) if keys else x)

    picture = task(env).frame(Match(jax.tree.map(plain, state), (), ()))
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.shape[2] == 3
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 3


@pytest.mark.slow
def test_a_run_goes_on_to_the_same_bits(typed, tmp_path):
    words = (
        "task=jaxmarl", "task.env=MPE_simple_push_v3", "task.team=[adversary]", "policy.hidden=[]",
        "strategy=openai_es", "strategy.population_size=4", "task.episodes=1", "eval.episodes=2",
        "task.episode_length=9",
    )  # fmt: skip
    check_it_goes_on(typed, tmp_path, words)
    # what the one has learned, the other plays against
    done = typed(*words, "generations=1", "task.opponent=whole", "hydra.run.dir=next")
    assert done.returncode == 0, done.stderr
