"""What a terminal shows of a run, and what stays there."""

import io
import re
from itertools import pairwise

import pytest
from rich.console import Console

from esrun.config.check import checked
from esrun.config.compose import composed
from esrun.config.schema.run import Stop
from esrun.errors import ConfigError
from esrun.runs.bar import Bar, Goal, Line, duration
from esrun.runs.console import Show
from esrun.runs.record import what_it_computes
from esrun.training.loop import NOTHING
from esrun.training.score import Score

CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


def progress(generations, score=None):
    rows = [
        {"generation": g, "fitness_best": 1.0, "fitness_mean": 0.5, "sigma": 0.1}
        for g in generations
    ]
    evaluated = score and Score(generations[-1], score, 0.1, 0.1, 2, {})
    last = generations[-1]
    return NOTHING._replace(
        generation=last, seconds=2.0 * last, env_steps=10 * last, rows=rows, score=evaluated
    )


def first(mean):
    return NOTHING._replace(score=Score(0, mean, 0.1, 0.1, 2, {}))


@pytest.fixture
def shown(tmp_path, monkeypatch, capsys):
    """-> (term) -> what the console gets of twelve generations, with an evaluation before the first
    and at 5 and 12."""

    def run(mode="auto", **environment):
        monkeypatch.delenv("NO_COLOR", raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        log = tmp_path / "esrun.log"
        log.unlink(missing_ok=True)
        with Show(log, every=4, generations=12, progress=mode) as show:
            show.status("compiling")
            show.progress(first(-3.0))
            show.progress(progress(range(1, 6), score=7.0))
            show.progress(progress(range(6, 11)))
            show.progress(progress(range(11, 13), score=9.0))
        return capsys.readouterr().out

    return run


def screens(text):
    """-> the lines of a terminal that are rewritten and those that stay, without control
    characters, in order."""
    return [CONTROL.sub("", line) for line in re.split(r"\n|\r\x1b\[2K", text) if line.strip()]


def test_in_a_terminal_a_line_stays_at_every_held_out_evaluation(shown):
    text = shown(FORCE_COLOR="1", TERM="xterm", COLUMNS="100")
    assert "\x1b[" in text
    stay = [line for line in screens(text) if line.startswith("generation")]
    assert [line.split("/")[0] for line in stay] == [
        "generation  0", "generation  5", "generation 12",
    ]  # fmt: skip
    assert stay[0] == "generation  0/12  held-out -3"
    assert "held-out 7" in stay[1]
    assert not any("left" in line for line in stay)


def test_a_terminal_has_a_bar_that_fills_and_what_is_left(shown):
    text = shown(FORCE_COLOR="1", TERM="xterm", COLUMNS="100")
    bars = [line for line in screens(text) if "━" in line]
    assert all(len(line) < 100 for line in bars)
    assert "held-out -3" in bars[0]
    assert "4 s left" in next(line for line in bars if "10/12" in line)
    filled = [len(x) for x in re.findall(r"\x1b\[36m(━+)", text)]
    assert filled
    assert all(one <= other for one, other in pairwise(filled))
    whole = len(max(re.findall("━+", bars[-1]), key=len))
    assert filled[-1] == whole


def test_colours_are_those_that_light_and_dark_terminals_show(shown):
    codes = {code for code, kind in CONTROL.findall(shown(FORCE_COLOR="1", TERM="xterm-256color",
             COLORTERM="truecolor", COLUMNS="100")) if kind == "m"}  # fmt: skip
    assert codes == {"0", "2", "36"}  # plain, dim, cyan


def test_without_colour_a_bar_fills_all_the_same(shown):
    text = shown(FORCE_COLOR="1", TERM="xterm", COLUMNS="100", NO_COLOR="1")
    codes = {code for code, kind in CONTROL.findall(text) if kind == "m"}
    assert codes <= {"0", "2"}
    lengths = [line.count("━") for line in screens(text) if "/12" in line and "━" in line]
    assert lengths[0] < lengths[-1]


@pytest.mark.parametrize("columns", [12, 20, 40, 60, 80, 200])
def test_every_line_fits_into_a_narrow_terminal(shown, columns):
    text = shown(FORCE_COLOR="1", TERM="xterm", COLUMNS=str(columns))
    lines = screens(text)
    if columns >= 40:
        assert all(len(line) <= columns for line in lines), lines
        assert any("s left" in line and "━" in line for line in lines)
    assert all(len(line) < columns for line in lines if "━" in line)
    assert text.count("\n") == 4  # what stays, and the last line of progress


@pytest.mark.parametrize("environment", [{"FORCE_COLOR": "1", "TERM": "dumb"}, {"TERM": "xterm"}])
def test_without_one_or_with_a_dumb_one_plain_lines_come(shown, environment):
    text = shown(**environment)
    assert "\x1b" not in text
    assert "\r" not in text
    assert [line.split("/")[0] for line in text.splitlines()] == [
        "generation  0", "generation  4", "generation  8", "generation 12",
    ]  # fmt: skip
    assert text.splitlines()[2] == (
        "generation  8/12  best 1  mean 0.5  sigma 0.1  held-out 7  5 env steps/s  4 s left"
    )


@pytest.mark.parametrize("environment", [{"FORCE_COLOR": "1"}, {}])
def test_progress_that_is_off_stands_in_the_log_alone(shown, tmp_path, environment):
    assert shown("off", TERM="xterm", **environment) == ""
    assert len((tmp_path / "esrun.log").read_text().splitlines()) == 4


def test_a_run_that_goes_on_shows_the_score_that_it_has(tmp_path, capsys):
    with Show(tmp_path / "esrun.log", every=1, generations=12) as show:
        show.resume(progress([3])._replace(score=None, initial=Score(0, -3.0, 0.1, 0.1, 2, {})))
        show.progress(progress([4]))
    assert "held-out -3" in capsys.readouterr().out


@pytest.mark.parametrize("word", ["off", "false"])  # as a yaml file reads `progress: off`
def test_a_word_of_the_configuration_turns_it_off(word):
    assert checked(composed([f"progress={word}"]).config).progress == "off"
    assert checked(composed([]).config).progress == "auto"
    assert "progress" not in what_it_computes(composed([]).config)
    with pytest.raises(ConfigError, match=r"progress must be .auto. or .off."):
        checked(composed(["progress=on"]).config)


def test_the_nearest_limit_tells_how_far_a_run_is():
    stop = Stop(eval=None, fitness=None, seconds=100.0, env_steps=400)
    before, now = progress([10]), progress([15])  # 2 s and 10 steps a generation
    assert Goal(200).share(now) == 15 / 200
    assert Goal(200).left(before, now) == 185 * 2
    assert Goal(200, stop).share(now) == 150 / 400
    assert Goal(200, stop).left(before, now) == 25 * 2
    assert Goal(200, stop).share(progress([60])) == 1
    assert Goal(200, stop).left(progress([50]), progress([60])) == 0


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (99.6, "100 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_times_are_told_in_a_unit_that_can_be_read(seconds, said):
    assert duration(seconds) == said


def test_what_matters_least_goes_first():
    line = Line([(0, "a" * 10), (2, "b" * 10), (1, "c" * 10)])
    assert line.fitted() == line.fitted(34) == "  ".join(x * 10 for x in "abc")
    assert line.fitted(33) == "  ".join(x * 10 for x in "ac")
    assert line.fitted(3) == "a" * 10
    narrow = Console(file=io.StringIO(), width=9, force_terminal=True)
    narrow.print(Bar(0.5, line))
    assert narrow.file.getvalue() == "aaaaaaaa\n"


def test_a_run_of_one_chunk_tells_no_rate_since_its_first_one_is_not_timed(in_process):
    words = ["task=sphere", "strategy=openai_es", "strategy.population_size=4", "generations=1"]
    code, said, _ = in_process(*words, "hydra.run.dir=run")
    assert code == 0
    (line,) = [line for line in said.splitlines() if " env steps" in line]
    assert "a second" not in line
