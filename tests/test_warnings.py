"""Warnings of a run that is not learning: each said once, with the remedy, and none to a healthy
run."""

import numpy as np
import pytest

from esrun.config.check import checked
from esrun.config.compose import composed
from esrun.runs.folder import Made
from esrun.runs.health import BEGINNING, FAULTY, FLAT, WINDOW, Health
from esrun.runs.opening import Order
from esrun.runs.run import carry_out

P = 20


def rows(count, first=1, **figures):
    """-> `count` generations of a healthy run of 20 members; each of `figures` a number or
    (generation) -> number."""
    healthy = {
        "fitness_best": lambda g: float(g),
        "fitness_mean": lambda g: g - 1.0,
        "fitness_std": 0.5,
        "sigma": 0.3,
        "non_finite": 0,
        "tied": 0.0,
        "signal_to_noise": 2.0,
        "condition": 10.0,
    }
    return [
        {"generation": g, "evaluations": g * P, "env_steps": g * P}
        | {name: x(g) if callable(x) else x for name, x in (healthy | figures).items()}
        for g in range(first, first + count)
    ]


def said(given, precision="float32"):
    """-> what a fresh Health says, the generations brought in two pieces."""
    health = Health(precision)
    return health.look(given[:7]) + health.look(given[7:])


def test_a_healthy_run_hears_nothing():
    assert said(rows(500)) == []


