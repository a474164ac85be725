"""Black-box functions: zero fitness at the optimum, a value worked out by hand elsewhere."""

import jax.numpy as jnp
import numpy as np
import pytest
from defaults import make_policy

from esrun.tasks.blackbox import FUNCTIONS, make_blackbox

OPTIMA = {
    "sphere": [[0, 0, 0]],
    "ellipsoid": [[0, 0, 0]],
    "rosenbrock": [[1, 1, 1], [1, 1]],
    "rastrigin": [[0, 0, 0]],
    "ackley": [[0, 0, 0]],
    "himmelblau": [[3, 2], [-2.805118, 3.131312], [-3.779310, -3.283186], [3.584428, -1.848126]],
    "six_hump_camel": [[0.0898420, -0.7126564], [-0.0898420, 0.7126564]],
}

ELSEWHERE = [
    ("sphere", [1, -2, 3], 1 + 4 + 9),
    ("ellipsoid", [1, -2, 3], 1 + 1e3 * 4 + 1e6 * 9),
    ("ellipsoid", [2, 2], 4 + 4e6),
    ("rosenbrock", [2, 3], 100 * (3 - 4) ** 2 + (1 - 2) ** 2),
    ("rosenbrock", [0, 0, 2], 1 + (100 * 4 + 1)),
    ("rastrigin", [1, -1], 1 + 1),
    ("rastrigin", [0.5, 0], 20 + (0.25 + 10) + (0 - 10)),
    ("ackley", [1, 1], 20 - 20 * np.exp(-0.2)),
    ("ackley", [3, 4], 20 - 20 * np.exp(-0.2 * np.sqrt(12.5))),
    ("ackley", [0.5, 0.5], -20 * np.exp(-0.1) - np.exp(-1) + 20 + np.e),
    ("himmelblau", [0, 0], 11**2 + 7**2),
    ("himmelblau", [1, 2], (1 + 2 - 11) ** 2 + (1 + 4 - 7) ** 2),
    ("six_hump_camel", [0, 0], 1.031628453489877),
    ("six_hump_camel", [1, 1], (4 - 2.1 + 1 / 3) + 1 + 0 + 1.031628453489877),
]


def fitness(keys, function, points, episodes=1):
    """-> Evaluation of members whose parameters are `points`."""
    d = len(points[0])
    task = make_blackbox(function=function, dimension=d, episodes=episodes)
    policy = make_policy("vector", input_shape=task.input_shape, output_size=task.output_size)
    return task.evaluate(keys(episodes), policy, {"~": {"x": jnp.asarray(points, float)}}, None)


def test_every_function_has_a_case_at_its_optimum_and_elsewhere():
    assert set(OPTIMA) == {name for name, _, _ in ELSEWHERE} == set(FUNCTIONS)


@pytest.mark.parametrize("function", sorted(OPTIMA))
def test_fitness_at_the_optimum_is_zero(keys, function):
    for optimum in OPTIMA[function]:
        assert fitness(keys, function, [optimum]).returns[0, 0] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("function", sorted(OPTIMA))
def test_fitness_around_the_optimum_is_negative(keys, function):
    for optimum in OPTIMA[function]:
        around = np.asarray(optimum) + 0.05 * np.concatenate(
            [np.eye(len(optimum)), -np.eye(len(optimum))]
        )
        assert np.max(fitness(keys, function, around).returns) < -1e-3


@pytest.mark.parametrize(("function", "point", "value"), ELSEWHERE)
def test_fitness_is_minus_the_value(keys, function, point, value):
    assert fitness(keys, function, [point]).returns[0, 0] == pytest.approx(-value, rel=1e-5)


def test_sizes_and_steps(keys):
    task = make_blackbox(function="sphere", dimension=4, episodes=3)
    assert (task.input_shape, task.output_size, task.episodes) == ((0,), 4, 3)
    seen = fitness(keys, "sphere", [[1, 0], [2, 0]], episodes=3)
    np.testing.assert_array_equal(np.mean(seen.returns, axis=1), [-1, -4])
    np.testing.assert_array_equal(seen.steps, [1, 1])
