"""Trackers: what Weights & Biases is told, by a module in its place that notes it."""

import json
import sys
from types import ModuleType

import pytest

from esrun.config.check import checked
from esrun.config.compose import composed
from esrun.runs.folder import Made
from esrun.runs.opening import Order
from esrun.runs.run import carry_out

pytestmark = pytest.mark.runs

WORDS = [
    "task=sphere", "strategy.population_size=6", "generations=3", "eval.episodes=2",
    "logger=[wandb]",
]  # fmt: skip


@pytest.fixture
def wandb(monkeypatch):
    """-> the module in the place of wandb: `calls` of init, `lines` of log; `fails` is raised."""
    fake = ModuleType("wandb")
    fake.calls, fake.lines, fake.fails = [], [], None

    class Run:
        def log(self, line, step):
            fake.lines.append((step, line))

    def init(**options):
        if fake.fails:
            raise fake.fails
        fake.calls.append(options)
        return Run()

    fake.init = init
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.setattr("esrun.config.check.find_spec", lambda package: True)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    return fake


def run(folder, *words, going_on=False):
    one = composed([*WORDS, *words])
    folder.mkdir(parents=True, exist_ok=True)
    order = Order(checked(one.config), one.config, Made(folder), {"task": "sphere"}, going_on)
    return carry_out(order)


def test_it_is_told_the_configuration_and_what_the_keys_say(wandb, tmp_path):
    words = ["logger.wandb.group=g", "logger.wandb.tags=[a,b]", "logger.wandb.run_name=n"]
    assert run(tmp_path / "run", *words, "logger.wandb.entity=team") == 0
    (told,) = wandb.calls
    assert told["config"]["strategy"]["population_size"] == 6
    assert {key: told[key] for key in ("project", "entity", "name", "group", "tags", "mode")} == {
        "project": "esrun", "entity": "team", "name": "n", "group": "g", "tags": ["a", "b"],
        "mode": "online",
    }  # fmt: skip
    assert [step for step, _ in wandb.lines][:3] == [1, 2, 3]
    assert wandb.lines[0][1]["fitness_best"] < 0


def test_a_run_that_goes_on_is_the_same_run_there(wandb, tmp_path):
    assert run(tmp_path / "run") == 0
    assert run(tmp_path / "run", "generations=5", going_on=True) == 0
    first, second = wandb.calls
    assert (
        first["id"] == second["id"] == json.loads((tmp_path / "run/wandb.json").read_text())["id"]
    )
    assert second["resume"] == "allow"
    assert run(tmp_path / "other") == 0
    assert wandb.calls[-1]["id"] != first["id"]


def test_names_come_from_folders_where_no_key_says_them(wandb, tmp_path):
    assert run(tmp_path / "run") == 0
    (tmp_path / "sweep.json").write_text("{}")
    assert run(tmp_path / "1") == 0
    single, job = wandb.calls
    assert (single["name"], single["group"]) == ("run", None)
    assert (job["name"], job["group"]) == ("1", tmp_path.name)


@pytest.mark.parametrize(
    ("variable", "words", "mode"),
    [
        (None, [], "online"),
        ("offline", [], "offline"),
        ("disabled", [], "disabled"),
        ("online", ["logger.wandb.mode=offline"], "offline"),
    ],
)
def test_the_mode_is_the_keys_or_else_the_environments(
    wandb, tmp_path, monkeypatch, variable, words, mode
):
    if variable:
        monkeypatch.setenv("WANDB_MODE", variable)
    assert run(tmp_path / "run", *words) == 0
    assert wandb.calls[0]["mode"] == mode


def test_where_it_cannot_log_in_one_line_says_so(wandb, tmp_path, capsys):
    wandb.fails = RuntimeError("api_key not configured (no-tty)\n  more of it")
    assert run(tmp_path / "run") == 1
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert said.err.startswith(
        "esrun: logger=[wandb] cannot begin: api_key not configured (no-tty)"
    )
    assert "logger.wandb.mode=offline" in said.err
    assert "Traceback" not in said.out
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "failed"


def test_a_missing_package_is_told_with_the_python_that_runs_and_by_explain_too(
    capsys, monkeypatch
):
    from esrun.cli import main

    monkeypatch.setattr("esrun.config.check.find_spec", lambda package: None)
    for words in (["logger=[wandb]"], ["explain", "logger=[wandb]"]):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert f"{sys.executable} -m pip install 'wandb>=" in said
