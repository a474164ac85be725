"""Modules of the user's own: imported when the command line names them, and only then."""

from pathlib import Path

import pytest

import esrun
from esrun.config import imports
from esrun.errors import ConfigError

MODULE = """
from os import getcwd
from pathlib import Path

import gymnasium
import jax
import jax.numpy as jnp
from gymnasium.envs.classic_control import CartPoleEnv

from esrun.tasks.environment import Environment, Step
from esrun.tasks.spaces import Box

Path("imported").touch()
if "Cart-v0" not in gymnasium.registry:
    gymnasium.register("Cart-v0", entry_point=CartPoleEnv)

def Pond(rain: float = 0.1):
    def seen(level):
        return Step(level, level[None], -(level**2), jnp.bool_(False))

    return Environment(
        lambda key: seen(jax.random.uniform(key)),
        lambda key, level, action: seen(level + rain - 0.1 * action[0]),
        Box((1,)), Box((1,), 0.0, 1.0),
    )

def Puddle():
    return 7

def Broken(how: str):
    if how == "exit":
        raise SystemExit(3)
    if how == "key":
        raise KeyError("depth")
    pond = Pond()
    now = lambda **changes: pond.reset(jax.random.key(0))._replace(**changes)
    wrong = {
        "observation": lambda: now(observation=jnp.zeros(3)),
        "reward": lambda: now(reward=jnp.zeros(2)),
        "ended": lambda: now(ended=None),
        "state": lambda: now(state=jnp.zeros(2)),
        "mask": lambda: now(mask=jnp.ones(3)),
        "step": lambda: 1 / 0,
        "Step": lambda: 3,
    }[how]
    return pond._replace(step=lambda key, level, action: wrong())

number = 3
"""
SMALL = ["strategy=openai_es", "strategy.population_size=4", "policy=linear", "eval.episodes=2",
         "task.episodes=2", "task.episode_length=9"]  # fmt: skip
OWN = ["task=own", "task.env=my_envs:Pond", *SMALL]
FLAG = ["--import", "my_envs"]


@pytest.fixture
def run(in_process, monkeypatch):
    """-> `in_process` in a folder with the module; nothing is allowed yet, nothing imported."""
    Path("my_envs.py").write_text(MODULE)
    monkeypatch.setattr(imports, "_ALLOWED", [])
    monkeypatch.syspath_prepend(str(Path.cwd()))
    monkeypatch.delitem(__import__("sys").modules, "my_envs", raising=False)

    def typed(*words):
        monkeypatch.setattr(imports, "_ALLOWED", [])
        return in_process(*words)

    return typed


def refused(answer, said):
    code, _, error = answer
    assert code == 2, error
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert not Path("imported").exists()


def test_a_named_module_is_trained_resumed_and_evaluated(run, monkeypatch):
    assert run(*FLAG, *OWN, "generations=2", "hydra.run.dir=run")[0] == 0
    assert Path("imported").exists()
    assert run("resume", "run", *FLAG, "generations=3")[0] == 0
    assert run("eval", "run", *FLAG)[0] == 0
    assert run("render", *FLAG, "run")[0] == 0
    Path("imported").unlink()
    for words in (["eval", "run"], ["render", "run"], ["resume", "run", "generations=4"]):
        refused(run(*words), "write --import my_envs")
    with pytest.raises(ConfigError, match="--import my_envs"):
        esrun.load("run")
    esrun.allow_imports("my_envs")
    assert esrun.load("run")([0.5])[0].shape == (1,)


def test_a_file_cannot_name_a_module(run):
    Path("conf/task").mkdir(parents=True)
    keys = Path(imports.__file__).parents[2] / "conf" / "task" / "own.yaml"
    Path("conf/task/pond.yaml").write_text(keys.read_text().replace("???", "my_envs:Pond"))
    refused(run("--config-dir=conf", "task=pond"), "write --import my_envs")
    refused(run("--config-dir=conf", "--import", "other", "task=pond"), "write --import my_envs")
    assert run("--config-dir=conf", *FLAG, "task=pond", "generations=1", *SMALL)[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["task.env=Pond"], "MODULE:NAME"),
        (["task.env=:Pond"], "MODULE:NAME"),
        (["task.env=os:system"], "write --import os"),
    ],
)
def test_what_is_not_named_is_not_imported(run, words, said):
    refused(run(*FLAG, *OWN, *words), said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["task.env=my_envs:getcwd"], "of its own"),
        (["task.env=my_envs:number"], "of its own"),
        (["task.env=my_envs:Sea"], "of its own"),
        (["task.env=my_envs:Puddle"], "got int"),
        (["task.env_params.snow=1"], "snow"),
        (["--import", "no_such", "task.env=no_such:Pond"], "no_such"),
        (["--import", "../up"], "the name of a module"),
    ],
)
def test_what_a_module_has_not_is_one_line(run, words, said):
    code, _, error = run(*FLAG, *OWN, *words)
    assert code == 2
    assert said in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("exit", "SystemExit: 3"),
        ("key", "KeyError: 'depth'"),
        ("observation", "its observation must stay of one form, got (1,) after reset and (3,)"),
        ("reward", "one number as reward, got shape (2,)"),
        ("ended", "one number as ended"),
        ("state", "its state must stay of one form"),
        ("mask", "its mask must stay of one form"),
        ("step", "its step fails: ZeroDivisionError"),
        ("Step", "its step must return a Step, got"),
    ],
)
def test_an_environment_that_is_none_is_one_line(run, how, said):
    words = ["task.env=my_envs:Broken", f"task.env_params.how={how}"]
    code, _, error = run(*FLAG, *OWN, *words)
    assert code == 2
    assert said in error
    assert len(error.strip().splitlines()) == 1


def test_a_module_that_fails_is_one_line(run):
    Path("broken.py").write_text("1 / 0")
    code, _, error = run("--import", "broken", *OWN, "task.env=broken:Pond")
    assert (code, error.count("\n")) == (2, 1)
    assert "ZeroDivisionError" in error


def test_gymnasium_imports_no_module_that_is_not_named(run):
    words = ["task=gymnasium", "task.env=my_envs:Cart-v0", *SMALL]
    refused(run(*words), "write --import my_envs")
    assert run(*words, *FLAG, "generations=1")[0] == 0


def test_a_module_of_the_working_directory_does_not_stand_in_for_a_package(run):
    """A process that steps environments does not look there either."""
    Path("struct.py").write_text("raise SystemExit('the wrong struct')")
    Path("cloudpickle.py").write_text("raise SystemExit('the wrong cloudpickle')")
    assert run("task=gymnasium", "task.env=CartPole-v1", *SMALL, "generations=1")[0] == 0
