"""The archive: the best members of all generations, whichever strategy they come from."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import quickly
from jax.flatten_util import ravel_pytree

import esrun.training.blocks
from esrun.training import archive, programs
from esrun.training.generation import asked, evaluated, keys_of
from esrun.training.program import TRAIN, stream
from esrun.training.stop import stop_at
from esrun.types import Strategy

pytestmark = pytest.mark.usefixtures("quick_to_compile")

GENERATIONS, K = 4, 5
CARTPOLE = ["task=cartpole", "task.episodes=2", "task.episode_length=40", "policy.hidden=[4]"]
KINDS = {
    "openai_es": [*CARTPOLE, "strategy=openai_es"],
    "cma_es": ["task=rastrigin", "task.dimension=6", "strategy=cma_es"],
    "eggroll": [*CARTPOLE, "strategy=eggroll"],
    "normaliser": [*CARTPOLE, "strategy=pgpe", "policy.normalize_input=true"],
    "evosax": ["task=sine", "policy.hidden=[3]", "strategy=evosax", "strategy.name=Open_ES"],
}


def members_of(run, state, seed):
    """-> (fitness [p], parameters [p, n]) of all members that a state's generation has."""
    parts = run.program.parts(run.hyper)

    def all_of(state):
        drawn = keys_of(parts, stream(seed, TRAIN), state.generation)
        numbers = jnp.arange(parts.strategy.population_size)
        solutions = asked(parts, drawn, state, numbers)
        fitness = evaluated(parts, drawn, state, numbers, solutions).fitness
        if parts.strategy.express is None:
            return fitness, solutions
        express = parts.strategy.express(state.strategy)
        whole = lambda x: jax.tree.map(  # noqa: E731
            jnp.asarray, express(x), is_leaf=lambda y: hasattr(y, "__jax_array__")
        )
        return fitness, jax.vmap(lambda x: ravel_pytree(whole(x))[0])(solutions)

    return jax.jit(all_of)(jax.tree.map(np.asarray, state))


@pytest.mark.parametrize("kind", quickly(KINDS, "eggroll"))
def test_the_archive_holds_the_best_of_all_members_that_there_were(built, kind):
    run = built(*KINDS[kind], "strategy.population_size=12", f"archive.top_k={K}")
    seed, state, every = np.uint32(3), run.program.init(run.hyper, np.uint32(3)), []
    for generation in range(1, GENERATIONS + 1):
        fitness, members = members_of(run, state, seed)
        moments = state.normalizer
        every += [(f, generation, x, moments) for f, x in zip(fitness, members, strict=True)]
        state, rows, *_ = run.program.advance(
            run.hyper, seed, state, stop_at(run.config, generation)
        )
        best = sorted(every, key=lambda one: -one[0])[:K]
        np.testing.assert_allclose(state.archive.fitness, [one[0] for one in best], rtol=1e-5)
        assert rows["top_k_mean"][0] == pytest.approx(np.mean([one[0] for one in best]), rel=1e-5)
        assert rows["best_so_far"][0] == state.archive.fitness[0] == state.best_fitness
    if len({float(one[0]) for one in best}) == K:  # cartpole's returns are whole numbers
        np.testing.assert_array_equal(state.archive.generation, [one[1] for one in best])
    for fitness, generation, member, seen in zip(*state.archive[:3], range(K), strict=True):
        same = [one for one in every if np.allclose(one[2], member, rtol=1e-5, atol=1e-6)]
        assert [(float(one[0]), one[1]) for one in same] == [(float(fitness), int(generation))]
        if moments is not None:
            np.testing.assert_array_equal(state.archive.normalizer.mean[seen], same[0][3].mean)


def test_elites_that_are_evaluated_again_are_one_member(built):
    run = built("task=sphere", "task.dimension=3", "strategy=simple_ga",
                "strategy.population_size=8", "strategy.elites=3")  # fmt: skip
    seed = np.uint32(0)
    state = run.program.init(run.hyper, seed)
    state, *_ = run.program.advance(run.hyper, seed, state, stop_at(run.config, 6))
    assert len(np.unique(np.asarray(state.archive.members), axis=0)) == 5
    assert list(state.archive.fitness) == sorted(state.archive.fitness, reverse=True)


def generations_of(fitness, size=3):
    """-> the archive behind generations of given fitness [g, p]; member i of generation g is
    [10 g + i]."""
    state = SimpleNamespace(archive=archive.empty(size, jnp.zeros(1), None), normalizer=None)
    strategy = Strategy(0, *[None] * 5)
    for number, row in enumerate(fitness):
        state.generation = number
        ask = lambda members: 10.0 * number + members[:, None]  # noqa: B023, E731
        members = archive.best_members(size, jnp.asarray(row))
        made = lambda: ask(members)  # noqa: B023, E731
        state.archive = archive.updated(
            state.archive, state, strategy, jnp.asarray(row), members, made
        )
    return state.archive


