"""jumanji's environments: the rollout is jumanji's own loop, illegal actions are never taken, and
what is observed and done is what the specs say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("jumanji")

from defaults import ROLLOUT
from jumanji import registration
from PIL import Image
from plain_loop import check_by_hand, check_resumes

from esrun.tasks import jumanji
from esrun.tasks.packages import mixing_types

pytestmark = pytest.mark.usefixtures("quick_to_compile")


def task(env, env_params=(), observe="all", length=20):
    rollout = ROLLOUT | {"episode_length": length}
    return jumanji.make_jumanji(env=env, env_params=dict(env_params), observe=observe, **rollout)


# ---- a rollout is a plain loop -------------------------------------------------------------------


def flat(*parts):
    return jnp.concatenate([jnp.ravel(jnp.asarray(x, float)) for x in parts])


def one_hot(x, n):
    return np.eye(n)[np.asarray(x)]


def legal(output, mask):
    assert np.any(mask)
    best = int(np.argmax(np.where(mask, output, -np.inf)))
    assert np.ravel(mask)[best]
    return best


def snake(output, seen):
    """One of four, of which some are illegal; a grid, and 12 steps, few enough for codes."""
    x = flat(seen.grid, one_hot(seen.step_count, 12))
    return jnp.int32(legal(output(x), seen.action_mask))


def tetris(output, seen):
    """A rotation and a column, which are legal together."""
    best = legal(output(flat(seen.grid, seen.step_count, seen.tetromino)), seen.action_mask.ravel())
    return jnp.int32(np.unravel_index(best, (4, 6)))


def connector(output, seen):
    """A move for each of two agents; a grid of codes 0 ... 6, and 51 steps, which are too many for
    codes."""
    heads = np.split(np.asarray(output(flat(one_hot(seen.grid, 8), seen.step_count))), 2)
    return jnp.int32([legal(*head) for head in zip(heads, seen.action_mask, strict=True)])


def foraging(output, seen):
    """One policy for each of two agents, which have views of their own, codes from -1 on."""
    views = [flat(one_hot(view + 1, 10), seen.step_count) for view in seen.agents_view]
    each = zip(map(output, views), seen.action_mask, strict=True)
    return jnp.int32([legal(*agent) for agent in each])


def rescue(output, seen):
    """Two numbers for each of two agents, which see their own place and what is seen by both."""
    step, left = seen.step, seen.targets_remaining
    each = zip(seen.positions, seen.searcher_views, strict=True)
    actions = [output(flat(at, view, step, left)) for at, view in each]
    return jnp.clip(jnp.stack(actions), -1, 1)


LOOPS = {
    "Snake-v1": (snake, {"num_rows": 3, "num_cols": 3, "time_limit": 12}),
    "Tetris-v0": (tetris, {"num_rows": 6, "num_cols": 6}),
    "Connector-v3": (connector, {"generator": {"grid_size": 4, "num_agents": 2}}),
    "LevelBasedForaging-v0": (foraging, {"time_limit": 80}),
    "SearchAndRescue-v0": (rescue, {}),
}


def own(env, env_params):
    """-> jumanji's environment, made by hand."""
    if env == "Connector-v3":
        from jumanji.environments.routing.connector.generator import RandomWalkGenerator

        env_params = {"generator": RandomWalkGenerator(**env_params["generator"])}
    return registration.make(env, **env_params)


@pytest.mark.slow
@pytest.mark.parametrize("env", LOOPS)
def test_a_rollout_is_jumanjis_own_loop(env, keys):
    act, env_params = LOOPS[env]
    subject, game = task(env, env_params), own(env, env_params)
    reset, step = mixing_types(jax.jit(game.reset)), mixing_types(jax.jit(game.step))

    def begin(key):
        state, now = reset(key)
        return state, now.observation

    def advance(key, state, action):
        state, now = step(state, action)
        return state, now.observation, now.reward, now.step_type == 2

    lengths = check_by_hand(subject, begin, advance, act, keys, 20)
    if env in ("Snake-v1", "Tetris-v0", "Connector-v3"):
        assert np.any(lengths < 20)


# ---- what is observed ----------------------------------------------------------------------------


