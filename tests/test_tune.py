"""`esrun tune`: the space, the trials and their rungs, what survives, what is left at the end."""

import json
import os
import random
import shlex
import shutil
import signal
import sys
import time

import conftest
import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import finished, wait_for

from esrun.config import CONF_DIR, compose
from esrun.config.loader import Source
from esrun.config.space import Dimension
from esrun.errors import AwayError, ConfigError
from esrun.runs import sweep_record
from esrun.runs.tuning import asked as asking
from esrun.runs.tuning import journal, runs, search
from esrun.runs.tuning.journal import JOURNAL, loaded

SPHERE = (
    "task=sphere", "task.dimension=3", "strategy=cma_es", "strategy.population_size=6",
    "generations=12", "eval.every=2", "eval.episodes=2", "checkpoint.every=2",
)  # fmt: skip
SPACE = ("strategy.sigma=tag(log,interval(0.001,10))", "strategy.c_m=choice(1.0,0.5)")
FEW = (
    "tune.seeds=2",
    "tune.fresh_seeds=2",
    "tune.finalists=2",
    "tune.trials=4",
    "hydra.sweep.dir=st",
)


def states(folder):
    """-> the states of a study's trials by their numbers, as Optuna has them."""
    return [x.state.name for x in loaded(folder).trials]


def summary(run):
    return json.loads((run / "summary.json").read_text())


def same(one, other):
    """Whether two runs have computed the same, to the bit."""
    conftest.same(one, other)
    assert summary(one)["eval"] == summary(other)["eval"]


def alone(in_process, folder, run):
    """Type a run's own line alone, in another folder -> that."""
    (job,) = (x for x in sweep_record.asked(folder) if x.folder.name == run)
    words = [word for word in job.overrides if not word.startswith("generations=")]
    generations = json.loads((folder / run / "run.json").read_text())["config"]["generations"]
    place = folder.parent / f"alone-{run}"
    assert in_process(*words, f"generations={generations}", f"hydra.run.dir={place}")[0] == 0
    return place


# ---- the space -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "found", "first", "last"),
    [
        ("interval(1,10)", Dimension("", "", "float", 1.0, 10.0), "1.0", "10.0"),
        ("int(interval(1,10))", Dimension("", "", "int", 1, 10, 1), "1", "10"),
        ("tag(int,interval(1,3))", Dimension("", "", "int", 1, 3, 1), "1", "3"),
        ("tag(log,interval(0.01,1))", Dimension("", "", "float", 0.01, 1, None, True),
         "0.01", "1.0"),
        ("int(tag(log,interval(1,64)))", Dimension("", "", "int", 1, 64, 1, True), "1", "64"),
        ("range(32,256,32)", Dimension("", "", "int", 32, 224, 32), "32", "224"),
        ("range(0,1,0.1)", Dimension("", "", "float", 0.0, 0.9, 0.1), "0.0", "0.9"),
        ("range(5,1,-2)", Dimension("", "", "int", 3, 5, 2), "3", "5"),
        ("tag(log,range(1,9))", Dimension("", "", "int", 1, 8, 1, True), "1", "8"),
        ("float(range(1,5))", Dimension("", "", "float", 1.0, 4.0, 1.0), "1.0", "4.0"),
    ],
)  # fmt: skip
def test_hydras_grammar_is_a_space(said, found, first, last):
    word = f"strategy.sigma={said}"
    (one,) = compose.space([word]).dimensions
    assert one == found._replace(key="strategy.sigma", typed=word)
    assert [one.word(x) for x in one.ends] == [f"strategy.sigma={x}" for x in (first, last)]


@pytest.mark.parametrize(
    ("said", "values"),
    [
        ("policy.hidden=choice([16],[64,64])", ("[16]", "[64,64]")),
        ("policy.hidden=[16],[64,64]", ("[16]", "[64,64]")),
        ("policy.normalize_input=choice(true,false,true)", ("true", "false")),
        ("strategy.parents=null,4", ("null", "4")),
        ("strategy=glob(*nes)", ("cr_fm_nes", "snes", "xnes")),
    ],
)
def test_a_choice_has_its_values_as_they_are_typed(said, values):
    (one,) = compose.space([said]).dimensions
    assert one.choices == values == one.ends
    assert [one.of(one.value(x)) for x in values] == list(values)


