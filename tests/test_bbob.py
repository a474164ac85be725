"""BBOB: an independent NumPy version of some functions, written from RR-6829, and what holds for
all 24."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import quickly
from defaults import make_policy

from esrun.backend.compilation import Clock
from esrun.config.check import checked
from esrun.config.compose import composed
from esrun.errors import ConfigError
from esrun.tasks.bbob import drawn, make_bbob
from esrun.training.stop import stop_at

pytestmark = pytest.mark.usefixtures("quick_to_compile")

EVERY = range(1, 25)


def fitness(function, points, instance=1.0):
    """-> [m] fitness of points [m, d]."""
    task = make_bbob(function=function, dimension=len(points[0]), instance=instance, episodes=1)
    policy = make_policy("vector", input_shape=task.input_shape, output_size=task.output_size)
    keys = jax.random.split(jax.random.key(0), 1)
    return np.asarray(
        task.evaluate(keys, policy, {"~": {"x": jnp.asarray(points, float)}}, None).returns[:, 0]
    )


# ---- the definitions, in NumPy -------------------------------------------------------------------


def powers(base, d):
    """base^((i - 1) / (d - 1)) for i = 1 ... d."""
    return base ** (np.arange(d) / (d - 1))


def oscillated(x):
    x_hat = np.log(np.abs(x), where=x != 0, out=np.zeros_like(x))
    c_1, c_2 = np.where(x > 0, 10, 5.5), np.where(x > 0, 7.9, 3.1)
    return np.sign(x) * np.exp(x_hat + 0.049 * (np.sin(c_1 * x_hat) + np.sin(c_2 * x_hat)))


def asymmetric(x, beta):
    i = np.arange(len(x)) / (len(x) - 1)
    positive = np.maximum(x, 0)
    return np.where(x > 0, positive ** (1 + beta * i * np.sqrt(positive)), x)


def rosenbrock(z):
    return np.sum(100 * (z[:-1] ** 2 - z[1:]) ** 2 + (z[:-1] - 1) ** 2)


def rastrigin(z):
    return 10 * (len(z) - np.sum(np.cos(2 * np.pi * z))) + z @ z


def f1(x, x_opt, R, Q):
    return np.sum((x - x_opt) ** 2)


def f2(x, x_opt, R, Q):
    return np.sum(powers(1e6, len(x)) * oscillated(x - x_opt) ** 2)


def f3(x, x_opt, R, Q):
    return rastrigin(powers(10**0.5, len(x)) * asymmetric(oscillated(x - x_opt), 0.2))


def f5(x, x_opt, R, Q):
    s = np.sign(x_opt) * powers(10, len(x))
    return np.sum(5 * np.abs(s) - s * np.where(x_opt * x < 25, x, x_opt))


def f8(x, x_opt, R, Q):
    return rosenbrock(max(1, len(x) ** 0.5 / 8) * (x - x_opt) + 1)


def f9(x, x_opt, R, Q):
    return rosenbrock(max(1, len(x) ** 0.5 / 8) * R @ x + 0.5)


def f10(x, x_opt, R, Q):
    return np.sum(powers(1e6, len(x)) * oscillated(R @ (x - x_opt)) ** 2)


def f15(x, x_opt, R, Q):
    return rastrigin(
        R @ (powers(10**0.5, len(x)) * (Q @ asymmetric(oscillated(R @ (x - x_opt)), 0.2)))
    )


def f19(x, x_opt, R, Q):
    z = max(1, len(x) ** 0.5 / 8) * R @ x + 0.5
    s = 100 * (z[:-1] ** 2 - z[1:]) ** 2 + (z[:-1] - 1) ** 2
    return 10 / (len(x) - 1) * np.sum(s / 4000 - np.cos(s)) + 10


def f20(x, x_opt, R, Q):
    sign, half = np.sign(x_opt), np.abs(x_opt)
    x_hat = 2 * sign * x
    z_hat = x_hat.copy()
    z_hat[1:] += 0.25 * (x_hat[:-1] - 2 * half[:-1])
    z = 100 * (powers(10**0.5, len(x)) * (z_hat - 2 * half) + 2 * half)
    penalty = np.sum(np.maximum(0, np.abs(z / 100) - 5) ** 2)
    return -np.mean(z * np.sin(np.sqrt(np.abs(z)))) / 100 + 4.189828872724339 + 100 * penalty


@pytest.mark.parametrize("d", quickly([2, 5, 80], 5))
@pytest.mark.parametrize(
    "definition", [f1, f2, f3, f5, f8, f9, f10, f15, f19, f20], ids=lambda f: f.__name__
)
@pytest.mark.usefixtures("float64")
def test_fitness_is_minus_the_definition(definition, d):
    function = int(definition.__name__[1:])
    params = drawn(function, d, 3.0)[1]
    instance = [np.asarray(x) for x in (params.x_opt, params.r, params.q)]
    points = np.random.default_rng(0).uniform(-6, 6, (20, d))
    points[0] = instance[0] * (1 - 1e-3)  # not far from the optimum
    wanted = [-definition(x, *instance) for x in points]
    np.testing.assert_allclose(fitness(function, points, 3.0), wanted, rtol=1e-9, atol=1e-12)


# ---- what holds for all --------------------------------------------------------------------------


@pytest.mark.parametrize("function", quickly(EVERY, *EVERY[::3]))
@pytest.mark.usefixtures("float64")
def test_fitness_is_zero_at_the_optimum_and_negative_elsewhere(function):
    x_opt = np.asarray(drawn(function, 5, 2.0)[1].x_opt)
    inwards = -np.sign(x_opt)  # f5 is flat outside its corner
    near = x_opt + np.eye(5) * inwards * 0.3
    far = np.random.default_rng(0).uniform(-5, 5, (50, 5))
    values = fitness(function, [x_opt, *near, *far], 2.0)
    assert abs(values[0]) < 1e-9
    assert values[1:].max() < -1e-7


@pytest.mark.parametrize("function", quickly(EVERY, 1, 7, 10, 16, 21))
def test_an_instance_is_always_the_same_and_differs_from_the_others(function):
    points = np.random.default_rng(0).uniform(-4, 4, (4, 3))
    one, again, other = (fitness(function, points, instance) for instance in (1.0, 1, 2.0))
    np.testing.assert_array_equal(one, again)
    assert np.all(one != other)


@pytest.mark.parametrize("function", [1, 10, 21])
@pytest.mark.usefixtures("float64")
def test_rotations_are_orthogonal_and_two(function):
    params = drawn(function, 7, 5.0)[1]
    for rotation in (params.r, params.q):
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(7), atol=1e-12)
    assert np.abs(params.r - params.q).max() > 0.1


def test_a_sweep_over_instances_compiles_once(built):
    def best(instance):
        run = built(
            "task=bbob", "task.function=10", "task.dimension=4", f"task.instance={instance}"
        )
        state = run.program.init(run.hyper, jnp.uint32(0))
        state, rows, *_ = run.program.advance(
            run.hyper, jnp.uint32(0), state, stop_at(run.config, 3)
        )
        return float(rows["fitness_best"][2])

    first = best(1)
    with Clock() as clock:
        others = [best(2), best(3)]
    assert clock.compilations == 0
    assert len({first, *others}) == 3


# ---- the configuration ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "parts"),
    {
        "task.function=25": ["less than or equal to 24", "got 25", "task.function=1"],
        "task.function=sphere": ["task.function must be an integer", "task.function=1"],
        "task.dimension=1": ["task.dimension must be greater than or equal to 2"],
        "task.instance=0": ["task.instance must be greater than or equal to 1"],
        "task.instance=1.5": ["task.instance must be a multiple of 1"],
        "policy=mlp": ["needs policy=vector", "write policy=vector"],
    }.items(),
)
def test_a_wrong_value_gets_one_line(override, parts):
    with pytest.raises(ConfigError) as caught:
        checked(composed(["task=bbob", override]).config)
    for part in parts:
        assert part in str(caught.value)


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "bbobax", None)
    with pytest.raises(ConfigError, match=r"^task=bbob needs .*: .* -m pip install 'bbobax.*'$"):
        checked(composed(["task=bbob"]).config)
