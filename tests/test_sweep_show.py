"""What a sweep tells while its jobs run."""

import re

import pytest
from test_console import progress, screens

from esrun.runs.console import Show
from esrun.runs.sweep_show import Place, SweepShow


class Clock:
    """A clock that is set."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_what_is_left_of_a_sweep_goes_by_the_jobs_that_trained(clock, capsys):
    show = SweepShow([f"seed={i}" for i in range(5)], clock)
    show.begins(0)
    clock.now = 4.0
    assert show.place(0).left(6.0) == 6 + 4 * 10  # four jobs like this one
    clock.now = 12.0
    show.ends(0)
    show.begins(1)
    clock.now = 12.1
    show.ends(1)  # done already: the bar of no run has asked
    show.begins(2)
    clock.now = 13.0
    assert show.place(2).name == "job 3/5"
    assert show.place(2).left(5.0) == 5 + 2 * 12
    clock.now = 33.1
    show.ends(2)
    show.begins(3)
    assert show.place(3).left(0.0) == pytest.approx((12 + 21) / 2)
    show.ends(3)
    show.begins(4)
    assert show.place(4).left(7.0) == 7
    assert capsys.readouterr().out.splitlines() == [f"job {i + 1}/5: seed={i}" for i in range(5)]


def test_jobs_side_by_side_share_what_waits(clock):
    show = SweepShow([""] * 6, clock)
    for job in (0, 1):
        show.begins(job)
    clock.now = 10.0
    assert show.place(1).left(10.0) == 10 + 4 * 20 / 2


def test_a_single_job_is_told_as_a_run(capsys):
    show = SweepShow(["seed=1"])
    show.begins(0)
    assert show.place(0) is None
    show.ends(0)
    assert capsys.readouterr().out == ""


def test_names_cannot_steer_a_terminal(capsys):
    show = SweepShow(["a=\x1b[2J", "a=\n"])
    show.begins(0)
    show.begins(1)
    assert capsys.readouterr().out.splitlines() == ["job 1/2: a=?[2J", "job 2/2: a=?"]


@pytest.fixture
def bars(tmp_path, monkeypatch, capsys):
    """-> (columns of the terminal, None for a pipe) -> the lines that are shown of a run in a
    sweep."""

    def run(columns):
        monkeypatch.delenv("NO_COLOR", raising=False)
        if columns:
            for name, value in {
                "FORCE_COLOR": "1",
                "TERM": "xterm",
                "COLUMNS": str(columns),
            }.items():
                monkeypatch.setenv(name, value)
        place = Place("job 3/10", lambda seconds: 600 + seconds)
        with Show(tmp_path / "esrun.log", every=4, generations=40, place=place) as show:
            show.status("compiling")
            show.progress(progress(range(1, 6), score=7.0))
            show.progress(progress(range(6, 11)))
        return screens(capsys.readouterr().out)

    return run


def test_the_bar_of_a_run_says_where_it_stands_in_its_sweep(bars, tmp_path):
    lines = bars(140)
    assert lines[0].strip() == "job 3/10  compiling"
    last = next(line for line in reversed(lines) if "10/40" in line)
    assert re.search(r"━ +job 3/10  generation 10/40  .*  60 s left  11 min left of all", last)
    stays = next(line for line in lines if line.startswith("generation"))
    assert "job" not in stays  # it is over when that is read
    assert "job" not in (tmp_path / "esrun.log").read_text()


def test_the_last_job_has_no_others_to_wait_for(tmp_path, monkeypatch, capsys):
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "140"}.items():
        monkeypatch.setenv(name, value)
    place = Place("job 10/10", lambda seconds: seconds)
    with Show(tmp_path / "esrun.log", every=4, generations=40, place=place) as show:
        show.progress(progress(range(1, 6)))
        show.progress(progress(range(6, 11)))
    said = capsys.readouterr().out
    assert "60 s left" in said
    assert "of all" not in said


def test_a_narrow_terminal_has_the_place_and_the_time_of_the_run(bars):
    lines = bars(60)
    assert all(len(line.rstrip()) < 60 for line in lines)
    last = next(line for line in reversed(lines) if "10/40" in line)
    assert "job 3/10  generation 10/40  60 s left" in last
    assert "of all" not in last


def test_a_pipe_has_the_lines_of_the_run_alone(bars):
    assert all(line.startswith("generation") for line in bars(None))


def test_the_runs_of_a_sweep_know_their_places(in_process, monkeypatch):
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "160"}.items():
        monkeypatch.setenv(name, value)
    words = ("task=sphere", "task.dimension=2", "strategy.population_size=6", "eval.episodes=2",
             "eval.every=1", "generations=4")  # fmt: skip
    code, said, _ = in_process("-m", *words, "seed=0,1", "hydra.sweep.dir=sw")
    assert code == 0
    for i in (1, 2):
        assert re.search(rf"━\S* +job {i}/2  generation [0-4]/4", "\n".join(screens(said)))
    code, said, _ = in_process("resume", "sw", "generations=6")
    assert code == 0
    assert "job 2/2  generation 6/6" in "\n".join(screens(said))
    code, said, _ = in_process("-m", *words, "seed=5", "hydra.sweep.dir=one")
    assert "job 1/1" not in said
