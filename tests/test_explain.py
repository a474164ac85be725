"""`esrun explain`: figures by hand, warnings with the alternative, nothing left behind and nothing
compiled."""

import json
import os
import re

import jax
import numpy as np
import pytest
from cmaes import CMA

from esrun.backend import machine
from esrun.cli import main
from esrun.commands.explain import explain

PENDULUM = ["task=pendulum", "strategy=openai_es", "runtime.devices=2"]
SINE = ["task=sine", "strategy=openai_es", "runtime.devices=2"]


@pytest.fixture
def explained(capsys):
    """-> (overrides) -> the figures of `esrun explain --json`."""

    def run(*overrides):
        assert explain(["--json", *overrides]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def test_the_figures_of_openai_es_on_pendulum_are_those_counted_by_hand(explained):
    cost = explained(*PENDULUM)
    n = 3 * 48 + 48 + 48 + 1
    # the mean and Adam's two moments; sigma, generation, Adam's count and its schedule's
    state = 3 * n * 4 + 4 * 4
    expected = {
        "num_params": n,
        "state_bytes": state,
        # generation, env steps, best fitness, held-out, barren; five members of the archive
        "checkpoint_bytes": state + 4 + 8 + 4 + 4 + 4 + 5 * (n * 4 + 4 + 4),
        "population_size": 256,
        "population_bytes_per_device": 128 * n * 4,
        "blocks": 2,
        "slices": 1,
        "members_per_slice": 128,
        "slice_bytes": 128 * n * 4,
        "evaluations": 200 * 256,
        "env_steps_per_generation": 256 * 20 * 200,
        "env_steps": 200 * 256 * 20 * 200,
        "held_out": {"evaluations": 11, "episodes": 128, "env_steps": 11 * 128 * 200},
        "warnings": [],
    }
    assert {key: cost[key] for key in expected} == expected
    assert [layer["num_params"] for layer in cost["layers"]] == [192, 49]
    assert cost["layers"][0]["shapes"] == {"w": [3, 48], "b": [48]}


def test_a_matrix_of_n_by_n_is_seen(explained):
    """C and its eigenvectors, and little else."""
    cost = explained("task=sphere", "task.dimension=1000", "strategy=cma_es")
    assert cost["state_bytes"] == pytest.approx(2 * 1000 * 1000 * 4, rel=0.01)


def test_slices_are_those_that_a_run_would_make(explained):
    wide = [*SINE, "policy.hidden=[1024,1024]"]
    auto, cost = explained(*wide), explained(*wide, "runtime.population_chunk=44")
    n = 7 * 1024 + 1024 + 1024 * 1024 + 1024 + 1024 + 1
    assert cost["num_params"] == n
    # 2^25 // 4 n = 7 members, about, and 2^5 blocks on two devices
    assert (auto["slices"], auto["members_per_slice"]) == (16, 8)
    assert (cost["slices"], cost["members_per_slice"]) == (3, 44)
    assert cost["slice_bytes"] == 44 * n * 4
    # the mean, Adam's two moments and the archive's five before and after, and a slice
    assert auto["least_memory_bytes"] == pytest.approx(2 * (16 + 8) * n * 4, rel=0.01)


def test_steps_that_the_task_fixes_are_known_without_a_table(explained):
    assert explained(*SINE)["env_steps_per_generation"] == 256 * 64
    assert explained("task=sphere")["env_steps_per_generation"] == 100


def test_nothing_is_compiled_but_what_python_asks_of_single_numbers_and_no_folder_is_made(
    tmp_path, monkeypatch, capsys, caplog
):
    monkeypatch.chdir(tmp_path)
    with jax.log_compiles():
        assert explain(["task=sphere", "strategy=sep_cma_es", "task.dimension=30000"]) == 0
    compiled = [line for line in caplog.messages if line.startswith("Compiling")]
    assert not [line for line in compiled if re.search(r"\[\d", line)], "arrays were compiled for"
    assert not list(tmp_path.iterdir())
    shown = capsys.readouterr().out
    for part in (
        "30,000 parameters",
        "sep_cma_es, 100 members",
        "up to 20,000 env steps",
        "at least",
    ):
        assert part in shown


WARNINGS = {
    "will not fit": (
        ["task=sphere", "task.dimension=100000", "strategy=cma_es"],
        ["strategy=sep_cma_es", "GiB"],
    ),
    "updates matrices of 5000 x 5000": (
        ["task=sphere", "task.dimension=5000", "strategy=cma_es"],
        ["95.4 MiB each", "strategy=sep_cma_es"],
    ),
    "finer than float32": (
        ["task=sphere", "stop.fitness=-1e-8"],
        ["write runtime.precision=float64"],
    ),
    "held-out evaluation plays": (
        ["task=sphere", "eval.every=1"],
        ["25728 episodes", "20000", "eval.every"],
    ),
    "examples to training's": (
        [
            "task=digits",
            "strategy=openai_es",
            "eval.every=1",
            "task.batch_size=1",
            "strategy.population_size=2",
        ],
        [": write a larger eval.every"],
    ),
    "Make policy.norm_reference smaller": (
        [
            "task=digits",
            "strategy=openai_es",
            "policy.norm=virtual_batch",
            "policy.norm_reference=1000000000",
        ],
        [],
    ),
    "devices busy": (
        [*SINE, "runtime.devices=2", "runtime.population_chunk=256"],
        ["1 block of members keeps 1 of 2", "runtime.population_chunk=128"],
    ),
}


@pytest.mark.parametrize("part", WARNINGS)
def test_what_is_hopeless_or_unwise_is_said_with_the_alternative(part, explained, monkeypatch):
    monkeypatch.setattr(machine, "memory", lambda: 16 * 2**30)
    monkeypatch.setattr(machine, "available", lambda: 16 * 2**30)
    overrides, more = WARNINGS[part]
    cost = explained(*overrides)
    (line,) = [*filter(None, [cost["hopeless"]]), *cost["warnings"]]
    assert part in line
    for word in more:
        assert word in line


def test_a_strategy_linear_in_n_and_a_reachable_target_get_no_warning(explained):
    assert (
        explained("task=sphere", "task.dimension=100000", "strategy=sep_cma_es")["warnings"] == []
    )
    assert explained("task=sphere", "stop.fitness=-1e-3")["warnings"] == []


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        (["strategy.sgma=1"], "strategy.sgma is not a key"),
        (["strategy.sigma=-1"], "strategy.sigma must be greater than 0"),
        (["-m", "seed=0,1"], "leave out -m"),
        (["runtime.devices=9"], "runtime.devices must be at most"),
    ],
)
def test_a_wrong_configuration_is_one_line(overrides, part, capsys):
    assert main(["explain", *overrides]) == 2
    said = capsys.readouterr().err
    assert part in said
    assert said.count("\n") == 1


