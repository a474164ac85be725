"""`esrun plot`: what is read of runs, which of them belong together, and that pictures can be
read."""

import itertools
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import quickly

from esrun.errors import ConfigError
from esrun.results import charts
from esrun.results.canvas import canvas
from esrun.results.curves import POINTS, Curve, beyond, curves_of, middle, thinned
from esrun.results.groups import grouped, run_of, seeds
from esrun.runs.lines import LEFT_OUT_LIMIT, columns
from esrun.runs.paths import RunFolder
from esrun.runs.record import read_record

OLD = Path(__file__).parent / "data" / "run_of_031d504"


def made(folder, *, generations=30, seed=0, task="pendulum", strategy="cma_es", lines=None, **keys):
    """-> a run folder as training leaves it, with figures that are easy to tell; `keys` are the
    strategy's."""
    folder.mkdir(parents=True)
    config = {
        "task": {"name": task}, "strategy": {"name": strategy, "sigma": 0.3} | keys,
        "policy": {"name": "mlp"}, "seed": seed, "generations": generations,
        "eval": {"every": 10, "episodes": 4},
    }  # fmt: skip
    choices = {"task": task, "strategy": strategy, "policy": "mlp"}
    about = {"config": config, "choices": choices, "versions": {"esrun": "0.1.0"}, "format": 2}
    (folder / "run.json").write_text(json.dumps(about))
    rows = [
        {
            "generation": g, "env_steps": 100 * g, "wall_seconds": g / 10,
            "fitness_best": -1e3 / g, "fitness_mean": -2e3 / g, "top_k_mean": -9e2 / g,
            "sigma": 0.3 / g, "mean_abs_sum": 10.0 + g, "eval_mean": None,
        } | ({"eval_mean": -1.5e3 / g, "eval_std": 20.0} if g % 10 == 0 else {})
        for g in range(1, generations + 1)
    ]  # fmt: skip
    lines = [json.dumps(row) for row in rows] if lines is None else lines(rows)
    (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return folder


def run(folder):
    return run_of(RunFolder(folder), read_record(folder))


def chart(folders, axis="generations"):
    runs = [run(folder) for folder in folders]
    curves = {one.folder: curves_of(one, axis)[0] for one in runs}
    groups = [(group, [curves[x.folder] for x in group.runs]) for group in grouped(runs)]
    return charts.Chart("pendulum", "pendulum", groups)


def test_figures_are_read_in_order_and_what_is_none_is_none(tmp_path):
    rows = [
        {"generation": 3, "wall_seconds": 1, "a": 3.0, "b": None},
        {"generation": 1, "wall_seconds": 1, "a": 10**400, "b": True},
        {"generation": 2, "wall_seconds": 1, "a": "x"},
        {"generation": 2, "wall_seconds": 1, "a": 7.0},
        {"generation": 10**20, "wall_seconds": 1},
    ]
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows) + '{"generation": 4, "wall')
    found = columns(path, ["a", "b"])
    assert found.generation.tolist() == [1, 2, 3]
    np.testing.assert_equal(found.figures["a"], [np.nan, np.nan, 3])
    np.testing.assert_equal(found.figures["b"], [np.nan] * 3)
    assert found.bad == [4, 5]


