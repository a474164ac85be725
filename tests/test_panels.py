"""`esrun plot --over`: which jobs a panel has, in which order, and what is said of the others."""

import itertools
import json
import shutil

import numpy as np
import pytest
from conftest import script

from esrun.errors import ConfigError
from esrun.results import panel_charts, panels
from esrun.results.canvas import canvas
from esrun.results.groups import by_problem
from esrun.results.report.jobs import jobs_of

SEEDS = range(3)
UNION = [
    *([f"policy.hidden=[{width}]"] for width in (160, 16, 48)),
    *([f"strategy.c_m={c_m}"] for c_m in (2.0, 0.5)),
    *(["policy.hidden=[160]", f"strategy.population_size={size}"] for size in (400, 200)),
]
"""Sweeps of one key each, around a centre that is one of the first; the last one around another."""
CENTRE = ("task=pendulum", "strategy=cma_es", "policy.hidden=[48]", "strategy.population_size=100")


def made_up(folder, settings, shared=CENTRE):
    """-> the folders of a sweep's jobs, as if they had run; a score tells its setting and seed."""
    means = [-(100 * i + seed) for i in range(len(settings)) for seed in SEEDS]
    words = [*shared, "generations=2", "eval.every=1"]
    return script("bench/report.py").made_up(folder, settings, SEEDS, words, means)


@pytest.fixture
def sweep(tmp_path):
    """-> (settings, more) -> the jobs of a sweep that looks as if it had run."""
    return lambda settings, shared=CENTRE, name="sweep": made_up(tmp_path / name, settings, shared)


@pytest.fixture(scope="module")
def union(tmp_path_factory):
    """-> the folder of a sweep that nobody changes."""
    folder = tmp_path_factory.mktemp("union")
    made_up(folder, UNION)
    return str(folder)


def change(folder, name, **keys):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def drawn(words, keys, score="eval"):
    """-> of each panel the values as text, and their scores."""
    found = panels.panels_of(jobs_of(words).jobs, keys, score)
    return [{point.text: point.scores.tolist() for point in panel.points} for panel in found]


def scores(setting):
    return [-(100.0 * setting + seed) for seed in SEEDS]


def test_a_panel_has_the_jobs_that_differ_in_its_key_alone(union):
    keys = ["policy.hidden", "strategy.c_m", "strategy.population_size"]
    width, rate, size = drawn([union], keys)
    assert list(width.items()) == [("[16]", scores(1)), ("[48]", scores(2)), ("[160]", scores(0))]
    assert list(rate.items()) == [("0.5", scores(4)), ("1.0", scores(2)), ("2.0", scores(3))]
    assert list(size.items()) == [("100", scores(0)), ("200", scores(6)), ("400", scores(5))]
    found = panels.panels_of(jobs_of([union]).jobs, keys, "eval")
    assert [panel.others for panel in found] == [
        ["population_size=100", "c_m=1.0"],
        ["hidden=[48]", "population_size=100"],
        ["hidden=[160]", "c_m=1.0"],
    ]


def test_several_sweeps_are_one_and_the_same_job_counts_once(sweep, tmp_path):
    for name, settings in (("one", UNION[:3]), ("two", UNION[2:5])):
        sweep(settings, name=name)
    words = [str(tmp_path / name) for name in ("one", "two")]
    width, rate = drawn(words, ["policy.hidden", "strategy.c_m"])
    assert width["[48]"] == rate["1.0"] == scores(2)
    assert (len(width), len(rate)) == (3, 3)


def test_of_every_combination_one_line_is_drawn_and_the_others_are_counted(sweep, tmp_path):
    grid = [[f"strategy.sigma={x}", f"strategy.c_m={y}"] for x in (0.1, 0.2) for y in (1, 2, 3)]
    sweep(grid[:-1])
    jobs = jobs_of([str(tmp_path / "sweep")]).jobs
    found = panels.panels_of(jobs, ["strategy.c_m"], "eval")
    assert found[0].others == ["sigma=0.1"]
    assert [point.scores.tolist() for point in found[0].points] == [scores(i) for i in range(3)]
    assert panels.left_out(jobs, found, "eval") == [
        "6 of 15 jobs differ in more than one of these keys, or in others: left out"
    ]


