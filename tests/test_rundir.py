"""The run folder's files."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from esrun.errors import ConfigError
from esrun.files import plain, write_json
from esrun.header import header, read_header
from esrun.runs.folder import earlier_run
from esrun.runs.policy import packed
from esrun.runs.secrets import masked, masked_word
from esrun.training.loop import advance_until


def test_numbers_that_json_does_not_have_become_null(tmp_path):
    write_json(
        tmp_path / "x.json", {"a": float("nan"), "b": [float("inf"), 1.5], "c": np.float32(2)}
    )
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": [None, 1.5], "c": 2.0}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_secrets_are_masked_and_nothing_else():
    config = {
        "logger": {"wandb": {"api_key": "abc", "project": "p", "token": None}},
        "seed": 1,
        "Password": "x",
    }
    assert masked(config) == {
        "logger": {"wandb": {"api_key": "***", "project": "p", "token": None}},
        "seed": 1,
        "Password": "***",
    }
    words = ["esrun", "+logger.x.api_key=abc", "seed=1"]
    assert [masked_word(word) for word in words] == ["esrun", "+logger.x.api_key=***", "seed=1"]
    assert masked({"logger": {"project": "p"}}, frozenset({"logger.project"})) == {
        "logger": {"project": "***"}
    }


def test_plain_leaves_plain_things_alone():
    assert plain({"a": [1, "b", None, True]}) == {"a": [1, "b", None, True]}


@pytest.mark.usefixtures("quick_to_compile")
def test_numpy_alone_can_act_with_a_saved_policy(built, keys, tmp_path):
    run = built("task=pendulum", "task.episodes=2", "task.episode_length=20", "generations=3",
                "policy.normalize_input=true", "strategy.population_size=8")  # fmt: skip
    outcome = advance_until(run.program, run.hyper, run.config, lambda progress: None)
    parts = run.program.parts(run.hyper)
    params = parts.unravel(outcome.state.strategy.mean)
    path = tmp_path / "policy.safetensors"
    about = {"policy": {"name": "mlp"}, "input_shape": (3,)}
    path.write_bytes(packed(params, outcome.state.normalizer, about))

    with safe_open(path, "numpy") as file:
        t = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    about = {"format": "esrun policy 3", "policy": {"name": "mlp"}, "input_shape": [3]}
    assert {key: json.loads(value) for key, value in metadata.items()} == {"esrun": about}
    assert read_header(path.read_bytes(), "policy") == about
    x = np.array([0.5, -0.2, 3.0])
    seen = np.clip(
        (x - t["normalizer/mean"]) / np.sqrt(t["normalizer/m2"] / t["normalizer/count"]), -10, 10
    )
    hidden = np.maximum(seen @ t["params/linear/w"] + t["params/linear/b"], 0)
    by_hand = hidden @ t["params/linear_1/w"] + t["params/linear_1/b"]

    from esrun.tasks.normalizer import normalize

    by_esrun, _ = parts.policy.apply(
        params, (), normalize(outcome.state.normalizer, x.astype(np.float32))
    )
    np.testing.assert_allclose(by_esrun, by_hand, rtol=1e-5)


OLD = Path(__file__).parent / "data" / "run_of_031d504"
"""A run folder of the time before files had a format number."""


def test_a_run_folder_of_an_earlier_format_goes_on(esrun, tmp_path):
    shutil.copytree(OLD, tmp_path / "run")
    config = json.loads((OLD / "run.json").read_text())["config"]
    words = ["task=sphere", "task.dimension=3", "strategy.population_size=6", "strategy.parents=3",
             "eval.episodes=2", "checkpoint.keep=1", "runtime.devices=1"]  # fmt: skip
    for done in (
        esrun("resume", "run", "generations=6"),
        esrun(*words, "generations=6", "hydra.run.dir=new"),
    ):
        assert done.returncode == 0, done.stdout + done.stderr
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert lines[:4] == (OLD / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["generation"] for line in lines] == [1, 2, 3, 4, 5, 6]
    one, other = (load_file(tmp_path / name / "policy.safetensors") for name in ("run", "new"))
    np.testing.assert_allclose(one["params/~/x"], other["params/~/x"], rtol=1e-4, atol=1e-5)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["format"], record["config"]["strategy"]) == (2, config["strategy"])
    assert (tmp_path / "run" / "members_best.safetensors").exists()
    assert "begun by an earlier version" in (tmp_path / "run" / "esrun.log").read_text()


@pytest.mark.parametrize("name", ["run.json", "summary.json"])
def test_a_newer_format_is_refused(tmp_path, name):
    shutil.copytree(OLD, tmp_path / "run")
    path = tmp_path / "run" / name
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(ConfigError, match="format"):
        earlier_run(tmp_path / "run")


def test_metadata_are_the_same_bytes_in_whatever_order_they_come():
    params = {"a": {"w": np.ones(2, np.float32)}, "b": {"w": np.zeros(3, np.float32)}}
    about = {"policy": {"name": "mlp", "hidden": [2]}, "task": {"name": "sine"}, "output_size": 1}
    assert packed(params, None, about) == packed(params, None, dict(reversed(about.items())))
    assert len(header("policy", about)) == 1  # the library orders several at random


def test_what_files_of_earlier_formats_say_is_read():
    about = read_header((OLD / "policy.safetensors").read_bytes(), "policy")
    assert (about["task"]["name"], about["policy"]["name"]) == ("blackbox", "vector")
    (path,) = (OLD / "checkpoints").iterdir()
    assert read_header(path.read_bytes(), "checkpoint")["progress"]["generation"] == 4
    with pytest.raises(ValueError, match="format"):
        read_header(path.read_bytes(), "policy")
