"""`esrun render`: films whose returns are those of `esrun eval`, and pictures as the packages draw
them."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import gymnax
import jax
import numpy as np
import pytest
from conftest import quickly, tree
from PIL import Image, ImageSequence

from esrun.results import film, subjects
from esrun.results.evaluation import Evaluator
from esrun.results.frames import coloured, make_classic
from esrun.results.replay import replayed
from esrun.results.where import config_of, run_folder

pytestmark = pytest.mark.usefixtures("quick_to_compile")

OLD = Path(__file__).parent / "data" / "run_of_031d504"
SHORT = ["generations=3", "strategy.population_size=6", "eval.episodes=9"]
NETWORK = ["policy.hidden=[3]", "strategy=openai_es", "task.episodes=2", *SHORT]
SPHERE = ["task=sphere", "task.dimension=3", "strategy.parents=3", *SHORT]
RUNS = {
    "pendulum": ["task=pendulum", "task.episode_length=12", "policy.normalize_input=true"],
    "catch": ["task=catch"],
    "memory_chain": ["task=memory_chain"],
    "cartpole": ["task=cartpole", "task.episode_length=20", "runtime.precision=float64"],
    "sine": ["task=sine"],
}


@pytest.fixture
def trained(in_process, tmp_path):
    """-> (words, folder) -> that folder, with a run in it."""

    def run(words, name="run"):
        code, *said = in_process(*words, f"hydra.run.dir={name}")
        assert code == 0, said
        return tmp_path / name

    yield run
    jax.config.update("jax_enable_x64", False)


def frames(path):
    with Image.open(path) as image:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]


@pytest.mark.parametrize("task", quickly(RUNS, "pendulum"))
def test_returns_are_those_of_eval(trained, in_process, task):
    folder = run_folder(trained([*RUNS[task], *NETWORK]))
    for seed in (0, 5):
        own = config_of(folder, None)
        evaluator = Evaluator(own)
        subject = subjects.of_run(folder, evaluator, best=False)
        seen = evaluator.watching(4)(subject, seed)
        words = ["--episodes", "4", "--seed", str(seed), "--json"]
        _, said, _ = in_process("eval", "run", *words)
        (row,) = json.loads(said)
        assert np.mean(seen.returns) == pytest.approx(row["mean"], rel=1e-6)
        assert np.min(seen.returns) == pytest.approx(row["worst"], rel=1e-6)
        shown = film.panel(folder, own, evaluator.parts.task, subject, seed, seen)
        for i, total in enumerate(seen.returns):
            assert any(x.startswith(f"episode {i}: return {total:.6g},") for x in shown.captions)
        assert any(f"seed {seed}" in line for line in shown.title)
    if task != "sine":
        np.testing.assert_allclose(seen.totals[seen.steps, np.arange(4)], seen.returns)


def test_a_film_has_a_frame_for_every_step_and_nothing_else_is_written(trained, in_process):
    folder = trained([*RUNS["catch"], *NETWORK])
    before = tree(folder)
    code, said, complaint = in_process("render", "run", "--episodes=2")
    assert (code, said, complaint) == (0, "run/render.gif\n", "")
    after = tree(folder)
    assert after.keys() - before.keys() == {"render.gif"}
    assert {name: after[name] for name in before} == before
    assert len(frames(folder / "render.gif")) == 2 * 10  # 9 steps, and the beginning
    assert in_process("render", "run", "--episodes=2")[0] == 0
    assert tree(folder) == after  # a film may be replaced, by the same bytes


def test_generations_stand_side_by_side_and_all_are_files(trained, in_process, tmp_path):
    folder = trained([*RUNS["memory_chain"], *NETWORK, "checkpoint.keep_at=[1,2]"])
    assert in_process("render", "run", "--generation=1", "-o", "one.gif")[0] == 0
    assert in_process("render", "run", "run", "--generations=1,2,3", "-o", "six.gif")[0] == 0
    one, six = (frames(tmp_path / name)[0].shape for name in ("one.gif", "six.gif"))
    assert six[1] > 2.9 * (one[1] - 2 * film.EDGE)
    assert six[0] > 1.9 * one[0]
    code, said, _ = in_process("render", "run", "--all")
    assert (code, said.split()) == (0, ["run/render/1.gif", "run/render/2.gif"])
    assert (folder / "render" / "1.gif").read_bytes() == (tmp_path / "one.gif").read_bytes()
    (folder / "policies" / "1.safetensors").write_bytes(b"torn")
    code, said, complaint = in_process("render", "run", "--all")
    assert (code, said.split()) == (2, ["run/render/2.gif"])
    assert "policies/1.safetensors" in complaint
    code, _, complaint = in_process("render", "run", "--generation=7")
    assert code == 2
    assert "has no policy of generation 7" in complaint


def test_a_folder_of_an_earlier_version_is_shown(in_process, tmp_path):
    shutil.copytree(OLD, tmp_path / "old")
    assert in_process("render", "old")[:2] == (0, "old/render.gif\n")
    assert frames(tmp_path / "old" / "render.gif")


REFUSED = {
    "no run": ([], "needs a run"),
    "another ending": (["run", "-o", "x.txt"], "must end in .gif or .mp4"),
    "a file of the run": (["run", "-o", "run/run.json"], "must end in .gif or .mp4"),
    "no folder": (["run", "-o", "nowhere/x.gif"], "there is no folder nowhere"),
    "something else": (["run", "-o", "other.gif"], "is no film"),
    "a folder": (["run", "-o", "folder.gif"], "is a folder"),
    "a link": (["run", "-o", "link.gif"], "is a link"),
    "a file for all": (["run", "--all", "-o", "x.gif"], "into a folder"),
    "nothing kept": (["run", "--all"], "keeps no policies"),
    "no numbers": (["run", "--generations=1,x"], "must be a whole number"),
}


def test_what_cannot_be_written_is_one_line_and_loses_nothing(trained, in_process, tmp_path):
    trained(SPHERE)
    (tmp_path / "other.gif").write_text("a novel")
    (tmp_path / "link.gif").symlink_to("run/run.json")
    (tmp_path / "folder.gif").mkdir()
    before = tree(tmp_path)
    for words, expected in REFUSED.values():
        code, said, complaint = in_process("render", *words)
        assert (code, said, complaint.count("\n")) == (2, "", 1), words
        assert expected in complaint
    assert tree(tmp_path) == before


@pytest.mark.parametrize("missing", ["imageio_ffmpeg", "pygame"])
def test_a_missing_package_is_one_line_with_what_installs_it(
    trained, in_process, tmp_path, monkeypatch, missing
):
    trained([*RUNS["pendulum"], *NETWORK])
    monkeypatch.setattr(
        "esrun.commands.render.find_spec", lambda name: None if name == missing else find_spec(name)
    )
    ending = "mp4" if missing == "imageio_ffmpeg" else "gif"
    before = tree(tmp_path)
    code, said, complaint = in_process("render", "run", "-o", f"x.{ending}")
    assert (code, said, complaint.count("\n")) == (2, "", 1)
    assert missing in complaint
    assert "-m pip install" in complaint
    assert tree(tmp_path) == before


def test_an_mp4_is_a_film(trained, in_process, tmp_path):
    trained([*RUNS["catch"], *NETWORK])
    assert in_process("render", "run", "-o", "x.mp4") == (0, "x.mp4\n", "")
    assert (tmp_path / "x.mp4").read_bytes()[4:8] == b"ftyp"


# ---- pictures are the packages' own -------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["Acrobot-v1", "CartPole-v1", "Pendulum-v1", "MountainCar-v0", "MountainCarContinuous-v0"],
)
def test_classic_control_is_gymnasiums_picture(name):
    from gymnax.visualize.vis_gym import render_gym_frame

    environment, params = gymnax.make(name)
    frame, pictures = make_classic(name, params), []
    for seed in range(3):
        _, state = environment.reset_env(jax.random.key(seed), params)
        action = environment.action_space(params).sample(jax.random.key(seed))
        _, state, *_ = environment.step_env(jax.random.key(seed), state, action, params)
        pictures.append(frame(state))
        np.testing.assert_array_equal(pictures[-1], render_gym_frame(name, state, params))
    assert any((pictures[0] != x).any() for x in pictures[1:])


@pytest.mark.parametrize(
    "name",
    quickly(["Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders", "Pong"], "Breakout"),
)
@pytest.mark.filterwarnings("ignore")
def test_minatar_has_gymnaxs_colours(name):
    from gymnax.visualize.vis_minatar import init_minatar
    from matplotlib.figure import Figure

    environment, params = gymnax.make(f"{name}-{'misc' if name == 'Pong' else 'MinAtar'}")
    observation, state = environment.reset_env(jax.random.key(1), params)
    image = init_minatar(Figure().add_subplot(), environment, state, params)
    data = np.asarray(image.get_array())
    expected = (255 * image.cmap(image.norm(data))[..., :3]).round().astype(np.uint8)
    mine = coloured(np.asarray(observation))
    side = mine.shape[0] // len(data)
    np.testing.assert_array_equal(mine[side // 2 :: side, side // 2 :: side], expected)


# ---- searches -----------------------------------------------------------------------------------


def test_a_replayed_search_is_the_run(trained, in_process, tmp_path):
    folder = run_folder(trained([*SPHERE, "checkpoint.keep_at=[2]", "strategy=cma_es"]))
    evaluator = Evaluator(config_of(folder, None))
    start, second, third = replayed(evaluator.run, [0, 2, 3])
    for moment, number in ((second, 2), (third, 3)):
        kept = subjects.of_generation(folder, evaluator, number)
        np.testing.assert_array_equal(moment.mean, kept.params)
    state = evaluator.state(folder, 3)
    np.testing.assert_allclose(
        third.covariance,
        np.asarray(state.strategy.sigma**2 * state.strategy.C)[:2, :2],
        atol=0.2 * float(state.strategy.sigma) ** 2,
    )
    assert start.members.shape == (6, 3)
    # the members of the third generation are those that its fitness was of
    rows = [json.loads(x) for x in folder.metrics.read_text().splitlines()]
    best = max(-np.sum(second.members.astype(float) ** 2, axis=1))
    assert rows[2]["fitness_best"] == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize("words", quickly([SPHERE, [*SPHERE, "task.dimension=1"]], SPHERE))
def test_a_search_is_a_film_and_a_generation_a_still(trained, in_process, tmp_path, words):
    trained(words)
    assert in_process("render", "run")[:2] == (0, "run/render.gif\n")
    assert len(frames(tmp_path / "run" / "render.gif")) == 4
    assert in_process("render", "run", "--generations=1,3", "-o", "x.gif")[0] == 0
    assert len(frames(tmp_path / "x.gif")) == 1
    code, said, complaint = in_process("render", "run", "--generation=9")
    assert (code, said, complaint.count("\n")) == (2, "", 1)
    assert "it ended after 3" in complaint