def test_a_default_is_of_the_space_or_not():
    (one,) = compose.space(["strategy.population_size=range(32,256,32)"]).dimensions
    assert [one.of(x) for x in (64, 65, 256, "auto", True)] == [64, None, None, None, None]
    (one,) = compose.space(["strategy.sigma=interval(1,2)"]).dimensions
    assert [one.of(x) for x in (1, 1.5, 0.5)] == [1.0, 1.5, None]


def test_a_typed_word_takes_the_place_of_a_presets():
    preset = "tune.space=['strategy.sigma=interval(1,2)','strategy.active=choice(true,false)']"
    space = compose.space([preset, "strategy.active=true", "policy.low=interval(-4,-1)"])
    assert [one.key for one in space.dimensions] == ["policy.low", "strategy.sigma"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "tune needs a key to search: write for example esrun tune 'strategy.sigma="),
        (["strategy.sigm=interval(0.1,1)"], "did you mean strategy.sigma"),
        (["strategy.sigma=interval(1,0.1)"], "must have a finite lower bound, and above it"),
        (["strategy.sigma=interval(0.1,nan)"], "must have a finite lower bound, and above it"),
        (["strategy.sigma=interval(a,b)"], "write for example 'strategy.sigma=interval(0.1,1)'"),
        (["strategy.parents=choice(null,4)"], "write strategy.parents=null,4"),
        (["strategy.sigma=tag(log,interval(0,1))"], "bounds must be above 0, got 0"),
        (["strategy.sigma=tag(lg,interval(0,1))"], "is tagged lg: the tags are log and int"),
        (["strategy.sigma=tag(log,choice(1,2))"], "which a choice has no use for"),
        (["strategy.sigma=tag(log,range(1,9,2))"], "its step must be 1"),
        (["strategy.sigma=range(5,1)"], "must have at least two values"),
        (["strategy.sigma=interval(0,1)"], "strategy.sigma must be greater than 0, got 0.0"),
        (["strategy.population_size=interval(4,20)"], "=int(interval(4,20))'"),
        (["strategy=choice(cma_es,opneai_es)"], "did you mean openai_es"),
        (["strategy.sigma=interval(0.1,1)", "strategy.sigma=choice(1,2)"], "is searched twice"),
        (["seed=range(3)"], "must be a key of strategy, policy or task"),
        (["task=choice(sphere,ackley)"], "must be a key of strategy, policy or task"),
        (["+strategy.sigma=interval(0.1,1)"], "must be a key of strategy, policy or task"),
        (["policy.keep_every=choice(1,2)"], "changes nothing of what is computed"),
        (["strategy.sigma=choice(0.3)"], "must have at least two values"),
        (["task=sphere", "task.dimension=choice(2,10)"], "changes the task, and settings are"),
        (["strategy=choice(openai_es,cma_es)", "strategy.learning_rate=interval(0.01,0.1)"],
         "strategy.learning_rate=interval(0.01,0.1) with strategy=cma_es: strategy.learning_rate"),
        ([*SPACE, "tune.first_rung=7"], "must be a multiple of eval.every (20)"),
        ([*SPACE, "tune.trials=0"], "tune.trials must be greater than or equal to 1"),
        ([*SPACE, "tune.sampler=cmaes"], "tune.sampler must be 'tpe' or 'random'"),
        ([*SPACE, "tune.space=[strategy.active]"], "must be KEY=VALUE"),
        ([*SPACE, "tune.space=['strategy.active=true']"], "must say several values of each key"),
        ([*SPACE, "hydra.run.dir=x"], "write hydra.sweep.dir=..."),
        ([*SPACE, "hydra/sweeper=optuna"], "write esrun tune"),
        ([*SPACE, "-m"], "leave -m out"),
        ([*SPACE, "resume=x"], "resume must be null or auto for a study"),
        ([*SPACE, "seed=4294967295"], "seed must leave room"),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_one_line(words, line, in_process, tmp_path):
    code, said, wrong = in_process("tune", *words)
    assert (code, said, wrong.count("\n")) == (2, "", 1)
    assert line in wrong
    assert list(tmp_path.iterdir()) == []


