"""Restarts: the schedule by hand, a function that one search does not solve, resuming in the middle
of it all."""

import json

import numpy as np
import pytest

from esrun.training.restarts import Search, next_search

DEFAULT = Search(10, 2.0, None, large=True)


def past(*searches):
    return [
        {"population_size": p, "evaluations": used, "large": large} for p, used, large in searches
    ]


def test_ipop_doubles_the_population():
    assert next_search("ipop", DEFAULT, [], 0) == DEFAULT
    assert next_search("ipop", DEFAULT, past((10, 500, True)), 0) == DEFAULT._replace(
        population_size=20
    )
    both = past((10, 500, True), (20, 700, True))
    assert next_search("ipop", DEFAULT, both, 0) == DEFAULT._replace(population_size=40)


def test_bipop_gives_the_turn_to_the_regime_that_has_used_less():
    first = past((10, 500, True))
    assert next_search("bipop", DEFAULT, first, 0) == DEFAULT._replace(population_size=20)
    small = next_search("bipop", DEFAULT, first + past((20, 900, True)), 0)
    assert (small.large, small.evaluations) == (False, 450)
    again = next_search("bipop", DEFAULT, first + past((20, 900, True), (10, 450, False)), 0)
    assert (again.large, again.evaluations) == (False, 450)
    large = next_search(
        "bipop", DEFAULT, first + past((20, 900, True), (10, 450, False), (10, 451, False)), 0
    )
    assert large == DEFAULT._replace(population_size=40)


def test_small_searches_are_drawn_between_the_default_and_half_the_large_population():
    history = past(
        (10, 500, True), (20, 900, True), (40, 2000, True), (80, 4000, True), (160, 9000, True)
    )
    drawn = [next_search("bipop", DEFAULT, history, seed) for seed in range(400)]
    sizes = {search.population_size for search in drawn}
    assert sizes == {int(10 * 2 ** (k / 2)) for k in range(7)}  # 10, 14, 20 ... 80
    assert np.mean([search.population_size == 10 for search in drawn]) > 0.2  # u^2 is often near 0
    sigmas = np.log10([search.sigma / 2 for search in drawn])
    assert -2 <= sigmas.min() < -1.9
    assert -0.1 < sigmas.max() <= 0
    assert next_search("bipop", DEFAULT, history, 7) == next_search("bipop", DEFAULT, history, 7)


WORK = [
    "task=rastrigin", "task.dimension=4", "policy.low=-5", "policy.high=5", "strategy=cma_es",
    "strategy.sigma=1.0", "strategy.population_size=8", "strategy.restarts=ipop",
    "generations=4000", "eval.every=5000", "eval.episodes=2", "seed=1", "stop.fitness=-0.001",
    "runtime.devices=1", "runtime.precision=float64",
]  # fmt: skip


@pytest.fixture(scope="module")
def finished(command, tmp_path_factory):
    folder = tmp_path_factory.mktemp("restarts") / "run"
    command(*WORK, f"hydra.run.dir={folder}")
    return folder


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_restarts_solve_what_one_search_does_not(finished):
    summary = json.loads((finished / "summary.json").read_text())
    assert (summary["status"], summary["stop_reason"]) == ("done", "fitness")
    searches = summary["restarts"]
    assert searches[0]["stop_reason"] == "tolfun"
    assert searches[0]["held_out"] < -0.5  # another of Rastrigin's optima
    assert [search["population_size"] for search in searches] == [
        8 * 2**k for k in range(len(searches))
    ]
    assert summary["evaluations"] == rows(finished)[-1]["evaluations"]
    last = summary["generations"] - searches[-1]["generation"]
    assert summary["evaluations"] == sum(s["evaluations"] for s in searches) + last * 8 * 2 ** len(
        searches
    )
    assert "restart 1: tolfun after" in (finished / "esrun.log").read_text()
    assert summary["eval"]["mean"] > -0.01


@pytest.mark.slow
def test_a_run_resumed_behind_a_restart_ends_as_if_it_had_not_stopped(finished, command, tmp_path):
    first = json.loads((finished / "summary.json").read_text())["restarts"][0]["generation"]
    folder = tmp_path / "run"
    command(*WORK, f"hydra.run.dir={folder}", f"generations={first + 30}")
    assert len(rows(folder)) == first + 30
    command("resume", str(folder), "generations=4000")
    for one, other in zip(rows(folder), rows(finished), strict=True):
        del one["wall_seconds"], other["wall_seconds"]
        assert one | {"eval_mean": 0, "eval_std": 0} == other | {"eval_mean": 0, "eval_std": 0}


def test_what_the_run_reports_is_the_best_of_all_searches(command, tmp_path):
    command(
        *WORK,
        f"hydra.run.dir={tmp_path}",
        "strategy.max_restarts=2",
        "stop.fitness=null",
        "strategy.sigma=0.05",
    )
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["status"], summary["stop_reason"]) == ("done", "tolfun")
    found = [search["held_out"] for search in summary["restarts"]]
    assert len(found) == 2
    assert summary["eval"]["mean"] >= max(found)