def test_members_without_a_finite_fitness_are_none():
    nan, inf = np.nan, np.inf
    best = generations_of([[nan, inf, -inf, -5.0], [nan, nan, nan, nan], [inf, nan, -7.0, nan]])
    np.testing.assert_array_equal(best.fitness, [-5, -7, -inf])
    np.testing.assert_array_equal(best.generation[:2], [1, 3])
    np.testing.assert_array_equal(best.members[:2, 0], [3, 22])
    assert archive.top_mean(best) == -6
    assert np.isnan(archive.top_mean(archive.empty(3, jnp.zeros(1), None)))


def test_of_equal_members_the_earlier_stays():
    best = generations_of([[1.0, 2.0, 2.0], [2.0, 2.0, 3.0]])
    np.testing.assert_array_equal(best.members[:, 0], [12, 1, 2])


def test_an_archive_may_be_larger_than_the_population():
    best = generations_of([[1.0, 4.0], [3.0, 2.0]], size=7)
    np.testing.assert_array_equal(best.fitness[:4], [4, 3, 2, 1])
    assert np.all(np.isneginf(best.fitness[4:]))


def test_copies_count_once_with_their_best_fitness():
    fitness = jnp.array([1.0, 3.0, 3.0, 2.0, 9.0])
    members = jnp.array([[0.0, 1], [0, 1], [0, 1], [5, 5], [5, 6]])
    np.testing.assert_array_equal(
        archive.without_copies(fitness, members), [-np.inf, 3, -np.inf, 2, 9]
    )


def test_slices_tell_those_of_the_wanted_that_they_hold():
    solutions, wanted = {"x": jnp.arange(24.0).reshape(8, 3)}, jnp.array([5, 0, 7, 4])
    slices = [np.arange(0, 3), np.arange(3, 6), np.arange(6, 9)]  # the last is padded
    parts = [
        archive.those_among(jnp.asarray(own), {"x": solutions["x"][np.minimum(own, 7)]}, wanted)
        for own in slices
    ]
    np.testing.assert_array_equal(sum(x["x"] for x in parts), solutions["x"][wanted])


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["openai_es", "eggroll", "cma_es"])
def test_members_that_were_kept_and_those_made_again_are_the_same(built, monkeypatch, strategy):
    def left(kept):
        monkeypatch.setattr(esrun.training.blocks, "KEPT", kept)
        programs.program.cache_clear()
        run = built("task=catch", f"strategy={strategy}", "strategy.population_size=16",
                    "runtime.population_chunk=2")  # fmt: skip
        seed = np.uint32(1)
        state, *_ = run.program.advance(
            run.hyper, seed, run.program.init(run.hyper, seed), stop_at(run.config, 6)
        )
        return jax.tree.map(np.asarray, state.archive)

    jax.tree.map(np.testing.assert_array_equal, left(0), left(2**25))


def test_none_is_kept_where_none_is_asked_for(built):
    run = built("task=sphere", "task.dimension=3", "strategy.population_size=6", "archive.top_k=0")
    seed = np.uint32(0)
    state = run.program.init(run.hyper, seed)
    state, rows, *_ = run.program.advance(run.hyper, seed, state, stop_at(run.config, 2))
    assert state.archive is None
    assert "top_k_mean" not in rows


def test_what_is_kept_changes_nothing_of_what_is_computed(built):
    words = [*KINDS["normaliser"], "strategy.population_size=12"]
    seed, states = np.uint32(1), []
    for top_k in (0, 3):
        run = built(*words, f"archive.top_k={top_k}")
        state = run.program.init(run.hyper, seed)
        state, *_ = run.program.advance(run.hyper, seed, state, stop_at(run.config, 3))
        states.append(state._replace(archive=None))
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_rows_tell_the_mean_that_a_generation_leaves(built):
    run = built("task=sphere", "task.dimension=5", "strategy.population_size=6")
    seed = np.uint32(0)
    state = run.program.init(run.hyper, seed)
    state, rows, *_ = run.program.advance(run.hyper, seed, state, stop_at(run.config, 3))
    mean = np.asarray(state.strategy.mean)
    told = {key: float(rows[key][2]) for key in ("mean_abs_sum", "mean_min", "mean_max")}
    assert told["mean_abs_sum"] == pytest.approx(np.abs(mean).sum(), rel=1e-6)
    assert (told["mean_min"], told["mean_max"]) == (mean.min(), mean.max())
