"""One set of bits: parameters, metrics and scores, however many devices compute them."""

import json
import subprocess
import sys
from pathlib import Path

import bits
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from esrun.backend import devices, everywhere
from esrun.backend.fences import Fence
from esrun.backend.rewriting import settled
from esrun.training import programs
from esrun.training.blocks import Blocks, over_blocks, subtrees

CARTPOLE = ["task=cartpole", "task.episodes=2", "task.episode_length=40", "policy.hidden=[8]"]
SINE = ["task=sine", "policy.hidden=[6]"]
KINDS = {
    "openai_es": [*CARTPOLE, "strategy=openai_es"],
    "cma_es": [*CARTPOLE, "strategy=cma_es"],
    "snes": [*CARTPOLE, "strategy=snes"],
    "sep_cma_es": [*CARTPOLE, "strategy=sep_cma_es"],
    "xnes": [*SINE, "strategy=xnes"],
    "ma_es": [*SINE, "strategy=ma_es"],
    "lm_ma_es": [*CARTPOLE, "strategy=lm_ma_es"],
    "cr_fm_nes": [*CARTPOLE, "strategy=cr_fm_nes"],
    "pgpe": [*CARTPOLE, "strategy=pgpe"],
    "ars": [*CARTPOLE, "strategy=ars", "strategy.parents=12"],
    "eggroll": [*CARTPOLE, "strategy=eggroll"],
    "simple_ga": [*SINE, "strategy=simple_ga"],
    "simple_gaussian": [*SINE, "strategy=simple_gaussian"],
    "evosax": [*SINE, "strategy=evosax", "strategy.name=Open_ES"],
    "decay": [*SINE, "strategy=pgpe", "strategy.fitness_decay=divide_l2",
              "strategy.fitness_decay_coefficient=1"],
    "normaliser": [*CARTPOLE, "strategy=openai_es", "policy.normalize_input=true"],
    "layer": [*CARTPOLE, "strategy=openai_es", "policy.norm=layer"],
    "virtual_batch": [*CARTPOLE, "strategy=openai_es", "policy.norm=virtual_batch",
                      "policy.norm_reference=16", "policy.normalize_input=true"],
    "virtual_batch by parts": [*CARTPOLE, "strategy=eggroll", "policy.norm=virtual_batch",
                               "policy.norm_reference=16"],
    "convolutions": ["task=breakout", "task.episodes=2", "task.episode_length=20", "policy=cnn",
                     "policy.channels=[3]", "policy.hidden=[4]", "strategy=openai_es",
                     "policy.norm=virtual_batch", "policy.norm_reference=8"],
    "made again": ["task=sphere", "task.dimension=400000", "strategy=openai_es"],
    "table": [*CARTPOLE, "strategy=openai_es", "strategy.noise=table"],
    "recurrent": ["task=memory_chain", "task.episodes=4", "policy=rnn", "policy.hidden=[6]",
                  "strategy=pgpe"],
    "bytes": ["task=bytes", f"task.file={__file__}", "task.sequence_length=6", "policy=rnn",
              "policy.hidden=[5]", "strategy=eggroll"],
    "float64": [*SINE, "strategy=cma_es", "runtime.precision=float64"],
    "restarts": [*SINE, "strategy=cma_es", "strategy.restarts=ipop"],
    "vector": ["task=rosenbrock", "task.dimension=40", "strategy=cma_es"],
}  # fmt: skip
P = 24
MANY = ["eval.episodes=70", f"strategy.population_size={P}"]
CASES = [
    *((kind, cut) for kind in KINDS for cut in ("auto", 10)),
    *((kind, cut) for kind in ("normaliser", "cma_es", "eggroll") for cut in (P, 4, 7)),
]
"""`auto` makes two blocks, 10 three of which the last is not full, P one, 4 six, 7 four of 6."""


@pytest.mark.parametrize(
    ("kind", "cut"),
    [("cma_es", "auto"), pytest.param("normaliser", 10, marks=pytest.mark.slow)],
)
def test_one_device_and_two_have_the_same_bits(built, kind, cut):
    words = [*KINDS[kind], *MANY, f"runtime.population_chunk={cut}"]
    one, two = (bits.digests(built, [*words, f"runtime.devices={n}"]) for n in (1, 2))
    assert one == two


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "cut"), CASES)
def test_one_to_four_devices_have_the_same_bits(kind, cut):
    words = [*KINDS[kind], *MANY, f"runtime.population_chunk={cut}"]
    script = [sys.executable, Path(bits.__file__), "4", json.dumps(words)]
    done = subprocess.run(script, capture_output=True, text=True, check=True, timeout=600)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 4
    for line in lines[1:]:
        assert line == lines[0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["normaliser"])
