"""Runs whose blocks workers evaluate, which are killed and come back: the bits of one process."""

import json
import random

import jax
import numpy as np
import pytest
from conftest import quickly
from stubs import InThreads
from test_apart import RUNS

from esrun.backend import cluster
from esrun.config.check import checked
from esrun.config.compose import composed
from esrun.errors import ConfigError
from esrun.runs.far_costs import far_costs, in_words
from esrun.training import far, wire
from esrun.training.restarts import search_until
from esrun.training.sharing import Sharing
from esrun.training.worker import Worker

SMALL = ("eval.episodes=2", "eval.every=3", "generations=7", "runtime.population_chunk=6")
OWN = {"workers", "workers_joined", "workers_lost", "blocks_twice", "sums_shared", "engine_ms",
       "engine_bytes"}  # fmt: skip
"""Figures that only a run with workers has."""
IN_THREADS = [name for name in RUNS if name != "gymnasium"]
"""Its workers have processes of their own, which threads would share."""
BIPOP = (
    *("task=rastrigin", "task.dimension=3", "strategy=cma_es", "strategy.restarts=bipop"),
    *("generations=240", "eval.every=60", "eval.episodes=2", "runtime.population_chunk=3"),
)


def trained(built, words):
    """-> (final state, rows, outcome) of a whole run."""
    run, rows = built(*words), []
    outcome = search_until(run, lambda progress: rows.extend(progress.rows))
    return outcome.state, rows, outcome


def with_workers(built, monkeypatch, words, hiring):
    """-> the same of a run whose workers come from there."""
    monkeypatch.setattr(cluster, "here", hiring)
    found = trained(built, words)
    monkeypatch.setattr(cluster, "here", None)
    return found


def same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one[0], other[0])
    assert len(one[1]) == len(other[1])
    for a, b in zip(one[1], other[1], strict=True):
        assert {k: x for k, x in a.items() if k not in OWN} == b
    assert one[2].score == other[2].score


@pytest.mark.runs
@pytest.mark.parametrize("name", quickly(IN_THREADS, "openai_es"))
def test_workers_that_die_and_join_at_random_compute_what_one_process_does(
    built, monkeypatch, name
):
    words = [*RUNS[name], *SMALL, "policy.hidden=[4]"]
    words = [x for x in words if name != "gru" or "hidden" not in x]
    hiring = InThreads(3, deaths=0.2, seed=len(name))
    shared = with_workers(built, monkeypatch, words, hiring)
    same(shared, trained(built, words))
    assert sum(row["workers_lost"] for row in shared[1]) > 0


@pytest.mark.runs
@pytest.mark.parametrize("name", quickly(IN_THREADS, "openai_es"))
def test_sums_that_workers_share_are_those_of_one_process(built, monkeypatch, name):
    drawn = random.Random(name)
    monkeypatch.setattr(Sharing, "shares", lambda self, hands: hands > 0 and drawn.random() < 0.7)
    words = [*RUNS[name], *SMALL, *(["policy.hidden=[4]"] if name != "gru" else [])]
    shared = with_workers(built, monkeypatch, words, InThreads(3, deaths=0.1, seed=len(name)))
    same(shared, trained(built, words))
    assert any(row["sums_shared"] for row in shared[1])


class Miscounting(Worker):
    """One whose sums have other bits."""

    def work(self, question, *contents):
        answer = super().work(question, *contents)
        if json.loads(question)["level"] is None:
            return answer
        numbers = np.frombuffer(answer[-40:], np.float32)
        return answer[:-40] + np.nextafter(numbers, 9).astype(np.float32).tobytes()


@pytest.mark.runs
def test_other_sums_are_found_before_anything_comes_of_them(built, monkeypatch):
    monkeypatch.setattr(Sharing, "shares", lambda self, hands: hands > 0 and not self.never)
    words = [*RUNS["openai_es"], *SMALL, "policy.hidden=[4]"]
    hiring = InThreads(2, Miscounting)
    shared = with_workers(built, monkeypatch, words, hiring)
    same(shared, trained(built, words))
    assert {row["sums_shared"] for row in shared[1]} == {0}
    assert sum("everybody makes all" in line for line in hiring.said) == 1


@pytest.mark.runs
def test_a_worker_that_follows_is_sent_one_model_and_not_the_state(built, monkeypatch):
    monkeypatch.setattr(Sharing, "shares", lambda self, hands: hands > 0)
    words = [*RUNS["openai_es"], *SMALL, "policy.hidden=[64]"]
    hiring = InThreads(1)
    shared = with_workers(built, monkeypatch, words, hiring)
    sizes = [sizes for _, method, sizes in hiring.questions if method == "work"]
    state, told = sizes[0][1], [sum(x[1:]) for x in sizes[1:]]
    assert state > 5_000  # 450 parameters, Adam's moments of them
    assert any(1_800 < x < 3_500 for x in told)  # one model, and fitness
    assert max(told) < state  # also where it was late, and is told of several
    assert {row["sums_shared"] for row in shared[1]} == {1}


@pytest.mark.slow
def test_a_restarted_search_goes_on_with_the_same_workers(built, monkeypatch):
    hiring = InThreads(2)
    shared = with_workers(built, monkeypatch, BIPOP, hiring)
    same(shared, trained(built, BIPOP))
    assert len(shared[2].progress.searches) > 1
    prepared = [who for who, method, _ in hiring.questions if method == "prepare"]
    assert {prepared.count(who) for who in (1, 2)} == {len(shared[2].progress.searches) + 1}