@pytest.mark.parametrize(
    ("key", "values", "texts", "is_ordered", "is_number"),
    [
        ("strategy.population_size", ["64", "8", "16"], ["8", "16", "64"], True, True),
        ("strategy.c_m", ["1", "1.5", "0.1"], ["0.1", "1", "1.5"], True, True),
        ("policy.hidden", ["[8,8]", "[16]", "[8]"], ["[8]", "[8,8]", "[16]"], True, False),
        ("strategy.parents", ["9", "null", "3"], ["3", "9", "null"], False, False),
        ("policy.activation", ["tanh", "relu"], ["tanh", "relu"], False, False),
        ("strategy.active", ["true", "false"], ["true", "false"], False, False),
    ],
)
def test_values_stand_in_order(sweep, tmp_path, key, values, texts, is_ordered, is_number):
    sweep([[f"{key}={value}"] for value in values])
    (found,) = panels.panels_of(jobs_of([str(tmp_path / "sweep")]).jobs, [key], "eval")
    assert [point.text for point in found.points] == texts
    assert found.is_ordered is is_ordered
    assert (found.numbers is not None) is is_number
    by_text = {point.text: point.scores.tolist() for point in found.points}
    for i, value in enumerate(values):
        assert by_text[value] == scores(i)


def test_a_key_that_some_runs_lack_is_unset_there(sweep, tmp_path):
    jobs = sweep([["strategy.sigma=0.3"], ["strategy.sigma=0.5"]])
    for folder in jobs[3:]:
        config = json.loads((folder / "run.json").read_text())["config"]
        del config["strategy"]["sigma"]
        change(folder, "run.json", config=config)
    assert drawn([str(tmp_path / "sweep")], ["strategy.sigma"]) == [
        {"0.3": scores(0), "unset": scores(1)}
    ]


def test_a_whole_number_and_the_same_with_a_point_are_one_value(sweep, tmp_path):
    jobs = sweep([["strategy.c_m=1.0"], ["strategy.c_m=2.0"]])
    config = json.loads((jobs[0] / "run.json").read_text())["config"]
    config["strategy"]["c_m"] = 1
    change(jobs[0], "run.json", config=config)
    (found,) = drawn([str(tmp_path / "sweep")], ["strategy.c_m"])
    assert list(found.values()) == [scores(0), scores(1)]


def test_the_best_members_fitness_is_another_score(sweep, tmp_path):
    jobs = sweep([["strategy.c_m=0.5"], ["strategy.c_m=2.0"]])
    for i, folder in enumerate(jobs):
        change(folder, "summary.json", best_fitness=float(i))
    change(jobs[5], "summary.json", status="failed")
    assert drawn([str(tmp_path / "sweep")], ["strategy.c_m"], "best_fitness") == [
        {"0.5": [0, 1, 2], "2.0": [3, 4]}
    ]


