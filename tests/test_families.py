"""The jobs of a sweep are composed in families: each comes out as Hydra composes it alone."""

from contextlib import ExitStack
from functools import partial

import pytest
from hydra.types import RunMode
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from esrun.config import hydra
from esrun.config.compose import composed, composing
from esrun.config.families import FamilyLoader
from esrun.config.loader import PRIMARY, Source
from esrun.errors import ConfigError
from esrun.runs.job import yaml_of

WORDS = [
    *("task=sphere", "task=pendulum", "task=digits", "experiment=digits", "experiment=bipop"),
    *("strategy=openai_es", "strategy=cma_es", "policy=rnn", "logger=[tensorboard]", "logger=[]"),
    *("seed=3", "seed=4", "generations=7", "task.dimension=5", "strategy.sigma=0.1"),
    *("strategy.sigma=1e-3", "policy.hidden=[4,5]", "policy.hidden=[]", "task.file=null"),
    *("strategy.optimizer_options.b1=0.8", "strategy.optimizer_options={b2: 0.9}"),
    *(
        "seed=${generations}",
        "log.every='3'",
        "stop.seconds=2",
        "runtime.devices=1",
        "eval.every=2",
    ),
    *("+strategy.sigma=0.2", "++policy.hidden=[1]", "~policy.hidden", "~logger", "+made.up=1"),
    *("hydra.sweep.dir=x", "hydra.job.chdir=true", "hydra.sweep.subdir=${seed}", "taks=sphere"),
    *("strategy.sgma=1", "seed=1,2", "seed", "task@x=sphere", "=3", "policy=[mlp,rnn]"),
]


def told(compose, words):
    """-> what comes out, as text, or the complaint."""
    try:
        cfg = compose(words)
    except Exception as error:  # whatever Hydra says
        return type(error), str(error)
    flags = cfg._get_flag("struct"), cfg.policy._get_flag("struct"), cfg.hydra._get_flag("readonly")
    return OmegaConf.to_yaml(cfg), flags


@settings(deadline=None, max_examples=15)
@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=5), min_size=2, max_size=4))
def test_whatever_is_typed_comes_out_as_hydra_composes_it(jobs):
    with ExitStack() as stack:
        one = stack.enter_context(hydra.composing(PRIMARY, WORDS))
        for words in jobs:
            with hydra.loaded(PRIMARY, WORDS) as alone:
                compose = partial(alone.compose_config, "esrun", run_mode=RunMode.RUN)
                expected = told(partial(compose, from_shell=False), words)
            assert told(one, words) == expected


def test_hydra_composes_once_for_each_combination_of_options(monkeypatch):
    count = 0
    compose = FamilyLoader._compose_config_from_defaults_list

    def counted(self, **given):
        nonlocal count
        count += 1
        return compose(self, **given)

    monkeypatch.setattr(FamilyLoader, "_compose_config_from_defaults_list", counted)
    jobs = [["task=sphere", f"strategy.sigma={x}", f"seed={x}"] for x in (1, 2)]
    with composing(PRIMARY, []) as one:
        seeds = [one(words, i).config for i, words in enumerate(jobs)]
        assert count == 1
        one(["seed=3", "task=pendulum"], 3)
        one(["task=pendulum", "seed=4"], 4)
        assert count == 2
    assert [x["seed"] for x in seeds] == [1, 2]
    assert seeds == [composed(words).config for words in jobs]


def test_a_job_knows_its_number():
    with composing(PRIMARY, []) as one:
        jobs = [one(["task=sphere", "seed=${hydra:job.num}"], i) for i in range(3)]
    assert [job.config["seed"] for job in jobs] == [0, 1, 2]
    assert [job.hydra.job.id for job in jobs] == ["0", "1", "2"]


def test_options_of_other_places_are_options(tmp_path):
    (tmp_path / "generations").mkdir()
    (tmp_path / "generations" / "few.yaml").write_text("# @package _global_\nseed: 5\n")
    source = Source(directory=str(tmp_path))
    words = ["task=sphere", "+generations=few"]
    with composing(source, []) as one:
        assert one(words, 0).config == composed(words, source).config
    place = f"hydra.searchpath=[file://{tmp_path}]"
    with composing(PRIMARY, [place]) as one:
        found = one(["task=sphere", "+generations=few", "eval.every=2", place], 0).config
    assert (found["seed"], found["eval"]["every"]) == (5, 2)


@pytest.mark.parametrize("word", ["hydra.callbacks.x._target_=os.system", "hydra.mode=MULTIRUN"])
def test_what_was_not_typed_is_refused_in_every_job(word):
    with composing(PRIMARY, ["task=sphere"]) as one:
        one(["task=sphere", "seed=1"], 0)
        with pytest.raises(ConfigError, match="must be typed on the command line"):
            one(["task=sphere", "seed=2", word], 1)


TEXTS = [
    *("on", "1e3", "null", "", "2020-01-01", "a: b # c", "ünï", "it's", "=", "<<", "0x1F", "1_000"),
    *("a word " * 60, "two\nlines", " edge ", "-", "[1", "${seed}"),
]


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_recorded_reads_as_hydra_reads_its_own(text):
    tree = {"text": text, "list": [text, 1, 1.5, None, True], "deep": {"1": {"x": text}}}
    read, own = (OmegaConf.create(x) for x in (yaml_of(tree).decode(), OmegaConf.to_yaml(tree)))
    assert read == own == OmegaConf.create(tree)
