"""Plug-ins by entry point, and what happens when one fails: by subprocess, with a package made for
the purpose."""

import json
import os
import subprocess
import sys

import pytest
from conftest import PATIENCE, ROOT

from esrun.config import registry
from esrun.config.plugins import PLURAL
from esrun.errors import ConfigError
from esrun.types import Number

MODULE = '''
"""A task that fails where it is told to."""
import jax.numpy as jnp
from esrun.types import Evaluation, Task

def make_faulty(*, dimension: int, episodes: int, explode: bool, room: int) -> Task:
    def evaluate(keys, policy, members, normalizer):
        if len(members["linear"]["b"]) > room:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        if explode:
            raise ArithmeticError("told to fail")
        x = members["linear"]["b"] if "linear" in members else None
        returns = -jnp.sum(x**2, -1, keepdims=True) * jnp.ones(len(keys))
        return Evaluation(returns, jnp.ones(len(x), jnp.int32), None, {})
    return Task((dimension,), dimension, episodes, evaluate)
'''
YAML = "name: faulty\ndimension: 3\nepisodes: 1\nexplode: false\nroom: 1000\n"
COMMON = [
    "task=faulty", "policy.hidden=[]", "strategy.population_size=6", "generations=3",
    "eval.episodes=2", "--config-dir=conf",
]  # fmt: skip