def test_what_never_ends_is_not_read_to_its_end(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("x\n" * (LEFT_OUT_LIMIT + 50))
    assert len(columns(path, ["a"]).bad) == LEFT_OUT_LIMIT
    with path.open("wb") as file:
        file.truncate(2**40)  # a hole, not bytes
    with pytest.raises(OSError, match="more than the"):
        columns(path, ["a"])
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(OSError, match="pipe"):
        columns(path, ["a"])


def test_seeds_are_one_group_and_what_differs_is_told(tmp_path):
    runs = [
        run(made(tmp_path / f"{sigma}-{seed}", sigma=sigma, seed=seed, generations=3 + seed))
        for sigma in (0.1, 0.2)
        for seed in (0, 1)
    ]
    assert [group.label for group in grouped(runs)] == [
        "sigma=0.1 (seeds 0, 1)", "sigma=0.2 (seeds 0, 1)"
    ]  # fmt: skip
    assert [group.label for group in grouped(runs[:2])] == ["seeds 0, 1"]


def test_options_are_told_by_name_and_their_own_keys_where_they_vary(tmp_path):
    runs = [
        run(made(tmp_path / "a")),
        run(made(tmp_path / "b", strategy="snes", sigma=0.5)),
        run(made(tmp_path / "c", strategy="snes", sigma=0.6, options={"b1": 1})),
        run(made(tmp_path / "d", strategy="snes", sigma=0.6, options={})),
    ]
    assert [group.differs for group in grouped(runs)] == [
        "strategy=cma_es",
        "strategy=snes sigma=0.5 b1=unset options=unset",
        "strategy=snes sigma=0.6 b1=1 options=unset",
        "strategy=snes sigma=0.6 b1=unset options={}",
    ]


@pytest.mark.parametrize(
    ("numbers", "said"),
    [([3], "seed 3"), ([1, 0], "seeds 0, 1"), (range(9), "seeds 0 to 8"),
     ([0, 2, 4, 6, 8], "5 seeds"), ([1, 1], "seed 1, 2 runs"), (["x", 1], "2 runs")],
)  # fmt: skip
def test_seeds_are_stated(tmp_path, numbers, said):
    assert seeds([run(made(tmp_path / str(i), seed=x)) for i, x in enumerate(numbers)]) == said


def test_curves_are_what_the_run_noted(tmp_path):
    folder = made(tmp_path / "run")
    (folder / "summary.json").write_text('{"eval_initial": {"mean": -1e4, "std": 10.0}}')
    curves, notes = curves_of(run(folder), "env_steps")
    assert notes == []
    np.testing.assert_array_equal(curves["sigma"].x, 100 * np.arange(1, 31))
    np.testing.assert_allclose(curves["sigma"].y, 0.3 / np.arange(1, 31))
    held_out = curves["eval_mean"]
    np.testing.assert_array_equal(held_out.x, [0, 1000, 2000, 3000])
    np.testing.assert_allclose(held_out.y, [-1e4, -150, -75, -50])
    np.testing.assert_allclose(held_out.high - held_out.y, 1.96 * np.array([5, 10, 10, 10]))
    np.testing.assert_allclose(held_out.y - held_out.low, held_out.high - held_out.y)


def test_what_cannot_be_drawn_is_left_out(tmp_path):
    def lines(rows):
        rows[2]["sigma"], rows[3]["sigma"], rows[4]["env_steps"] = 1e308, None, None
        return [json.dumps(row) for row in rows[:10]] + ["[1]", json.dumps(rows[10])]

    curves, notes = curves_of(run(made(tmp_path / "run", lines=lines)), "env_steps")
    np.testing.assert_array_equal(curves["sigma"].x, 100 * np.array([1, 2, 6, 7, 8, 9, 10, 11]))
    assert [note.split(": ", 1)[1] for note in notes] == [
        "left out what is no line of a generation: line 11",
        "env_steps is no number that can be drawn in 1 of 11 generations, which are left out",
        "sigma is no number that can be drawn in 2 of 11 generations, which are left out",
    ]


def test_the_middle_of_several_is_their_median_as_far_as_all_go():
    x = np.arange(5.0)
    runs = [Curve(x, x * k) for k in (0, 1, 4)] + [Curve(np.array([1.0, 3]), np.array([10.0, 30]))]
    found = middle(runs)
    np.testing.assert_array_equal(found.x, [1, 2, 3])
    np.testing.assert_allclose(found.y, [2.5, 5, 7.5])
    np.testing.assert_allclose(found.low, np.quantile([[0, 1, 4, 10]], 0.25) * found.x)
    np.testing.assert_allclose(found.high, np.quantile([[0, 1, 4, 10]], 0.75) * found.x)
    np.testing.assert_array_equal(beyond(runs[0], 3).x, [3, 4])
    assert len(middle([Curve(x, x), Curve(x + 9, x)]).x) == 0


def test_no_more_points_than_are_seen_and_both_ends_stay():
    x = np.arange(10.0 * POINTS)
    few = thinned(Curve(x, -x, x, x))
    assert len(few.x) == len(few.low) == POINTS
    assert (few.x[0], few.y[-1]) == (0, -x[-1])


SCENES = {
    "one run": lambda at: [made(at / "a")],
    "one generation": lambda at: [made(at / "a", generations=1)],
    "three seeds": lambda at: [made(at / str(i), seed=i, generations=30 - i) for i in range(3)],
    "twelve groups": lambda at: [
        made(at / str(i), sigma=i / 10, learning_rate=10.0**-i, generations=99) for i in range(12)
    ],
    "twelve with long names": lambda at: [
        made(at / str(i), strategy=f"_$a_strategy_of_somebody_else_{i}$", x="y" * i)
        for i in range(12)
    ],
    "twelve with seeds": lambda at: [
        made(at / str(i), sigma=i % 4 / 10, seed=i // 4, generations=10_000) for i in range(12)
    ],
}


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("axis", quickly(["generations", "env_steps"], "generations"))
def test_no_text_lies_over_another_one(tmp_path, monkeypatch, scene, axis):
    one, drawn = chart(SCENES[scene](tmp_path), axis), {}
    with canvas(*charts.size([one])) as figure:
        from matplotlib.text import Text

        charts.draw(figure, [one], axis)
        figure.draw_without_rendering()  # now everything is in its place
        monkeypatch.setattr(Text, "draw", lambda text, renderer: drawn.setdefault(id(text), text))
        figure.draw_without_rendering()
        whole = figure.bbox.padded(1)
        seen = [text for text in drawn.values() if text.get_visible() and text.get_text()]
        boxes = [(text.get_text(), text.get_window_extent()) for text in seen]
    assert len(boxes) > 15
    for text, box in boxes:
        assert whole.containsx(box.x0), text
        assert whole.containsx(box.x1), text
    boxes = [(text, box.padded(-1)) for text, box in boxes]
    over = [(a, b) for (a, x), (b, y) in itertools.combinations(boxes, 2) if x.overlaps(y)]
    assert over == []


def test_groups_differ_in_colour_or_line_and_more_than_can_be_told_are_refused(tmp_path):
    looks = {str(charts.look_of(i)) for i in range(charts.MOST)}
    assert len(looks) == charts.MOST >= 12
    many = [made(tmp_path / str(i), sigma=i, generations=1) for i in range(charts.MOST + 1)]
    with pytest.raises(ConfigError, match="at most 28 groups"):
        charts.picture([chart(many)], "generations", "png")


@pytest.mark.parametrize(
    ("kind", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_the_same_runs_are_the_same_bytes(tmp_path, in_process, kind, begins):
    made(tmp_path / "a")
    for name in ("one", "two"):
        code, said, complaint = in_process("plot", "a", "-o", f"{name}.{kind}")
        assert (code, said, complaint) == (0, f"picture: {name}.{kind}\n", "")
    one, two = ((tmp_path / f"{name}.{kind}").read_bytes() for name in ("one", "two"))
    assert one == two
    assert one.startswith(begins)


def test_a_picture_goes_beside_what_it_is_of(tmp_path, in_process):
    for name in "ab":
        made(tmp_path / name, seed=ord(name))
    assert in_process("plot", "a", "a", "--x", "seconds")[1] == "picture: a/plot.png\n"
    for _ in range(2):
        assert in_process("plot", "a", "b")[1] == "picture: plot.png\n"
    (tmp_path / "plot.png").write_bytes(b"somebody's own")
    code, said, complaint = in_process("plot", "a", "b")
    assert (code, said) == (2, "")
    assert (
        complaint
        == "esrun: plot.png is there and is no picture of esrun's: write another -o FILE\n"
    )
    assert (tmp_path / "plot.png").read_bytes() == b"somebody's own"


@pytest.mark.parametrize("name", ["notes.png", "notes.svg", "notes.pdf"])
def test_a_file_that_is_no_picture_is_not_replaced_whoever_names_it(tmp_path, in_process, name):
    made(tmp_path / "a")
    (tmp_path / name).write_bytes(b"weights, or a thesis")
    code, said, complaint = in_process("plot", "a", "-o", name)
    assert (code, said, complaint.count("\n")) == (2, "", 1)
    assert "is no picture: write another -o FILE" in complaint
    assert (tmp_path / name).read_bytes() == b"weights, or a thesis"
    (tmp_path / name).write_bytes(b"")
    for _ in range(2):  # an empty file, then a picture
        assert in_process("plot", "a", "-o", name)[0] == 0
    assert in_process("plot", "a", "-o", "")[0] == 2


def test_runs_of_other_tasks_have_axes_of_their_own(tmp_path, in_process):
    for i, task in enumerate("abcde"):
        made(tmp_path / task, task=task, seed=i, generations=2)
    sizes = {}
    for words in ("a", "ab", "abcd"):
        assert in_process("plot", *words, "-o", "x.png")[0] == 0
        sizes[words] = (tmp_path / "x.png").read_bytes()[20:24]
    assert len(set(sizes.values())) == 3  # each task makes it higher
    assert in_process("plot", *"abcde")[2] == (
        "esrun: runs of at most 4 tasks fit into a picture, got 5: a, b, c, d, e: name fewer runs\n"
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "plot needs a run: write esrun plot outputs/DATE/TIME, or latest"),
        (["a", "-o", "x.gif"], "-o must end in .png, .svg, .pdf, got x.gif: write -o x.png"),
        (["a", "-o", "no/x.png"], "no is no folder: make it first, or write another -o FILE"),
        (["empty"], "nothing to draw: empty has no generation yet"),
        (["bare"], "nothing to draw: bare has no metrics.jsonl yet"),
        (["a", "-o", "link.png"], "link.png cannot be replaced: link.png is a link, not a plain "
         "file: write another -o FILE"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_one_line(tmp_path, in_process, words, line):
    made(tmp_path / "a", generations=2)
    made(tmp_path / "empty", generations=0)
    (made(tmp_path / "bare") / "metrics.jsonl").unlink()
    (tmp_path / "link.png").symlink_to(tmp_path / "elsewhere")
    assert in_process("plot", *words) == (2, "", f"esrun: {line}\n")


def test_a_run_without_generations_is_named_and_left_out(tmp_path, in_process):
    made(tmp_path / "a")
    made(tmp_path / "empty", generations=0, seed=1)
    code, said, _ = in_process("plot", "a", "empty")
    assert (code, said) == (0, "empty has no generation yet\npicture: plot.png\n")


def test_a_folder_of_an_earlier_version_is_drawn(tmp_path, in_process):
    shutil.copytree(OLD, tmp_path / "old")
    assert in_process("plot", "old")[:2] == (0, "picture: old/plot.png\n")


def test_the_wheel_draws_without_jax_and_by_nobody_elses_settings(esrun, tmp_path):
    made(tmp_path / "a")
    os.mkfifo(tmp_path / "matplotlibrc")  # whoever opens it waits for ever
    code = (
        "import sys; from esrun.cli import main; code = main(sys.argv[1:]);"
        "print(sorted({'jax', 'matplotlib.pyplot', 'scipy'} & set(sys.modules))); sys.exit(code)"
    )
    done = esrun("plot", "a", code=code, MPLBACKEND="nonsense", HOME="/nonexistent", DISPLAY="")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "picture: a/plot.png\n[]\n"


def test_what_cannot_be_drawn_is_told(tmp_path, in_process):
    made(tmp_path / "a")
    path = tmp_path / "a" / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[1]["fitness_mean"], rows[2]["fitness_mean"] = "abc", 1.7e308
    for row in rows:
        row["env_steps"] = None
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, said, complaint = in_process("plot", "a", "--x", "env_steps")
    g = len(rows)
    assert code == (0 if said.endswith("picture: a/plot.png\n") else 2)
    assert f"env_steps is no number that can be drawn in {g} of {g} generations" in said + complaint
    assert f"fitness_mean is no number that can be drawn in 2 of {g}" in said + complaint
