"""Sweeps whose jobs fail: what ends, what is left as it is, what is tried again."""

import json

import pytest
from conftest import finished

COMMON = (
    "task=sphere", "task.dimension=2", "strategy=openai_es", "strategy.population_size=6",
    "generations=12", "eval.episodes=2", "checkpoint.keep=1", "checkpoint.every=1", "progress=off",
)  # fmt: skip
EXPLODES = "strategy.learning_rate=1e38"
SWEEP = ("-m", *COMMON, "strategy.learning_rate=0.1,1e38,0.2", "hydra.sweep.dir=sw")


def statuses(folder):
    """-> what each summary of a sweep says."""
    paths = sorted(folder.glob("*/summary.json"))
    return {path.parent.name: json.loads(path.read_text())["status"] for path in paths}


def test_a_failure_ends_the_sweep_where_that_is_asked_for(sweep, tmp_path):
    code, said, _ = sweep(*SWEEP, "sweep.on_failure=stop")
    assert code == 1  # and not 75, which loops type again
    assert statuses(tmp_path / "sw") == {"0": "done", "1": "failed"}
    rows = [line.split() for line in said[-7:-4]]
    assert [row[2:] for row in rows] == [
        ["done", rows[0][-1]], ["failed", "(mean_exploded)", "-"], ["not", "begun", "-"],
    ]  # fmt: skip
    assert said[-4:] == [
        "1 failed: mean_exploded, as in sw/1",
        "sweep folder: sw",
        "to go on: esrun resume sw",
        "to try again what has failed: esrun resume sw --retry-failed",
    ]
    # what has failed before ends nothing: the sweep would never get behind it
    code, said, wrong = sweep("resume", "sw")
    assert (code, wrong) == (1, [])
    assert statuses(tmp_path / "sw") == {"0": "done", "1": "failed", "2": "done"}
    assert "sw/1 has failed before (mean_exploded), and is left so" in said
    assert said[-1] == "to compare: esrun plot sw --over strategy.learning_rate"


def test_the_other_jobs_run_unless_that_is_asked_for_and_it_is_the_same_sweep(sweep, tmp_path):
    assert sweep(*SWEEP)[0] == 1
    assert statuses(tmp_path / "sw") == {"0": "done", "1": "failed", "2": "done"}
    before = (tmp_path / "sw" / "1" / "summary.json").read_bytes()
    code, said, wrong = sweep(*SWEEP, "sweep.on_failure=stop")
    assert (code, wrong) == (1, [])
    assert sum("is done already" in line for line in said) == 2
    assert (tmp_path / "sw" / "1" / "summary.json").read_bytes() == before
    assert len(json.loads((tmp_path / "sw" / "sweep.json").read_text())["jobs"]) == 3


def test_what_has_failed_is_tried_again_where_that_is_asked_for(sweep, tmp_path):
    assert sweep(*SWEEP)[0] == 1
    job = tmp_path / "sw" / "1"
    assert not list(job.glob("checkpoints/*"))
    code, said, wrong = sweep("resume", "sw", "--retry-failed")
    assert (code, wrong) == (1, [])  # it fails by its numbers, so again
    assert "sw/1 has no checkpoint from before it failed: it begins anew" in said
    assert len(json.loads((job / "run.json").read_text())["resumed"]) == 1
    code, said, wrong = sweep(
        "resume", "sw", "strategy.learning_rate=0.3", "--force", "--retry-failed"
    )
    assert (code, wrong) == (0, [])
    assert statuses(tmp_path / "sw") == dict.fromkeys("012", "done")


def test_a_crash_goes_on_from_its_checkpoint_when_it_is_tried_again(sweep, tmp_path, monkeypatch):
    from esrun.runs.metrics import Metrics

    whole = ("-m", *COMMON, "seed=0,1", "hydra.sweep.dir=whole")
    assert sweep(*whole)[0] == 0
    words = ("-m", *COMMON, "seed=0,1", "hydra.sweep.dir=sw")
    assert sweep(*words, "generations=6")[0] == 0
    with monkeypatch.context() as broken:
        broken.setattr(Metrics, "add", lambda *_: 1 / 0)
        code, said, _ = sweep(*words)
    assert code == 1
    assert "2 failed: ZeroDivisionError: division by zero, as in sw/0" in said
    assert sweep(*words)[0] == 1
    assert statuses(tmp_path / "sw") == {"0": "failed", "1": "failed"}
    code, said, _ = sweep("resume", "sw", "--retry-failed")
    assert code == 0
    assert not any("anew" in line for line in said)
    for name in "01":
        bits = [(tmp_path / x / name / "policy.safetensors").read_bytes() for x in ("sw", "whole")]
        assert bits[0] == bits[1]


