"""What is said of the returns of some episodes."""

import numpy as np
import pytest

from esrun.results import statistics
from esrun.results.statistics import figures, interval


def test_figures_by_hand():
    told = figures(np.array([1.0, 5.0, 3.0, 7.0]), {"success": np.array([1, 0, 1, 1])})
    std = np.std([1, 5, 3, 7], ddof=1)
    assert told["mean"] == told["median"] == 4
    assert told["std"] == pytest.approx(std)
    assert told["ci95"] == pytest.approx(1.96 * std / 2)
    assert (told["worst"], told["episodes"], told["success"]) == (1, 4, 0.75)
    low, high = told["interval"]
    assert 1 < low < 4 < high < 7


def test_the_interval_of_normal_values_is_the_textbooks():
    values = np.random.default_rng(3).normal(10, 2, 400)
    half = 1.96 * np.std(values, ddof=1) / 20
    expected = [values.mean() - half, values.mean() + half]
    np.testing.assert_allclose(interval(values), expected, atol=0.1 * half)


def test_the_interval_of_a_skewed_sample_is_skewed():
    values = np.random.default_rng(3).exponential(1, 40)
    low, high = interval(values)
    assert high - values.mean() > 1.1 * (values.mean() - low)


def test_the_interval_is_the_same_for_the_same_values_however_many_fit_at_a_time(monkeypatch):
    values = np.random.default_rng(0).normal(size=50)
    whole = interval(values)
    assert interval(values) == whole
    monkeypatch.setattr(statistics, "BATCH", 60)
    np.testing.assert_allclose(interval(values), whole)


@pytest.mark.parametrize("values", [[2.0, 2.0, 2.0], [0.0, 0.0]])
def test_values_that_do_not_differ_have_no_width(values):
    assert interval(np.array(values)) == (values[0], values[0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nothing_is_said_of_values_that_are_not_finite(bad):
    assert np.all(np.isnan(interval(np.array([1.0, bad, 2.0]))))


@pytest.mark.parametrize("scale", [1e-310, 1e-30, 1.0, 1e300])
def test_the_interval_scales_with_the_values(scale):
    values = np.random.default_rng(3).uniform(-1, 1, 30)
    np.testing.assert_allclose(
        np.array(interval(values * scale)) / scale, interval(values), rtol=1e-6
    )


def test_the_interval_of_very_many_values_is_the_normal_one(monkeypatch):
    values = np.random.default_rng(3).exponential(1, 3000)
    by_bootstrap = interval(values)
    monkeypatch.setattr(statistics, "MANY", 2999)
    half = 1.96 * np.std(values, ddof=1) / 3000**0.5
    np.testing.assert_allclose(interval(values), [values.mean() - half, values.mean() + half])
    np.testing.assert_allclose(interval(values), by_bootstrap, atol=0.15 * half)


def test_returns_may_be_anything():
    told = figures(np.array([1.0, np.inf, -np.inf, np.nan]), {"length": np.array([1, 2, 3, 4])})
    assert np.isnan(told["mean"])
    assert told["length"] == 2.5
