"""Brax's environments: an episode is Brax's own loop, a wrong word one line, and pictures are
MuJoCo's."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import quickly
from defaults import ROLLOUT, make_policy

pytest.importorskip("brax")

from esrun.tasks import brax, physics
from esrun.tasks.brax import make_brax

pytestmark = [
    pytest.mark.usefixtures("quick_to_compile"),
    pytest.mark.filterwarnings("ignore:Accessing `:DeprecationWarning"),  # Brax of MJX
    pytest.mark.filterwarnings("ignore:Brax System, piplines:UserWarning"),  # played by hand
]


def task(env, env_params=(), **rollout):
    return make_brax(env=env, env_params=dict(env_params), **ROLLOUT | rollout)


def members_of(task, size):
    sizes = {"input_shape": task.input_shape, "output_size": task.output_size}
    policy = make_policy("mlp", **sizes, hidden=[8], init="normal")
    return policy, jax.vmap(policy.init)(jax.random.split(jax.random.key(3), size))


def by_hand(environment, policy, length, seen=lambda obs: obs, repeats=1):
    """-> (params, key) -> (return, steps) of one episode, in the form that Brax and Playground
    share."""
    reset, step = jax.jit(environment.reset), jax.jit(environment.step)
    act = jax.jit(lambda params, obs: jnp.clip(policy.apply(params, (), seen(obs))[0], -1, 1))

    def play(params, key):
        state, total = reset(jax.random.fold_in(key, 0)), 0.0
        for t in range(length):
            action = act(params, state.obs)
            for _ in range(repeats):
                state = step(state, action)
                total += float(state.reward)
            if state.done:
                return total, t + 1
        return total, length

    return play


EPISODES = {
    "inverted_pendulum": ({"backend": "spring"}, 30, lambda obs: obs),
    "fast": ({"obs_mode": "dict_state", "asymmetric_obs": True}, 6, lambda obs: obs["state"]),
    "reacher": ({"backend": "mjx"}, 5, lambda obs: obs),
}


@pytest.mark.parametrize("env", quickly(EPISODES, "fast"))
@pytest.mark.parametrize("flat", [False, True])
def test_an_episode_is_the_packages_own_loop(env, flat, keys):
    env_params, length, seen = EPISODES[env]
    subject = task(env, env_params, episode_length=length, flat=flat)
    policy, members = members_of(subject, 3)
    done = jax.jit(lambda keys: subject.evaluate(keys, policy, members, None))(keys(2))
    play = by_hand(brax.envs.get_environment(env, **env_params), policy, length, seen)
    for i in range(3):
        params = jax.tree.map(lambda x, i=i: x[i], members)
        returns, steps = np.array([play(params, key) for key in keys(2)]).T
        np.testing.assert_allclose(done.returns[i], returns, rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(done.measures["length"][i], steps)
    if env == "inverted_pendulum":  # it pays 1 a step until the pole has fallen, that one too
        np.testing.assert_array_equal(done.returns, done.measures["length"])
        assert 1 < done.measures["length"].min() < length


WRONG = {
    "task.env=antt": "must be an environment of Brax, got antt (did you mean ant?): write one of",
    "task.env=swimmer": "written for another JAX than",
    "task.env=ant task.env_params.healthy_rewards=2": "(did you mean healthy_reward or",
    "task.env=ant task.env_params.backend=springs": "one of generalized, positional, spring, mjx",
    "task.env=ant task.env_params.use_contact_forces=true": "use_contact_forces not implemented",
}


@pytest.mark.parametrize("words", WRONG)
def test_what_there_is_not_is_one_line(words, in_process):
    code, out, err = in_process("explain", "task=brax", *words.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("esrun: task.env")
    assert WRONG[words] in err


def test_nothing_is_printed_and_no_file_left(typed, tmp_path):
    """MuJoCo warns of something in half-cheetah's model, by itself and into a file."""
    done = typed("explain", "task=brax", "task.env=halfcheetah")
    assert (done.returncode, done.stderr) == (0, "")
    assert "17 x 48" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_trains_and_goes_on_to_the_same_bits(in_process, tmp_path):
    words = ["task=brax", "task.env=fast", "strategy.population_size=4", "eval.episodes=2"]
    words += ["task.episode_length=20", "checkpoint.every=1"]
    assert in_process(*words, "generations=3", "hydra.run.dir=whole")[0] == 0
    assert in_process(*words, "generations=1", "hydra.run.dir=part")[0] == 0
    assert in_process("resume", "part", "generations=3")[0] == 0
    whole, part = ((tmp_path / x / "policy.safetensors").read_bytes() for x in ("whole", "part"))
    assert whole == part
    # 0.02 faster with each step whose action points forward, and paid for the way so far
    best = sum(0.02 * 0.02 * t * (t + 1) / 2 for t in range(1, 21))
    rows = map(json.loads, (tmp_path / "whole/metrics.jsonl").read_text().splitlines())
    assert max(row["best_so_far"] for row in rows) == pytest.approx(best, rel=1e-5)


def drawn(task, keys, steps):
    """-> pictures of the first and of the last state of an episode."""
    policy, members = members_of(task, 1)
    params = jax.tree.map(lambda x: x[0], members)
    watch = jax.jit(lambda keys: task.watch(keys, policy, params, None, jnp.array([0])))
    states = jax.tree.map(np.asarray, watch(keys(1)).states)
    try:
        return [task.frame(jax.tree.map(lambda x, t=t: x[t, 0], states)) for t in (0, steps)]
    except physics.ConfigError:
        pytest.skip("there is no OpenGL here")


@pytest.mark.slow
def test_pictures_show_what_moves(keys):
    first, last = drawn(task("reacher", {"backend": "spring"}, episode_length=20), keys, 20)
    assert first.shape == last.shape == (physics.HEIGHT, physics.WIDTH, 3)
    assert first.dtype == np.uint8
    moved = np.any(first != last, axis=2).mean()
    assert 0.001 < moved < 0.5


def test_without_opengl_one_line_says_what_to_install(monkeypatch):
    def missing(*_):
        raise AttributeError("'NoneType' object has no attribute 'eglQueryString'")

    environment = brax.opened("inverted_double_pendulum", '{"backend": "spring"}')
    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.setattr(physics.mujoco, "Renderer", missing)
    with pytest.raises(physics.ConfigError, match="apt-get install libegl1 libgl1-mesa-dri"):
        environment.frame(None)
