"""octax's games: the rollout is octax's own loop, and names and parameters are its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from defaults import ROLLOUT
from octax import environments
from PIL import Image
from plain_loop import check_by_hand, check_resumes

from esrun.tasks import octax
from esrun.tasks.packages import mixing_types

pytestmark = pytest.mark.usefixtures("quick_to_compile")


def task(env="brix", length=40, **env_params):
    return octax.make_octax(env=env, env_params=env_params, **ROLLOUT | {"episode_length": length})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "env_params", "shape", "actions"),
    [("brix", {}, (32, 64, 4), 3), ("blinky", {"frame_skip": 2}, (32, 64, 2), 5)],
)
def test_a_rollout_is_octax_own_loop(env, env_params, shape, actions, keys):
    subject = task(env, **env_params)
    assert (subject.input_shape, subject.output_size) == (shape, actions)
    game, _ = mixing_types(environments.create_environment)(env, **env_params)
    reset, step = jax.jit(game.reset), mixing_types(jax.jit(game.step))

    def begin(key):
        return reset(key)[:2]

    def advance(key, state, action):
        return step(state, action)[:4]

    def act(output, frames):
        image = np.moveaxis(np.asarray(frames, np.float32), (0, 1, 2), (2, 1, 0))
        return jnp.int32(np.argmax(output(image)))

    lengths = check_by_hand(subject, begin, advance, act, keys, 40)
    assert (env == "brix") == bool(np.any(lengths < 40))


def test_every_game_that_octax_has_can_be_named_and_a_level_where_there_are_levels():
    assert len(octax.games()) == 37
    assert {"brix", "tetris", "cavern1", "space_flight10"} <= set(octax.games())
    for level in ("cavern2", "cavern1"):  # octax keeps the last level in its module
        assert octax.opened(level, "{}").rom_path.endswith(f"{level}.ch8")


@pytest.mark.parametrize(
    ("env", "env_params", "said"),
    [
        ("brx", {}, ["an environment of octax, got brx (did you mean brix?)", "write one of"]),
        ("cavern", {}, ["got cavern (did you mean cavern"]),
        ("brix", {"frame_skp": 2}, ["not a parameter of brix (did you mean frame_skip?)"]),
        ("brix", {"frame_skip": 1.5}, ["must be of type int, got 1.5", "frame_skip=4"]),
        ("brix", {"frame_skip": 0}, ["octax cannot make brix", '{"frame_skip":0}']),
        ("brix", {"color_scheme": "grey"}, ["octax cannot make brix", "Unknown color scheme"]),
        ("brix", {"max_num_steps_per_episodes": 9}, ["write task.episode_length=9"]),
        ("brix", {"disable_delay": True}, ["not a parameter of brix"]),
    ],
)
def test_what_octax_does_not_know_is_one_line(env, env_params, said):
    with pytest.raises(ValueError, match=r"task\.env") as error:
        task(env, **env_params)
    assert "\n" not in str(error.value)
    for words in said:
        assert words in str(error.value)


def test_a_picture_is_the_screen():
    game = octax.opened("brix", '{"color_scheme": "white"}')
    state = jax.tree.map(np.asarray, game.cached_reset_state)
    picture = task(color_scheme="white").frame(state)
    assert (picture.shape, picture.dtype) == ((256, 512, 3), np.uint8)
    np.testing.assert_array_equal(picture[::8, ::8, 0] == 255, state.display.T)
    assert 0 < state.display.sum() < state.display.size


@pytest.mark.slow
def test_a_run_resumes_to_the_same_bits_and_is_filmed(in_process, tmp_path):
    check_resumes(in_process, tmp_path, "task=octax", "task.env=pong", "task.episode_length=12")
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 13
