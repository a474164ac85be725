"""`esrun eval`: a run's score again, to the last digit, and what else can be asked."""

import json
import os
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import quickly, tree
from safetensors.numpy import load_file

from esrun.commands.eval import show
from esrun.results.evaluation import together
from esrun.training import programs

pytestmark = pytest.mark.usefixtures("quick_to_compile")

OLD = Path(__file__).parent / "data" / "run_of_031d504"
SHORT = ["generations=3", "strategy.population_size=6", "eval.episodes=9"]
SPHERE = ["task=sphere", "task.dimension=3", "strategy.parents=3", *SHORT]
RUNS = {
    "normalised": ["task=pendulum", "task.episode_length=12", "task.episodes=2",
                   "policy.normalize_input=true", "strategy=openai_es", *SHORT],
    "two blocks of episodes": ["task=catch", "policy=cnn", "policy.channels=[2]",
                               "strategy=snes", *SHORT, "eval.episodes=130"],
    "recurrent": ["task=memory_chain", "policy.hidden=[3]", "strategy=eggroll", *SHORT],
    "sine": ["task=sine", "policy.hidden=[3]", "strategy=pgpe", *SHORT],
    "float64": ["task=cartpole", "task.episode_length=20", "policy.hidden=[3]",
                "strategy=openai_es", "runtime.precision=float64", *SHORT],
    "restarting": [*SPHERE, "strategy.restarts=ipop", "generations=40"],
}  # fmt: skip


@pytest.fixture
def trained(in_process, tmp_path):
    """-> (words, folder) -> the summary of a run in that folder."""

    def run(words, name="run"):
        code, *said = in_process(*words, f"hydra.run.dir={name}")
        assert code == 0, said
        return json.loads((tmp_path / name / "summary.json").read_text())

    yield run
    jax.config.update("jax_enable_x64", False)


@pytest.fixture
def evaluated(in_process):
    """-> (words) -> what `esrun eval --json` says."""

    def rows(*words):
        code, said, complaint = in_process("eval", *words, "--json")
        assert (code, complaint) == (0, "")
        return json.loads(said)

    return rows


@pytest.mark.parametrize("kind", quickly(RUNS, "normalised"))
def test_it_is_the_summary_to_the_last_digit(trained, evaluated, tmp_path, kind):
    summary = trained([*RUNS[kind], "runtime.devices=1"])
    programs.program.cache_clear()  # as if another process had trained
    before = tree(tmp_path)
    (row,) = evaluated("run")
    assert {key: row[key] for key in summary["eval"]} == summary["eval"]
    assert (row["run"], row["policy"], row["seed"]) == ("run", "last", 0)
    assert tree(tmp_path) == before


