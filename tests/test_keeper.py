"""What a run keeps besides its training state: the policies that were asked for, and the best."""

import json
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file

from esrun import files
from esrun.header import read_header
from esrun.runs.kept_policies import Keeper, best_score
from esrun.runs.paths import RunFolder
from esrun.training.loop import advance_until
from esrun.training.pace import halt, is_kept

pytestmark = pytest.mark.usefixtures("quick_to_compile")

WORDS = ["task=rosenbrock", "task.dimension=4", "strategy.population_size=8", "eval.every=4",
         "eval.episodes=2", "checkpoint.every=1", "runtime.devices=1"]  # fmt: skip


def keep(every=None, at=(), generations=100, evaluations=20):
    return SimpleNamespace(
        policy=SimpleNamespace(keep_every=every), checkpoint=SimpleNamespace(keep_at=list(at)),
        eval=SimpleNamespace(every=evaluations), generations=generations,
    )  # fmt: skip


def test_chunks_end_where_something_is_to_be_seen():
    config = keep(every=15, at=[7, 33, 200])
    ends, at = [], 0
    while at < 100:
        at = halt(config, at)
        ends.append(at)
    assert ends == [7, 15, 20, 30, 33, 40, 45, 60, 75, 80, 90, 100]
    assert [at for at in range(1, 50) if is_kept(config, at)] == [7, 15, 30, 33, 45]


def test_a_policy_that_is_kept_is_the_mean_of_that_very_generation(built, tmp_path):
    run = built(*WORDS, "generations=12", "checkpoint.keep_at=[3,7,50]", "policy.keep_every=5")
    written = {"policy": {"name": "vector", "keep_every": 5}, "task": {"name": "blackbox"}}
    keeper = Keeper(RunFolder(tmp_path), run, written, pytest.fail, lambda: None, 0)
    advance_until(run.program, run.hyper, run.config, lambda progress: None,
                  save=lambda state, progress, final: keeper.keep(state, progress))  # fmt: skip
    found = sorted(int(path.stem) for path in (tmp_path / "policies").iterdir())
    assert found == [3, 5, 7, 10]
    for generation in found:
        path = tmp_path / "policies" / f"{generation}.safetensors"
        short = built(*WORDS, f"generations={generation}")
        outcome = advance_until(short.program, short.hyper, short.config, lambda progress: None)
        np.testing.assert_array_equal(load_file(path)["params/~/x"], outcome.state.strategy.mean)
        about = read_header(path.read_bytes(), "policy")
        assert (about["generation"], about["policy"]) == (generation, {"name": "vector"})


def test_a_checkpoint_waits_for_a_policy_that_is_being_written(built, tmp_path, monkeypatch):
    run = built(*WORDS, "generations=3", "checkpoint.keep_at=[3]")
    written = {"policy": {"name": "vector"}, "task": {"name": "blackbox"}}
    keeper = Keeper(RunFolder(tmp_path), run, written, pytest.fail, lambda: None, 0)
    write, asked = files.write, ThreadPoolExecutor(1)

    def slowly(path, content):
        found.append(asked.submit(keeper.sync, 3))
        with pytest.raises(TimeoutError):
            found[-1].result(timeout=0.05)
        write(path, content)

    found = []
    monkeypatch.setattr(files, "write", slowly)
    advance_until(run.program, run.hyper, run.config, lambda progress: None,
                  save=lambda state, progress, final: keeper.keep(state, progress))  # fmt: skip
    assert [x.result(timeout=60) for x in found] == [None] * len(found)
    assert found


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*.safetensors") if "checkpoints" not in path.parts
    }  # fmt: skip


def test_a_run_that_is_gone_on_with_keeps_the_same_as_one_that_never_ended(in_process, tmp_path):
    words = [*WORDS, "strategy.sigma=2.0", "checkpoint.keep_at=[3,11]", "policy.keep_every=5"]
    for name, first in (("whole", 14), ("parts", 6)):
        code, *said = in_process(*words, f"generations={first}", f"hydra.run.dir={name}")
        assert code == 0, said
    # the run was killed behind a checkpoint: what it did after that is there already
    code, *said = in_process("resume", "parts", "generations=14")
    assert code == 0, said
    whole, parts = (contents(tmp_path / name) for name in ("whole", "parts"))
    names = {"policy.safetensors", "policy_best.safetensors", "members_best.safetensors"}
    assert {name for name in whole if "/" not in name} == names
    kept = {f"policies/{at}.safetensors" for at in (3, 5, 10, 11)}
    assert set(whole) == names | kept
    assert parts == whole


def test_the_best_policy_is_the_one_with_the_best_held_out_mean(in_process, tmp_path):
    # steps of a sigma that is far too large: the mean gets worse again
    words = ["task=rastrigin", *WORDS[1:], "strategy=openai_es", "strategy.learning_rate=1.0"]
    code, *said = in_process(*words, "generations=40", "hydra.run.dir=run")
    assert code == 0, said
    lines = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    scores = {x["generation"]: x["eval_mean"] for x in lines if x["eval_mean"] is not None}
    best = max(scores, key=scores.get)
    assert best != 40, "this seed shows nothing"
    about = read_header((tmp_path / "run" / "policy_best.safetensors").read_bytes(), "policy")
    assert (about["generation"], about["eval_mean"]) == (best, scores[best])
    assert best_score(tmp_path / "run" / "policy_best.safetensors", {}) == scores[best]


def test_the_best_of_another_task_is_not_the_best_of_this_one(tmp_path, in_process):
    code, *said = in_process(*WORDS, "generations=4", "hydra.run.dir=run")
    assert code == 0, said
    path = tmp_path / "run" / "policy_best.safetensors"
    about = read_header(path.read_bytes(), "policy")
    assert best_score(path, {"task": about["task"]}) == about["eval_mean"]
    assert best_score(path, {"task": about["task"] | {"function": "sphere"}}) == -np.inf
    path.write_bytes(b"x" * 99)
    assert best_score(path, {}) == -np.inf


def progress(generation, score=None):
    return SimpleNamespace(generation=generation, score=score)


def test_policies_wait_for_a_disk_that_refuses_and_no_checkpoint_is_ahead_of_them(
    built, tmp_path, monkeypatch
):
    run, said = built(*WORDS, "policy.keep_every=1"), []
    written = {"policy": {"name": "vector"}, "task": {"name": "blackbox"}}
    keeper = Keeper(RunFolder(tmp_path), run, written, said.append, lambda: None, 0)
    state = run.program.init(run.hyper, np.uint32(0))

    def full(path, content):
        raise OSError("No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(files, "write", full)
        for generation in (1, 2):
            keeper.keep(state, progress(generation))
            with pytest.raises(OSError, match=r"1\.safetensors"):
                keeper.sync(generation)
        keeper.sync(0)
    assert said == ["policies wait in memory: No space left on device"]
    keeper.keep(state, progress(3))
    keeper.sync(3)
    assert len(list((tmp_path / "policies").iterdir())) == 3


def test_a_generation_that_is_past_is_named(built, tmp_path):
    run, said = built(*WORDS, "checkpoint.keep_at=[2,3,9]"), []
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "3.safetensors").touch()
    written = {"policy": {"name": "vector"}, "task": {"name": "blackbox"}}
    Keeper(RunFolder(tmp_path), run, written, said.append, lambda: None, 5)
    assert len(said) == 1
    assert "generation 2 is past" in said[0]
