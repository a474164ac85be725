"""XLand-MiniGrid as a task: episodes are those of the package's own loop."""

import jax
import numpy as np
import pytest
import xminigrid
from conftest import quickly
from defaults import ROLLOUT
from scripted import check_it_goes_on, evaluate, scripts, watched

from esrun.tasks.xminigrid import make_xminigrid

pytestmark = pytest.mark.usefixtures("quick_to_compile")


def task(env, env_params=(), **rollout):
    return make_xminigrid(env=env, env_params=dict(env_params), **ROLLOUT | rollout)


def by_hand(env, env_params, rows, keys, episode_length):
    """-> (returns, lengths, observations of the first) of the package's own loop."""
    grid, params = xminigrid.make(env, **env_params)
    reset = jax.jit(lambda key: grid.reset(params, key))
    step = jax.jit(lambda now, action: grid.step(params, now, action))
    returns, lengths, first = [], [], []
    for key in keys:
        now, total, t = reset(jax.random.split(key)[0]), 0.0, 0
        seen = [np.asarray(now.observation)]
        while t < episode_length and not now.last():
            now = step(now, int(np.argmax(rows[t % len(rows)])))
            total, t = total + float(now.reward), t + 1
            seen.append(np.asarray(now.observation))
        returns.append(total)
        lengths.append(t)
        first = first or seen
    return returns, lengths, first


CASES = {
    "MiniGrid-EmptyRandom-5x5": {"max_steps": 30},
    "XLand-MiniGrid-R1-9x9": {"view_size": 3, "max_steps": 20},
}


@pytest.mark.parametrize("env", quickly(CASES, "MiniGrid-EmptyRandom-5x5"))
def test_episodes_are_those_of_the_packages_own_loop(env, keys):
    subject = task(env, CASES[env], episode_length=60)
    members = scripts(subject, 3)
    returns, lengths, success = evaluate(subject, keys(5), members)
    for i in range(3):
        own = by_hand(env, CASES[env], members[i], keys(5), 60)
        np.testing.assert_allclose(returns[i], own[0], rtol=1e-5)
        np.testing.assert_array_equal(lengths[i], own[1])
        np.testing.assert_array_equal(success[i], np.greater(own[0], 0))
    if "Empty" in env:  # some get there by chance, each after its own number of steps
        assert 0 < np.mean(success) < 1
        assert len(set(np.ravel(lengths))) > 2


def test_what_is_seen_are_codes_of_tiles_and_colours(keys):
    subject = task("MiniGrid-EmptyRandom-5x5", episode_length=8)
    rows = scripts(subject, 1)[0]
    _, seen, steps = watched(subject, keys(1)[0], rows)
    own = by_hand("MiniGrid-EmptyRandom-5x5", {}, rows, keys(1), 8)[2]
    np.testing.assert_array_equal(seen[: steps + 1], own)
    assert subject.input_shape == (7, 7, 13 + 12)
    one_hot = np.asarray(subject.interface.encode(own[0]))
    np.testing.assert_array_equal(one_hot[..., :13].argmax(-1), own[0][..., 0])
    np.testing.assert_array_equal(one_hot[..., 13:].argmax(-1), own[0][..., 1])
    np.testing.assert_array_equal(one_hot.sum(-1), np.full((7, 7), 2))


def test_pictures_are_the_packages_own(keys):
    subject = task("MiniGrid-EmptyRandom-5x5", episode_length=3)
    states, _, _ = watched(subject, keys(1)[0], scripts(subject, 1)[0])
    grid, params = xminigrid.make("MiniGrid-EmptyRandom-5x5")
    own = grid.render(params, grid.reset(params, jax.random.split(keys(1)[0])[0]))
    picture = subject.frame(jax.tree.map(lambda x: x[0], states))
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, own)


@pytest.mark.parametrize(
    ("env", "env_params", "said"),
    [
        ("MiniGrid-Empty-5", {}, r"got MiniGrid-Empty-5 \(did you mean MiniGrid-Empty-5x5"),
        ("MiniGrid-Empty-5x5", {"view": 5}, r"env_params.view .* \(did you mean view_size\?\)"),
        ("MiniGrid-Empty-5x5", {"view_size": 5.0}, r"view_size must be of type int, got 5.0"),
    ],
)
def test_what_the_package_has_not_is_said_in_a_line(env, env_params, said):
    with pytest.raises(ValueError, match=said) as error:
        task(env, env_params)
    assert "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("env", xminigrid.registered_environments())
def test_every_environment_is_one(env):
    subject = task(env)
    members = scripts(subject, 1)
    seen = jax.eval_shape(
        lambda members: evaluate(subject, jax.random.split(jax.random.key(0)), members), members
    )
    assert seen[0].shape == (1, 2)


@pytest.mark.slow
def test_a_run_goes_on_to_the_same_bits(typed, tmp_path):
    words = (
        "task=xminigrid", "task.env=MiniGrid-Empty-5x5", "strategy=openai_es", "policy.hidden=[]",
        "strategy.population_size=4", "task.episodes=1", "task.episode_length=9", "eval.episodes=2",
    )  # fmt: skip
    check_it_goes_on(typed, tmp_path, words)