def test_without_optuna_it_is_said_what_to_install(in_process, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, _, wrong = in_process("tune", *SPHERE, *SPACE)
    assert code == 2
    assert "pip install 'esrun[tune]'" in wrong
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "rungs"),
    [
        ([], [40, 120, 200]),
        (["generations=800", "eval.every=25", "tune.reduction=2", "tune.first_rung=25"],
         [25, 50, 100, 200, 400, 800]),
        (["tune.pruner=none"], [200]),
        (["generations=10"], [10]),
        (["generations=40", "tune.first_rung=20"], [20, 40]),
    ],
)  # fmt: skip
def test_rungs_are_where_every_run_is_evaluated(words, rungs):
    found = asking.asked(["task=sphere", *SPACE, *words], compose.PRIMARY)
    assert found.rungs == rungs


# ---- a study -------------------------------------------------------------------------------------


def test_a_study_to_its_end(in_process, tmp_path):
    code, said, wrong = in_process("tune", *SPHERE, *SPACE, *FEW)
    assert (code, wrong) == (0, "")
    folder, found = tmp_path / "st", loaded(tmp_path / "st").trials
    assert "4 settings tried: " in said
    assert "on seeds that no trial had (2 to 3):" in said
    assert len(found) == 4
    assert found[0].params == {"strategy.sigma": 0.3, "strategy.c_m": "1.0"}  # the default
    for one in found:
        runs = [folder / f"{one.number}-{seed}" for seed in (0, 1)]
        last = one.last_step
        assert [summary(run)["generations"] for run in runs] == [last, last]
        scores = [summary(run)["eval"]["mean"] for run in runs]
        assert one.value == one.intermediate_values[last] == np.median(scores)
        assert (one.state.name == "COMPLETE") == (last == 12)
    best = journal.best(loaded(folder))
    assert best is not None
    best = best.number
    assert {x.name for x in folder.iterdir() if x.name.startswith(f"{best}-")} == {
        f"{best}-{seed}" for seed in range(6)
    }
    for run in (f"{best}-0", f"{best}-3", "default-2"):
        same(folder / run, alone(in_process, folder, run))

    written = yaml.safe_load((folder / "conf/experiment/tuned.yaml").read_text())
    assert written["strategy"]["sigma"] == found[best].params["strategy.sigma"]
    words = ("--config-dir", "st/conf", "experiment=tuned", "seed=2", "hydra.run.dir=again")
    assert in_process(*words)[0] == 0
    score = summary(tmp_path / "again")["eval"]["mean"]
    assert score == summary(folder / f"{best}-2")["eval"]["mean"]
    assert (
        f"# With seed=2 it trains to {score!r}:"
        in (folder / "conf/experiment/tuned.yaml").read_text()
    )


def test_the_best_of_the_finalists_is_that_of_all_their_seeds(in_process, tmp_path):
    few = [word for word in FEW if "finalists" not in word]
    code, said, _ = in_process("tune", *SPHERE, *SPACE, *few, "tune.pruner=none")
    assert code == 0
    assert "the finalists, over seeds 0 to 1 and 4 to 5:" in said
    folder = tmp_path / "st"
    first = journal.ended(loaded(folder))[:3]
    assert len(first) == 3  # as many as tune.finalists has

    def over_all(trial):
        runs = (folder / f"{trial.number}-{seed}" for seed in (0, 1, 4, 5))
        return np.median([summary(run)["eval"]["mean"] for run in runs])

    best = max(first, key=over_all)
    assert journal.best(loaded(folder)).number == best.number
    text = (folder / "conf/experiment/tuned.yaml").read_text()
    assert f"(trial {best.number})" in text
    assert f"(0 to 1 and 4 to 5): {float(over_all(best))!r}" in text
    # another trial that ends makes the choice an old one, until it is made again
    assert in_process("tune", *SPHERE, *SPACE, *few, "tune.pruner=none", "tune.trials=5")[0] == 0
    assert loaded(folder).user_attrs["chosen"]["of"] == 5


