"""Pgx's games as tasks: episodes are those of a loop over the package's own steps, whoever begins
and whoever plays against the policy."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pgx
import pytest
from conftest import quickly
from defaults import ROLLOUT, make_policy
from scripted import check_it_goes_on, evaluate, scripts, watched

from esrun.runs.policy import packed
from esrun.tasks.pgx import Game, make_pgx, opened
from esrun.types import Moments

pytestmark = pytest.mark.usefixtures("quick_to_compile")

GAMES = pgx.available_envs()


def task(env, env_params=(), opponent="random", **rollout):
    return make_pgx(env=env, env_params=dict(env_params), opponent=opponent, **ROLLOUT | rollout)


def largest_legal(output, state):
    return int(
        np.argmax(np.where(np.asarray(state.legal_action_mask), np.asarray(output), -np.inf))
    )


def at_random(key, state, player):
    legal = jnp.where(state.legal_action_mask, 0.0, -jnp.inf)
    return int(jax.random.categorical(key, legal))


@functools.cache
def compiled(env):
    """-> a game's own two functions."""
    game = pgx.make(env)
    return jax.jit(game.init), jax.jit(game.step)


def by_hand(env, rows, key, episode_length, theirs=at_random):
    """-> (return, moves of ours, who began, illegal moves) of one game, by Pgx's own functions."""
    init, advance = compiled(env)
    illegal = 0

    def step(state, action, key):
        nonlocal illegal
        illegal += not state.legal_action_mask[action]
        return advance(state, action, key)

    def others(state, key):
        won = 0.0
        for i in range(1000):
            if state.terminated or state.current_player == 0:
                return state, won
            move_key, step_key = jax.random.split(jax.random.fold_in(key, i))
            player = int(state.current_player)
            state = step(state, theirs(move_key, state, player), step_key)
            won += float(state.rewards[0])
        raise AssertionError

    reset_key, step_key = jax.random.split(key)
    first_key, reset_key = jax.random.split(reset_key)
    state = init(first_key)
    first = int(state.current_player)
    state, total = others(state, reset_key)
    for t in range(episode_length):
        if state.terminated:
            return total, max(t, 1), first, illegal
        our_key, their_key = jax.random.split(jax.random.fold_in(step_key, t))
        state = step(state, largest_legal(rows[t % len(rows)], state), our_key)
        total += float(state.rewards[0])
        state, won = others(state, their_key)
        total += won
    return total, episode_length, first, illegal


LOOPS = ("tic_tac_toe", "leduc_holdem", "2048", "sparrow_mahjong", "minatar-breakout")
"""A board, cards, games of one and of three players."""


@pytest.mark.parametrize("env", quickly(LOOPS, "tic_tac_toe"))
def test_games_are_those_of_the_packages_own_loop(env, keys):
    subject = task(env, episode_length=12)
    members = scripts(subject, 2)
    returns, lengths, success = evaluate(subject, keys(8), members)
    first = set()
    for i in range(2):
        own = [by_hand(env, members[i], key, 12) for key in keys(8)]
        np.testing.assert_allclose(returns[i], [x[0] for x in own], rtol=1e-5)
        np.testing.assert_array_equal(lengths[i], [x[1] for x in own])
        assert sum(x[3] for x in own) == 0
        first |= {x[2] for x in own}
        if success is not None:
            np.testing.assert_array_equal(success[i], [x[0] > 0 for x in own])
    players = pgx.make(env).num_players
    assert first == set(range(players))
    assert (success is None) == (players == 1)


class Resigning(NamedTuple):
    """A game in which player 1 begins or not, and gives up at its first move: we have won 5 by
    then, and 2 a move of ours."""

    current_player: jax.Array
    observation: Any = np.zeros(1)
    rewards: Any = np.zeros(2)
    terminated: Any = np.bool_(False)
    truncated: Any = np.bool_(False)
    legal_action_mask: Any = np.ones(2, bool)

    num_players = 2

    @staticmethod
    def init(key):
        return Resigning(jax.random.bernoulli(key).astype(int))

    @staticmethod
    def step(state, action, key):
        theirs = state.current_player == 1
        won = jnp.where(theirs, 5.0, 2.0) * ~state.terminated
        return state._replace(
            current_player=1 - state.current_player,
            rewards=jnp.stack([won, -won]),
            terminated=state.terminated | theirs,
        )


