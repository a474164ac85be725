"""Padding: a search of fewer members than its program has room for is the search of as many
members in a program of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import quickly
from defaults import make_strategy

from esrun.backend import devices
from esrun.strategies.parts.constants import constants
from esrun.strategies.parts.termination import fresh_history, record
from esrun.training import restarts
from esrun.training.generation_metrics import figures
from esrun.training.program import make_program
from esrun.training.rooms import Room, room_of
from esrun.training.stop import stop_at
from esrun.types import Strategy

WORK = [
    "task=rastrigin", "policy.low=-5", "policy.high=5", "strategy=cma_es", "strategy.sigma=2",
    "strategy.population_size=auto", "strategy.restarts=bipop", "generations=60",
    "eval.every=5000", "eval.episodes=2", "runtime.precision=float64", "runtime.devices=1",
]  # fmt: skip
GENERATIONS = 40


def advanced(run, program):
    seed = np.uint32(3)
    state = program.init(run.hyper, seed)
    state, rows, done, _ = program.advance(run.hyper, seed, state, stop_at(run.config, GENERATIONS))
    assert int(done) == GENERATIONS
    return state, {name: np.asarray(column)[:GENERATIONS] for name, column in rows.items()}


@pytest.mark.parametrize("members", quickly([14, 113], 113))
def test_a_padded_search_is_the_search_of_as_many_members(built, members):
    run = built(*WORK)
    own = restarts.searching(run, restarts.Search(members, 2.0, None, large=True), [])
    small = restarts.searching(run, restarts.Search(28, 2.0, None, large=False), [])
    assert own.program.advance is small.program.advance  # all that follow share it
    assert own.program.advance is not run.program.advance  # the first one has no padding
    alone = make_program(
        build=own.program.parts, local_devices=own.local_devices, population_chunk="auto",
        normalize_input=False, restarting=True, held_out_episodes=2, top_k=run.config.archive.top_k,
    )  # fmt: skip
    assert own.program.parts(own.hyper).strategy.members is None
    padded, padded_rows = advanced(own, own.program)
    plain, rows = advanced(own, alone)
    assert padded_rows.keys() == rows.keys()
    for name in ("env_steps", "non_finite", "tied"):
        np.testing.assert_array_equal(padded_rows[name], rows[name], err_msg=name)
    assert rows["env_steps"][0].tolist()[-1] == members
    for name, column in rows.items():
        np.testing.assert_allclose(padded_rows[name], column, rtol=1e-9, err_msg=name)
    for one, other in zip(jax.tree.leaves(padded), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_devices_that_share_the_blocks_have_the_bits_of_one(built, monkeypatch):
    monkeypatch.setattr("esrun.training.slices.WORTH_TWO", 0)  # too much for one device alone
    monkeypatch.setattr("esrun.training.rooms.WORTH_TWO", 0)
    found = []
    for count in (1, 2):
        run = built(*WORK, f"runtime.devices={count}", "task.dimension=9")
        search = restarts.Search(29, 2.0, None, large=True)
        own = restarts.searching(run, search, [])
        found.append(advanced(own, own.program))
        blocks = own.program.plan().blocks
        assert (blocks.spread, blocks.alone, blocks.devices) == (True, False, count)
        assert blocks.numbers().tolist() == [0, 2, 1, 3]  # the first two lie on both devices
    for one, other in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("active", [True, False])
@pytest.mark.parametrize(("n", "members"), [(2, 6), (10, 10), (10, 113), (40, 15), (40, 480)])
def test_weights_and_rates_are_those_of_as_many_members(n, members, active):
    own = constants(n, members, members / 2, active)
    padded = constants(n, 512, jnp.float32(members / 2), active, members=jnp.int32(members))
    np.testing.assert_allclose(padded.weights[:members], own.weights, rtol=2e-5, atol=1e-7)
    assert not np.any(padded.weights[members:])
    for name in set(own._fields) - {"weights"}:
        assert getattr(padded, name) == pytest.approx(getattr(own, name), rel=2e-5), name


@pytest.mark.parametrize("members", [6, 30, 300])
def test_the_intervals_of_decomposition_are_those_of_as_many_members(members):
    words = {"restarts": "bipop", "population_size": members}
    own = make_strategy("cma_es", 100, **words).constants["decompose_every"]
    words |= {"population_size": 512, "members": jnp.int32(members), "least": 4}
    assert make_strategy("cma_es", 100, **words).constants["decompose_every"] == own


@pytest.mark.parametrize("members", [5, 8, 12])
def test_padding_is_not_among_the_fitness_that_ends_a_search(members):
    n, drawn = 3, np.random.default_rng(members)
    plain = padded = fresh_history(n, True, jnp.float32)
    noted = jax.jit(record, static_argnums=3)
    for generation in range(60):
        fitness = drawn.normal(size=members).round(1) if generation < 20 else np.ones(members)
        fitness = jnp.asarray(fitness, jnp.float32).at[1].set(jnp.nan if generation < 3 else 1)
        longer = jnp.concatenate([fitness, jnp.full(20 - members, -jnp.inf)])
        plain = noted(plain, jnp.int32(generation), fitness, n)
        padded = noted(padded, jnp.int32(generation), longer, n, jnp.int32(members))
        for one, other in zip(plain, padded, strict=True):
            np.testing.assert_array_equal(one, other)
    assert plain.flat


def test_padding_is_not_among_the_members_that_figures_tell_of():
    strategy = Strategy(7, *[lambda *_: None] * 5)
    padded = strategy._replace(population_size=12, members=jnp.int32(7))
    before = make_strategy("cma_es", 2).init(None, jnp.ones(2))
    fitness = jnp.array([3.0, 1, 3, -jnp.inf, jnp.nan, 2, 7])
    longer = jnp.concatenate([fitness, jnp.full(5, -jnp.inf)])
    told = [
        figures(strategy, before, 1.0, fitness, jnp.isfinite(fitness)),
        figures(padded, before, 1.0, longer, jnp.isfinite(longer)),
    ]
    assert told[0]["non_finite"] == 2
    assert told[0]["tied"] == pytest.approx(4 / 7)
    for name, figure in told[0].items():
        np.testing.assert_allclose(told[1][name], figure, rtol=1e-6, err_msg=name)


def test_rooms_follow_each_other(built, monkeypatch):
    run = built(*WORK)
    made = run.program.parts(run.hyper)

    def rooms(*sizes):
        return [
            room_of(made._replace(strategy=made.strategy._replace(population_size=p)), 10)
            for p in sizes
        ]

    assert rooms(10, 320) == [Room(10, 320)] * 2
    assert rooms(321, 1280) == [Room(320, 1280)] * 2  # too many for a device alone
    monkeypatch.setattr(devices, "on_cpu", lambda *_: False)
    assert rooms(10, 20, 28) == [Room(10, 20), Room(10, 20), Room(20, 40)]
