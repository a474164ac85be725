"""Craftax: the rollout is Craftax's own loop, and nothing is written into the installed package."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("craftax")

from conftest import tree
from craftax.craftax_env import make_craftax_env_from_name
from defaults import ROLLOUT
from PIL import Image
from plain_loop import check_by_hand, check_resumes

from esrun.tasks import craftax

pytestmark = pytest.mark.usefixtures("quick_to_compile")

CLASSIC = "Craftax-Classic-Symbolic-v1"


def task(env, length=30, **env_params):
    rollout = ROLLOUT | {"episode_length": length}
    return craftax.make_craftax(env=env, env_params=env_params, **rollout)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "env_params", "shape", "actions"),
    [
        (CLASSIC, {"zombie_health": 9}, (1345,), 17),
        ("Craftax-Classic-Pixels-v1", {"map_size": [16, 16]}, (63, 63, 3), 17),
    ],
)
def test_a_rollout_is_craftax_own_loop(env, env_params, shape, actions, keys):
    subject = task(env, **env_params)
    assert (subject.input_shape, subject.output_size) == (shape, actions)
    # made without textures of its own, which would be written into the package
    with craftax.loading(classic=True):
        game = make_craftax_env_from_name(env, auto_reset=False)
        if "map_size" in env_params:
            game = type(game)(game.default_static_params().replace(map_size=(16, 16)))
    own = {key: x for key, x in env_params.items() if key != "map_size"}
    params = game.default_params.replace(max_timesteps=30, **own)
    step = jax.jit(game.step_env)

    def begin(key):
        observation, state = jax.jit(game.reset_env)(key, params)
        return state, observation

    def advance(key, state, action):
        observation, state, reward, ended, _ = step(key, state, action, params)
        return state, observation, reward, ended

    def act(output, observation):
        return jnp.int32(np.argmax(output(observation)))

    check_by_hand(subject, begin, advance, act, keys, 30)


@pytest.mark.parametrize(
    ("env", "env_params", "said"),
    [
        ("Craftax-Classic-v1", {}, ["of craftax, got Craftax-Classic-v1 (did you mean Craftax-"]),
        ("Craftax-Symbolic-AutoReset-v1", {}, ["write one of Craftax-Classic-Pixels-v1, "]),
        (CLASSIC, {"cow_helth": 1}, ["did you mean cow_health", "zombie_health"]),
        (CLASSIC, {"cow_health": 1.5}, ["must be of type int, got 1.5", "cow_health=3"]),
        (CLASSIC, {"max_timesteps": 7}, ["write task.episode_length=7"]),
        (CLASSIC, {"map_size": [3, 3]}, [f"craftax cannot make {CLASSIC}", '{"map_size":[3,3]}']),
    ],
)
def test_what_craftax_does_not_know_is_one_line(env, env_params, said):
    with pytest.raises(ValueError, match=r"task\.env") as error:
        task(env, **env_params)
    assert "\n" not in str(error.value)
    for words in said:
        assert words in str(error.value)


def test_an_episode_may_be_as_long_as_the_task_says():
    _, params = craftax.opened(CLASSIC, '{"spawn_cow_chance": 1}', 12_345)
    assert (params.max_timesteps, params.spawn_cow_chance, params.day_length) == (12_345, 1, 300)


@pytest.mark.slow
def test_a_run_resumes_to_the_same_bits_and_is_filmed_and_leaves_the_package_alone(
    in_process, tmp_path
):
    import craftax as package

    installed = Path(package.__file__).parent
    before = {name for name in tree(installed) if not name.endswith(".pyc")}
    words = ["task=craftax", f"task.env={CLASSIC}", "task.episode_length=8"]
    check_resumes(in_process, tmp_path, *words)
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 9
        colours = {color for _, color in film.convert("RGB").getcolors(1 << 20)}
    assert len(colours) > 50  # grass, trees, water, the player: textures
    assert {name for name in tree(installed) if not name.endswith(".pyc")} == before
