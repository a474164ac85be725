"""What a terminal shows of a run, and what stays there."""

import pytest

from esrun.runs.console import Show
from esrun.training.loop import NOTHING
from esrun.training.score import Score


def progress(generations, score=None):
    rows = [
        {"generation": g, "fitness_best": 1.0, "fitness_mean": 0.5, "sigma": 0.1}
        for g in generations
    ]
    evaluated = score and Score(generations[-1], score, 0.1, 0.1, 2, {})
    return NOTHING._replace(generation=generations[-1], rows=rows, score=evaluated)


@pytest.fixture
def shown(tmp_path, monkeypatch, capsys):
    """-> (term) -> what the console gets of twelve generations, with an evaluation at 5 and 12."""

    def run(**environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with Show(tmp_path / "esrun.log", every=4, generations=12) as show:
            show.status("compiling")
            show.progress(progress(range(1, 6), score=7.0))
            show.progress(progress(range(6, 11)))
            show.progress(progress(range(11, 13), score=9.0))
        return capsys.readouterr().out

    return run


def test_in_a_terminal_a_line_stays_at_every_held_out_evaluation(shown):
    text = shown(FORCE_COLOR="1", TERM="xterm", COLUMNS="100")
    assert "\x1b[" in text
    stay = [line for line in text.split("\n") if "generation" in line.split("\x1b[2K")[-1]]
    assert [line.split("generation")[-1].split("/")[0].strip() for line in stay[:-1]] == ["5", "12"]
    assert "held-out 7" in stay[0]


@pytest.mark.parametrize("environment", [{"FORCE_COLOR": "1", "TERM": "dumb"}, {"TERM": "xterm"}])
def test_without_one_or_with_a_dumb_one_plain_lines_come(shown, environment):
    text = shown(**environment)
    assert "\x1b" not in text
    assert "\r" not in text
    assert [line.split("/")[0] for line in text.splitlines()] == [
        "generation  4", "generation  8", "generation 12",
    ]  # fmt: skip
