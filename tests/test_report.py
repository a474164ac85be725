"""`esrun report`: what it says of sweeps that are made up, and what it leaves alone."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import script
from scipy import stats

from esrun.results.report import estimates, pairs, protocol, provenance, scores, sensitivity, times
from esrun.results.report.jobs import jobs_of
from esrun.results.report.parts import Figure, Table, said
from esrun.results.report.study import Target, studies

SECTIONS = [
    "Protocol",
    "How good: every setting, every seed",
    "How fast: learning curves",
    "How long to the target",
    "Which is better",
    "What the settings do",
    "What it cost",
    "Failed and missing jobs",
    "Versions and commands",
]
SIX = [
    [f"strategy={name}", f"strategy.sigma={sigma}"]
    for name in ("cma_es", "openai_es")
    for sigma in (0.03, 0.1, 0.3)
]


@pytest.fixture(scope="module")
def made_up():
    """-> (sweep, settings, seeds, **more) -> the folders of jobs that look as if they had run."""
    return script("bench/report.py").made_up


@pytest.fixture
def sweep(made_up, tmp_path):
    """-> a sweep of two strategies, three settings and ten seeds, one job failed, one missing."""
    folder = tmp_path / "sweep"
    means = [-1000 + 100 * setting + seed for setting in range(6) for seed in range(10)]
    jobs = made_up(folder, SIX, range(10), means=means)
    change(jobs[44], status="failed", stop_reason="non_finite_fitness")
    shutil.rmtree(jobs[17])
    return folder


def change(folder, **keys):
    path = folder / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def study(folder, **targets):
    found = jobs_of([str(folder)])
    return studies(found, dict(targets))


def tables(section):
    return [x for x in section.blocks if isinstance(x, Table)]


# ---- the numbers ---------------------------------------------------------------------------------


def test_the_interquartile_mean_and_its_interval_are_scipys():
    values = np.random.default_rng(1).normal(size=11)
    assert estimates.iqm(values) == pytest.approx(np.mean(np.sort(values)[2:9]))
    low, high = estimates.interval(estimates.iqm, values)
    expected = stats.bootstrap(
        (values,), lambda x, axis: stats.trim_mean(x, 0.25, axis=axis), method="percentile",
        n_resamples=estimates.RESAMPLES, rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    assert (low, high) == pytest.approx((expected.low, expected.high))
    assert low < estimates.iqm(values) < high


def test_a_stratified_interval_resamples_each_sample_by_itself():
    groups = [np.full(5, 0.0), np.full(5, 10.0)]

    def mean(*samples, axis):
        return np.mean(np.concatenate(samples, axis), axis)

    assert estimates.interval(mean, *groups) == (5.0, 5.0)  # pooled, it would not be a point


def test_too_few_seeds_have_no_interval():
    assert np.all(np.isnan(estimates.interval(np.median, np.arange(4.0))))
    assert not np.any(np.isnan(estimates.interval(np.median, np.arange(5.0))))


@pytest.mark.parametrize(
    ("spent", "solved", "expected"),
    [
        ([10, 20, 30], [1, 1, 1], 20),
        ([10, 20, 100], [1, 1, 0], 65),
        ([100, 100], [0, 0], np.inf),
    ],
)
def test_expected_running_time_is_all_that_was_spent_over_the_successes(spent, solved, expected):
    mean, _ = estimates.running_time(np.array(spent, float), np.array(solved, bool))
    assert mean == expected


def test_the_interval_of_a_running_time_is_infinite_where_a_resample_may_have_no_success():
    times = np.full(6, 100.0)
    mean, (low, high) = estimates.running_time(times, np.array([1, 0, 0, 0, 0, 0], bool))
    assert (mean, high) == (600.0, np.inf)
    assert 100 <= low <= 600
    assert estimates.running_time(times, np.ones(6, bool)) == (100.0, (100.0, 100.0))


def test_the_probability_of_improvement_is_mann_and_whitneys():
    chance = np.random.default_rng(2)
    a, b = chance.normal(size=7).round(1), chance.normal(size=9).round(1)
    expected = stats.mannwhitneyu(a, b).statistic / (7 * 9)
    value, (low, high) = estimates.improvement(a, b, paired=False)
    assert value == pytest.approx(expected)
    assert low <= value <= high


def test_that_of_pairs_counts_seeds():
    a, b = np.array([1.0, 2, 3, 4, 5]), np.array([0.0, 1, 3, 5, 4])
    value, interval = estimates.improvement(a, b, paired=True)
    assert value == (3 + 0.5) / 5
    low = stats.binomtest(3, 5).proportion_ci(method="wilson").low
    high = stats.binomtest(4, 5).proportion_ci(method="wilson").high
    assert interval == (low, high)


def test_holms_correction():
    raw = np.array([0.01, 0.04, 0.03, np.nan, 0.005])
    found = estimates.corrected(raw)
    assert found[[4, 0, 2, 1]] == pytest.approx([0.02, 0.03, 0.06, 0.06])
    assert np.isnan(found[3])


@pytest.mark.parametrize(
    ("apart", "comparisons", "simulated"), [(1, 1, 19), (2, 1, 7), (1, 15, 33)]
)
def test_the_seeds_that_are_needed_are_about_those_of_a_simulation(apart, comparisons, simulated):
    # pairs of normal scores that are that many standard deviations apart, Wilcoxon's test
    scores = stats.norm.ppf((np.arange(9) + 0.5) / 9)
    a = scores / np.std(scores, ddof=1) * np.sqrt(2) + apart
    found = estimates.seeds_needed(a, np.zeros(9), True, comparisons)
    assert found == pytest.approx(max(simulated, 10), rel=0.2)


def test_settings_that_do_not_differ_need_any_number_of_seeds():
    a = np.array([1.0, 2, 3, 4])
    assert estimates.seeds_needed(a, a, True, 1) == np.inf
    assert estimates.seeds_needed(a, a[::-1], False, 1) == np.inf


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("comparisons", [1, 15])
def test_below_the_fewest_seeds_no_outcome_is_told_apart(paired, comparisons):
    fewest = estimates.fewest_seeds(paired, comparisons)
    for n, is_told in ((fewest, True), (fewest - 1, False)):
        p, above = estimates.compared(np.arange(n) + 100.0 * n, np.arange(n) * 1.0, paired)
        assert above > 0
        assert (p * comparisons <= 0.05) == is_told


def test_the_direction_is_that_of_the_test():
    a, b = np.array([-1.0] * 21 + [100.0] * 19), np.zeros(40)
    p, above = estimates.compared(a, b, paired=True)
    assert p < 0.05
    assert above > 0
    assert estimates.improvement(a, b, paired=True)[0] < 0.5


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("values", [[1.0], [1.0, 1.0], [0.0, 1.0], [1.0] * 6])
def test_tests_have_an_answer_for_any_scores(values, paired):
    a, b = np.array(values), np.array(values)[::-1]
    p, _ = estimates.compared(a, b, paired)
    chance, _ = estimates.improvement(a, b, paired)
    assert np.isnan(p) if len(a) < 2 else 0 < p <= 1
    assert chance == 0.5


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"), (np.nan, "–"), (np.inf, "∞"), (-np.inf, "−∞"), (3, "3"), ("x", "x"),
        (1536000.0, "1,536,000"), (-142.84, "−142.8"), (0.00012345, "0.0001234"),
        (12345.6, "12,346"), (1e15, "1e+15"),
    ],
)  # fmt: skip
def test_numbers_are_said_with_four_digits(value, shown):
    assert said(value) == shown


# ---- the page ------------------------------------------------------------------------------------


def test_the_page_says_what_is_asked_in_order(sweep, in_process):
    code, out, err = in_process("report", str(sweep))
    assert (code, err) == (0, "")
    assert "2 of 60 jobs are not done" in out
    folder = sweep / "report"
    page = (folder / "index.html").read_text()
    at = [page.index(f">{title}</h2>") for title in SECTIONS]
    assert at == sorted(at)
    assert "http:" not in page
    assert "https:" not in page
    assert "<script" not in page
    assert len(page) < 2e6
    table = pd.read_csv(folder / "tables" / "scores.csv")
    assert len(table) == 6
    assert table["median"].tolist() == sorted(table["median"], reverse=True)
    best = table.iloc[0]
    assert best["setting"] == "strategy=openai_es sigma=0.3"
    assert (best["median"], best["worst"], best["best"]) == (-495.5, -500, -491)
    assert best["IQM low"] <= best["IQM"] <= best["IQM high"]
    assert table["seeds"].tolist() == [10, 9, 10, 10, 9, 10]
    names = {path.stem for path in (folder / "tables").glob("*.csv")}
    assert names == {path.stem for path in (folder / "tables").glob("*.tex")} == {
        "protocol", "scores", "times", "comparisons", "cost", "missing", "versions",
    }  # fmt: skip
    assert {path.stem for path in (folder / "figures").glob("*.svg")} == {
        "scores-pendulum", "curves-pendulum-generations", "curves-pendulum-env_steps",
        "curves-pendulum-seconds", "targets-pendulum", "sensitivity-pendulum-strategy_sigma",
    }  # fmt: skip
    missing = pd.read_csv(folder / "tables" / "missing.csv").set_index("status")
    assert missing.loc["failed", "reason"] == "non_finite_fitness"
    assert missing.loc["missing", "job"].endswith("sweep/17")
    latex = (folder / "tables" / "scores.tex").read_text()
    assert r"\toprule" in latex
    assert r"strategy=openai\_es" in latex


def test_the_same_runs_make_the_same_bytes(sweep, in_process, tmp_path):
    for name in ("a", "b"):
        assert in_process("report", str(sweep), "-o", name)[0] == 0
    for path in sorted((tmp_path / "a").rglob("*.*")):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_settings_are_compared_seed_by_seed_where_they_share_episodes(made_up, tmp_path):
    made_up(tmp_path / "s", SIX[:2], range(6), means=[*range(6), *(x + 1 for x in range(6))])
    (one,) = study(tmp_path / "s")
    (pair,) = pairs.pairs_of(one)
    assert pair.paired
    assert pair.one - pair.other == pytest.approx(np.ones(6))
    made_up(tmp_path / "t", [[*SIX[0], "eval.episodes=64"], SIX[1]], range(6))
    (pair,) = pairs.pairs_of(study(tmp_path / "t")[0])
    assert not pair.paired


def test_what_is_not_told_apart_is_said_with_the_seeds_it_would_take(made_up, tmp_path):
    means = [0.0, 1, 2, 3, 4, 0.5, 0.5, 2.5, 2.5, 4.5]
    made_up(tmp_path / "s", SIX[:2], range(5), means=means)
    (table,) = tables(pairs.section(study(tmp_path / "s")))
    (row,) = table.raw.to_dict("records")
    assert row["p, Holm"] > 0.05
    assert row["verdict (needed seeds)"] > 5
    assert table.shown["verdict"][0].startswith("5 seeds can tell nothing apart, about ")


def test_below_five_seeds_there_are_words_in_the_place_of_an_interval(made_up, tmp_path):
    made_up(tmp_path / "s", SIX[:2], range(3))
    _, few, _, table, figure = scores.section(study(tmp_path / "s")).blocks
    assert "2 of 2 settings have fewer than 5 seeds, and no interval" in few
    assert "[" not in "".join(table.shown["IQM"])
    assert isinstance(figure, Figure)


def test_times_are_those_of_the_first_evaluation_that_reaches_the_target(made_up, tmp_path):
    made_up(tmp_path / "s", SIX[:1], range(2), means=[-300.0, -900.0])
    (one,) = study(tmp_path / "s")
    found = times.times_to(one.settings[0], Target(-500.0, ""))
    # -1500 + 1200 g / 60 >= -500 from generation 50 on; the other one ends at 60
    assert found.env_steps.tolist() == [50 * 25_600, 60 * 25_600]
    assert found.solved.tolist() == [True, False]


@pytest.mark.parametrize(
    ("words", "target", "why"),
    [
        (["task=pendulum"], -1500 + 0.9 * 1400, "no target was given"),
        (["task=pendulum", "stop.eval=-200"], -200, "stop.eval of all runs"),
        (["task=cartpole"], 475, "gymnasium"),
        (["task=cartpole", "task.episode_length=100"], -1500 + 0.9 * 1400, "no target was given"),
    ],
)
def test_the_target_is_one_that_somebody_has_said(made_up, tmp_path, words, target, why):
    shared = [*words, "generations=20", "eval.every=10"]
    made_up(tmp_path / "s", [[]], range(2), shared, means=[-100.0, -120.0])
    (one,) = study(tmp_path / "s")
    assert one.target.value == pytest.approx(target)
    assert why in one.target.why
    (own,) = studies(jobs_of([str(tmp_path / "s")]), {None: -7.0})
    assert own.target.value == -7


def test_swept_numbers_have_a_curve_each_and_a_map_for_two(made_up, tmp_path):
    settings = [
        [f"strategy.sigma={sigma}", f"strategy.population_size={size}", f"policy.hidden={hidden}"]
        for sigma in (0.1, 0.2)
        for size in (8, 16)
        for hidden in ("[4]", "[8]")
    ]
    made_up(tmp_path / "s", settings, range(2))
    (one,) = study(tmp_path / "s")
    (family,) = sensitivity.families(one, {})
    assert family.numbers == ["strategy.population_size", "strategy.sigma"]
    assert len(family.scores({"strategy.sigma": 0.1, "strategy.population_size": 8})) == 4
    found = sensitivity.section([one]).blocks
    assert [x.name for x in found if isinstance(x, Figure)] == [
        "sensitivity-pendulum-strategy_population_size",
        "sensitivity-pendulum-strategy_sigma",
        "map-pendulum-cma_es-strategy_population_size-strategy_sigma",
    ]
    assert "8 settings tried, 16 of 16 runs done" in found[0]


def test_tasks_are_told_apart_and_settings_compared_over_all_of_them(made_up, tmp_path):
    settings = [
        [f"task={task}", f"strategy={name}"]
        for task in ("pendulum", "acrobot")
        for name in ("cma_es", "openai_es")
    ]
    means = [-100.0] * 5 + [-1500.0] * 5 + [-500.0] * 5 + [-1000.0] * 5
    made_up(tmp_path / "s", settings, range(5), ["generations=20", "eval.every=10"], means)
    _, table = tables(scores.section(study(tmp_path / "s")))
    assert table.name == "all_tasks"
    assert table.raw["setting"].tolist() == ["strategy=cma_es", "strategy=openai_es"]
    assert table.raw["IQM"].tolist() == pytest.approx([1.0, 0.25])
    assert table.raw["IQM low"].tolist() == pytest.approx([1.0, 0.25])  # stratified: by task


def test_another_problem_is_another_task(made_up, tmp_path):
    settings = [
        ["task=rosenbrock", f"task.dimension={n}", f"strategy={name}"]
        for n in (2, 5)
        for name in ("cma_es", "openai_es")
    ]
    made_up(tmp_path / "s", settings, range(2), ["generations=20"])
    found = study(tmp_path / "s")
    assert [one.task for one in found] == ["rosenbrock dimension=2", "rosenbrock dimension=5"]
    assert [len(one.settings) for one in found] == [2, 2]
    assert len([pair for one in found for pair in pairs.pairs_of(one)]) == 2
    (own, _) = studies(jobs_of([str(tmp_path / "s")]), {"rosenbrock dimension=2": -3.0})
    assert own.target.value == -3
    words = protocol.section(found).blocks
    assert "Of a function, the held-out mean is its value" in words[1]
    made_up(tmp_path / "t", [["task.episodes=2"], ["task.episodes=4"]], range(2))
    assert len(study(tmp_path / "t")[0].settings) == 2


def test_a_run_that_failed_has_solved_nothing_and_is_charged_to_its_end(made_up, tmp_path):
    shared = ["task=pendulum", "generations=59", "eval.every=50"]
    jobs = made_up(tmp_path / "s", SIX[:1], range(4), shared, means=[-100.0] * 4)
    for job in jobs[:3]:
        lines = (job / "metrics.jsonl").read_text().splitlines(keepends=True)
        (job / "metrics.jsonl").write_text("".join(lines[:55]))  # the 50th is the last evaluated
        change(job, status="failed", eval=None, stop_reason="MemoryError")
    (jobs[2] / "metrics.jsonl").unlink()
    (one,) = study(tmp_path / "s")
    found = times.times_to(one.settings[0], Target(-400.0, ""))
    assert found.solved.tolist() == [False, False, False, True]
    assert found.env_steps.tolist() == [55 * 25_600, 55 * 25_600, 0, 50 * 25_600]
    (table,) = tables(scores.section([one]))
    assert table.shown["seeds"].tolist() == ["1 of 4, 3 failed"]
    assert table.raw["solved"].tolist() == [0.25]
    assert "3 runs of 1 setting failed" in scores.section([one]).blocks[1]


def test_settings_whose_labels_are_cut_stay_apart(made_up, tmp_path):
    settings = [[f"policy.hidden=[{'64,' * 9}{last}]"] for last in (8, 16)]
    made_up(tmp_path / "s", settings, range(5))
    made_up(tmp_path / "t", settings, range(5), ["task=acrobot", "generations=20"])
    found = studies(jobs_of([str(tmp_path / "s"), str(tmp_path / "t")]), {})
    for one in found:
        assert len({x.label for x in one.settings}) == 2
    _, over = tables(scores.section(found))
    assert len(over.raw) == 2
    assert {x.rpartition(",")[2] for x in over.raw["setting"]} == {"8]", "16]"}


def test_seeds_are_paired_where_nearly_all_are_shared(made_up, tmp_path):
    for seeds, paired in ((range(1, 11), True), (range(5, 15), False)):
        folder = tmp_path / str(paired)
        made_up(folder / "a", SIX[:1], range(10))
        made_up(folder / "b", SIX[1:2], seeds)
        (one,) = studies(jobs_of([str(folder / "a"), str(folder / "b")]), {})
        (pair,) = pairs.pairs_of(one)
        assert pair.paired == paired
        assert len(pair.one) == (9 if paired else 10)


def test_of_jobs_that_compute_the_same_the_one_that_got_farthest_counts(made_up, tmp_path):
    for name in "ab":
        made_up(tmp_path / name, SIX[:1], range(2))
    change(tmp_path / "a" / "0", status="failed")
    shutil.rmtree(tmp_path / "b" / "0")
    for order in ("ab", "ba"):
        found = jobs_of([str(tmp_path / name) for name in order])
        assert sorted(job.status for job in found.jobs) == ["done", "failed"]


def test_budgets_tell_settings_apart(made_up, tmp_path):
    made_up(tmp_path / "s", [["generations=20"], ["generations=40"]], range(2))
    assert sorted(x.label for x in study(tmp_path / "s")[0].settings) == [
        "generations=20", "generations=40",
    ]  # fmt: skip


def test_a_setting_looks_the_same_on_every_task_and_ties_go_to_the_worst_seed(made_up, tmp_path):
    settings = [
        [f"task={task}", f"strategy={name}"]
        for task in ("pendulum", "acrobot")
        for name in ("cma_es", "openai_es")
    ]
    iqm_of_both = [-90.0, -50.0, -50.0, -50.0, -10.0], [-60.0, -50.0, -50.0, -50.0, -40.0]
    means = [*iqm_of_both[0], *iqm_of_both[1], *iqm_of_both[1], *iqm_of_both[0]]
    made_up(tmp_path / "s", settings, range(5), ["generations=20", "eval.every=10"], means)
    one, other = ({x.label: x.look for x in found.settings} for found in study(tmp_path / "s"))
    assert one == other
    assert [*one] == ["strategy=openai_es", "strategy=cma_es"]
    assert [*other] == ["strategy=cma_es", "strategy=openai_es"]


def test_keys_of_other_sections_are_told_in_full(made_up, tmp_path):
    made_up(tmp_path / "s", [["eval.episodes=8"], ["eval.episodes=16"]], range(2))
    assert {x.label for x in study(tmp_path / "s")[0].settings} == {
        "eval.episodes=8", "eval.episodes=16",
    }  # fmt: skip


def test_what_computes_the_same_counts_once(made_up, tmp_path):
    for name in "ab":
        made_up(tmp_path / name, SIX[:1], range(3))
    change(tmp_path / "a" / "0", status="interrupted")
    found = jobs_of([str(tmp_path / "a"), str(tmp_path / "b")])
    assert (len(found.jobs), found.twice) == (3, 3)
    assert {job.status for job in found.jobs} == {"done"}


# ---- files that anybody may have changed ---------------------------------------------------------


def no_summary(job):
    (job / "summary.json").unlink()
    return "unfinished"


def no_folder(job):
    shutil.rmtree(job)
    return "missing"


def torn_record(job):
    (job / "run.json").write_text('{"config": ')
    return "unreadable"


def odd_record(job):
    (job / "run.json").write_text("[1, 2]")
    return "missing"


def torn_summary(job):
    (job / "summary.json").write_bytes(b"\xff\xfe")
    return "unreadable"


def no_score(job):
    change(job, eval={"mean": None})
    return "done"


def huge_score(job):
    change(job, eval={"mean": 10**400, "episodes": "many"}, env_steps=[1], num_params=True)
    return "done"


def odd_status(job):
    change(job, status=["x"], stop_reason={"a": "\x1b[31m<b>"}, eval=[1])
    return "['x']"


def no_metrics(job):
    (job / "metrics.jsonl").unlink()
    change(job, status="failed")
    return "failed"


def link_for_metrics(job):
    path = job / "metrics.jsonl"
    path.unlink()
    path.symlink_to("/dev/zero")
    change(job, status="interrupted", stop_reason="SIGTERM")
    return "interrupted"


@pytest.mark.parametrize(
    "damage",
    [
        no_summary, no_folder, torn_record, odd_record, torn_summary, no_score, huge_score,
        odd_status, no_metrics, link_for_metrics,
    ],
)  # fmt: skip
def test_one_bad_job_is_named_and_the_others_are_reported(made_up, tmp_path, damage):
    job, *_ = made_up(tmp_path / "s", SIX[:1], range(3))
    status = damage(job)
    found = jobs_of([str(tmp_path / "s")])
    (table,) = tables(provenance.missing(studies(found, {}), found))
    assert table.shown["status"].tolist() == [status]
    assert table.shown["job"][0].endswith("s/0")
    assert len(study(tmp_path / "s")[0].settings[0].scores) == 2


HUGE = 10**400
ODD = {
    "generations": [HUGE, "many", None], "seed": [[0], HUGE, "x"],
    "stop": [{"eval": HUGE}, [1], {"eval": float("nan")}],
    "strategy": [{"sigma": HUGE}, {"sigma": float("nan")}, None],
    "task": [{"env": ["a"]}, {"env": "CartPole-v1", "episode_length": [1]}, "x"],
    "eval": [{"episodes": HUGE}, 3, None],
}  # fmt: skip


@pytest.mark.filterwarnings("error")
def test_odd_values_of_a_configuration_are_text(made_up, tmp_path, in_process):
    for key, values in ODD.items():
        jobs = made_up(tmp_path / key, SIX[:2], range(len(values)))
        for job, value in zip(jobs, [*values, *values], strict=True):
            record = json.loads((job / "run.json").read_text())
            record["config"][key] = value
            (job / "run.json").write_text(json.dumps(record))
        assert in_process("report", key)[::2] == (0, ""), key
        shutil.rmtree(tmp_path / key)


def test_odd_scores_draw_no_warning(made_up, tmp_path, in_process):
    means = [1e-320, -1e-320, 1e99, -1e99, 1e-12, 0.0] * 2
    for number in range(3):
        own = [*means[number:], *means[:number]]
        made_up(tmp_path / str(number), SIX, range(2), means=own)
        assert in_process("report", str(number))[::2] == (0, "")


def test_long_texts_leave_the_page_short(made_up, tmp_path, in_process):
    long = "x" * 500_000
    (job,) = made_up(tmp_path / "s", SIX[:1], [0])
    record = json.loads((job / "run.json").read_text())
    record["versions"]["python"] = long
    record["devices"] = [long, "cpu:0 " + long]
    record["choices"] = {"task": long, "strategy": long, "policy": long}
    (job / "run.json").write_text(json.dumps(record))
    change(job, status="failed", stop_reason=long)
    sweep = json.loads((tmp_path / "s" / "sweep.json").read_text()) | {"command": [long]}
    (tmp_path / "s" / "sweep.json").write_text(json.dumps(sweep))
    assert in_process("report", "s")[0] == 0
    assert (tmp_path / "s" / "report" / "index.html").stat().st_size < 100_000


def test_what_the_page_has_no_room_for_is_said(made_up, tmp_path, in_process, monkeypatch):
    monkeypatch.setattr("esrun.results.report.page.ROOM", 50_000)
    made_up(tmp_path / "s", SIX[:1], range(2))
    assert in_process("report", "s")[0] == 0
    text = (tmp_path / "s" / "report" / "index.html").read_text()
    assert "has no more room for this picture" in text
    assert len(text) < 70_000


def test_latex_has_commands_for_what_it_does_not_know(sweep, in_process):
    assert in_process("report", str(sweep))[0] == 0
    for path in (sweep / "report" / "tables").glob("*.tex"):
        text = path.read_text()
        assert "needs \\usepackage{booktabs}" in text.splitlines()[0]
        assert text.isascii(), path
        assert "\\\\infty" not in text
        columns = text.partition("tabular}{")[2].partition("}")[0]
        for line in text.splitlines():
            if line.endswith("\\\\"):
                assert line.replace("\\&", "").count("&") == len(columns) - 1


def test_nothing_in_a_file_becomes_markup(made_up, tmp_path, in_process):
    hostile = "<img src=x onerror=alert(1)>$\\mathbf{x"
    (job,) = made_up(tmp_path / "s", [[]], [0])
    record = json.loads((job / "run.json").read_text())
    record["choices"] = {"task": hostile, "strategy": hostile, "policy": "\x1b[31m"}
    record["versions"] |= {hostile: hostile}
    (job / "run.json").write_text(json.dumps(record))
    sweep = json.loads((tmp_path / "s" / "sweep.json").read_text()) | {"command": [hostile]}
    (tmp_path / "s" / "sweep.json").write_text(json.dumps(sweep))
    assert in_process("report", "s")[0] == 0
    page = (tmp_path / "s" / "report" / "index.html").read_text()
    assert "<img src=x" not in page
    assert "\x1b" not in page


def test_runs_that_learned_nothing_are_reported_too(made_up, tmp_path, in_process):
    made_up(tmp_path / "s", SIX, range(2), means=[-1500.0] * 12)
    assert in_process("report", "s")[0] == 0
    shutil.rmtree(tmp_path / "s" / "report")
    for job in range(12):
        change(tmp_path / "s" / str(job), status="failed")
    assert in_process("report", "s")[0] == 0


# ---- where it goes -------------------------------------------------------------------------------


def test_a_report_is_replaced_and_nothing_else_is(made_up, tmp_path, in_process):
    made_up(tmp_path / "s", SIX[:2], range(2))
    assert in_process("report", "s")[0] == 0
    made_up(tmp_path / "s", SIX[:3], range(2))
    assert in_process("report", "s")[0] == 0
    assert len(pd.read_csv(tmp_path / "s" / "report" / "tables" / "scores.csv")) == 3
    made_up(tmp_path / "other", [["task=acrobot"]], range(2))
    code, _, err = in_process("report", "other", "-o", "s/report")
    assert code == 2
    assert "is of an earlier report and not of this one" in err
    assert len(pd.read_csv(tmp_path / "s" / "report" / "tables" / "scores.csv")) == 3


def kept(folder):
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")


def a_page(folder):
    folder.mkdir()
    (folder / "index.html").write_text("<html>mine")


def a_link(folder):
    folder.mkdir()
    (folder / "index.html").symlink_to("/etc/passwd")


def a_note(folder):
    folder.mkdir()
    (folder / "index.html").write_text("<p>What does <!-- esrun report mean?")


@pytest.mark.parametrize(
    "make", [kept, a_page, a_note, a_link, lambda folder: folder.write_text("mine")]
)
def test_what_is_no_report_stays(made_up, tmp_path, in_process, make):
    made_up(tmp_path / "s", SIX[:1], range(2))
    make(tmp_path / "mine")
    before = sorted(os.walk(tmp_path / "mine"))
    code, _, err = in_process("report", "s", "-o", "mine")
    assert code == 2
    assert err.count("\n") == 1
    assert "write another -o DIR" in err
    assert sorted(os.walk(tmp_path / "mine")) == before


def test_a_link_in_a_reports_folder_is_not_followed(made_up, tmp_path, in_process):
    made_up(tmp_path / "s", SIX[:1], range(2))
    (tmp_path / "victim").mkdir()
    (tmp_path / "s" / "report").mkdir()
    (tmp_path / "s" / "report" / "tables").symlink_to(tmp_path / "victim")
    code, _, err = in_process("report", "s")
    assert code == 2
    assert err.count("\n") == 1
    assert list((tmp_path / "victim").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "report needs a sweep: write esrun report multirun/DATE/TIME, or latest"),
        (["nowhere"], "nowhere is neither the folder of a sweep nor of a run"),
        (["latest"], "latest is the newest run below outputs/ and multirun/, and there is none"),
        (["s", "--target", "x"], "--target must be a number, or TASK=NUMBER, got x"),
        (["s", "--target", "nan"], "--target must be a number"),
        (["s", "--target=1", "--target=2"], "--target is given twice: write one"),
        (["s", "--target", "acrobot=3"], "--target is of a task acrobot: there are pendulum"),
        (["s", "-o", "a/b"], "a is no folder: make it first, or write another -o DIR"),
        (["s", "--json"], "--json is not a flag"),
        (["empty"], "no job is known in empty"),
    ],
)
def test_wrong_words_are_one_line(made_up, tmp_path, in_process, words, line):
    made_up(tmp_path / "s", SIX[:1], range(2))
    made_up(tmp_path / "empty", [], [])
    code, _, err = in_process("report", *words)
    assert code == 2
    assert err.count("\n") == 1
    assert line in err


def test_latest_is_the_sweep_of_the_newest_run(made_up, tmp_path, in_process):
    made_up(tmp_path / "multirun" / "2026-01-01" / "10-00-00", SIX[:1], range(2))
    assert in_process("report", "latest")[0] == 0
    assert (tmp_path / "multirun/2026-01-01/10-00-00/report/index.html").is_file()


def test_a_single_run_has_a_report_too(made_up, tmp_path, in_process):
    made_up(tmp_path / "s", SIX[:1], [0])
    assert in_process("report", "s/0")[0] == 0
    assert (tmp_path / "s/0/report/index.html").is_file()


@pytest.mark.slow
def test_five_thousand_runs_take_seconds(made_up, tmp_path):
    settings = script("bench/report.py").SETTINGS
    made_up(tmp_path / "s", settings, range(100))
    words = [sys.executable, "-m", "esrun", "report", str(tmp_path / "s")]
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=50)
    assert done.stderr == ""
    assert (tmp_path / "s" / "report" / "index.html").stat().st_size < 2e6


# ---- in a browser --------------------------------------------------------------------------------

OVERLAPS = """() => {
  const boxes = [...document.querySelectorAll("h1,h2,p,nav,pre,.table,figure")]
    .map(e => [e.tagName + " " + e.innerText.slice(0, 40), e.getBoundingClientRect()]);
  const found = [];
  for (const [i, [a, x]] of boxes.entries())
    for (const [b, y] of boxes.slice(i + 1))
      if (x.left < y.right - 1 && y.left < x.right - 1 &&
          x.top < y.bottom - 1 && y.top < x.bottom - 1)
        found.push([a, b]);
  return found;
}"""


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_shows_it(sweep, in_process, chromium, width):
    assert in_process("report", str(sweep))[0] == 0
    page = chromium.new_page(viewport={"width": width, "height": 900})
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text))
    page.goto((sweep / "report" / "index.html").as_uri())
    assert errors == []
    assert all(url.startswith(("file:", "data:")) for url in asked)
    drawn = page.evaluate("[...document.images].map(x => x.complete && x.naturalWidth > 0)")
    assert len(drawn) == 6
    assert all(drawn)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OVERLAPS) == []
    titles = page.evaluate("[...document.querySelectorAll('h2')].map(x => x.innerText)")
    assert titles == SECTIONS
