"""The scripts beside the command."""

import gzip
import importlib
import json
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import script

from esrun.training.loop import advance_until

SCRIPTS = Path(__file__).parent.parent / "scripts"


@pytest.mark.commands
def test_the_queue_runs_one_command_a_gpu_and_returns_the_worst_code(tmp_path):
    commands = tmp_path / "commands.txt"
    # in one write, as others write too
    line = "('on ' + os.environ['CUDA_VISIBLE_DEVICES'] + os.linesep).encode()"
    show = f"import os, sys; os.write(1, {line}); sys.exit({{}})"
    commands.write_text(
        "# a comment\n\n"
        + "".join(f'{sys.executable} -c "{show.format(code)}"\n' for code in (0, 3, 0, 0))
    )
    done = subprocess.run(
        [sys.executable, SCRIPTS / "gpu_queue.py", "--gpus", "4,7", commands],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    ran = [line for line in done.stdout.splitlines() if line.startswith("on ")]
    assert len(ran) == 4
    assert set(ran) <= {"on 4", "on 7"}
    assert done.stdout.count("exit 0") == 3


@pytest.mark.commands
def test_a_command_that_cannot_start_does_not_keep_the_others(tmp_path):
    commands = tmp_path / "commands.txt"
    commands.write_text("no-such-program\necho 'left open\n\necho last\n")
    queue = [sys.executable, SCRIPTS / "gpu_queue.py", "--gpus", "0"]
    done = subprocess.run([*queue, commands], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (127, "")
    assert done.stdout.count("exit 127") == 2
    assert "\nlast\n" in done.stdout
    done = subprocess.run([*queue, "nowhere.txt"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_shell_scripts_are_posix():
    for name in ("esrun", "test", "setup.sh", "slurm_array.sh", "slurm_hosts.sh"):
        subprocess.run(["sh", "-n", SCRIPTS / name], check=True)


# ---- scripts/bbob.py -----------------------------------------------------------------------------


@pytest.fixture
def bbob():
    """-> the script as a module."""
    return script("bbob.py")


def test_counts_of_failures_enter_the_expected_running_time_and_not_the_range(bbob):
    counts = bbob.Counts(np.array([30, 500, 10]), np.array([True, False, True]))
    assert (counts.median(), counts.expected()) == (30, 540 / 2)
    assert counts.row() == "30 | 10 to 30 | 2 of 3 | 270"
    assert bbob.Counts(np.array([7, 9]), np.array([False, False])).row() == "inf | – | 0 of 2 | inf"


@pytest.mark.slow
def test_evaluations_are_counted_to_the_generation_that_first_reaches_the_target(bbob, built):
    table = bbob.Table((1,), 10_000)
    counts = bbob.measured(table, 1, 2, trials=2)
    assert counts.solved.all()
    for number, evaluations in enumerate(counts.evaluations, start=1):
        task = ["task=bbob", "task.function=1", "task.dimension=2", f"task.instance={number}"]
        run = built(*task, *bbob.SETTINGS, f"seed={number}", "generations=200", "stop.fitness=null")
        reports = []
        advance_until(run.program, run.hyper, run.config, reports.append)
        best = [row["fitness_best"] for progress in reports for row in progress.rows]
        first = next(i for i, fitness in enumerate(best, start=1) if fitness >= -1e-8)
        assert evaluations == 6 * first  # 4 + floor(3 ln 2) members


@pytest.mark.slow
@pytest.mark.usefixtures("built")
def test_a_trial_gives_up_when_its_budget_is_spent(bbob):
    counts = bbob.measured(bbob.Table((15,), 60), 15, 2, trials=1)
    assert (counts.evaluations.tolist(), counts.solved.tolist()) == ([120], [False])


def test_published_counts_are_read_from_cocopp(bbob, tmp_path, monkeypatch):
    data = {"BIPOP-CMA-ES": {3: {5: ([1e-8, 40, np.nan, 20], [44, 900, 21])}}}
    package(tmp_path, pickle.dumps(data))
    monkeypatch.syspath_prepend(tmp_path)
    counts = bbob.published(3, 5)
    assert (counts.evaluations.tolist(), counts.solved.tolist()) == (
        [40, 900, 20],
        [True, False, True],
    )


def test_published_counts_bring_no_code_with_them(bbob, tmp_path, monkeypatch):
    package(tmp_path, pickle.dumps(subprocess.run))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(pickle.UnpicklingError, match=r"subprocess\.run"):
        bbob.published(3, 5)


def package(folder, data):
    (folder / "cocopp").mkdir()
    (folder / "cocopp" / "__init__.py").touch()
    (folder / "cocopp" / "pprldistr2009_1e-8.pickle.gz").write_bytes(gzip.compress(data))


# ---- scripts/blog.py -----------------------------------------------------------------------------


def test_the_blogs_page_has_the_costs_of_its_runs_between_its_marks(tmp_path, monkeypatch):
    blog, made_up = script("blog.py"), script("bench/report.py").made_up
    best = {"1.0": [-90.0, -130.0, -110.0], "2.0": [-124.0, -300.0, -400.0]}
    held_out = {"1.0": [-150.0, -200.0, -170.0], "2.0": [-160.0, -900.0, -800.0]}
    settings = [[f"strategy.c_m={value}"] for value in best]
    jobs = made_up(
        tmp_path / "grid", settings, range(3), means=[*held_out["1.0"], *held_out["2.0"]]
    )
    for folder, fitness in zip(jobs, [*best["1.0"], *best["2.0"]], strict=True):
        summary = json.loads((folder / "summary.json").read_text())
        (folder / "summary.json").write_text(json.dumps(summary | {"best_fitness": fitness}))
    page = tmp_path / "blog.md"
    page.write_text("before\n<!-- grid -->\nold\n<!-- end -->\nbetween\n<!-- pairs -->\n"
                    "<!-- end -->\nafter <!-- seeds -->\n")  # fmt: skip
    for name, value in (
        ("PAGE", page), ("PICTURE", tmp_path / "x.png"), ("KEYS", ("strategy.c_m",)),
        ("PAIRS", (("strategy.c_m", "1.0", "2.0"),)),
    ):  # fmt: skip
        monkeypatch.setattr(blog, name, value)
    blog.page(tmp_path)
    lines = page.read_text().splitlines()
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert lines[:2] + lines[6:9] + lines[12:] == [
        "before", "<!-- grid -->", "<!-- end -->", "between", "<!-- pairs -->", "<!-- end -->",
        "after <!-- seeds -->",
    ]  # fmt: skip
    assert lines[4:6] == [
        "| `strategy.c_m` | 1.0 | 2 of 3 | 110 | 130 | 170 | 200 |  |",
        "| `strategy.c_m` | 2.0 | 1 of 3 | 300 | 400 | 800 | 900 | 120 |",
    ]
    # of the 20 ways to part six ranks 4 are as far apart as 1 win of 9, and 8 as 2 of 9
    assert lines[11] == "| `strategy.c_m` | 1.0, 2.0 | 110, 300 | 0.2 | 170, 800 | 0.4 |"


def test_the_blogs_seeds_are_counted_and_their_median_is_told(tmp_path):
    blog = script("blog.py")
    for seed in range(10):
        for folder in ("seeds", "episodes"):
            place = tmp_path / folder / str(seed)
            place.mkdir(parents=True)
            summary = {"seed": seed, "best_fitness": -120.0 - seed, "eval": {"mean": -200.0 - seed}}
            (place / "summary.json").write_text(json.dumps(summary))
        (tmp_path / "seeds" / f"{seed}.json").write_text(json.dumps({"seconds": 2.0 * seed}))
    rows = blog.seeds_table(tmp_path / "seeds").splitlines()
    assert rows[5] == "| 3 | 123.0 | 203.0 | 6.0 |"
    assert rows[-2:] == ["| median | 124.5 | 204.5 | 9.0 |", "| at most 124 | 5 of 10 |  |  |"]
    assert blog.seeds_table(tmp_path / "episodes").splitlines()[-3:] == [
        "| 9 | 129.0 | 209.0 |", "| median | 124.5 | 204.5 |", "| at most 124 | 5 of 10 |  |"
    ]  # fmt: skip


# ---- scripts/bench -------------------------------------------------------------------------------


@pytest.fixture
def idle(monkeypatch):
    """-> the bench's module of that name."""
    monkeypatch.syspath_prepend(SCRIPTS / "bench")
    return importlib.import_module("idle")


@pytest.mark.commands
@pytest.mark.slow
def test_the_bench_measures_both_sides_and_keeps_every_figure(tmp_path):
    kept = tmp_path / "bench.json"
    command = [
        sys.executable,
        SCRIPTS / "bench",
        "large",
        "--quick",
        "--rounds",
        "1",
        "--json",
        kept,
    ]
    subprocess.run(command, check=True, capture_output=True)
    rows = json.loads(kept.read_text())["cases"]["large"]["rows"]
    assert [row["side"] for row in rows] == ["esrun", "esrun, table", "esrun, eggroll", "evosax"]
    assert all(len(row["seconds"]) == 1 and row["seconds"][0] > 0 for row in rows)
    assert rows[0]["n"] == 7 * 64 + 64 + 64 * 64 + 64 + 64 + 1


def test_a_device_is_idle_where_none_of_its_spans_lies(idle):
    names = [(1, 2, "tf_XLAPjRtCpuClient/7"), (1, 3, "python")]
    events = [
        {"ph": "M", "name": "thread_name", "pid": a, "tid": b, "args": {"name": c}}
        for a, b, c in names
    ]
    spans = [
        (0, 40),
        (40, 30),
        (75, 25),
        (80, 10),
        (110, 5),
    ]  # begin and length: free from 70 to 75 and 100 to 110
    run = {"ph": "X", "name": "ThunkExecutor::Execute (wait for completion)", "pid": 1}
    events += [
        run | {"tid": tid, "ts": begin, "dur": long} for tid in (2, 3) for begin, long in spans
    ]
    assert idle.busy(events) == {"tf_XLAPjRtCpuClient/7": [(0, 70), (75, 100), (110, 115)]}
    share, longest = idle.steady(idle.busy(events)["tf_XLAPjRtCpuClient/7"])
    assert (share, longest) == (pytest.approx(5 / (100 - 0.3 * 115)), 5)


@pytest.fixture
def model(monkeypatch):
    """-> the bench's model of workers that come and go."""
    monkeypatch.syspath_prepend(SCRIPTS / "bench")
    return importlib.import_module("far_model")


def test_simulated_workers_take_what_can_be_worked_out_by_hand(model):
    def took(count, blocks, link, hand):
        shape = model.Shape(blocks)
        seconds, crew = model.simulated(count, shape, link, hand, 3, charged=False)
        return seconds, crew.news()[2] / 3

    even, one = model.Hand(0.1), model.Link(ask=0.001, hear=0.002, way=0.01)
    assert took(4, 16, model.Link(), lambda who: even)[0] == pytest.approx([0.4] * 3)
    # asked, on its way, worked at, on its way, heard; the one after the other
    assert took(1, 1, one, lambda who: even)[0] == pytest.approx([0.123] * 3)
    far = even._replace(way=0.05)
    assert took(1, 1, one, lambda who: far)[0] == pytest.approx([0.223] * 3)
    # the third is asked when two were
    asks = model.Link(ask=0.01)
    assert took(3, 3, asks, lambda who: even)[0] == pytest.approx([0.13] * 3)
    # a byte is carried by both links, the run's and the worker's
    narrow = even._replace(rate=1e6)
    seconds, moved = took(1, 1, model.Link(rate=1e6), lambda who: narrow)
    assert seconds == pytest.approx([0.1 + 2e-6 * moved] * 3, rel=1e-3)
    # half as fast: two blocks of three are the other one's, to the end
    slow = even._replace(each=0.2)
    (seconds, *_), _ = took(2, 30, model.Link(), lambda who: (even, slow)[who % 2])
    assert seconds == pytest.approx(2.0, abs=0.1)


def test_simulated_workers_that_die_are_replaced_and_those_that_straggle_are_helped(model):
    hand, link = model.Hand(0.1, lives=20.0), model.Link()
    seconds, crew = model.simulated(4, model.Shape(16), link, lambda _: hand, 40, False)
    usual = sorted(seconds)[20]
    assert crew.lost > 1
    assert usual == pytest.approx(0.4, abs=0.2)
    # a death is known a second later at most, and what was lost is done by others then; not all die
    assert max(seconds) < usual + 2 * model.MISSED + 0.2
    late = model.Hand(0.1, straggles=0.02)
    seconds, crew = model.simulated(4, model.Shape(16), link, lambda _: late, 40, False)
    assert max(seconds) <= 1.0 + 1e-6  # two blocks take ten times one, or somebody else is at them
    assert crew.lost == 0


def test_the_tutorials_sentences_are_held_against_runs(tmp_path, monkeypatch, capsys):
    """A stage whose runs are told: the table and what of the sentences holds, seed by seed."""
    story = script("tutorial_story.py")
    # seed by seed (error, first total weight, last one, greatest parameter)
    told = {
        "simple": [(0.004, 1300, 1400, 0.6), (0.003, 1300, 1350, 0.2)],
        "ranks": [(0.1, 1300, 1300, 0.5)] * 2,
        "decay": [(0.02, 1300, 1310, 0.5), (0.03, 1300, 1500, 0.5)],
        "advanced": [(0.01, 1300, 1600, 0.7), (0.04, 1300, 1390, 0.7)],
        "parallel": [(0.015, 1300, 800, 0.4), (0.02, 1300, 1290, 0.4)],
    }
    for stage, runs in told.items():
        for seed, (error, first, last, most) in enumerate(runs):
            folder = tmp_path / stage / str(seed)
            folder.mkdir(parents=True)
            summary = {"eval": {"absolute_error": error}, "wall_seconds": 7.0 + seed}
            (folder / "summary.json").write_text(json.dumps(summary))
            rows = [(first, -0.3, 0.28), (99, 0, 0), (last, -0.1, most)]
            lines = [
                dict(zip(("mean_abs_sum", "mean_min", "mean_max"), x, strict=True)) for x in rows
            ]
            (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    typed = []

    def run(words, **_):
        typed.append(words)
        best = [{"absolute_error": 0.002 + 0.001 * i} for i, x in enumerate(words) if "/" in x]
        return SimpleNamespace(stdout=json.dumps(best[-2:]))

    monkeypatch.setattr("subprocess.run", run)
    monkeypatch.setattr("sys.argv", ["story", "--seeds", "2", "--folder", str(tmp_path)])
    assert story.main() == 0
    assert len(typed) == 2 * 5
    said = capsys.readouterr().out
    assert (
        "| simple | 0.00350 | 0.00400 | 0.00650 | 0.00700 | 1300 | 1375 | -0.10 | 0.60 | 8 |"
        in said
    )
    held = {line.split(" | ")[1]: line[-9:-2] for line in said.splitlines() if " of 2 |" in line}
    assert list(held.values()) == [" 1 of 2"] * 6
    monkeypatch.setattr("sys.argv", ["story", "clever"])
    with pytest.raises(SystemExit):
        story.main()
    assert "no stage clever: there are simple; ranks" in capsys.readouterr().err
