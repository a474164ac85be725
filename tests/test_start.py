"""`policy.start`: a search that begins at a given mean, and every file that is no beginning."""

import hashlib
import json
import os
import re
import shutil
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from conftest import quickly
from safetensors.numpy import load_file, save_file

from esrun.config.check import checked
from esrun.config.compose import composed
from esrun.errors import ConfigError
from esrun.runs.origin import begun, origin
from esrun.runs.paths import RunFolder
from esrun.runs.policy import packed
from esrun.training.stop import stop_at
from esrun.types import Moments

SMALL = ["task=sphere", "task.dimension=3", "eval.episodes=2", "runtime.devices=1"]
STILL = ["strategy=sep_cma_es", "strategy.population_size=4", "strategy.c_m=1e-30"]
PENDULUM = ["task=pendulum", "policy.hidden=[2]", "strategy=openai_es",
            "strategy.population_size=4", "eval.episodes=2", "runtime.devices=1"]  # fmt: skip

pytestmark = pytest.mark.usefixtures("quick_to_compile")


def stored(run, path, scale=1.0, normalizer=None):
    """-> parameters [n] that are saved as a policy of the run's architecture."""
    parts = run.program.parts(run.hyper)
    mean = scale * np.arange(1.0, parts.n + 1, dtype=np.float32)
    path.write_bytes(packed(parts.unravel(mean), normalizer, {"task": {}, "policy": {}}))
    return mean


def first_state(run, folder):
    return begun(run, RunFolder(folder), None).start.state


def test_a_run_begins_where_another_one_ended_and_goes_on_without_its_file(in_process, tmp_path):
    first = [*SMALL, "strategy=openai_es", "generations=2", "hydra.run.dir=one"]
    assert in_process(*first)[0] == 0
    then = [*SMALL, *STILL, "policy.start=one", "hydra.run.dir=two", "generations=2"]
    code, said, errors = in_process(*then)
    assert code == 0, errors
    assert "begins at" in said
    one, two = (tmp_path / name / "policy.safetensors" for name in ("one", "two"))
    np.testing.assert_array_equal(load_file(one)["params/~/x"], load_file(two)["params/~/x"])
    assert b"start" not in two.read_bytes()  # the same policy, wherever it began
    digest = hashlib.sha256(one.read_bytes()).hexdigest()[:16]
    assert json.loads((tmp_path / "two" / "run.json").read_text())["start"] == digest

    shutil.rmtree(tmp_path / "one")
    assert in_process("resume", "two", "generations=4")[0] == 0
    assert json.loads((tmp_path / "two" / "run.json").read_text())["start"] == digest
    assert json.loads((tmp_path / "two" / "summary.json").read_text())["generations"] == 4
    code, _, errors = in_process("resume", "two", "generations=6", "policy.start=null")
    assert (code, "policy.start: one -> None" in errors) == (2, True)


@pytest.mark.parametrize(
    "strategy", ["cma_es", "openai_es", "simple_ga", "pgpe", "lm_ma_es", "cr_fm_nes"]
)
def test_numbers_are_the_first_mean_of_any_strategy(built, tmp_path, strategy):
    run = built(*SMALL, f"strategy={strategy}", "policy.start=[1,-2,0.5]")
    np.testing.assert_array_equal(first_state(run, tmp_path).strategy.mean, [1, -2, 0.5])


def test_the_first_search_of_several_begins_there(built, tmp_path):
    run = built(*SMALL, "strategy=cma_es", "strategy.restarts=ipop", "policy.start=[1,-2,0.5]")
    state = first_state(run, tmp_path)
    np.testing.assert_array_equal(state.incumbent.mean, [1, -2, 0.5])


def test_the_parameters_of_a_network_are_where_they_were(built, tmp_path):
    path = tmp_path / "there" / "policy.safetensors"
    path.parent.mkdir()
    mean = stored(built(*PENDULUM), path)
    for start in (path, path.parent):
        run = built(*PENDULUM, f"policy.start='{start}'")
        np.testing.assert_array_equal(first_state(run, tmp_path).strategy.mean, mean)
        assert origin(run).digest == hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@pytest.mark.parametrize(("there", "here"), [(a, b) for a in (True, False) for b in (True, False)])
def test_the_input_normaliser_is_taken_along_where_both_have_one(built, tmp_path, there, here):
    moments = Moments(np.float32(7), np.arange(3.0, dtype="f4"), np.ones(3, "f4"))
    stored(built(*PENDULUM), tmp_path / "p.safetensors", normalizer=moments if there else None)
    words = [f"policy.start='{tmp_path / 'p.safetensors'}'", f"policy.normalize_input={here}"]
    state = first_state(built(*PENDULUM, *words), tmp_path)
    assert (state.normalizer is not None) == here
    if here:
        assert float(state.normalizer.count) == (7 if there else 0)
        np.testing.assert_array_equal(state.normalizer.mean, [0, 1, 2] if there else [0, 0, 0])