def test_a_report_has_what_was_found(in_process, tmp_path, monkeypatch):
    assert in_process("tune", *SPHERE, *SPACE, *FEW, "tune.trials=6")[0] == 0
    code, _, wrong = in_process("report", "st")
    assert (code, wrong) == (0, "")
    page = (tmp_path / "st/report/index.html").read_text()
    assert "What the search found" in page
    assert "6 settings were tried: " in page
    found = pd.read_csv(tmp_path / "st/report/tables/trials.csv")
    assert list(found.trial) == list(found.trial.unique())
    tried = loaded(tmp_path / "st").trials
    known = {x.number: (x.value, x.params["strategy.sigma"], x.last_step) for x in tried}
    columns = ("trial", "held-out", "strategy.sigma", "generations")
    assert {a: (b, c, d) for a, b, c, d in zip(*(found[x] for x in columns), strict=True)} == known
    importance = pd.read_csv(tmp_path / "st/report/tables/importance.csv")
    assert importance["after 2 generations, 6 settings"].sum() == pytest.approx(1)
    assert set(importance.key) == {"strategy.sigma", "strategy.c_m"}
    fresh = pd.read_csv(tmp_path / "st/report/tables/fresh.csv")
    means = [summary(tmp_path / f"st/default-{seed}")["eval"]["mean"] for seed in (2, 3)]
    assert fresh["median"][1] == pytest.approx(np.median(means))
    assert len(list((tmp_path / "st/report/figures").glob("search-*.svg"))) == 2
    # the runs of settings that were left stand in that section alone
    scores = pd.read_csv(tmp_path / "st/report/tables/scores.csv")
    ended = sum(x.state.name == "COMPLETE" for x in tried)
    assert len(scores) in (ended, ended + 1)  # the default may be the first trial
    assert in_process("plot", "st", "-o", "curves.svg")[0] == 0
    assert in_process("eval", "st")[0] == 0
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert in_process("report", "st", "-o", "other")[0] == 0
    assert (
        "It cannot be told: a search needs the package optuna"
        in (tmp_path / "other/index.html").read_text()
    )


def test_the_sweep_of_es_torch_has_its_space_and_rungs():
    pytest.importorskip("mujoco")
    found = asking.asked(["experiment=halfcheetah_sweep"], compose.PRIMARY)
    assert found.rungs == [25, 50, 100, 200, 400, 800]
    space = {one.key.partition(".")[2]: one for one in found.space.dimensions}
    assert space["hidden"].choices == ("[32,32]", "[64,64]", "[128,128]", "[256,256]")
    assert space["population_size"].choices == ("8", "16", "32")
    assert (space["sigma"].low, space["sigma"].high) == (0.001, 0.04)
    # a step is learning_rate long there too, at its own std
    std = found.config.strategy.sigma
    assert space["learning_rate"].low == pytest.approx(0.002 * std)
    assert space["learning_rate"].high == pytest.approx(0.05 * std)
    assert space["weight_decay"].high == pytest.approx(0.03 / std)


def test_typed_again_it_goes_on_and_extends(in_process, tmp_path):
    words = ("tune", *SPHERE, *SPACE, *FEW[:2])
    assert in_process(*words, "tune.trials=2")[0] == 0
    (folder,) = tmp_path.glob("multirun/*/*")
    first = {path: path.stat().st_mtime_ns for path in folder.glob("*/metrics.jsonl")}
    assert in_process(*words, "tune.trials=2")[0] == 0
    assert in_process(*words, "tune.trials=3")[0] == 0
    assert in_process("resume", str(folder), "tune.trials=4")[0] == 0
    assert list(tmp_path.glob("multirun/*/*")) == [folder]
    assert len(loaded(folder).trials) == 4
    assert {path: path.stat().st_mtime_ns for path in first} == first
    commands = sweep_record.commands(folder)
    assert len(commands) == 4
    code, _, wrong = in_process("resume", str(folder), "strategy.sigma=0.2")
    assert code == 2
    assert "must go on with what it began, got strategy.sigma" in wrong
    assert in_process(*words, "tune.trials=1", "resume=null")[0] == 0
    assert len(list(tmp_path.glob("multirun/*/*"))) == 2


def test_a_folder_of_something_else_is_left_alone(in_process, tmp_path):
    assert in_process("-m", *SPHERE, "generations=2", "seed=0,1", "hydra.sweep.dir=st")[0] == 0
    before = (tmp_path / "st/sweep.json").read_bytes()
    code, _, wrong = in_process("tune", *SPHERE, *SPACE, *FEW)
    assert (code, "holds a sweep that esrun tune has not made" in wrong) == (2, True)
    assert (tmp_path / "st/sweep.json").read_bytes() == before
    assert not (tmp_path / "st" / JOURNAL).exists()
    study = ("tune", *SPHERE, *SPACE, *FEW[:2], "tune.trials=1", "hydra.sweep.dir=other")
    assert in_process(*study)[0] == 0
    code, _, wrong = in_process("-m", *SPHERE, "seed=0,1", "hydra.sweep.dir=other")
    assert (code, "holds a study, which esrun tune goes on with" in wrong) == (2, True)


