"""The memory plan: what a traced function holds, by hand, and slices that fit."""

import jax
import jax.numpy as jnp
import pytest

from esrun import memory, training
from esrun.training import make_plan

KB = 250 * 4
"""Bytes of 250 floats."""


def x(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def peak(function, *arguments):
    return memory.peak(jax.make_jaxpr(function)(*arguments))


def loop(w):
    """Three steps of v <- tanh(w w) v from zeros [250]."""
    return jax.lax.fori_loop(0, 3, lambda i, v: jnp.tanh(w @ w) @ v, jnp.zeros(250))


BY_HAND = {
    "arithmetic is fused into its result": (lambda v: 2 * jnp.tanh(v) + 1, [x(250)], KB),
    "and into a sum": (lambda v: jnp.sum(2 * jnp.tanh(v)), [x(250)], 4),
    "a product holds what it reads": (lambda v, w: (2 * v) @ w, [x(250, 2), x(2, 1)], 2 * KB + KB),
    "a reshaped array is the same array": (lambda v: (2 * v).reshape(125, 2), [x(250)], KB),
    "what is read no more is freed": (lambda w: jnp.tanh((w @ w) @ w) @ w, [x(250, 250)], 2 * 250 * KB),
    "a call is what it calls": (jax.jit(lambda v: 2 * jax.jit(jnp.tanh)(v) + 1), [x(250)], KB),
    "the pieces of a split are copies for a product": (
        lambda v: sum(jnp.sum(piece @ piece.T) for piece in jnp.split(v @ v.T, 2)),
        [x(10, 1)],
        (10 * 10 + 2 * 5 * 10 + 10 * 5 + 5 * 5) * 4,
    ),
    "a map holds one piece besides its results": (
        lambda v: jax.lax.map(lambda row: jnp.sum((row[:, None] @ row[None]) @ row), v),
        [x(8, 250)],
        8 * 4 + KB + 250 * KB + KB,
    ),
    "a loop holds what it carries and what its body holds": (loop, [x(250, 250)], 250 * KB + 2 * KB),
    "a branch that is not taken costs too": (
        lambda w: jax.lax.cond(jnp.sum(w) > 0, lambda: jnp.sum(w @ w), lambda: 0.0),
        [x(250, 250)],
        250 * KB,
    ),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_the_bytes_of_a_function_are_those_counted_by_hand(case):
    function, arguments, expected = BY_HAND[case]
    assert peak(function, *arguments) == pytest.approx(expected, rel=0.02)


@pytest.fixture
def parts(built):
    """-> the parts of a run with 64 members in pairs, 1,000 parameters each."""
    run = built("task=sphere", "task.dimension=1000", "strategy=openai_es", "strategy.population_size=64")
    return run.program.parts(run.hyper)


def planned(parts, limit, population_chunk="auto", device_count=2):
    """-> the plan of devices that need 1,000 bytes and 10 a member."""
    trace = lambda slices: (1000 + 10 * slices[1], {})  # noqa: E731
    return make_plan(
        parts=parts, trace=trace, device_count=device_count, population_chunk=population_chunk, limit=limit
    )


def test_what_fits_is_one_slice(parts):
    assert planned(parts, 1320)[:2] == ((1, 32), 1320)
    assert planned(parts, float("inf"), device_count=1)[:2] == ((1, 64), 1640)


def test_what_does_not_fit_is_cut_into_slices_that_do(parts):
    slices, held, _ = planned(parts, 1200)
    assert slices[0] * slices[1] >= 32
    assert slices[1] % 2 == 0
    assert held <= 1200


def test_where_nothing_fits_a_slice_is_one_pair(parts):
    assert planned(parts, 900)[:2] == ((16, 2), 1020)


def test_a_chunk_that_was_asked_for_is_taken(parts):
    assert planned(parts, 900, population_chunk=8)[:2] == ((4, 8), 1080)


def test_no_slice_is_larger_than_is_fast(parts, monkeypatch):
    monkeypatch.setitem(training.MEMORY_OF_CHUNK, "cpu", 10 * 4 * 1000)
    assert planned(parts, float("inf")).slices == (4, 8)


def test_a_run_plans_with_the_memory_of_its_device(built, monkeypatch):
    overrides = ["task=sphere", "task.dimension=1000", "strategy=openai_es", "strategy.population_size=64"]
    run = built(*overrides, "eval.episodes=2")
    whole = run.program.plan(run.hyper)
    monkeypatch.setattr(memory, "of_each", lambda devices: 200_000)
    other = built(*overrides, "eval.episodes=3")  # another program
    sliced = other.program.plan(other.hyper)
    assert whole.slices == (1, 32)
    assert sliced.slices[0] > 1
    assert sliced.bytes <= training.SHARE_OF_MEMORY * 200_000 < whole.bytes


def test_a_machines_memory_is_what_its_control_group_allows(tmp_path):
    (tmp_path / "cgroup" / "job" / "step").mkdir(parents=True)
    (tmp_path / "cgroup" / "memory.max").write_text("max\n")
    (tmp_path / "cgroup" / "job" / "memory.max").write_text("5000\n")
    (tmp_path / "member").write_text("0::/job/step\n")
    assert list(memory._limits(tmp_path / "cgroup", tmp_path / "member")) == [5000]


def test_bytes_are_shown_in_the_units_that_people_read():
    assert [memory.shown(x) for x in (17, 2**20, 1.4 * 2**30, 40e9)] == ["17 B", "1 MiB", "1.4 GiB", "37.3 GiB"]
