"""The tensorboard logger: what TensorBoard's own reader finds, whatever happened to the run."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from esrun.runs.loggers.tensorboard import make_tensorboard

CONFIG = {
    "seed": 3,
    "eval": {"every": 20},
    "stop": {"eval": None},
    "policy": {"hidden": [64, 64], "normalize_input": True},
    "task": {"name": "gymnax", "token": "***"},
    "logger": {"tensorboard": {"name": "tensorboard"}},
}


def begin(folder):
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"config": CONFIG}))
    return make_tensorboard(folder=folder)


def line(generation, session=0, **more):
    return {"generation": generation, "sigma": float(session), "eval_mean": None, **more}


def read(folder):
    """-> what TensorBoard shows."""
    found = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    found.Reload()
    return found


def scalars(folder, name):
    return [(event.step, event.value) for event in read(folder).Scalars(name)]


def test_every_scalar_is_there_once_a_late_score_too(tmp_path):
    tracker = begin(tmp_path)
    tracker(line(1))
    tracker(line(2, fitness_best=-0.5))
    tracker(line(2, fitness_best=-0.5) | {"eval_mean": 7.0})
    tracker(line(3, fitness_best=float("nan"), names="x"))
    tracker.close()
    assert scalars(tmp_path, "sigma") == [(1, 0.0), (2, 0.0), (3, 0.0)]
    assert scalars(tmp_path, "eval_mean") == [(2, 7.0)]
    assert [step for step, _ in scalars(tmp_path, "fitness_best")] == [2, 3]
    assert set(read(tmp_path).Tags()["scalars"]) == {
        "generation", "sigma", "eval_mean", "fitness_best",
    }  # fmt: skip


@pytest.mark.parametrize("ending", ["done", "interrupted", None])
def test_the_configuration_is_hyperparameters(tmp_path, ending):
    tracker = begin(tmp_path)
    tracker(line(1))
    if ending:
        (tmp_path / "summary.json").write_text(json.dumps({"status": ending}))
    tracker.close()
    about = read(tmp_path).summary_metadata
    content = about[metadata.SESSION_START_INFO_TAG].plugin_data.content
    told = metadata.parse_session_start_info_plugin_data(content).hparams
    values = {key: getattr(x, x.WhichOneof("kind")) for key, x in told.items()}
    assert values == {
        "seed": 3, "eval.every": 20, "policy.hidden": "[64, 64]", "policy.normalize_input": True,
        "task.name": "gymnax", "task.token": "***",
    }  # fmt: skip
    content = about[metadata.EXPERIMENT_TAG].plugin_data.content
    metrics = metadata.parse_experiment_plugin_data(content).metric_infos
    assert [metric.name.tag for metric in metrics] == ["eval_mean"]
    assert (metadata.SESSION_END_INFO_TAG in about) == (ending == "done")


def newest(folder):
    return max((folder / "tensorboard").iterdir())


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_run_that_is_killed_again_and_again_has_each_generation_once(tmp_path_factory, data):
    """A process tells what is lacking until its checkpoint, then what comes, and of its file a part
    is on the disk; the next one goes on from a checkpoint in between."""
    folder, saved, most = tmp_path_factory.mktemp("run"), 0, 0
    for _ in range(data.draw(st.integers(1, 4))):
        tracker = begin(folder)
        assert tracker.last <= most
        most = saved + 3
        for generation in range(min(saved + 1, max(1, tracker.last)), most + 1):
            tracker(line(generation, 10 * generation))  # a run that goes on has the same bits
        tracker.close()
        content = newest(folder).read_bytes()
        newest(folder).write_bytes(content[: data.draw(st.integers(0, len(content)))])
        saved = data.draw(st.integers(saved, most))
    tracker = begin(folder)
    for generation in range(min(saved + 1, max(1, tracker.last)), saved + 2):
        tracker(line(generation, 10 * generation))
    tracker.close()
    assert scalars(folder, "sigma") == [(x, 10 * x) for x in range(1, saved + 2)]


def test_what_is_told_again_takes_the_place_of_what_was_told(tmp_path):
    for session, generations in enumerate([(1, 2, 3, 4), (3, 4, 5), (2, 3)]):
        tracker = begin(tmp_path)
        for generation in generations:
            tracker(line(generation, session))
        tracker.close()
    assert scalars(tmp_path, "sigma") == [(1, 0), (2, 2), (3, 2)]


def test_a_clock_that_goes_back_leaves_the_files_in_order(tmp_path, monkeypatch):
    for clock in (2000.0, 1000.0, 1000.0):
        monkeypatch.setattr("time.time", lambda clock=clock: clock)
        tracker = begin(tmp_path)
        tracker(line(int(tracker.last) + 1, clock))
        tracker.close()
    assert scalars(tmp_path, "sigma") == [(1, 2000), (2, 1000), (3, 1000)]


def test_files_of_others_are_left_alone(tmp_path):
    (tmp_path / "tensorboard").mkdir()
    for name, content in (("notes.txt", b"mine"), ("events.out.tfevents.x", b"\xff" * 40)):
        (tmp_path / "tensorboard" / name).write_bytes(content)
    tracker = begin(tmp_path)
    tracker(line(1))
    tracker.close()
    assert (tmp_path / "tensorboard/notes.txt").read_bytes() == b"mine"
    assert (tmp_path / "tensorboard/events.out.tfevents.x").read_bytes() == b"\xff" * 40


def test_a_link_in_its_place_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "tensorboard").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="is a link"):
        begin(tmp_path)