def test_jobs_that_are_not_done_are_told_by_name(sweep, tmp_path, in_process):
    jobs = sweep([["strategy.c_m=0.5"], ["strategy.c_m=2.0"]])
    change(jobs[1], "summary.json", status="failed", stop_reason="non_finite_fitness")
    (jobs[2] / "summary.json").unlink()
    shutil.rmtree(jobs[3])
    (jobs[4] / "summary.json").write_text("{")
    code, said, complaint = in_process("plot", "sweep", "--over", "strategy.c_m", "-o", "x.svg")
    assert (code, complaint) == (0, "")
    assert said.splitlines() == [
        "sweep/1 has no score, and is left out: failed, non_finite_fitness",
        "sweep/2 has no score, and is left out: unfinished",
        "sweep/3 has no score, and is left out: missing",
        "without a score and left out besides: 1",
        "picture: x.svg",
    ]
    assert drawn([str(tmp_path / "sweep")], ["strategy.c_m"]) == [
        {"0.5": scores(0)[:1], "2.0": [-102.0]}
    ]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--over", "policy.hiden"],
         "got policy.hiden: no job has it (did you mean policy.hidden?); what varies is "
         "policy.hidden, strategy.population_size, strategy.c_m"),
        (["--over", ""], "--over needs a key of the runs: write --over KEY"),
        (["--over", " , "], "--over needs a key of the runs: write --over KEY"),
        (["--over", "strategy"], "got strategy: it is a section; what varies is"),
        (["--over", "strategy.sigma"], "strategy.sigma: it is 0.3 in all jobs; what varies"),
        (["--over", "policy.hidden", "--x", "seconds"], "and --over draws none: leave --x"),
        (["--y", "best_fitness"], "--y needs --over: write --over KEY --y best_fitness"),
        (["--over", "policy.hidden", "-o", "x.gif"], "-o must end in .png, .svg, .pdf, got x.gif"),
        (["--over", "policy.hidden", "--y", "best_fitness"], "nothing to draw: no job of these"),
    ],
)  # fmt: skip
def test_wrong_words_are_one_line(union, in_process, words, line):
    code, said, complaint = in_process("plot", union, *words)
    assert (code, said, complaint.count("\n")) == (2, "", 1)
    assert line in complaint


def test_a_key_that_never_differs_alone_is_refused(sweep, tmp_path):
    sweep([["strategy.c_m=1", "strategy.sigma=0.1"], ["strategy.c_m=2", "strategy.sigma=0.2"]])
    with pytest.raises(ConfigError, match="c_m: no two jobs differ in it alone"):
        drawn([str(tmp_path / "sweep")], ["strategy.c_m"])


def test_how_often_a_run_is_scored_is_no_difference_unless_a_score_ends_it(sweep, tmp_path):
    settings = [["strategy.c_m=1", "eval.every=1"], ["strategy.c_m=2", "eval.every=2"]]
    sweep(settings)
    assert list(drawn([str(tmp_path / "sweep")], ["strategy.c_m"])[0]) == ["1", "2"]
    sweep([[*words, "stop.eval=0"] for words in settings], name="ended")
    with pytest.raises(ConfigError, match="c_m: no two jobs differ in it alone"):
        drawn([str(tmp_path / "ended")], ["strategy.c_m"])


def test_scores_of_other_tasks_share_no_axis(sweep, tmp_path):
    sweep([["strategy.c_m=1"], ["strategy.c_m=2"]], name="one")
    sweep([["strategy.c_m=1", "strategy.sigma=0.1"], ["strategy.c_m=1", "strategy.sigma=0.2"]],
          ("task=cartpole", "strategy=cma_es"), "two")  # fmt: skip
    words = [str(tmp_path / name) for name in ("one", "two")]
    with pytest.raises(ConfigError, match=r"of one task, .* got pendulum, cartpole"):
        drawn(words, ["strategy.c_m", "strategy.sigma"])


@pytest.mark.parametrize(
    ("task", "key", "values"),
    [("digits", "task.fitness", ("cross_entropy", "accuracy")),
     ("sine", "task.reward", ("negative_error", "inverse_square"))],
)  # fmt: skip
def test_scores_of_other_measures_share_no_axis(sweep, tmp_path, in_process, task, key, values):
    sweep([[f"{key}={x}"] for x in values], (f"task={task}", "strategy=openai_es"))
    with pytest.raises(ConfigError, match=f"of one measure, and {key} says which, got 2"):
        drawn([str(tmp_path / "sweep")], [key])
    jobs = [job.run for job in jobs_of([str(tmp_path / "sweep")]).jobs]
    short = key.removeprefix("task.")
    assert [*by_problem(jobs)] == [f"{task} {short}={x}" for x in values]  # curves, a report