def test_a_setting_that_fails_is_one_that_was_tried(in_process, tmp_path):
    words = ("task=sphere", "task.dimension=3", "strategy=openai_es", "strategy.population_size=6",
             "generations=4", "eval.every=2", "eval.episodes=2")  # fmt: skip
    rates = "strategy.learning_rate=choice(1e38,0.1)"
    code, said, _ = in_process("tune", *words, rates, *FEW, "tune.sampler=random", "tune.trials=5")
    assert code == 0
    assert "is left: mean_exploded" in said
    failed = [
        x for x in loaded(tmp_path / "st").trials if x.params["strategy.learning_rate"] == "1e+38"
    ]
    assert failed
    assert all(x.user_attrs["cause"] == "mean_exploded" for x in failed)
    assert {x.state.name for x in failed} == {"PRUNED"}


def test_runs_that_converge_before_their_rung_are_their_lines_alone(in_process, tmp_path):
    words = [*SPHERE, "generations=400", "eval.every=50", "tune.first_rung=200", *SPACE, *FEW]
    assert in_process("tune", *words, "tune.trials=2", "tune.fresh_seeds=0")[0] == 0
    for one in loaded(tmp_path / "st").trials:
        run = f"{one.number}-0"
        assert summary(tmp_path / "st" / run)["stop_reason"] != "generations"
        same(tmp_path / "st" / run, alone(in_process, tmp_path / "st", run))


def test_time_that_is_over_begins_nothing(in_process, tmp_path):
    code, said, _ = in_process("tune", *SPHERE, *SPACE, *FEW, "tune.seconds=1e-6")
    assert (code, "0 settings tried" in said) == (0, True)
    assert in_process("tune", *SPHERE, *SPACE, *FEW, "tune.trials=1")[0] == 0
    assert states(tmp_path / "st") == ["COMPLETE"]


def test_another_study_is_not_begun_in_the_folder_of_one(in_process):
    assert in_process("tune", *SPHERE, *SPACE, *FEW, "tune.trials=1")[0] == 0
    code, _, wrong = in_process("tune", *SPHERE, *SPACE, *FEW, "tune.trials=1", "resume=null")
    assert (code, "resume=null begins another study, and st holds one" in wrong) == (2, True)


def test_where_no_setting_comes_to_its_end_the_study_has_failed(in_process, tmp_path):
    words = ["task=sphere", "strategy=openai_es", "generations=4", "eval.every=2"]
    wild = ["strategy.learning_rate=choice(1e38,9e37)", "strategy.optimizer=sgd"]
    code, said, wrong = in_process("tune", *words, *wild, *FEW, "tune.trials=2")
    assert (code, "no setting came to its end" in wrong) == (1, True)
    assert "mean_exploded" in said
    assert not (tmp_path / "st/conf").exists()


def test_what_is_said_to_be_typed_is_right_for_options_and_modules_of_ones_own(
    in_process, tmp_path, monkeypatch
):
    (tmp_path / "mine/task").mkdir(parents=True)
    (tmp_path / "mine/experiment").mkdir()
    own = (CONF_DIR / "task/sphere.yaml").read_text().replace("dimension: 10", "dimension: 2")
    (tmp_path / "mine/task/small.yaml").write_text(own)
    words = ["--config-dir", "mine", "task=small", *SPHERE[2:], *SPACE, *FEW]
    code, said, _ = in_process("tune", *words)
    assert code == 0
    (line,) = (x for x in said.splitlines() if x.startswith("to train it"))
    assert line.startswith("to train it (copied into mine/experiment): esrun --config-dir mine ")
    shutil.copy(tmp_path / "st/conf/experiment/tuned.yaml", tmp_path / "mine/experiment")
    typed = shlex.split(line.partition(": esrun ")[2])
    assert in_process(*typed, "hydra.run.dir=again")[0] == 0
    found = asking.asked([*SPHERE, *SPACE, "hydra.sweep.dir=st"], compose.PRIMARY)
    assert asking.going_on(tmp_path / "st", found) == "esrun resume st"
    found = found._replace(source=Source(directory="mine"))
    assert asking.going_on(tmp_path / "st", found) == "its command again, with hydra.sweep.dir='st'"
    found = found._replace(source=compose.PRIMARY, words=[*found.words, "hydra.job.chdir=true"])
    assert asking.going_on(tmp_path / "st", found) == "its command again, with hydra.sweep.dir='st'"
    assert asking.asked(found.words, compose.PRIMARY).alone