def test_other_shapes_are_one_line_that_names_them(in_process, tmp_path, built):
    stored(built(*PENDULUM), tmp_path / "p.safetensors")
    words = [*PENDULUM, "policy.start=p.safetensors", "policy.hidden=[5]", "hydra.run.dir=new"]
    code, said, errors = in_process(*words)
    assert (code, said, errors.count("\n")) == (2, "", 1)
    assert "params/linear/w is [3, 2] there and [3, 5] here" in errors
    assert not (tmp_path / "new").exists()
    assert in_process("explain", *words[:-1])[0] == 2
    assert in_process(*PENDULUM, "policy.start=null", "policy.hidden=[5]", "generations=1")[0] == 0


def foreign(kind, path, run):
    if kind == "noise":
        path.write_bytes(os.urandom(1000))
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "another program's":
        save_file({"params/~/x": np.ones(3, np.float32)}, path)
    elif kind == "long names":
        params = {"a" * 5000: {f"\x1b[2J{i}": np.ones(1) for i in range(50)}}
        path.write_bytes(packed(params, None, {}))
    elif kind in ("nan", "beyond float32", "far"):
        stored(run, path, {"nan": np.nan, "beyond float32": np.inf, "far": 1e30}[kind])
    elif kind == "folder":
        path.mkdir()


KINDS = ["missing", "noise", "empty", "pipe", "device", "another program's", "long names", "nan",
         "beyond float32", "far", "folder"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_beginning_is_one_line_and_leaves_nothing(in_process, tmp_path, built, kind):
    foreign(kind, tmp_path / "x", built(*SMALL))
    words = [*SMALL, *STILL, "policy.start=x", "hydra.run.dir=new"]
    code, said, errors = in_process(*words)
    assert (code, said, errors.count("\n")) == (2, "", 1), errors
    assert re.search(r"policy\.start|policy of smaller numbers", errors)
    assert "\x1b" not in errors
    assert len(errors) < 1000
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([*SMALL, "policy.start=[1,2]"], "must be 3 numbers, one a parameter, got 2"),
        ([*SMALL, "policy.start=[1,2,3,4]"], "got 4"),
        ([*SMALL, "policy.start=[]"], "at least 1"),
        ([*SMALL, "policy.start=[1,a,3]"], "policy.start"),
        ([*SMALL, "policy.start=[1,nan,3]"], "policy.start"),
        ([*SMALL, "policy.start=3"], "policy.start"),
        ([*SMALL, "policy.start=[1e20,0,0]"], "policy of smaller numbers"),
        ([*PENDULUM, "policy.start=[1,2,3]"], "policy.start must be"),
    ],
)
def test_wrong_numbers_are_one_line(built, tmp_path, words, line):
    with pytest.raises(ConfigError, match=re.escape(line)) as caught:
        begun(built(*words), RunFolder(tmp_path), None)
    assert "\n" not in str(caught.value)


TABLE = ["strategy=openai_es", "strategy.noise=table", "strategy.noise_table_size=10000"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "strategy", quickly([["strategy=cma_es"], ["strategy=openai_es"], TABLE], TABLE)
)
def test_two_devices_begin_there_as_one_does(built, tmp_path, strategy):
    means = []
    for count in (1, 2):
        run = built("task=sphere", "task.dimension=3", "strategy.population_size=40", *strategy,
                    "runtime.population_chunk=10", "eval.episodes=2",
                    f"runtime.devices={count}", "policy.start=[1,-2,0.5]")  # fmt: skip
        state = first_state(run, tmp_path)
        state, *_ = run.program.advance(run.hyper, np.uint32(0), state, stop_at(run.config, 3))
        means.append(np.asarray(state.strategy.mean))
    np.testing.assert_array_equal(*means)


def test_a_policy_that_has_changed_since_the_run_began_is_refused(built, tmp_path):
    stored(built(*SMALL), tmp_path / "x")
    run = built(*SMALL, f"policy.start='{tmp_path / 'x'}'")
    begins = begun(run, RunFolder(tmp_path), SimpleNamespace(start=None))
    digest = begins.origin.digest
    assert begun(run, RunFolder(tmp_path), SimpleNamespace(start=digest)) is not None
    stored(built(*SMALL), tmp_path / "x", 2.0)
    with pytest.raises(ConfigError, match="has changed since this run began"):
        begun(run, RunFolder(tmp_path), SimpleNamespace(start=digest))


def test_explain_and_help_know_it(in_process, tmp_path, built):
    stored(built(*SMALL), tmp_path / "x")
    code, said, _ = in_process("explain", *SMALL, "policy.start=x")
    assert code == 0
    assert "begins at" in said
    told = json.loads(in_process("explain", "--json", *SMALL, "policy.start=x")[1])
    assert told["start"].startswith("x (")
    assert "start: null" in in_process("help", "policy=mlp")[1]
    assert "start: null" in in_process("--cfg", "job", *SMALL)[1]


def test_a_record_of_before_there_was_a_start_means_null():
    new = composed(SMALL).config
    old = new | {"policy": {k: x for k, x in new["policy"].items() if k != "start"}}
    assert checked(old) == checked(new)
    assert jax.tree.leaves(checked(new).policy.start) == []