def test_seeds_are_no_quantity_and_whole_numbers_have_whole_ticks(sweep, tmp_path):
    sweep([["strategy.c_m=1"]])
    found = panels.panels_of(jobs_of([str(tmp_path / "sweep")]).jobs, ["seed"], "eval")
    with canvas(*panel_charts.size(found)) as figure:
        panel_charts.draw(figure, found, "eval")
        (ax,) = figure.axes
        assert {line.get_linestyle() for line in ax.lines} == {"None"}
        assert all(tick == round(tick) for tick in ax.get_xticks())


def test_equal_steps_are_one_sweep_over_the_population(sweep, tmp_path):
    sizes = (64, 16, 32)
    sweep([[f"strategy.population_size={x}", "stop.env_steps=1000"] for x in sizes])
    (found,) = drawn([str(tmp_path / "sweep")], ["strategy.population_size"])
    assert list(found) == ["16", "32", "64"]


def test_no_text_lies_over_another_one(sweep, tmp_path, monkeypatch):
    sweep([
        *UNION,
        *([f"policy.activation={x}"] for x in ("relu", "gelu", "softplus")),
        *([f"policy.hidden={[8] * i}"] for i in range(5, 8)),
        *([f"strategy.population_size={16 ** i}"] for i in range(2, 5)),
    ])  # fmt: skip
    keys = ["policy.hidden", "policy.activation", "strategy.c_m", "strategy.population_size"]
    found, texts = panels.panels_of(jobs_of([str(tmp_path / "sweep")]).jobs, keys, "eval"), {}
    with canvas(*panel_charts.size(found)) as figure:
        from matplotlib.text import Text

        panel_charts.draw(figure, found, "eval")
        figure.draw_without_rendering()
        monkeypatch.setattr(Text, "draw", lambda text, renderer: texts.setdefault(id(text), text))
        figure.draw_without_rendering()
        seen = [text for text in texts.values() if text.get_visible() and text.get_text()]
        boxes = [(text.get_text(), text.get_window_extent().padded(-1)) for text in seen]
        whole = figure.bbox.padded(2)
    assert len(boxes) > 25
    assert [text for text, box in boxes if not whole.containsx(box.x1)] == []
    over = [(a, b) for (a, x), (b, y) in itertools.combinations(boxes, 2) if x.overlaps(y)]
    assert over == []


def test_the_median_and_the_quartiles_are_where_numpy_has_them(sweep, tmp_path):
    sweep([["strategy.c_m=0.5"], ["strategy.c_m=2.0"]])
    (found,) = panels.panels_of(jobs_of([str(tmp_path / "sweep")]).jobs, ["strategy.c_m"], "eval")
    with canvas(4, 3) as figure:
        panel_charts.draw(figure, [found], "eval")
        (ax,) = figure.axes
        middle, dots = ax.lines
        bars = ax.collections[0].get_segments()
    np.testing.assert_allclose(middle.get_xydata(), [[0.5, -1], [2, -101]])
    np.testing.assert_allclose(bars, [[[0.5, -1.5], [0.5, -0.5]], [[2, -101.5], [2, -100.5]]])
    np.testing.assert_allclose(sorted(dots.get_ydata()), sorted(scores(0) + scores(1)))


def test_more_panels_than_fit_are_refused(union):
    found = panels.panels_of(jobs_of([union]).jobs, ["policy.hidden"], "eval")
    with pytest.raises(ConfigError, match="at most 12 panels fit into a picture, got 13"):
        panel_charts.picture(found * 13, "eval", "png")


def test_the_same_jobs_are_the_same_bytes(union, tmp_path, in_process):
    for name in ("one.png", "two.png"):
        assert in_process("plot", union, "--over", "policy.hidden", "-o", name)[0] == 0
    one, two = ((tmp_path / name).read_bytes() for name in ("one.png", "two.png"))
    assert one == two
    assert one.startswith(b"\x89PNG")