CASES = {
    "flat": (
        rows(FLAT, tied=1.0, fitness_std=0.0, fitness_best=-3.0, fitness_mean=-3.0),
        ["generation 10:", "every member has had the fitness -3", "strategy.sigma=3,"],
    ),
    "non_finite": (
        rows(FAULTY, non_finite=3),
        ["generation 3:", "3 of 20 members", "strategy.sigma=0.03"],
    ),
    "settled": (
        rows(
            100,
            sigma=lambda g: 0.3 * 0.9**g,
            fitness_best=lambda g: min(g, 80.0),
            fitness_mean=lambda g: min(g, 80),
        ),
        [
            "generation 100:",
            "from 0.27 to 7.97e-06",
            "better than 80 for 20 generations",
            "strategy.sigma=3,",
        ],
    ),
    "exploding": (
        rows(10, sigma=lambda g: 0.03 * 10**g),
        ["generation 5:", "to 3e+03", "strategy.sigma=3000"],
    ),
    "condition": (
        rows(10, condition=1e6),
        ["generation 1:", "differ by 1000", "runtime.precision=float64"],
    ),
    "axis_ratio": (
        [row | {"axis_ratio": 1e3} for row in rows(10) if row.pop("condition")],
        ["differ by 1000", "float32"],
    ),
    "no_progress": (
        rows(200, fitness_mean=lambda g: np.sin(g), signal_to_noise=1.01),
        [
            "no better than in the first 20",
            "signal to noise of the pairs is 1.01",
            "strategy.population_size",
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_said_once_with_the_remedy(case):
    given, parts = CASES[case]
    lines = said(given)
    assert len(lines) == 1
    assert "\n" not in lines[0]
    for part in parts:
        assert part in lines[0]
    assert (
        said(given + [row | {"generation": row["generation"] + 500} for row in given])[:1] == lines
    )


def test_one_generation_less_and_nothing_is_said():
    assert said(CASES["flat"][0][:-1]) == []
    assert said(CASES["non_finite"][0][:-1]) == []
    assert said(CASES["exploding"][0][:4]) == []
    assert said(CASES["settled"][0][:-1]) == []


def test_pairs_that_tie_and_single_faults_are_nothing_to_speak_of():
    assert said(rows(50, tied=1.0)) == []  # each member tied with one other
    assert said(rows(50, non_finite=2)) == []  # a tenth
    assert said(rows(50, non_finite=lambda g: 20 * (g % 3 == 0))) == []


def test_a_sigma_that_shrinks_while_fitness_grows_is_convergence():
    assert said(rows(200, sigma=lambda g: 0.3 * 0.9**g)) == []


def test_float64_bears_a_condition_that_float32_does_not():
    assert said(rows(10, condition=1e12), "float64") == []
    (line,) = said(rows(10, condition=1e15), "float64")
    assert "policy.normalize_input=true" in line
    assert "runtime.precision" not in line


def test_a_run_that_went_back_to_where_it_began_is_told_too():
    there_and_back = rows(300, fitness_mean=lambda g: max(100.0 - abs(g - 100), 0.0))
    (line,) = said(there_and_back)
    assert "no better than in the first" in line
    assert "signal to noise" not in line  # there was one
    assert 200 < int(line.split("generation ")[1].split(":")[0]) < 200 + WINDOW


@pytest.mark.parametrize("mean", [-2.5, 2.5])
@pytest.mark.parametrize("decay", ["divide_l1", "divide_l2", "subtract_l2", None])
def test_a_negative_fitness_that_is_divided_is_told(decay, mean):
    health = Health("float32", decay)
    lines = health.look(rows(30, fitness_mean=lambda g: mean + 1e-3 * g))
    if mean > 0 or decay in ("subtract_l2", None):
        assert lines == []
        return
    (line,) = lines
    assert line.startswith("warning, generation 1: the mean fitness is -2.499")
    assert f"strategy.fitness_decay={decay}" in line
    assert "write strategy.fitness_decay=subtract_l2" in line


def test_a_resumed_run_is_not_held_against_a_beginning_that_was_not_seen():
    assert said(rows(200, first=BEGINNING + 1, fitness_mean=lambda g: np.sin(g))) == []
    (line,) = said(rows(5, first=300, non_finite=3))
    assert f"3 of {P} members" in line


def test_a_restart_is_held_against_its_own_beginning():
    first, second = (
        rows(200, sigma=lambda g: 0.3 * 0.99**g),
        rows(200, first=201, fitness_mean=lambda g: g - 201.0),
    )
    health = Health("float32")
    assert health.look(first) + health.look(second, 1) == []
    (line,) = health.look(rows(200, first=401, fitness_mean=lambda g: np.sin(g)), 2)
    assert "no better than in the first" in line


REAL = {
    "every member has had": ["strategy.sigma=5e-8", "strategy.learning_rate_sigma=0.1"],
    "no better than": ["strategy.learning_rate=1e-9", "strategy.learning_rate_sigma=1e-9"],
}
"""SNES on the sphere: two runs of one program."""


@pytest.mark.parametrize("part", REAL)
@pytest.mark.usefixtures("quick_to_compile")
def test_a_real_run_says_it_on_the_console_and_in_its_log(part, tmp_path, capsys):
    cfg = composed(
        ["task=sphere", "strategy=snes", *REAL[part], "generations=100", "eval.episodes=2"]
    ).config
    assert carry_out(Order(checked(cfg), cfg, Made(tmp_path), {})) == 0
    warnings = [
        line
        for line in (tmp_path / "esrun.log").read_text().splitlines()
        if line.startswith("warning")
    ]
    assert len([line for line in warnings if part in line]) == 1
    shown = capsys.readouterr().out
    assert all(line in shown for line in warnings)


@pytest.mark.parametrize(
    ("precision", "fitness", "remedy"),
    [
        ("float32", -1e8, "write runtime.precision=float64"),
        ("float64", 1e18, "take what all members share out of the task's fitness"),
        ("float32", -200.0, "search wider: strategy.sigma="),
        ("float64", -1e8, "search wider: strategy.sigma="),
    ],
)
def test_members_that_are_tied_for_want_of_digits_are_not_told_to_search_wider(
    precision, fitness, remedy
):
    level = {"fitness_best": fitness, "fitness_mean": fitness, "fitness_std": 0.0, "tied": 1.0}
    (line,) = said(rows(FLAT + 3, **level), precision)
    assert remedy in line
    assert ("search wider" in line) == ("search wider" in remedy)