def test_a_trial_that_is_out_of_time_goes_on_with_the_next_command(
    in_process, tmp_path, monkeypatch
):
    asked = iter([True, False])  # time for the first trial to be taken, and no more
    with monkeypatch.context() as patch:
        patch.setattr(search.Search, "_is_in_time", lambda self: next(asked, False))
        few = [*FEW, "runtime.parallel_runs=1", "tune.seconds=5"]
        code, said, _ = in_process("tune", *SPHERE, *SPACE, *few)
    assert code == 0
    begun = states(tmp_path / "st")
    assert "RUNNING" in begun
    assert f"{begun.count('RUNNING')} wait for more time" in said
    code, said, _ = in_process("resume", "st")
    assert (code, "wait for more time" in said) == (0, False)  # the limit was that command's
    assert "RUNNING" not in states(tmp_path / "st")
    assert len(states(tmp_path / "st")) == 4


def test_what_is_away_for_a_while_ends_the_study_and_no_setting(in_process, tmp_path, monkeypatch):
    known, real = iter(range(100)), runs.checked

    def away(config):
        if next(known) == 3:
            raise AwayError("task.file must be a file: it is not there")
        return real(config)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "checked", away)
        code, _, wrong = in_process("tune", *SPHERE, *SPACE, *FEW)
    assert (code, wrong.count("\n")) == (1, 1)
    assert "it is not there: the study goes on with it when its command is typed again" in wrong
    assert in_process("tune", *SPHERE, *SPACE, *FEW)[0] == 0
    tried = loaded(tmp_path / "st").trials
    assert len(tried) == 4
    assert not any("cause" in one.user_attrs for one in tried)


def test_a_trial_that_was_cut_before_it_had_values_gets_those_of_the_seed(in_process, tmp_path):
    words = ["tune", *SPHERE, *SPACE, *FEW, "tune.sampler=random", "tune.trials=3"]
    assert in_process(*words)[0] == 0
    whole = [x.params for x in loaded(tmp_path / "st").trials]
    log = tmp_path / "st" / JOURNAL
    lines = log.read_text().splitlines(keepends=True)
    created = [i for i, line in enumerate(lines) if json.loads(line)["op_code"] == 4]
    log.write_text("".join(lines[: created[2] + 1]) + '{"op_code":5,"wo')
    assert in_process(*words)[0] == 0
    assert [x.params for x in loaded(tmp_path / "st").trials] == whole


def test_a_journal_that_is_damaged_meanwhile_is_one_line(in_process, tmp_path, monkeypatch):
    real = runs.Runs.score

    def damage(self, *arguments):
        with (tmp_path / "st" / JOURNAL).open("a") as file:
            file.write("garbage\n")
        return real(self, *arguments)

    monkeypatch.setattr(runs.Runs, "score", damage)
    code, _, wrong = in_process("tune", *SPHERE, *SPACE, *FEW)
    assert (code, wrong.count("\n"), "cannot be read on" in wrong) == (1, 1, True)


def test_a_journal_of_something_else_is_one_line(in_process, tmp_path):
    assert in_process("tune", *SPHERE, *SPACE, *FEW, "tune.trials=1")[0] == 0
    journal = tmp_path / "st" / JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code":4,"worke')  # what is killed in writing
    assert in_process("tune", *SPHERE, *SPACE, *FEW, "tune.trials=2")[0] == 0
    assert journal.read_bytes().startswith(whole)
    assert all(map(json.loads, journal.read_text().splitlines()))
    journal.write_bytes(b"no journal\n" * 3)
    code, _, wrong = in_process("tune", *SPHERE, *SPACE, *FEW)
    assert (code, wrong.count("\n"), "cannot be read as a study" in wrong) == (2, 1, True)
    journal.unlink()
    journal.symlink_to(tmp_path / "elsewhere")
    code, _, wrong = in_process("tune", *SPHERE, *SPACE, *FEW)
    assert (code, "is a link" in wrong) == (2, True)
    assert not (tmp_path / "elsewhere").exists()


