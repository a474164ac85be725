"""Plug-ins by entry point, and what happens when one fails: by subprocess, with a package made for
the purpose."""

import json
import os
import subprocess
import sys

import pytest

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
COMMON = ["task=faulty", "policy.hidden=[]", "strategy.population_size=6", "generations=3", "eval.episodes=2",
          "--config-dir=conf"]  # fmt: skip


@pytest.fixture
def esrun(tmp_path):
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
            env=os.environ | {"PYTHONPATH": str(site), "JAX_PLATFORMS": "cpu"} | environment,
            capture_output=True,
            text=True,
            timeout=300,
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
    assert "+task.depth" in esrun(*COMMON, "task.depth=1").stderr


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
    "logging": "job_logging:\n    version: 1\n    handlers:\n      x:\n        (): os.mkdir\n        path: hacked\n",
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