@pytest.fixture
def esrun(tmp_path, compiled):
    """-> (arguments) -> the finished command, in a folder with the plug-in and its yaml."""
    site = tmp_path / "site"
    info = site / "faulty-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "faulty.py").write_text(MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[esrun.tasks]\nfaulty = faulty:make_faulty\n")
    work = tmp_path / "work"
    (work / "conf" / "task").mkdir(parents=True)
    (work / "conf" / "task" / "faulty.yaml").write_text(YAML)

    def run(*arguments, **environment):
        return subprocess.run(
            [sys.executable, "-m", "esrun", *arguments],
            cwd=work,
            # this checkout, whichever one is installed
            env=os.environ
            | compiled
            | {"PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "JAX_PLATFORMS": "cpu"}
            | environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    run.folder = work
    return run


def test_an_installed_task_trains_and_its_schema_is_its_signature(esrun):
    done = esrun(*COMMON)
    assert done.returncode == 0, done.stderr
    wrong = esrun(*COMMON, "task.dimension=x")
    assert wrong.returncode == 2
    assert "task.dimension must be an integer" in wrong.stderr
    assert "task.depth is not a key of task=faulty" in esrun(*COMMON, "task.depth=1").stderr


def test_list_names_plugins_and_imports_none(esrun):
    (esrun.folder.parent / "site" / "faulty.py").write_text("raise SystemExit(3)")
    listed = esrun("list")
    assert listed.returncode == 0, listed.stderr
    tasks, _ = listed.stdout.split("strategies (strategy=...)")
    assert "faulty" in tasks
    assert "From faulty 1.0." in tasks
    assert "wandb" in esrun("list", "loggers").stdout


@pytest.mark.slow
def test_an_entry_point_alone_is_a_choice_with_its_factorys_defaults(esrun):
    words = ["task=bare", "policy.hidden=[]", "generations=2", "eval.episodes=2"]
    bare = MODULE.replace("make_faulty", "make_bare").replace("int,", "int = 2,")
    bare = bare.replace("explode: bool, room: int", "explode: bool = False, room: int = 100")
    add(esrun, "task", "bare", bare)
    done = esrun(*words, "strategy.population_size=6", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    record = json.loads((esrun.folder / "run" / "run.json").read_text())
    assert record["config"]["task"] == {
        "name": "bare", "dimension": 2, "episodes": 2, "explode": False, "room": 100,
    }  # fmt: skip
    assert "did you mean bare?" in esrun("task=bar").stderr
    assert "dimension: 2" in esrun("help", "task=bare").stdout
    add(esrun, "task", "bare", bare, "name: bare\ndimension: x\n")
    assert "got 'x': write for example" in esrun(*words, "--config-dir=conf").stderr


def test_a_key_without_a_default_must_be_given(esrun):
    assert "task.dimension must be given" in esrun("task=faulty").stderr


BROKEN = {
    "raise ImportError('no such thing')": "cannot be imported: ImportError: no such thing",
    "raise SystemExit(3)": "cannot be imported: SystemExit: 3",
    "def something_else(): ...": "cannot be imported: AttributeError",
    "make_broken = 3": "must be a function, got int",
    "def make_broken(*, x): ...": "every argument is annotated",
    "def make_broken(*, x: object()): ...": "every argument is annotated",
}


@pytest.mark.parametrize("module", BROKEN)
def test_a_broken_plugin_is_one_line_that_names_it(esrun, module):
    add(esrun, "task", "broken", f"{module}\n", "name: broken\nx: 1\n")
    for words in (["task=broken", "--config-dir=conf"], ["task=broken", "task.x=1"]):
        done = esrun(*words)
        assert (done.returncode, done.stderr.count("\n"), done.stdout) == (2, 1, ""), done.stderr
        assert BROKEN[module] in done.stderr
        assert "task broken" in done.stderr
    assert not (esrun.folder / "outputs").exists()


LOGGER = """
from pathlib import Path

def make_heard(*, folder: Path, word: str):
    with (folder / "heard.txt").open("a") as file:
        print(word, file=file)
    def log(line):
        with (folder / "heard.txt").open("a") as file:
            print(line["generation"], file=file)
    return log
"""
POLICY = """
import jax.numpy as jnp
from esrun.types import Policy

def make_line(*, input_shape: tuple[int, ...], output_size: int) -> Policy:
    def init(key):
        return {"linear": {"b": jnp.ones(output_size)}}
    return Policy(init, lambda: (), lambda params, carry, x: (params["linear"]["b"], carry))
"""


def test_a_logger_is_given_the_run_folder_and_no_key_sets_it(esrun):
    add(esrun, "logger", "heard", LOGGER, "# @package logger.heard\nname: heard\nword: hello\n")
    chosen = [*COMMON, "logger=[heard]"]
    done = esrun(*chosen, "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    heard = (esrun.folder / "run" / "heard.txt").read_text().split()
    assert heard[0] == "hello"
    assert list(dict.fromkeys(heard[1:])) == ["1", "2", "3"]  # a held-out mean may come later
    wrong = esrun(*chosen, "+logger.heard.folder=/tmp")
    assert wrong.returncode == 2
    assert "logger.heard.folder is not a key" in wrong.stderr


def test_a_policys_inputs_can_be_normalized_though_its_factory_does_not_know(esrun):
    add(esrun, "policy", "line", POLICY, "name: line\nnormalize_input: true\n")
    done = esrun(*(x for x in COMMON if x != "policy.hidden=[]"), "policy=line")
    assert done.returncode == 0, done.stderr
    wrong = esrun(*COMMON[2:], "task=faulty", "policy=line", "policy.normalize_input=3")
    assert "policy.normalize_input must be a boolean" in wrong.stderr


def add(esrun, kind, name, module, yaml=None):
    """Add an option to the plug-in."""
    site, folder = esrun.folder.parent / "site", esrun.folder / "conf" / kind
    (site / f"{name}.py").write_text(module)
    points = site / "faulty-1.0.dist-info" / "entry_points.txt"
    section, line = f"[esrun.{PLURAL[kind]}]\n", f"{name} = {name}:make_{name}\n"
    said = points.read_text().replace(line, "")
    said = said if section in said else said + section
    points.write_text(said.replace(section, section + line))
    if yaml is not None:
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.yaml").write_text(yaml)


def test_a_number_that_may_be_traced_is_a_float_to_a_yaml():
    def make(*, rate: Number, limit: Number | None, n: int): ...

    schema = registry.schema_of("strategy", "mine", make)
    assert schema.model_validate({"name": "mine", "rate": 1, "limit": None}).rate == 1.0
    assert "n" in registry.schema_of("task", "mine", make).model_fields  # a strategy's alone


def test_an_argument_without_a_type_is_one_line():
    def make(*, rate): ...

    with pytest.raises(ConfigError, match=r"the task mine must have a factory whose every .*rate"):
        registry.schema_of("task", "mine", make)


def test_a_failed_job_does_not_sink_the_others(esrun):
    done = esrun("-m", *COMMON, "task.explode=true,false", "hydra.sweep.dir=sweep")
    assert done.returncode == 1
    failed, fine = (
        json.loads((esrun.folder / "sweep" / n / "summary.json").read_text()) for n in "01"
    )
    assert (failed["status"], failed["stop_reason"]) == ("failed", "ArithmeticError: told to fail")
    assert fine["status"] == "done"
    log = (esrun.folder / "sweep" / "0" / "esrun.log").read_text()
    assert "Traceback" in log
    assert "told to fail" in log
    assert "failed (ArithmeticError" in done.stdout
    assert "the run failed" in done.stderr


def test_out_of_memory_halves_the_population_chunk_and_goes_on(esrun):
    done = esrun(
        *COMMON,
        "strategy.population_size=24",
        "runtime.devices=1",
        "task.room=7",
        "hydra.run.dir=run",
    )
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if "out of memory" in line]
    assert [line[-1] for line in said] == ["2", "6"]  # 24 members at a time, then 12, then 6
    assert json.loads((esrun.folder / "run" / "summary.json").read_text())["generations"] == 3


def test_out_of_memory_with_one_member_names_the_keys_to_change(esrun):
    done = esrun(*COMMON, "task.room=0")
    assert done.returncode == 1
    assert "make task.episodes or policy.hidden smaller" in done.stderr


def test_secrets_are_written_nowhere(esrun):
    (esrun.folder / "conf" / "task" / "faulty.yaml").write_text(
        YAML.replace("false", "false\nhydra_token: ${oc.env:NAME}")
    )
    module = esrun.folder.parent / "site" / "faulty.py"
    module.write_text(MODULE.replace("room: int)", "room: int, hydra_token: str, place: str = '')"))
    done = esrun(*COMMON, "task.hydra_token=tell-nobody", "hydra.run.dir=run")
    assert done.returncode in (0, 2)
    done = esrun(*COMMON, "hydra.run.dir=run2", NAME="tell-nobody")
    for path in esrun.folder.rglob("*"):
        if path.is_file():
            assert b"tell-nobody" not in path.read_bytes(), path


HOSTILE = {
    "callbacks": "callbacks:\n    x:\n      _target_: os.system\n      command: touch hacked\n",
    "logging": "job_logging:\n    version: 1\n    handlers:\n      x:\n        (): os.mkdir\n"
    "        path: hacked\n",
    "launcher": "launcher:\n    _target_: subprocess.Popen\n",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_yaml_runs_nothing(esrun, kind):
    (esrun.folder / "conf" / "experiment").mkdir()
    (esrun.folder / "conf" / "experiment" / "evil.yaml").write_text(
        "# @package _global_\nhydra:\n  " + HOSTILE[kind]
    )
    done = esrun("experiment=evil", "--config-dir=conf")
    assert done.returncode == 2
    assert "must name a part of Hydra" in done.stderr
    assert not (esrun.folder / "hacked").exists()
    assert not (esrun.folder / "outputs").exists()


def test_a_yaml_cannot_name_code_that_is_not_installed(esrun):
    (esrun.folder / "conf" / "task" / "evil.yaml").write_text("name: os:system\n")
    done = esrun("task=evil", "--config-dir=conf")
    assert done.returncode == 2
    assert "must be a registered task" in done.stderr


def test_hydras_pickled_rerun_is_refused(esrun):
    (esrun.folder / "config.pickle").write_bytes(b"\x80\x04cos\nsystem\n(S'touch hacked'\ntR.")
    done = esrun("--experimental-rerun", "config.pickle")
    assert done.returncode == 2
    assert not (esrun.folder / "hacked").exists()