def test_what_others_give_away_before_our_first_move_is_paid(keys, monkeypatch):
    monkeypatch.setattr("esrun.tasks.pgx.opened", lambda env, env_params: Resigning)
    subject = task("resigning")
    returns, lengths, _ = evaluate(subject, keys(20), scripts(subject, 1))
    first = [jax.random.split(jax.random.split(key)[0])[0] for key in keys(20)]
    theirs = np.array([bool(jax.random.bernoulli(key)) for key in first])
    assert 0 < theirs.sum() < 20
    np.testing.assert_array_equal(returns[0], np.where(theirs, 5, 7))
    np.testing.assert_array_equal(lengths[0], 1)


def test_an_illegal_move_is_never_made(keys):
    """Pgx ends a game at once where a move is illegal: whoever always wants the first column of
    Connect Four, which holds six, would lose by the seventh."""
    subject = task("connect_four", episode_length=30)
    stubborn = jnp.zeros((1, 1, 7)).at[..., 0].set(1.0)
    states, _, steps = watched(subject, keys(1)[0], stubborn[0])
    boards = states.state._x.board[: steps + 1]
    assert steps > 1
    assert np.all(np.diff((boards >= 0).sum(-1)) > 0)  # a piece more, and no game that stood still
    returns, _, _ = evaluate(subject, keys(64), stubborn)
    own = [by_hand("connect_four", stubborn[0], key, 30) for key in keys(2)]
    np.testing.assert_array_equal(returns[0][:2], [x[0] for x in own])
    assert np.mean(returns) > 0.2  # four in the first column, most often


# ---- a policy that a run has left as the opponent ------------------------------------------------


@pytest.fixture
def stored(tmp_path):
    """-> (option, env) -> the file of a policy, its parameters at random; and what it answers."""

    def make(option, env, **changes):
        subject = task(env)
        sizes = {"input_shape": subject.input_shape, "output_size": subject.output_size}
        policy = make_policy(option, **sizes, **changes)
        params = jax.device_get(policy.init(jax.random.key(7)))
        shape = subject.input_shape
        seen = 4, np.full(shape, 0.3), np.ones(shape)  # a mean of 0.3, a deviation of 0.5
        moments = Moments(*(np.asarray(x, np.float32) for x in seen))
        about = {"policy": _options(option) | changes, "task": {"name": "pgx"}, **sizes}
        path = tmp_path / "policy.safetensors"
        path.write_bytes(packed(params, moments, about))
        return path, lambda carry, x: policy.apply(params, carry, (x - 0.3) / 0.5), policy

    return make


def _options(option):
    from esrun.config.compose import composed

    said = composed([f"policy={option}", "task=sine"]).config["policy"]
    return {key: x for key, x in said.items() if key not in ("keep_every", "start")}


@pytest.mark.slow
@pytest.mark.parametrize("option", ["mlp", "rnn"])
def test_a_stored_policy_plays_as_it_was_trained(option, stored, keys):
    path, answer, policy = stored(option, "tic_tac_toe", hidden=[5])
    subject = task("tic_tac_toe", opponent=str(path), episode_length=9)
    members = scripts(subject, 2)
    returns, lengths, _ = evaluate(subject, keys(6), members)
    for i, member in enumerate(members):
        for j, key in enumerate(keys(6)):
            carries = {1: policy.initial_carry()}

            def theirs(key, state, player, carries=carries):
                output, carries[player] = answer(carries[player], state.observation.astype(float))
                return largest_legal(output, state)

            total, moves, _, illegal = by_hand("tic_tac_toe", member, key, 9, theirs)
            assert (returns[i, j], lengths[i, j], illegal) == (total, moves, 0)


