"""Trackers: what Weights & Biases is told, by a module in its place that notes it."""

import json
import shutil
import sys
from types import ModuleType, SimpleNamespace

import pytest

from esrun.config.check import checked
from esrun.config.compose import composed
from esrun.runs.folder import Made
from esrun.runs.loggers.tensorboard import make_tensorboard
from esrun.runs.opening import Order
from esrun.runs.run import carry_out

pytestmark = pytest.mark.runs

WORDS = [
    "task=sphere", "strategy.population_size=6", "generations=3", "eval.episodes=2",
    "logger=[wandb]",
]  # fmt: skip


@pytest.fixture
def wandb(monkeypatch, tmp_path):
    """-> the module in the place of wandb: `calls` of init, `lines` of log, `ends` of finish; what
    `fails` has for a mode is raised."""
    fake = ModuleType("wandb")
    fake.calls, fake.lines, fake.ends, fake.fails = [], [], [], {}
    fake.errors = SimpleNamespace(
        UsageError=type("UsageError", (Exception,), {}),
        AuthenticationError=type("AuthenticationError", (Exception,), {}),
    )

    class Run:
        starting_step, url, dir = 0, "https://wandb.test/run", str(tmp_path)

        def log(self, line, step):
            fake.lines.append((step, line))

        def finish(self, exit_code):
            fake.ends.append(exit_code)

    def init(**options):
        if error := fake.fails.get(options["mode"]):
            raise error
        fake.calls.append(options)
        return Run()

    fake.init, fake.teardown = init, lambda: None
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.setattr("esrun.config.check.find_spec", lambda package: True)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    return fake


def run(folder, *words, going_on=False, **about):
    one = composed([*WORDS, *words])
    folder.mkdir(parents=True, exist_ok=True)
    chosen = {"task": "sphere"}
    return carry_out(
        Order(checked(one.config), one.config, Made(folder), chosen, going_on, **about)
    )


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
    assert wandb.ends == [0]
    steps = [(step, name) for step, line in wandb.lines for name in line]
    assert len(steps) == len(set(steps))


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
    wandb.fails["online"] = wandb.errors.UsageError("no api_key\n  more of it")
    assert run(tmp_path / "run") == 1
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert said.err.startswith("esrun: logger=[wandb] cannot begin (no api_key): log in by")
    assert "logger.wandb.mode=offline" in said.err
    assert "Traceback" not in said.out
    assert "left out" not in said.out
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "failed"


def test_without_a_network_it_goes_on_offline_which_one_line_says(wandb, tmp_path, capsys):
    wandb.fails["online"] = ConnectionError("no route\n  more of it")
    assert run(tmp_path / "run") == 0
    said = capsys.readouterr().out
    assert "wandb is offline (no route); to upload: wandb sync" in said
    assert [call["mode"] for call in wandb.calls] == ["offline"]
    assert len(wandb.lines) >= 3


def test_what_fails_offline_too_is_left_out_and_the_run_is_done(wandb, tmp_path, capsys):
    wandb.fails |= {"online": ConnectionError("no route"), "offline": OSError("disk full")}
    assert run(tmp_path / "run") == 0
    said = capsys.readouterr().out
    assert said.count("logger wandb is left out: OSError: disk full; training goes on") == 1


def test_secrets_are_masked(wandb, tmp_path):
    assert run(tmp_path / "run", secret=frozenset({"strategy.sigma"})) == 0
    assert wandb.calls[0]["config"]["strategy"]["sigma"] == "***"
    assert "logger" not in wandb.calls[0]["config"]


def test_a_logger_that_comes_when_a_run_goes_on_is_told_all_of_it(wandb, tmp_path):
    assert run(tmp_path / "run", "logger=[]") == 0
    assert run(tmp_path / "run", "generations=5", going_on=True) == 0
    assert sorted({step for step, _ in wandb.lines}) == [1, 2, 3, 4, 5]


def test_a_folder_that_goes_in_mid_run_costs_the_logger_and_nothing_else(
    wandb, tmp_path, monkeypatch, capsys
):
    whole = ["logger=[tensorboard,wandb]", "generations=4"]
    assert run(tmp_path / "whole", *whole) == 0
    capsys.readouterr()
    make = make_tensorboard

    def deleting(*, folder):
        tracker = make(folder=folder)

        def log(line):
            tracker(line)
            if line["generation"] == 2:
                shutil.rmtree(folder / "tensorboard")

        return tracker._replace(log=log)

    monkeypatch.setattr("esrun.runs.loggers.tensorboard.make_tensorboard", deleting)
    assert run(tmp_path / "run", *whole) == 0
    said = capsys.readouterr().out
    assert said.count("left out") == said.count("logger tensorboard is left out: FileNotFound") == 1
    policies = [tmp_path / name / "policy.safetensors" for name in ("whole", "run")]
    assert policies[0].read_bytes() == policies[1].read_bytes()


def test_files_that_wandb_would_go_on_without_are_missed(wandb, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(wandb.init(mode="offline").__class__, "dir", str(tmp_path / "gone"))
    assert run(tmp_path / "run") == 0
    assert "logger wandb is left out: FileNotFoundError" in capsys.readouterr().out


def test_a_logger_is_chosen_where_a_run_is_begun(wandb, in_process, tmp_path):
    code, _, line = in_process("task=sphere", "logger.wandb.mode=offline")
    assert (code, line.count("\n")) == (2, 1)
    assert "logger.wandb has keys and is not chosen: write 'logger=[wandb]'" in line
    assert run(tmp_path / "run") == 0
    code, _, line = in_process("resume", "run", "logger=[wandb]")
    assert code == 2
    assert "write that again with logger=[wandb] and resume=auto" in line


def test_a_missing_package_is_told_with_the_python_that_runs_and_by_explain_too(
    capsys, monkeypatch
):
    from esrun.cli import main

    monkeypatch.setattr("esrun.config.check.find_spec", lambda package: None)
    for words in (["logger=[wandb]"], ["explain", "logger=[wandb]"]):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert f"{sys.executable} -m pip install 'wandb" in said