def test_a_killed_job_is_no_failed_one(sweep, tmp_path):
    """Killed, it has a record and no summary; by a signal, a summary that says so."""
    assert sweep(*SWEEP)[0] == 1
    (tmp_path / "sw" / "0" / "summary.json").unlink()
    path = tmp_path / "sw" / "2" / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"status": "interrupted"}))
    assert sweep(*SWEEP[:-2], "strategy.learning_rate=0.2,1e38,0.1", SWEEP[-1])[0] == 1
    assert statuses(tmp_path / "sw") == {"0": "done", "1": "failed", "2": "done"}


def test_sweeps_of_one_folder_are_gone_on_with_together(sweep, tmp_path):
    assert sweep("-m", *COMMON, "strategy.learning_rate=0.1,1e38", "seed=0", SWEEP[-1])[0] == 1
    assert sweep("-m", *COMMON, "seed=3,2", "strategy.sigma=0.3", SWEEP[-1])[0] == 0
    for name in "13":
        path = tmp_path / "sw" / name / "summary.json"
        if json.loads(path.read_text())["status"] == "done":
            path.unlink()
    code, said, _ = sweep("resume", "sw")
    assert code == 1
    assert statuses(tmp_path / "sw") == {"0": "done", "1": "failed", "2": "done", "3": "done"}
    assert said[-1] == "to compare: esrun report sw"


def test_a_single_run_that_failed_may_begin_anew(sweep, tmp_path):
    assert sweep(*COMMON, EXPLODES, "hydra.run.dir=run")[0] == 1
    code, _, wrong = sweep("resume", "run")
    assert (code, len(wrong)) == (1, 1)
    assert "no checkpoint" in wrong[0]
    assert sweep("resume", "run", "--retry-failed")[0] == 1
    assert len(json.loads((tmp_path / "run" / "run.json").read_text())["resumed"]) == 1


@pytest.mark.parametrize("name", ["summary.json", "run.json"])
@pytest.mark.parametrize("content", [b'{"status": 3}', b'{"form', b"[]", b""])
def test_a_damaged_record_ends_its_own_job_alone(sweep, tmp_path, name, content):
    assert sweep("-m", *COMMON, "seed=0,1", "hydra.sweep.dir=sw")[0] == 0
    (tmp_path / "sw" / "1" / name).write_bytes(content)
    for words in (("-m", *COMMON, "seed=0,1,2", "hydra.sweep.dir=sw"), ("resume", "sw")):
        code, said, wrong = sweep(*words)
        assert (code, len(wrong)) == (2, 1)
        assert f"sw/1/{name}" in wrong[0]
        (row,) = [line for line in said if line.startswith(" 1 ")]
        assert "refused" in row
    assert (tmp_path / "sw" / "1" / name).read_bytes() == content
    assert json.loads((tmp_path / "sw" / "2" / "summary.json").read_text())["status"] == "done"


LAUNCHER = '''
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore

class OtherLauncher(BasicLauncher):
    """Runs jobs one after another, as a plug-in."""

node = {"_target_": "hydra_plugins.other.OtherLauncher"}
ConfigStore.instance().store(group="hydra/launcher", name="other", node=node, provider="other")
'''


def test_what_has_failed_of_a_plugins_jobs_is_left_too(start, tmp_path):
    (tmp_path / "hydra_plugins").mkdir()
    (tmp_path / "hydra_plugins" / "other.py").write_text(LAUNCHER)
    words = (*SWEEP, "hydra/launcher=other")
    code, said = finished(start(tmp_path, *words, "sweep.on_failure=stop"))
    assert code == 2
    assert said.count("\n") == 1
    assert said.endswith("write sweep.on_failure=go_on\n")
    code, said = finished(start(tmp_path, *words))
    assert code == 1, said
    assert statuses(tmp_path / "sw") == {"0": "done", "1": "failed", "2": "done"}
    assert "1 failed: mean_exploded, as in sw/1" in said.splitlines()
    code, said = finished(start(tmp_path, *words))
    assert code == 1
    assert "sw/1 has failed before (mean_exploded), and is left so" in said.splitlines()