@pytest.mark.slow
def test_two_opponents_have_a_carry_each(stored, keys):
    path, answer, policy = stored("rnn", "sparrow_mahjong", hidden=[4])
    subject = task("sparrow_mahjong", opponent=str(path), episode_length=6)
    members = scripts(subject, 1)
    returns, lengths, _ = evaluate(subject, keys(4), members)
    for j, key in enumerate(keys(4)):
        carries = {player: policy.initial_carry() for player in (1, 2)}

        def theirs(key, state, player, carries=carries):
            output, carries[player] = answer(carries[player], state.observation.astype(float))
            return largest_legal(output, state)

        total, moves, _, _ = by_hand("sparrow_mahjong", members[0], key, 6, theirs)
        assert returns[0, j] == pytest.approx(total, abs=1e-5)
        assert lengths[0, j] == moves


def test_who_cannot_play_is_said_in_a_line(stored, tmp_path):
    path, _, _ = stored("mlp", "tic_tac_toe", hidden=[5])
    broken = tmp_path / "broken"
    broken.write_bytes(b"no policy")
    for opponent, said in {
        path: r"takes an input of shape \[3, 3, 2\] and has 9 outputs, where there are \[6, 7, 2\]",
        tmp_path / "gone": "gone is not there",
        broken: "broken cannot be read",
    }.items():
        with pytest.raises(ValueError, match=said) as error:
            task("connect_four", opponent=str(opponent))
        assert "\n" not in str(error.value)
        assert "write task.opponent=random" in str(error.value)


# ---- what there is ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "env_params", "said"),
    [
        ("connectfour", {}, r"got connectfour \(did you mean connect_four\?\)"),
        ("go_9x9", {"comi": 5.5}, r"env_params.comi .* \(did you mean komi\?\)"),
        ("chess", {"size": 8}, "write none, it has no parameters"),
        ("hex", {"size": 5}, "pgx cannot make hex with"),
    ],
)
def test_what_the_package_has_not_is_said_in_a_line(env, env_params, said):
    with pytest.raises(ValueError, match=said) as error:
        task(env, env_params)
    assert "\n" not in str(error.value)


def test_parameters_reach_the_game():
    assert opened("go_9x9", {"history_length": 2}).observation_shape == (9, 9, 5)
    assert opened("minatar-breakout", {"use_minimal_action_set": False}).num_actions == 6


@pytest.mark.parametrize("env", quickly(GAMES, "tic_tac_toe", "backgammon", "minatar-breakout"))
def test_every_game_is_one(env):
    from esrun.config.schema.environments import CARDS

    subject = task(env, episode_length=4)
    members = scripts(subject, 1, steps=4)
    keys = jax.random.split(jax.random.key(0))
    returns, _, _ = jax.eval_shape(lambda members: evaluate(subject, keys, members), members)
    assert returns.shape == (1, 2)
    assert (len(subject.input_shape) >= 2) == (env not in CARDS)


@pytest.mark.parametrize("env", quickly(GAMES, "tic_tac_toe", "minatar-breakout"))
def test_every_game_has_a_picture(env):
    pytest.importorskip("resvg_py")
    state = jax.device_get(opened(env, {}).init(jax.random.key(0)))
    picture = task(env).frame(Game(state, (), np.zeros(())))
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.shape[2] == 3
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) >= 2


@pytest.mark.slow
def test_a_run_goes_on_to_the_same_bits(typed, tmp_path):
    words = (
        "task=pgx", "task.env=kuhn_poker", "strategy=openai_es", "policy.hidden=[]",
        "strategy.population_size=4", "task.episodes=2", "eval.episodes=2",
    )  # fmt: skip
    check_it_goes_on(typed, tmp_path, words)
    # and what it has left can be played against
    done = typed(*words, "generations=1", "task.opponent=whole", "hydra.run.dir=next")
    assert done.returncode == 0, done.stderr