@pytest.mark.slow
def test_another_process_says_the_same(esrun, tmp_path):
    words = RUNS["normalised"]
    assert esrun(*words, "hydra.run.dir=run", "runtime.devices=2").returncode == 0
    done = esrun("eval", "run", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert json.loads(done.stdout)[0].items() >= summary["eval"].items()


def test_a_folder_of_an_earlier_version_is_evaluated(evaluated, tmp_path):
    shutil.copytree(OLD, tmp_path / "old")
    (row,) = evaluated("old")
    expected = json.loads((OLD / "summary.json").read_text())["eval"]
    assert {key: row[key] for key in expected} == pytest.approx(expected, rel=1e-6)


def test_what_the_environment_knows_is_told(trained, evaluated):
    trained([*RUNS["recurrent"]])
    (row,) = evaluated("run")
    assert row["length"] == 6
    assert row["success"] == pytest.approx((row["mean"] + 1) / 2)  # 1 for the right bit, or -1


def test_episodes_and_seed_can_be_chosen(trained, evaluated):
    trained(RUNS["normalised"])
    own, more, other = (
        evaluated("run", *words)[0]
        for words in ([], ["--episodes=30"], ["--seed", "5", "--episodes", "30"])
    )
    assert (own["episodes"], more["episodes"], other["seed"]) == (9, 30, 5)
    assert len({own["mean"], more["mean"], other["mean"]}) == 3
    low, high = more["interval"]
    assert more["worst"] <= low < more["mean"] < high <= 0


def test_the_best_is_played_on_episodes_that_did_not_choose_it(trained, evaluated, in_process):
    trained([*RUNS["normalised"], "generations=8", "eval.every=2"])
    (row,) = evaluated("run", "--best")
    about = load_file("run/policy_best.safetensors")
    assert about.keys() == load_file("run/policy.safetensors").keys()
    assert (row["policy"], row["episodes"]) == ("best", 9)
    assert row["seed"] != 0
    assert evaluated("run", "--best", "--seed", str(row["seed"])) == [row]
    code, said, complaint = in_process("eval", "run", "--best", "--seed=0")
    assert (code, said, complaint.count("\n")) == (2, "", 1)
    assert "was chosen on the held-out episodes of seed 0" in complaint
    code, said, _ = in_process("eval", "run", "--best")
    assert f"these are others (seed {row['seed']})" in said


def test_a_generation_is_found_wherever_it_was_kept(trained, evaluated, in_process):
    words = [*SPHERE, "generations=9", "checkpoint.every=3", "checkpoint.keep_at=[2]"]
    trained(words)
    for generation in (2, 9):
        trained([*words, f"generations={generation}"], f"until {generation}")
        (row,) = evaluated("run", "--generation", str(generation))
        (expected,) = evaluated(f"until {generation}")
        assert row["generation"] == generation
        assert (row["mean"], row["median"]) == (expected["mean"], expected["median"])
    saved = sorted(int(path.name[:10]) for path in Path("run/checkpoints").iterdir())
    assert saved[0] not in (2, 9)
    (row,) = evaluated("run", "--generation", str(saved[0]))
    trained([*words, f"generations={saved[0]}"], "third")
    assert row["mean"] == evaluated("third")[0]["mean"]
    code, said, complaint = in_process("eval", "run", "--generation=1")
    assert (code, said, complaint.count("\n")) == (2, "", 1)
    assert "no policy of generation 1, it has 2, " in complaint
    assert "checkpoint.keep_at=[1] keeps it" in complaint


def test_members_are_evaluated_one_by_one(trained, evaluated, in_process):
    trained(SPHERE)
    rows = evaluated("run", "--members")
    members = load_file("run/members_best.safetensors")
    assert [row["policy"] for row in rows] == [f"member {i}" for i in (1, 2, 3, 4, 5)]
    assert [row["fitness"] for row in rows] == [float(x) for x in members["fitness"]]
    assert [row["generation"] for row in rows] == [int(x) for x in members["generation"]]
    for row, x in zip(rows, members["params/~/x"].astype(float), strict=True):
        assert row["mean"] == pytest.approx(-np.sum(x**2), rel=1e-5)
        assert row["mean"] == pytest.approx(row["fitness"], rel=1e-5)
    code, said, _ = in_process("eval", "run", "--members")
    assert code == 0
    assert "fitness" in said


def test_an_ensemble_of_points_is_their_mean(trained, evaluated, in_process):
    trained(SPHERE)
    (row,) = evaluated("run", "--ensemble", "8")
    assert (row["policy"], row["draws"], row["generation"]) == ("ensemble of 8", 8, 3)
    # |mean|^2 <= mean of |x|^2, and the draws are no further apart than their distribution
    assert row["draws_worst"] < row["draws_mean"] < row["mean"] < 0
    (path,) = Path("run/checkpoints").glob("*3-*.safetensors")
    sigma = load_file(path)["strategy/sigma"]
    assert row["mean"] - row["draws_mean"] < 20 * sigma**2
    _, said, _ = in_process("eval", "run", "--ensemble=8")
    assert f"8 draws alone: mean {row['draws_mean']:.4g}" in said


@pytest.mark.parametrize("kind", ["normalised", "recurrent"])
def test_an_ensemble_plays(trained, evaluated, kind):
    trained(RUNS[kind])
    (row,) = evaluated("run", "--ensemble", "3")
    assert np.isfinite([row["mean"], row["draws_mean"], row["draws_std"]]).all()
    assert row["draws_worst"] <= row["draws_mean"]


def test_discrete_actions_are_voted_for_and_continuous_ones_averaged():
    outputs = jnp.array([[9.0, 0, 1], [0, 2, 1], [0, 3, 2]])
    assert jnp.argmax(together(outputs, {"kind": "argmax"})) == 1
    x = jnp.array([[4.0, -1], [0, -3]])
    np.testing.assert_allclose(together(x, {"kind": "output"}), [2, -2])
    clipped = together(x, {"kind": "clip", "low": [-2.0, -2.0], "high": [2.0, 2.0]})
    np.testing.assert_allclose(clipped, [1, -1.5])
    squashed = together(x, {"kind": "squash"})
    np.testing.assert_allclose(jnp.tanh(squashed), jnp.mean(jnp.tanh(x), 0), rtol=1e-5)
    sure = together(jnp.full((2, 1), 50.0), {"kind": "squash"})
    assert np.isfinite(sure).all()


def test_several_runs_are_one_table(trained, in_process, evaluated):
    for seed in (0, 1):
        trained([*RUNS["recurrent"], f"seed={seed}"], f"run {seed}")
    code, said, complaint = in_process("eval", "run 0", "run 1")
    assert (code, complaint) == (0, "")
    head, *lines = said.splitlines()
    assert head.split()[:4] == ["run", "policy", "generation", "episodes"]
    assert "95 % interval" in head
    assert "success" in head
    assert [line.split()[1] for line in lines] == ["0", "1"]
    assert [row["seed"] for row in evaluated("run 0", "run 1")] == [0, 1]


@pytest.mark.parametrize("damaged", ["run.json", "policy.safetensors"])
def test_a_run_that_cannot_be_evaluated_does_not_keep_the_others_from_it(
    trained, in_process, tmp_path, damaged
):
    trained(SPHERE, "good")
    shutil.copytree(tmp_path / "good", tmp_path / "bad")
    (tmp_path / "bad" / damaged).write_text("{")
    code, said, complaint = in_process("eval", "bad", "good", "good", "--json")
    assert (code, [row["run"] for row in json.loads(said)]) == (1, ["good"])
    assert complaint.count("\n") == 1
    assert f"bad/{damaged}" in complaint
    code, said, complaint = in_process("eval", "bad", "--json")
    assert (code, said, complaint.count("\n")) == (2, "", 1)


def test_the_runs_of_a_sweep_can_be_named_by_its_folder(in_process, evaluated):
    code, *said = in_process("-m", *SPHERE, "seed=0,1", "hydra.sweep.dir=many")
    assert code == 0, said
    assert [row["run"] for row in evaluated("many")] == ["many/0", "many/1"]


def test_latest_is_the_run_that_was_begun_last(trained, evaluated, in_process):
    code, said, complaint = in_process("eval", "latest")
    assert (code, said) == (2, "")
    assert "there is none" in complaint
    for number, place in enumerate(("outputs/b/1", "multirun/a/2/0", "outputs/a/3")):
        trained(SPHERE, place)
        os.utime(Path(place) / "run.json", (number, number))
        assert evaluated("latest")[0]["run"] == place
    os.utime("multirun/a/2/0/run.json", (9, 9))
    assert evaluated("latest")[0]["run"] == "multirun/a/2/0"
    shutil.copytree("outputs/a/3", "multirun/named/1")
    os.utime("multirun/named/1/run.json", (10, 10))
    assert evaluated("latest")[0]["run"] == "multirun/named/1"


def test_plain_files_beside_runs_are_passed_over(trained, evaluated, tmp_path):
    trained(SPHERE)
    (tmp_path / "mlflow.db").write_text("a store that runs share")
    assert [row["run"] for row in evaluated("mlflow.db", "run")] == ["run"]


def test_what_decided_about_a_policy_is_said(trained, in_process):
    trained([*SPHERE, "stop.eval=-1e9", "eval.every=1"])
    code, said, _ = in_process("eval", "run")
    assert code == 0
    assert "these episodes have also decided when it ended; --seed 1 plays others" in said
    code, said, _ = in_process("eval", "run", "--seed", "1")
    assert "decided" not in said


WORDS = {
    (): "write esrun eval",
    ("nowhere",): "nowhere is not a run folder",
    ("a" * 300,): "is not a run folder",
    ("run/run.json",): "is not a run folder",
    ("run/policies",): "is not a run folder",
    ("run", "--episodes=1"): "whole number from 2",
    ("run", "--episodes", "many"): "whole number from 2",
    ("run", "--episodes=-5"): "whole number",
    ("run", "--seed=4294967296"): "whole number from 0 to 4294967295",
    ("run", "--generation", "0"): "whole number from 1",
    ("run", "--generation"): "expected one argument",
    ("run", "--ensemble=1"): "whole number from 2",
    ("run", "--best", "--members"): "not allowed with",
    ("run", "--bset"): "--bset is not a flag (did you mean --best?)",
    ("run", "--generation=77"): "has no policy of generation 77",
    ("other",): "other has no policy.safetensors, which a run leaves at its end",
    ("run", "--members=3"): "ignored explicit argument",
}


def test_words_that_are_wrong_are_one_line_and_leave_everything(trained, in_process, tmp_path):
    trained(SPHERE)
    shutil.copytree(tmp_path / "run", tmp_path / "other")
    (tmp_path / "other" / "policy.safetensors").unlink()
    before = tree(tmp_path)
    for words, line in WORDS.items():
        code, said, complaint = in_process("eval", *words)
        assert (code, said, complaint.count("\n")) == (2, "", 1), words
        assert complaint.startswith("esrun: ")
        assert line in complaint
    assert tree(tmp_path) == before


def test_help_is_shown(in_process):
    code, said, complaint = in_process("help", "eval")
    assert (code, complaint) == (0, "")
    for flag in ("--episodes", "--seed", "--generation", "--best", "--members", "--ensemble"):
        assert flag in said


def test_a_narrow_terminal_breaks_lines_and_not_words(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("FORCE_COLOR", "1")
    row = {"run": "multirun/2026-01-31/12-00-00/0", "policy": "last", "generation": 100}
    row |= {"episodes": 128, "mean": -170.2, "interval": [-208.9, -150.0], "length": 200}
    show([row], [])
    line = capsys.readouterr().out.splitlines()[-1].split()
    assert line == [
        row["run"],
        "last",
        "100",
        "128",
        "-170.2",
        "-208.9",
        "to",
        "-150",
        *"---",
        "200",
    ]


# ---- folders that anybody may have written -------------------------------------------------------


def edited(path, **changes):
    content = json.loads(path.read_text())
    for key, x in changes.items():
        *way, last = key.split("__")
        inner = content
        for name in way:
            inner = inner[name]
        inner[last] = x
    path.write_text(json.dumps(content))


def test_another_machines_run_is_evaluated(trained, evaluated, tmp_path):
    summary = trained(SPHERE)
    record = tmp_path / "run" / "run.json"
    edited(record, config__runtime__devices=4096, config__runtime__population_chunk=7)
    edited(record, config__logger={"wandb": {"name": "wandb", "api_key": "***"}})
    assert evaluated("run")[0]["mean"] == summary["eval"]["mean"]


HOSTILE = {
    "no configuration": {"config": []},
    "no eval": {"config__eval": 3},
    "an unknown task": {"config__task__name": "os"},
    "another dimension": {"config__task__dimension": 7},
    "another network": {"config__policy__normalize_input": "yes"},
    "a newer format": {"format": 99},
}


def test_a_record_that_says_anything_is_one_line(trained, in_process, tmp_path):
    trained(SPHERE)
    for changes in HOSTILE.values():
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(tmp_path / "run", tmp_path / "copy")
        edited(tmp_path / "copy" / "run.json", **changes)
        code, said, complaint = in_process("eval", "copy")
        assert (code, said, complaint.count("\n")) == (2, "", 1), changes


@pytest.mark.parametrize("name", ["policy", "members_best"])
def test_a_file_that_is_damaged_is_one_line(trained, in_process, tmp_path, name):
    trained(SPHERE)
    path = tmp_path / "run" / f"{name}.safetensors"
    content = path.read_bytes()
    words = ["--members"] * (name == "members_best")
    for damaged in (b"", content[:50], content[:-4], b"\xff" * len(content)):
        path.write_bytes(damaged)
        code, said, complaint = in_process("eval", "run", *words)
        assert (code, said, complaint.count("\n")) == (2, "", 1)
        assert path.name in complaint


def test_a_name_that_steers_a_terminal_does_not(trained, in_process, tmp_path):
    trained(SPHERE)
    (tmp_path / "run").rename(tmp_path / "a\x1b[2Jb")
    code, said, _ = in_process("eval", "a\x1b[2Jb")
    assert code == 0
    assert "\x1b" not in said


def test_the_surer_ones_decide_where_as_many_are_for_each():
    outputs = jnp.array([[9.0, 0, 0], [0, 2, 1]])
    assert jnp.argmax(together(outputs, {"kind": "argmax"})) == 0
    assert jnp.argmax(together(outputs, {"kind": "argmax"})[1:]) == 0  # the best of the legal ones
    heads = together(jnp.array([[1.0, 0, 0, 5, 0]] * 2), {"kind": "heads", "sizes": [2, 3]})
    assert [int(jnp.argmax(heads[:2])), int(jnp.argmax(heads[2:]))] == [0, 1]
