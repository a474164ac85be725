"""MuJoCo Playground's environments: an episode is Playground's own loop, a wrong word one line."""

import subprocess
from pathlib import Path

import jax
import numpy as np
import pytest
from defaults import ROLLOUT

pytest.importorskip("mujoco_playground")

from test_brax import by_hand, drawn, members_of

from esrun.tasks import physics, playground
from esrun.tasks.playground import make_playground

pytestmark = pytest.mark.usefixtures("quick_to_compile")

JAX = {"impl": "jax"}


def task(env, env_params=(), **rollout):
    return make_playground(env=env, env_params=JAX | dict(env_params), **ROLLOUT | rollout)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "env_params", "repeats"),
    [
        ("CartpoleBalance", {}, 1),
        ("PendulumSwingup", {"action_repeat": 3}, 3),
    ],
)
def test_an_episode_is_the_packages_own_loop(env, env_params, repeats, keys):
    subject = task(env, env_params, episode_length=8)
    policy, members = members_of(subject, 2)
    done = jax.jit(lambda keys: subject.evaluate(keys, policy, members, None))(keys(2))
    environment = playground.registry.load(env, config_overrides=JAX | env_params)
    play = by_hand(environment, policy, 8, repeats=repeats)
    for i in range(2):
        params = jax.tree.map(lambda x, i=i: x[i], members)
        played = [play(params, key) for key in keys(2)]
        np.testing.assert_allclose(done.returns[i], np.array(played)[:, 0], rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(done.measures["length"], 8)


def test_a_critics_observations_are_left_out():
    obs = {"privileged_state": np.zeros(5), "state": np.arange(3.0)}
    np.testing.assert_array_equal(physics.observed(obs), [0, 1, 2])
    pixels = {"pixels/view_0": np.zeros((4, 4, 3))}
    assert physics.observed(pixels) is pixels


WRONG = {
    "task.env=CartpoleBalanc": "(did you mean CartpoleBalance or CartpoleBalanceSparse?)",
    "task.env=PointMass task.env_params.ctrldt=0.1": "(did you mean ctrl_dt?)",
    "task.env=PointMass task.env_params.episode_length=7": "write task.episode_length=7",
    "task.env=PointMass task.env_params.impl=warp": "write task.env_params.impl=jax",
    "task.env=PointMass task.env_params.ctrl_dt=soon": "cannot be made with task.env_params=",
}


@pytest.mark.parametrize("words", WRONG)
def test_what_there_is_not_is_one_line(words, in_process):
    code, out, err = in_process("explain", "task=playground", *words.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("esrun: task.env")
    assert WRONG[words] in err


ROBOTS = [x for x in playground.registry.ALL_ENVS if x not in playground.dm_control_suite.ALL_ENVS]


@pytest.mark.parametrize("env", ROBOTS)
def test_robots_are_never_fetched_silently(env, monkeypatch, tmp_path):
    """The line names a command, which is Playground's own way to fetch them."""
    monkeypatch.setattr(playground.mjx_env, "MENAGERIE_PATH", tmp_path / "mujoco_menagerie")
    monkeypatch.setattr(subprocess, "Popen", None)
    with pytest.raises(ValueError, match=r"which are not here: fetch them \(with git\)") as caught:
        playground.opened(env, '{"impl": "jax"}')
    assert playground.FETCH in str(caught.value)
    assert callable(playground.mjx_env.ensure_menagerie_exists)


def test_nested_parameters_are_given_as_the_package_takes_them():
    config = playground.registry.get_default_config("Go1JoystickFlatTerrain")
    given = {"reward_config": {"scales": {"termination": -2.0}}, "impl": "jax"}
    flat = playground.overrides(given, config)
    assert flat == {"reward_config.scales.termination": -2.0, "impl": "jax"}
    config.update_from_flattened_dict(flat)
    assert config.reward_config.scales.termination == -2.0


def test_where_there_is_no_choice_of_physics_the_default_is_left_out():
    config = playground.registry.get_default_config("AeroCubeRotateZAxis")
    assert "impl" not in config
    assert playground.overrides({"impl": "jax"}, config) == {}
    with pytest.raises(ValueError, match=r"task\.env_params\.impl is not a parameter"):
        playground.overrides({"impl": "warp"}, config)


@pytest.mark.slow
def test_trains_and_goes_on_to_the_same_bits(in_process, tmp_path: Path):
    words = ["task=playground", "task.env=PointMass", "strategy.population_size=4"]
    words += ["task.episode_length=5", "checkpoint.every=1", "eval.episodes=2"]
    assert in_process(*words, "generations=3", "hydra.run.dir=whole")[0] == 0
    assert in_process(*words, "generations=1", "hydra.run.dir=part")[0] == 0
    assert in_process("resume", "part", "generations=3")[0] == 0
    whole, part = ((tmp_path / x / "policy.safetensors").read_bytes() for x in ("whole", "part"))
    assert whole == part


@pytest.mark.slow
def test_pictures_show_what_moves(keys):
    first, last = drawn(task("PendulumSwingup", episode_length=20), keys, 20)
    assert first.shape == last.shape == (physics.HEIGHT, physics.WIDTH, 3)
    assert 0.0001 < np.any(first != last, axis=2).mean() < 0.5
