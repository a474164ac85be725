"""The closing table of a sweep: a row a setting, why jobs have failed, what to type next."""

import itertools
import json
import re
import shlex
from statistics import median

import pytest

from esrun import files
from esrun.errors import DONE, FAILED, SAVED, USAGE
from esrun.runs.sweep_endings import Job, worst
from esrun.runs.sweep_table import show


@pytest.fixture
def shown(tmp_path, monkeypatch, capsys):
    """-> (endings: for each job its words, exit code and what its summary says, which is not there
    for None, and bytes as they are) -> the lines that are shown."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "STARTED_IN", tmp_path)
    monkeypatch.setattr("esrun.config.imports._ALLOWED", [])

    def run(*endings, folder="sw", **more):
        jobs = []
        for i, (words, code, summary) in enumerate(endings):
            place = tmp_path / folder / str(i)
            place.mkdir(parents=True)
            (place / "run.json").write_text("{}")
            if summary is not None:
                content = summary if isinstance(summary, bytes) else json.dumps(summary).encode()
                (place / "summary.json").write_bytes(content)
            jobs.append(Job(place, words.split(" "), code, **more))
        show(jobs, tmp_path / folder)
        return [line.strip() for line in capsys.readouterr().out.splitlines()]

    return run


def done(mean):
    return {"status": "done", "stop_reason": "generations", "eval": {"mean": mean}}


def failed(why):
    return {"status": "failed", "stop_reason": why, "eval": None}


def test_a_setting_is_a_row_with_the_figures_of_its_seeds(shown):
    scores = {0.1: [-3.0, -1.0, -2.0, -50.0, -4.0], 0.2: [5.0, 7.0, 6.0, 9.0, 1.0]}
    lines = shown(
        *(
            (f"strategy.sigma={sigma} seed={seed}", DONE, done(score))
            for seed, pair in enumerate(zip(*scores.values(), strict=True))
            for sigma, score in zip(scores, pair, strict=True)
        )
    )
    assert [line.split() for line in lines] == [
        ["setting", "done", "median", "worst", "best"],
        *(
            [f"strategy.sigma={sigma}", "5/5", *(f"{f(own):.4g}" for f in (median, min, max))]
            for sigma, own in scores.items()
        ),
        ["sweep", "folder:", "sw"],
        shlex.split("to compare: esrun plot sw --over strategy.sigma"),
    ]  # fmt: skip


def test_seeds_alone_are_one_row(shown):
    lines = shown(*((f"seed={i}", DONE, done(float(i))) for i in range(9)))
    assert [line.split() for line in lines[:2]] == [
        ["done", "median", "worst", "best"], ["9/9", "4", "0", "8"],
    ]  # fmt: skip
    assert lines[2:] == ["sweep folder: sw", "to compare: esrun plot sw"]


def test_failures_are_told_by_their_cause(shown):
    long = "RuntimeError: " + "x" * 500
    lines = shown(
        ("a=1 seed=0", DONE, done(1.0)),
        ("a=1 seed=1", FAILED, failed("mean_exploded")),
        ("a=1 seed=2", FAILED, failed("mean_exploded")),
        ("a=2 seed=0", FAILED, failed(long)),
        ("a=2 seed=1", FAILED, failed("mean_exploded")),
        ("a=2 seed=2", SAVED, None),
        ("a=3 seed=0", USAGE, done(2.0)),
        cause="the folder is another's",
    )
    rows = {line.split()[0]: line for line in lines[1:4]}
    assert rows["a=1"].split()[1:5] == ["1/3", "1", "1", "1"]
    assert rows["a=1"].endswith("2 failed (mean_exploded)")
    assert rows["a=2"].split()[1:5] == ["0/3", "-", "-", "-"]
    assert rows["a=2"].endswith("1 failed, 1 failed (mean_exploded), 1 interrupted")
    assert rows["a=3"].split()[1:] == ["0/1", "-", "-", "-", "1", "refused"]
    assert lines[4] == "3 failed: mean_exploded, as in sw/1"
    assert lines[5].startswith("1 failed: RuntimeError: xxx")
    assert lines[5].endswith(", as in sw/3")
    assert len(lines[5]) < 250
    assert lines[6:] == [
        "1 refused: the folder is another's, as in sw/6",
        "sweep folder: sw",
        "to go on: esrun resume sw",
        "to try again what has failed: esrun resume sw --retry-failed",
    ]


def test_when_all_jobs_have_failed_there_is_nothing_to_compare(shown):
    lines = shown(*((f"seed={i}", FAILED, failed(f"reason {i}")) for i in range(20)))
    assert lines[1].split()[:4] == ["0/20", "-", "-", "-"]
    assert sum(line.startswith("1 failed: reason") for line in lines) == 5
    assert lines[-3:] == [
        "15 more for other reasons",
        "sweep folder: sw",
        "to try again what has failed: esrun resume sw --retry-failed",
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"{", b"\xff", b'{"status": 3}', b'{"status": "done", "eval": [1]}',
        b"[" * 9999,
        *(
            b'{"status": "done", "eval": {"mean": %s}}' % number
            for number in (b"true", b"NaN", b"1" + b"0" * 400)
        ),
    ],
    ids=range(10),
)  # fmt: skip
def test_a_damaged_summary_is_no_score(shown, content):
    lines = shown(("seed=0", DONE, content), ("seed=1", DONE, done(2.0)))
    assert lines[1].split()[:3] == ["0", "seed=0", "done"]
    assert lines[1].split()[-1] == "-"
    assert lines[2].split() == ["1", "seed=1", "done", "2"]
    assert lines[-2] == "sweep folder: sw"


def test_what_could_steer_a_terminal_is_left_out(shown, capsys):
    evil = "\x1b[2J\x07[red]"
    lines = shown(
        (f"a={evil} seed=0", FAILED, failed(f"why\n{evil}")),
        ("a=2 seed=0", USAGE, None),
        folder="a\x1b[31m b",
        cause=f"no\n{evil}",
    )
    assert not {"\x1b", "\x07"} & set("".join(lines))
    assert "a=?[2J?[red]" in lines[1]  # and no markup is taken for one
    assert lines[3] == "1 failed: why ?[2J?[red], as in a?[31m b/0"


def test_two_hundred_settings_are_the_best_ones(shown):
    lines = shown(
        *((f"strategy.sigma={i}", DONE, done(float(i * 37 % 200))) for i in range(199)),
        ("strategy.sigma=199", FAILED, failed("sigma_exploded")),
    )
    assert len(lines) < 30
    assert [float(line.split()[-1]) for line in lines[1:21]] == list(range(199, 179, -1))
    assert lines[21:] == [
        "these are the best 20 of 200 jobs",
        "1 failed: sigma_exploded, as in sw/199",
        "sweep folder: sw",
        "to try again what has failed: esrun resume sw --retry-failed",
        "to compare: esrun plot sw --over strategy.sigma",
    ]


def test_words_in_another_order_are_one_setting(shown):
    words = ["strategy.sigma=0.1", "task.noise=1"]
    lines = shown(
        *(
            (f"seed={i} {one} {other}" if i % 2 else f"{other} {one} seed={i}", DONE, done(1.0))
            for i, (one, other) in enumerate(itertools.permutations(words))
        ),
        *((f"strategy.sigma=0.2 seed={i}", DONE, done(2.0)) for i in range(6)),
    )
    assert [line.split()[-4] for line in lines[1:3]] == ["2/2", "6/6"]
    assert lines[-1] == "to compare: esrun report sw"  # several keys


def test_a_narrow_terminal_breaks_texts_and_no_numbers(shown, monkeypatch):
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "60"}.items():
        monkeypatch.setenv(name, value)
    lines = shown(
        *(
            (
                f"strategy.sigma={sigma} policy.hidden=[{sigma},{'256,' * 9}] seed={seed}",
                code,
                summary,
            )
            for sigma in (1, 2)
            for seed, (code, summary) in enumerate(
                [(DONE, done(-1234.5678)), (DONE, done(-0.00012345)), (FAILED, failed("x y"))] * 2
            )
        )
    )
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines[:-3]]
    assert all(len(line) <= 60 for line in lines), lines
    assert [line.split()[0] for line in lines if "4/6" in line] == ["sigma=1", "sigma=2"]
    assert sum(line.endswith("2 failed") for line in lines) == 2
    assert "2 failed (x y)" not in " ".join(lines)
    for number in ("-617.3", "-1235", "-0.0001234"):
        assert sum(number in line for line in lines) == 2


def test_a_failure_that_ends_a_sweep_is_its_exit_code(tmp_path):
    jobs = [Job(tmp_path, [], DONE), Job(tmp_path, [], FAILED)]
    assert worst(jobs) == FAILED
    assert worst([*jobs, Job(tmp_path, [], FAILED, begun=False)]) == FAILED
    assert worst([*jobs, Job(tmp_path, [], SAVED, begun=False)]) == SAVED
    assert worst([]) == DONE