def test_a_mesh_has_the_bits_of_pmap(built, kind, monkeypatch):
    words = [*KINDS[kind], *MANY, "runtime.devices=2", "strategy.sigma=0.07"]
    mapped = bits.digests(built, words)
    plain = everywhere.OnEvery.__init__
    monkeypatch.setattr(
        everywhere.OnEvery, "__init__", lambda self, local, f: plain(self, local, f, mesh=True)
    )
    programs.program.cache_clear()
    assert bits.digests(built, words) == mapped
    programs.program.cache_clear()


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13])
@pytest.mark.parametrize("device_count", [1, 2])
def test_sums_are_added_in_a_balanced_tree_over_the_numbers_of_blocks(count, device_count):
    values = np.random.default_rng(count).normal(size=count).astype(np.float32) * 1e3
    local = jax.local_devices()[:device_count]
    blocks = Blocks(count, 1, device_count)

    def total(values, zero):
        work = lambda members, i: (members[0], values[members[0]])  # noqa: E731
        stays, sums = over_blocks(blocks, Fence(zero == 0), work)
        return devices.gather(stays)[:count], sums

    def tree(part):
        if len(part) == 1:
            return part[0]
        half = 1 << (len(part) - 1).bit_length() - 1
        return tree(part[:half]) + tree(part[half:])

    stays, sums = everywhere.OnEvery(tuple(local), total)(jnp.asarray(values), jnp.int32(0))
    np.testing.assert_array_equal(stays, np.arange(count))
    assert np.float32(sums) == tree(list(values))


@pytest.mark.parametrize("first", range(9))
@pytest.mark.parametrize("length", range(9))
def test_subtrees_cover_a_range_with_as_few_as_can_be(first, length):
    found = list(subtrees(first, first + length))
    covered = [b for level, n in found for b in range(n << level, (n + 1) << level)]
    assert covered == list(range(first, first + length))
    siblings = {(level, n ^ 1) for level, n in found}
    assert not siblings & {(level, n) for level, n in found}


def alone(x, s):
    """An array by a number, by a root, and in a loop: what XLA rounds by what else is there."""

    def step(x, c):
        return (x - c * x) / (1 - c), None

    looped, _ = jax.lax.scan(step, x, s * jnp.linspace(0, 0.9, 5))
    return x / s, x / jnp.sqrt(s), 1 / jnp.sqrt(s), looped


def in_company(x, s):
    """The same, where divisors have other uses."""

    def step(carry, c):
        x, total = carry
        rest = 1 - c
        return ((x - c * x) / rest, total + rest), None

    (looped, total), _ = jax.lax.scan(step, (x, s), s * jnp.linspace(0, 0.9, 5))
    root = jnp.sqrt(s)
    return x / s, x / root, 1 / root, looped, (s + 1, root - 2, total)


def test_rounding_does_not_depend_on_what_else_a_number_is_used_for():
    x, s = jnp.linspace(0.1, 3, 1000), jnp.float32(0.7)
    lone, social = (jax.jit(settled(f, x, s)[0])(x, s) for f in (alone, in_company))
    for one, other in zip(lone, social[:4], strict=True):
        np.testing.assert_array_equal(one, other)


def test_whole_numbers_may_be_divided_by_a_number_of_the_program():
    """It comes as no array, and nothing is said of a program that cannot be settled."""
    x = jnp.arange(1, 4)
    thirds = jax.jit(settled(lambda x: x / 3.0, x)[0])(x)
    np.testing.assert_array_equal(thirds, x * (1 / jnp.float32(3)))


def test_xla_rounds_by_company():
    """The reason for `settled`; where this fails it may go."""
    x, s = jnp.linspace(0.1, 3, 1000), jnp.float32(0.7)
    pairs = zip(jax.jit(alone)(x, s), jax.jit(in_company)(x, s)[:4], strict=True)
    assert any((one != other).any() for one, other in pairs)
