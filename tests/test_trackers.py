"""The trackers themselves, where their packages are installed: what they have of a run that was
killed, of a sweep, and of values that they do not take as they are."""

import json
import signal
import struct

import pytest
from conftest import finished, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.commands, pytest.mark.filterwarnings("default")]

RUN = [
    "task=pendulum", "task.episodes=2", "policy.hidden=[4]", "strategy.population_size=8",
    "eval.episodes=2", "eval.every=10", "checkpoint.every=5", "checkpoint.seconds=1", "seed=3",
    "progress=off",
]  # fmt: skip


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def killed_and_gone_on(start, folder, *words):
    """A run that is killed behind a checkpoint, goes on, and is done at generation 4000."""
    run = folder / "run"
    process = start(folder, *RUN, *words, "generations=1000000", f"hydra.run.dir={run}")
    wait_for(lambda: any(run.glob("checkpoints/*.safetensors")), process)
    seen = len(metrics(run))
    wait_for(lambda: len(metrics(run)) > seen, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    goal = len(metrics(run)) + 200
    code, said = finished(start(folder, "resume", run, f"generations={goal}"))
    assert code == 0, said
    assert "left out" not in said
    assert "not ended" not in said
    return run, goal


def mlflows(folder):
    """-> (run, what it has of each metric by its steps), of the store beside a run folder."""
    client = pytest.importorskip("mlflow").MlflowClient(
        tracking_uri=f"sqlite:///{folder.parent}/mlflow.db"
    )
    run = client.get_run(json.loads((folder / "mlflow.json").read_text())["id"])
    steps = {
        name: [x.step for x in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }
    return run, steps


def test_mlflow_has_every_generation_of_a_killed_run_once(start, tmp_path):
    pytest.importorskip("mlflow")
    run, goal = killed_and_gone_on(start, tmp_path, "logger=[mlflow]", "logger.mlflow.tags={a: b}")
    found, steps = mlflows(run)
    lines = metrics(run)
    for name, told in steps.items():
        assert told == [x["generation"] for x in lines if x.get(name) is not None], name
    assert {"fitness_mean", "sigma", "eval_mean"} <= set(steps)
    assert (found.info.status, found.info.run_name) == ("FINISHED", "run")
    assert found.data.params["strategy.population_size"] == "8"
    assert found.data.params["generations"] == "1000000"  # the first one; what came later is a tag
    assert found.data.tags["generations"] == str(goal)
    assert found.data.tags["a"] == "b"


def test_mlflow_has_the_runs_of_a_sweep_together(start, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    words = ["-m", "logger=[mlflow]", "seed=1,2", "generations=3", "hydra.sweep.dir=sweep"]
    code, said = finished(start(tmp_path, *RUN, *words))
    assert (code, "left out" in said) == (0, False), said
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/sweep/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("esrun").experiment_id])
    assert sorted(run.data.params["seed"] for run in runs) == ["1", "2"]
    assert {run.data.tags["sweep"] for run in runs} == {"sweep"}
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_mlflow_takes_long_values_and_many_parameters(tmp_path):
    pytest.importorskip("mlflow")
    from esrun.runs.loggers.mlflow import make_mlflow

    folder = tmp_path / "odd #;&= letters" / "a run"
    folder.mkdir(parents=True)
    config = {f"key{i}": i for i in range(250)} | {"long": "x" * 9000, "odd!?": [1, 2]}
    (folder / "run.json").write_text(json.dumps({"config": config}))
    options = {"tracking_uri": None, "experiment": "mine", "run_name": None, "tags": {}}
    tracker = make_mlflow(folder=folder, **options)
    for generation in range(1, 200):
        tracker({"generation": generation, "a!": float("nan"), "b": float("inf"), "c": 1e300})
    tracker.close()
    run, steps = mlflows(folder)
    assert len(run.data.params) == 252
    assert run.data.params["long"] == "x" * 6000
    assert run.data.params["odd__"] == "[1, 2]"
    assert steps["a_"] == steps["b"] == steps["c"] == list(range(1, 200))
    assert run.info.status == "FAILED"  # nothing says that it is done


def histories(folder):
    """-> for each session of wandb's, in order, the run that it is of and the steps in its file:
    blocks of a log, of records with checksum, length and kind (whole, first, middle, last)."""
    from wandb.proto.wandb_internal_pb2 import Record

    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        content, at, record, steps, run = path.read_bytes(), 7, b"", [], None
        while at + 7 <= len(content):
            if 2**15 - at % 2**15 < 7:
                at += 2**15 - at % 2**15
                continue
            length, kind = struct.unpack_from("<HB", content, at + 4)
            record += content[at + 7 : at + 7 + length]
            at += 7 + length
            if kind in (1, 4):
                read, record = Record.FromString(record), b""
                run = read.run.run_id or run
                steps += [
                    int(x.value_json)
                    for x in read.history.item
                    if "_step" in (x.key, *x.nested_key)
                ]
        yield run, steps


def test_wandb_has_a_killed_run_in_two_files_of_one_run(start, tmp_path):
    pytest.importorskip("wandb")
    run, goal = killed_and_gone_on(start, tmp_path, "logger=[wandb]", "logger.wandb.mode=offline")
    (first, before), (second, after) = histories(run)
    assert first == second == json.loads((run / "wandb.json").read_text())["id"]
    assert before == list(range(1, len(before) + 1))
    assert after == list(range(after[0], goal + 1))
    assert 0 < after[0] - 1 <= goal - 200
    assert not list(run.glob("wandb/*/files/wandb-metadata.json"))
    assert not list(run.glob("wandb/*/files/output.log"))


def test_wandb_without_a_network_goes_on_offline(start, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://localhost:9")  # nobody listens there
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "3")
    words = ["logger=[wandb]", "generations=20", "hydra.run.dir=run"]
    code, said = finished(start(tmp_path, *RUN, *words))
    assert code == 0, said
    assert said.count("wandb is offline (") == 1
    assert [steps for _, steps in histories(tmp_path / "run")] == [list(range(1, 21))]


def test_wandb_that_nobody_is_logged_in_to_is_one_line(start, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    code, said = finished(start(tmp_path, *RUN, "logger=[wandb]", "generations=2"))
    assert (code, said.count("\n")) == (1, 1), said
    assert "log in (wandb login, or WANDB_API_KEY)" in said
