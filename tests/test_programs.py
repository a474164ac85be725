"""What a process keeps of the programs that it has compiled."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from esrun.backend import machine
from esrun.training import programs
from esrun.training.stop import stop_at


def alive():
    """-> how many executables there are."""
    return len(jax.devices()[0].client.live_executables())


def trained(run):
    """-> the mean after two generations."""
    seed = np.uint32(run.config.seed)
    state, *_ = run.program.advance(
        run.hyper, seed, run.program.init(run.hyper, seed), stop_at(run.config, 2)
    )
    return np.asarray(state.strategy.mean)


def test_many_structures_leave_few_programs(built, monkeypatch):
    """A process that keeps them all is ended by Linux once they take 65,530 mappings."""
    monkeypatch.setattr(programs, "KEPT", 2)
    jax.clear_caches()
    programs.program.cache_clear()
    counts = []
    for n in range(2, 6):
        trained(built("task=sphere", "strategy=snes", f"task.dimension={n}"))
        counts.append(alive())
    assert counts[3] <= max(counts[:3])
    assert programs.program.cache_info().currsize <= 2


def test_a_run_finds_the_program_of_one_that_others_were_let_go_for(built, monkeypatch):
    monkeypatch.setattr(programs, "KEPT", 1)
    programs.program.cache_clear()
    _, first, same = (
        built("task=sphere", "strategy=snes", f"task.dimension={n}") for n in (2, 3, 3)
    )
    assert same.program.advance is first.program.advance


def test_programs_are_let_go_where_the_system_has_little_room_for_them(built, monkeypatch):
    monkeypatch.setattr(machine, "crowded", lambda: True)
    for n in (2, 3):
        trained(built("task=sphere", "strategy=snes", f"task.dimension={n}"))
        assert programs.program.cache_info().currsize == 1


def test_a_run_whose_program_was_let_go_goes_on_as_it_was(built):
    words = ["task=sphere", "strategy=snes", "task.dimension=3"]
    run = built(*words)
    first = trained(run)
    programs.program.cache_clear()
    programs.assembler.cache_clear()
    jax.clear_caches()
    np.testing.assert_array_equal(trained(run), first)
    np.testing.assert_array_equal(trained(built(*words)), first)


@pytest.mark.parametrize(("most", "crowded"), [(6, True), (99_999_999, False)])
def test_a_process_is_crowded_with_more_than_half_of_its_mappings(monkeypatch, most, crowded):
    limit = SimpleNamespace(read_text=lambda: f"{most}\n")
    monkeypatch.setattr(machine, "Path", lambda _: limit)
    assert machine.crowded() is crowded