def test_the_memory_of_this_machine_is_known():
    assert (
        2**28
        < machine.available()
        <= machine.memory()
        <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    )
    assert 2**26 < machine.resident() <= machine.most_resident() + 2**24


def test_what_cma_es_defaults_have_become_is_told(explained):
    cost = explained("strategy=cma_es", "task=sphere", "task.dimension=10", "strategy.c_1=0.25")
    told, theirs = cost["constants"], CMA(mean=np.zeros(10), sigma=1.0, population_size=100)
    names = {"mu_eff": "mu_eff", "c_sigma": "c_sigma", "d_sigma": "d_sigma", "c_c": "cc"}
    for name, other in (names | {"c_mu": "cmu"}).items():
        np.testing.assert_allclose(told[name], getattr(theirs, f"_{other}"), rtol=1e-5)
    assert (told["mu"], told["c_1"], told["decompose_every"]) == (50, 0.25, 1)


def test_the_interval_of_decompositions_goes_by_the_rates_that_hold(explained):
    words = ["strategy=cma_es", "task=sphere", "task.dimension=100"]
    cost = explained(*words, "strategy.c_1=0.0005", "strategy.c_mu=0.0003")
    assert cost["constants"]["decompose_every"] == 6  # 0.5 / (100 * 0.0008) = 6.25
    never = explained(*words, "strategy.c_1=0", "strategy.c_mu=0")["constants"]
    assert never["decompose_every"] == 2**30


@pytest.mark.parametrize("strategy", ["cma_es", "sep_cma_es", "ma_es", "lm_ma_es"])
def test_parents_that_hold_are_shown(capsys, strategy):
    assert explain([f"strategy={strategy}", "task=sphere"]) == 0
    assert re.search(r"constants +mu 50, mu_eff 2[67]\.", capsys.readouterr().out)
