"""The memory plan: blocks, XLA's account of what they take, and fewer members where that is too
much."""

import resource

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from esrun.backend import machine, memory
from esrun.training import slices as plan
from esrun.training.memory_plan import bytes_of
from esrun.training.slices import plan_blocks
from esrun.training.stop import stop_at

SPHERE = ["task=sphere", "task.dimension=1000", "strategy=openai_es", "strategy.population_size=64"]


def prepared(run):
    """-> the plan of a run whose programs are compiled."""
    run.program.prepare(run.hyper, np.uint32(0), stop_at(run.config, 0), None)
    return run.program.plan()


@pytest.fixture
def parts(built):
    """-> the parts of a run with 64 members in pairs, 1,000 parameters each."""
    run = built(*SPHERE)
    return run.program.parts(run.hyper)


def test_the_account_is_of_arguments_results_and_what_stands_between():
    def function(v, w):
        return jnp.tanh(jnp.sort(v) @ w)

    compiled = jax.jit(function).lower(jnp.ones((64, 1000)), jnp.ones((1000, 10))).compile()
    assert bytes_of(compiled) == pytest.approx(4 * (2 * 64_000 + 10_000 + 640), rel=0.05)


@pytest.mark.parametrize(
    ("chunk", "blocks"),
    [("auto", (2, 32)), (64, (1, 64)), (8, (8, 8)), (7, (11, 6)), (1, (32, 2)), (1000, (1, 64))],
)
@pytest.mark.parametrize("device_count", [1, 2])
def test_blocks_hold_whole_pairs_and_cover_the_population(parts, chunk, device_count, blocks):
    assert plan_blocks(parts, jax.local_devices()[:device_count], chunk)[:2] == blocks


def test_no_block_is_larger_than_is_fast(parts, monkeypatch):
    monkeypatch.setattr(plan, "CACHED", 10 * 4 * 1000)
    assert plan_blocks(parts, jax.local_devices(), "auto")[:2] == (8, 8)


@pytest.mark.parametrize(("episodes", "blocks"), [(1, (2, 32)), (4, (4, 16)), (1000, (8, 8))])
def test_policies_that_see_much_share_a_block_with_fewer(built, episodes, blocks):
    run = built("task=asterix", "policy=linear", "strategy.population_size=64",
                f"task.episodes={episodes}")  # fmt: skip
    assert plan_blocks(run.program.parts(run.hyper), jax.local_devices(), "auto")[:2] == blocks


@pytest.mark.parametrize("nbytes", [None, 1000, 2**50])
def test_on_a_cpu_blocks_depend_on_the_configuration_alone(parts, monkeypatch, nbytes):
    monkeypatch.setattr(memory, "of_each", lambda devices: nbytes)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert plan_blocks(parts, jax.local_devices(), "auto")[:2] == (2, 32)


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    monkeypatch.setattr(plan, "goes_by_memory", lambda devices: True)
    monkeypatch.setattr("esrun.training.blocks.KEPT", 0)


@pytest.mark.parametrize(("members", "count"), [(64, 2), (256, 2), (300, 4), (600, 4), (3000, 32)])
def test_blocks_are_shared_evenly(built, members, count):
    run = built(*SPHERE, "strategy=snes", f"strategy.population_size={members}")
    assert plan_blocks(run.program.parts(run.hyper), jax.local_devices()[:1], "auto").count == count


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.6, 0.2])
def test_what_does_not_fit_plays_fewer_episodes_at_a_time(built, monkeypatch, share):
    many = ["task=breakout", "task.episodes=64", "policy=mlp", "policy.hidden=[]"]
    many += ["strategy=openai_es", "strategy.population_size=64", "runtime.devices=2"]
    whole = prepared(built(*many, "eval.episodes=2"))
    limit = whole.bytes * share
    monkeypatch.setattr(memory, "of_each", lambda devices: limit)
    cut = prepared(built(*many, f"eval.episodes={3 + int(10 * share)}"))  # another program
    assert cut.blocks == whole.blocks == (2, 32, 2)
    assert whole.episodes is None
    assert 1 <= cut.episodes < 64
    assert cut.bytes <= plan.SHARE_OF_MEMORY * limit