@pytest.mark.runs
def test_without_a_worker_the_driver_works_itself(built, monkeypatch):
    words = [*RUNS["openai_es"], *SMALL, "policy.hidden=[4]"]
    shared = with_workers(built, monkeypatch, words, InThreads(0))
    same(shared, trained(built, words))
    assert {row["workers"] for row in shared[1]} == {0}


class Other(Worker):
    """A worker of another version."""

    def prepare(self, order):
        return json.dumps(json.loads(super().prepare(order)) | {"jax": "0.0.1"}).encode()


class Wrong(Worker):
    """One whose updates come to other bits."""

    def work(self, question, *contents):
        answer = super().work(question, *contents)
        told = wire.about(answer)
        if told["row"]:
            answer = answer.replace(told["row"].encode(), b"0" * 16)
        return answer


@pytest.mark.runs
@pytest.mark.parametrize(("worker", "why"), [
    pytest.param(Other, "jax must be", marks=pytest.mark.slow),
    (Wrong, "its updates have other bits"),
])  # fmt: skip
def test_a_worker_that_differs_is_refused_in_a_line(built, monkeypatch, worker, why):
    words = [*RUNS["openai_es"], *SMALL, "policy.hidden=[20]"]
    hiring = InThreads(1, worker)
    shared = with_workers(built, monkeypatch, words, hiring)
    same(shared, trained(built, words))
    refused = [line for line in hiring.said if "refused" in line]
    assert len(refused) == 1
    assert why in refused[0]
    assert shared[1][-1]["workers"] == 0


@pytest.mark.runs
def test_only_fitness_travels_to_workers_that_follow(built, monkeypatch):
    words = [*RUNS["openai_es"], *SMALL, "policy.hidden=[64]"]
    hiring = InThreads(1)
    with_workers(built, monkeypatch, words, hiring)
    sizes = [sizes for _, method, sizes in hiring.questions if method == "work"]
    state, told = sizes[0][1], [sum(x[1:]) for x in sizes[1:]]
    assert state > 5_000  # 450 parameters and Adam's moments of them
    assert max(told) < 1_500  # 22 members, and a header
    assert sum(bool(x) for x in told) == 6  # once a generation, whatever the number of blocks


@pytest.mark.parametrize(("words", "there", "why"), [
    ((), False, "runtime.engine=ray needs the package ray, which is not installed: "),
    (("runtime.hosts=10.0.0.1:4711/0/2",), True, "runtime.hosts is for processes in step"),
])  # fmt: skip
def test_what_cannot_be_is_refused_in_a_line(monkeypatch, words, there, why):
    monkeypatch.setattr("esrun.config.check.find_spec", lambda name: there or None)
    with pytest.raises(ConfigError, match=why):
        checked(composed(["task=sphere", "runtime.engine=ray", *words]).config)


def test_what_a_worker_is_told_is_a_configuration():
    config = checked(composed([*RUNS["gru"], "policy.start=a_run", "logger=[tensorboard]"]).config)
    told = json.loads(far.ordered(config, None).content)["config"]
    assert checked(told).task == config.task
    assert checked(told).strategy == config.strategy
    assert (told["logger"], told["policy"]["start"], told["archive"]["top_k"]) == ({}, None, 0)


def test_messages_hold_what_a_template_says_and_nothing_else():
    tree = {"a": np.arange(3, dtype=np.float32), "b": np.float32(2)}
    content = wire.packed({"seconds": 1.5}, tree)
    assert wire.about(content) == {"seconds": 1.5}
    jax.tree.map(np.testing.assert_array_equal, wire.unpacked(content, tree), tree)
    for other in ({"a": tree["a"]}, tree | {"a": np.arange(4)}, tree | {"c": tree["a"]}):
        with pytest.raises(ValueError, match="other arrays"):
            wire.unpacked(content, other)


def test_what_travels_is_explained(built, in_process):
    words = ["task=sphere", "strategy=openai_es", "strategy.population_size=40"]
    code, said, _ = in_process("explain", "--json", *words, "runtime.population_chunk=10")
    assert (code, json.loads(said)["workers"]) == (0, None)
    run = built(*words, "runtime.population_chunk=10")
    runtime = run.config.runtime.model_copy(update={"engine": "ray"})
    run = run._replace(config=run.config.model_copy(update={"runtime": runtime}))
    state = jax.eval_shape(run.program.init, run.hyper, np.uint32(0))
    cost = far_costs(run, state)
    assert cost["blocks"] == 4
    # fitness and counts of steps, and what stands around two arrays
    assert cost["bytes_from_all_workers"] == 4 * (40 + 16 + 110 + 2 * 62)
    assert "hears up to 1.13 KiB, which takes up to 5 ms" in in_words(cost)
    assert "shares sums of updates is sent and sends 44 B more" in in_words(cost)


@pytest.mark.runs
@pytest.mark.parametrize("members", [40, 4000])
def test_what_is_explained_is_what_travels(built, monkeypatch, members):
    """At 4,000 members of 100 parameters it is the state that travels."""
    size = f"strategy.population_size={members}"
    words = ("task=sphere", "task.dimension=100", "strategy=openai_es", size, "generations=6",
             "eval.episodes=2", f"runtime.population_chunk={members // 4}")  # fmt: skip
    shared = with_workers(built, monkeypatch, words, InThreads(1))
    run = built(*words)
    runtime = run.config.runtime.model_copy(update={"engine": "ray"})
    run = run._replace(config=run.config.model_copy(update={"runtime": runtime}))
    cost = far_costs(run, shared[0])
    predicted = cost["bytes_to_each_worker"] + cost["bytes_from_all_workers"]
    assert 0.9 * predicted < shared[1][-1]["engine_bytes"] <= predicted
