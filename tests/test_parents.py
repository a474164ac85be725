"""`strategy.parents` of the CMA family is a number of the program: tables, bits, sweeps, bounds."""

import jax.numpy as jnp
import numpy as np
import pytest
from bits import digests
from conftest import quickly

from esrun.backend.compilation import Clock
from esrun.config.check import checked
from esrun.config.compose import composed
from esrun.errors import ConfigError
from esrun.strategies import lm_ma_es, sep_cma_es
from esrun.strategies.parts.constants import constants
from esrun.training.stop import stop_at

FAMILY = ["cma_es", "sep_cma_es", "ma_es", "lm_ma_es"]
TABLES = {
    "active": lambda n, p, mu: constants(n, p, mu, active=True),
    "positive": lambda n, p, mu: constants(n, p, mu, active=False),
    "separable": sep_cma_es.constants,
    "limited memory": lm_ma_es.constants,
}
SWEPT = ["task=sphere", "task.dimension=3", "strategy.population_size=12", "eval.episodes=2",
         "runtime.devices=1"]  # fmt: skip

pytestmark = pytest.mark.usefixtures("quick_to_compile")


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("n", [1, 3, 1000])
def test_a_traced_number_of_parents_gives_the_table_of_a_known_one(name, n, float64):
    for mu in (1, 2, 6, 11, 12):
        traced, known = TABLES[name](n, 12, jnp.asarray(float(mu))), TABLES[name](n, 12, mu)
        for field in known._fields:
            ours, theirs = getattr(traced, field), getattr(known, field)
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14, err_msg=field)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("p", [2, 100, 100_000])
def test_as_many_members_have_a_positive_weight_as_there_are_parents(name, p):
    for mu in {1, 2, p // 2, p - 1, p}:
        table = TABLES[name](10, p, jnp.asarray(mu, jnp.float32))
        weights = np.asarray(table.weights)
        assert np.isfinite([float(x) for x in table if np.ndim(x) == 0]).all()
        assert (weights[mu:] <= 0).all()
        # the last parent's own weight may be less than a float32 tells from 0
        assert mu - 2 <= np.count_nonzero(weights > 0) <= mu
        np.testing.assert_allclose(weights[:mu].sum(), 1, rtol=1e-5)


@pytest.mark.parametrize("strategy", quickly(FAMILY, "cma_es"))
def test_a_truncation_sweep_compiles_once(built, strategy):
    def after(parents):
        run = built(*SWEPT, f"strategy={strategy}", f"strategy.parents={parents}")
        state = run.program.init(run.hyper, jnp.uint32(0))
        state, *_ = run.program.advance(run.hyper, jnp.uint32(0), state, stop_at(run.config, 3))
        return np.asarray(state.strategy.mean)

    null, first = after("null"), after(6)
    with Clock() as clock:
        others = [after(2), after(9)]
    assert clock.compilations == 0
    np.testing.assert_allclose(first, null, rtol=1e-4, atol=1e-5)  # half of them is the default
    assert all(np.abs(other - first).max() > 0.01 for other in others)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", quickly(FAMILY, "lm_ma_es"))
def test_one_device_and_two_have_the_same_bits_with_given_parents(built, strategy):
    words = [f"strategy={strategy}", "strategy.parents=7", "strategy.population_size=40",
             "task=rosenbrock", "task.dimension=10", "runtime.population_chunk=10",
             "eval.episodes=2"]  # fmt: skip
    one, two = (digests(built, [*words, f"runtime.devices={count}"]) for count in (1, 2))
    assert one == two


@pytest.mark.parametrize("strategy", FAMILY)
@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("10.5", "must be a multiple of 1"),
        ("0", "greater than or equal to 1"),
        ("-3", "greater than or equal to 1"),
        ("101", "got 101 parents of 100"),
        ("2e7", "must be less than"),
        ("true", "a number"),
    ],
)
def test_a_wrong_number_of_parents_is_one_line_whose_remedy_works(strategy, given, line):
    with pytest.raises(ConfigError, match=line) as caught:
        checked(composed([f"strategy={strategy}", f"strategy.parents={given}"]).config)
    remedy = str(caught.value).rsplit("write ", 1)[1].removeprefix("for example ")
    checked(composed([f"strategy={strategy}", remedy]).config)


@pytest.mark.parametrize("strategy", FAMILY)
def test_more_parents_than_an_automatic_population_are_refused(built, strategy):
    words = [f"strategy={strategy}", "strategy.population_size=auto", "task=sphere"]
    with pytest.raises(ConfigError, match="at most the population size 10, got 11"):
        built(*words, "task.dimension=10", "strategy.parents=11")
