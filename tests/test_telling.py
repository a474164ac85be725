"""How loggers are told: by threads that neither stop nor delay a run, whatever a logger does."""

import json
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from esrun.errors import ConfigError
from esrun.runs.loggers import telling
from esrun.runs.loggers.telling import Loggers
from esrun.runs.loggers.tracker import News, Tracker


@pytest.fixture
def begun(monkeypatch, tmp_path):
    """-> (one factory, ...) -> (the loggers, begun; the list of what they said). They are named
    a, b, ... in order."""

    def begin(*factories):
        named = dict(zip("abc", factories, strict=False))
        monkeypatch.setattr(telling.registry, "factory", lambda kind, name: named[name])
        said = []
        loggers = Loggers(said.append)
        options = {
            name: SimpleNamespace(name=name, model_dump=lambda exclude: {}) for name in named
        }
        loggers.begin(tmp_path, options)
        return loggers, said

    return begin


def noting(told, **about):
    """-> the factory of a tracker that appends lines, and "closed", to `told`."""
    return lambda folder: Tracker(told.append, lambda: told.append("closed"), **about)


def lines(*generations):
    return [{"generation": x, "fitness_best": -1.0 * x} for x in generations]


def raising(error, when):
    """-> the factory of a plain function that raises at a generation; 0: the factory itself."""

    def make(folder):
        def log(line):
            told.append(line)
            if line["generation"] == when:
                raise error

        if when == 0:
            raise error
        return log

    told = make.told = []
    return make


def test_all_are_told_every_line_in_order_then_the_end(begun):
    first, second = [], []
    loggers, said = begun(noting(first), lambda folder: second.append)
    for line in lines(1, 2, 3):
        loggers.log(line)
    loggers.close()
    assert first == [*lines(1, 2, 3), "closed"]
    assert second == lines(1, 2, 3)
    assert said == []


@pytest.mark.parametrize(
    "error",
    [
        OSError("no space"),
        SystemExit("gone"),
        json.JSONDecodeError("no space", "", 0),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("when", [0, 1, 3])
def test_one_that_fails_is_named_once_and_not_called_again(begun, error, when):
    bad, good = raising(error, when), []
    loggers, said = begun(bad, noting(good))
    for line in lines(1, 2, 3, 4):
        loggers.log(line)
    loggers.close()
    assert len(said) == 1
    assert said[0].startswith(f"logger a is left out: {type(error).__name__}")
    assert bad.told == lines(*range(1, when + 1))
    assert good == [*lines(1, 2, 3, 4), "closed"]


@pytest.mark.parametrize("kind", [ConfigError, ValueError])
def test_what_is_wrong_with_a_key_ends_the_beginning(begun, kind):
    with pytest.raises(ConfigError, match=r"^columns must be names$"):
        begun(raising(kind("columns must be names"), 0))


def test_one_that_hangs_delays_nothing_and_is_named(begun, monkeypatch):
    monkeypatch.setattr(telling, "BEGINNING", 0.1)
    free = threading.Event()
    began = time.monotonic()

    def hanging(folder):
        free.wait(60)
        return print

    def hanging_later(folder):
        return lambda line: free.wait(60)

    loggers, said = begun(hanging, hanging_later, noting(good := []))
    for line in lines(1, 2):
        loggers.log(line)
    loggers.close(0.2)
    assert time.monotonic() - began < 30
    assert good == [*lines(1, 2), "closed"]
    assert [line.partition(" has not ended")[0] for line in said] == ["logger a", "logger b"]
    free.set()


def test_one_that_is_too_slow_does_not_take_all_memory(begun, monkeypatch):
    monkeypatch.setattr(telling, "WAITING", 3)
    free = threading.Event()
    loggers, said = begun(lambda folder: lambda line: free.wait(60))
    for line in lines(*range(1, 9)):
        loggers.log(line)
    assert said == ["logger a is left out: it is 3 generations late; training goes on"]
    free.set()
    loggers.close()
    assert len(said) == 1


def test_a_line_that_gets_its_score_later_was_told_as_it_was(begun):
    told, line = [], {"generation": 1, "eval_mean": None}
    loggers, _ = begun(noting(told))
    loggers.log(line)
    line["eval_mean"] = 3.0
    loggers.log(line)
    loggers.close()
    assert [x["eval_mean"] for x in told[:2]] == [None, 3.0]


@pytest.mark.parametrize(
    ("last", "expected"), [(None, []), (0, [1, 2, 3, 4]), (3, [3, 4]), (4, [4]), (9, [])]
)
def test_what_one_lacks_it_is_told_from_the_metrics(begun, tmp_path, last, expected):
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("".join(
        json.dumps(line | {"wall_seconds": 1.0}) + "\n" for line in lines(1, 2, 3, 4, 5, 6)
    ))  # fmt: skip
    loggers, said = begun(noting(told := [], last=last))
    loggers.go_on(metrics, 4)
    for line in lines(5, 6):
        loggers.log(line)
    loggers.close()
    assert [line["generation"] for line in told[:-1]] == [*expected, 5, 6]
    assert said == []


def test_news_is_what_a_generation_has_not_told():
    news = News(before=2, told={"eval_mean": 1})
    assert news.of({"generation": 2, "sigma": 1.0, "eval_mean": 5.0}) == {"eval_mean": 5.0}
    assert news.of({"generation": 3, "sigma": 1.0, "eval_mean": None, "at": "x"}) == {
        "generation": 3, "sigma": 1.0,
    }  # fmt: skip
    assert news.of({"generation": 3, "sigma": 1.0, "eval_mean": 4.0}) == {"eval_mean": 4.0}


@pytest.mark.commands
def test_the_end_of_python_is_bounded_where_a_library_hangs_in_it():
    code = (
        "import atexit, sys, time\n"
        "from esrun.runs import process_signals\n"
        "process = process_signals.take_over()\n"
        "atexit.register(time.sleep, 600)\n"
        "process_signals.end_in_time()\n"
        "process.close(3)\n"
        "sys.exit(3)"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=300, check=False)
    assert done.returncode == 3