def test_codes_begin_at_zero_and_have_an_axis_and_quantities_stay_numbers():
    board = task("Minesweeper-v0", observe=["board"])
    assert board.input_shape == (10, 10, 10)
    seen = np.full((10, 10, 1), 0)  # as the adapter shows it: -1, an unknown square, is code 0
    np.testing.assert_array_equal(board.interface.encode(seen)[..., 0], 1)
    assert board.interface.about()["observation"] == {"kind": "codes", "sizes": [10]}
    # 10 x 10 squares of ten codes each, 90 and 100 possible counts
    assert task("Minesweeper-v0").input_shape == (10 * 10 * 10 + 2,)


def test_one_part_alone_keeps_its_shape_for_convolutions():
    assert task("Snake-v1", observe=["grid"]).input_shape == (12, 12, 5)
    assert task("Snake-v1", observe=["step_count", "grid"]).input_shape == (721,)


def test_arguments_and_a_generators_own_take_effect():
    assert task("Snake-v1", {"num_rows": 5}, ["grid"]).input_shape == (5, 12, 5)
    small = jumanji.opened("Connector-v3", '{"generator": {"grid_size": 4}}')
    kept = small.unwrapped
    assert (kept.grid_size, kept.num_agents, kept.time_limit) == (4, 10, 50)


@pytest.mark.parametrize(
    ("env", "env_params", "observe", "said"),
    [
        ("Snake", {}, "all", ["an environment of jumanji, got Snake (did you mean Snake-v1"]),
        ("Snake-v1", {"nm_rows": 2}, "all", ["did you mean num_rows", "num_rows, time_limit"]),
        ("Snake-v1", {"num_rows": "2"}, "all", ["must be of type int", "num_rows=12"]),
        ("Snake-v1", {"viewer": None}, "all", ["viewer is not a parameter of Snake-v1"]),
        (
            "Snake-v1",
            {},
            ["gird"],
            ["(did you mean grid?)", "write some of grid, step_count"],
        ),
        ("Snake-v1", {}, ["action_mask"], ["got action_mask"]),
        ("Connector-v3", {"generator": {"size": 3}}, "all", ["the generator of Connector-v3"]),
        ("Connector-v3", {"generator": 3}, "all", ["generator must be a mapping, got 3"]),
        ("Connector-v3", {"generator": {"grid_size": -1}}, "all", ["cannot make Connector-v3"]),
        ("Sokoban-v0", {}, "all", ["not on this machine", "`hf download InstaDeepAI/boxoban"]),
    ],
)
def test_what_jumanji_does_not_know_is_one_line(env, env_params, observe, said):
    with pytest.raises(ValueError, match=r"task\.") as error:
        task(env, env_params, observe)
    assert "\n" not in str(error.value)
    for words in said:
        assert words in str(error.value)


# ---- pictures and runs ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("env", ["Maze-v0", "BinPack-v2", "RubiksCube-v0", "MMST-v0", "Snake-v1"])
def test_jumanji_draws_without_a_window_and_leaves_matplotlib_as_it_was(env):
    import matplotlib.pyplot as plt

    game = jumanji.opened(env, "{}")
    states = [jax.jit(game.reset)(jax.random.key(seed))[0] for seed in (0, 1)]
    before = dict(plt.rcParams), plt.get_fignums()
    drawn = [task(env).frame(jax.tree.map(as_numpy, state)) for state in (*states, states[0])]
    assert (dict(plt.rcParams), plt.get_fignums()) == before
    assert [(x.shape[2], x.dtype) for x in drawn] == [(3, np.uint8)] * 3
    np.testing.assert_array_equal(drawn[0], drawn[2])
    assert env == "BinPack-v2" or np.any(drawn[0] != drawn[1])  # an empty container, whatever
    assert len(np.unique(drawn[0].reshape(-1, 3), axis=0)) > 2


def as_numpy(x):
    is_key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(x) if is_key else x)


@pytest.mark.slow
def test_a_run_resumes_to_the_same_bits_and_is_filmed(in_process, tmp_path):
    words = ["task=jumanji", "task.env=Tetris-v0", "task.episode_length=5"]
    check_resumes(in_process, tmp_path, *words)
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 6