@pytest.mark.slow
def test_what_does_not_fit_is_compiled_again_for_blocks_that_do(built, monkeypatch, as_on_a_gpu):
    wide = [*SPHERE, "strategy.population_size=512", "task.dimension=9000", "runtime.devices=2"]
    whole = prepared(built(*wide, "eval.episodes=2"))
    limit = whole.bytes // 2
    monkeypatch.setattr(memory, "of_each", lambda devices: limit)
    cut = prepared(built(*wide, "eval.episodes=3"))  # another program
    assert whole.blocks == (2, 256, 2)
    assert cut.blocks.each > 1
    assert cut.bytes <= plan.SHARE_OF_MEMORY * limit


def test_where_nothing_fits_a_block_is_one_pair(built, monkeypatch, as_on_a_gpu):
    monkeypatch.setattr(memory, "of_each", lambda devices: 1000)
    assert prepared(built(*SPHERE, "eval.episodes=5")).blocks[:2] == (32, 2)


@pytest.mark.slow
def test_a_cpu_without_the_memory_says_what_to_write(built, monkeypatch):
    limit = 0.8 * prepared(built(*SPHERE, "eval.episodes=8")).bytes
    monkeypatch.setattr(memory, "of_each", lambda devices: limit)
    with pytest.raises(MemoryError, match=r"write runtime\.population_chunk=\d+$") as refused:
        prepared(built(*SPHERE, "eval.episodes=7"))
    remedy = str(refused.value).split()[-1]
    prepared(built(*SPHERE, "eval.episodes=7", remedy))


def test_a_chunk_that_was_asked_for_is_taken(built, monkeypatch):
    monkeypatch.setattr(memory, "of_each", lambda devices: 1000)
    run = built(*SPHERE, "runtime.population_chunk=8", "eval.episodes=6")
    assert prepared(run).blocks[:2] == (8, 8)


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["task=rosenbrock", "task.dimension=10", "strategy=cma_es"], 1),
        (["task=sphere", "task.dimension=100", "strategy=openai_es"], 1),
        (["task=pendulum", "strategy=openai_es", "strategy.population_size=100"], 2),
        (["task=sphere", "task.dimension=100000", "strategy=openai_es"], 2),
        (["task=pendulum", "strategy=openai_es", "runtime.population_chunk=1000"], 1),
    ],
)
def test_several_devices_are_for_work_that_is_worth_it(built, words, count):
    assert len(built(*words).local_devices) == count


def test_a_machines_memory_is_what_its_control_group_allows(tmp_path):
    (tmp_path / "cgroup" / "job" / "step").mkdir(parents=True)
    (tmp_path / "cgroup" / "memory.max").write_text("max\n")
    (tmp_path / "cgroup" / "job" / "memory.max").write_text("5000\n")
    (tmp_path / "member").write_text("0::/job/step\n")
    assert list(machine._limits(tmp_path / "cgroup", tmp_path / "member")) == [5000]


def test_bytes_are_shown_in_the_units_that_people_read():
    assert [memory.shown(x) for x in (17, 2**20, 1.4 * 2**30, 40e9)] == [
        "17 B",
        "1 MiB",
        "1.4 GiB",
        "37.3 GiB",
    ]


def test_what_ulimit_allows_is_a_limit(monkeypatch, tmp_path):
    monkeypatch.setattr(
        "resource.getrlimit",
        lambda kind: (7000 if kind == resource.RLIMIT_AS else resource.RLIM_INFINITY,) * 2,
    )
    assert list(machine._limits(tmp_path / "none", tmp_path / "none")) == [7000]
    assert machine.memory() == machine.available() == 7000