def test_a_study_begins_nothing_for_words_of_a_file(in_process, tmp_path):
    assert in_process("tune", *SPHERE, *SPACE, *FEW, "tune.trials=1")[0] == 0
    path = tmp_path / "st/sweep.json"
    record = json.loads(path.read_text())
    record["search"]["words"].append("hydra.job.chdir=true")
    path.write_text(json.dumps(record))
    code, _, wrong = in_process("resume", "st")
    assert (code, "type its command again" in wrong) == (2, True)


# ---- what survives -------------------------------------------------------------------------------

LONG = (
    "tune", "task=sphere", "task.dimension=3", "strategy=openai_es", "strategy.population_size=6",
    "strategy.sigma=tag(log,interval(0.01,1))", "strategy.learning_rate=interval(0.01,0.1)",
    "generations=18000", "eval.every=2000", "eval.episodes=2", *FEW, "tune.trials=6",
)  # fmt: skip


def check_whole(in_process, folder, count):
    """Assert that a study has come to its end with so many trials, and that their runs are those
    of their lines alone."""
    assert len(states(folder)) == count
    assert set(states(folder)) <= {"COMPLETE", "PRUNED"}
    for one in loaded(folder).trials:
        for seed in (0, 1):
            run = folder / f"{one.number}-{seed}"
            assert summary(run)["status"] == "done"
            assert summary(run)["generations"] == one.last_step
    for number in random.Random(0).sample(range(count), 2):
        run = f"{number}-1"
        same(folder / run, alone(in_process, folder, run))


@pytest.mark.slow
def test_a_study_that_is_killed_again_and_again_loses_nothing(start, in_process, tmp_path):
    rng = random.Random(1)
    for _ in range(int(os.environ.get("ESRUN_TEST_KILLS", "10"))):
        process = start(tmp_path, *LONG)
        journal = tmp_path / "st" / JOURNAL
        wait_for(lambda journal=journal: journal.exists(), process)
        time.sleep(rng.uniform(0.5, 8))
        process.send_signal(signal.SIGKILL)
        finished(process)
    code, said = finished(start(tmp_path, *LONG))
    assert code == 0, said
    check_whole(in_process, tmp_path / "st", 6)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_study_that_a_signal_ends_goes_on(start, in_process, tmp_path, number):
    process = start(tmp_path, *LONG)
    wait_for(lambda: list(tmp_path.glob("st/1-*/metrics.jsonl")), process)
    process.send_signal(number)
    code, said = finished(process)
    assert code == 75, said
    assert "to go on: esrun resume st" in said
    code, said = finished(start(tmp_path, "resume", "st"))
    assert code == 0, said
    check_whole(in_process, tmp_path / "st", 6)


@pytest.mark.slow
def test_two_processes_share_a_study(start, in_process, tmp_path):
    both = [start(tmp_path, *LONG) for _ in range(2)]
    ends = [finished(process) for process in both]
    assert [code for code, _ in ends] == [0, 0], ends
    began = [{line.split()[1] for line in said.splitlines() if " begins: " in line}
             for _, said in ends]  # fmt: skip
    assert not began[0] & began[1]
    assert began[0] | began[1] == {str(i) for i in range(6)}
    assert all("on seeds that no trial had" in said for _, said in ends)
    check_whole(in_process, tmp_path / "st", 6)


@pytest.mark.slow
def test_what_a_dead_process_leaves_another_takes(start, in_process, tmp_path):
    one, other = start(tmp_path, *LONG), start(tmp_path, *LONG)
    wait_for(lambda: len(list(tmp_path.glob("st/*-0/metrics.jsonl"))) > 1, one)
    one.send_signal(signal.SIGKILL)
    finished(one)
    code, said = finished(other)
    assert code == 0, said
    check_whole(in_process, tmp_path / "st", 6)


def test_refused_configurations_are_no_trials():
    with pytest.raises(ConfigError, match="must be even"):
        asking.asked(["strategy=openai_es", "strategy.population_size=range(31,65)"],
                     compose.PRIMARY)  # fmt: skip
