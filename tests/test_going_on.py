"""Every "to go on" that esrun prints goes on when it is typed, and none is printed where it would
not."""

import json
import shlex

import pytest

TINY = (
    "task=sphere", "task.dimension=2", "strategy=openai_es", "strategy.population_size=6",
    "eval.episodes=2", "eval.every=2", "generations=4",
)  # fmt: skip


@pytest.fixture
def typed(in_process):
    """-> (words) -> (exit code, what was said), in process."""

    def run(*words):
        code, said, wrong = in_process(*words)
        return code, said + wrong

    return run


def remedies(said):
    """-> what is to be typed, word by word."""
    lines = [line.partition("to go on: ")[2] for line in said.splitlines() if "to go on: " in line]
    return [shlex.split(line) for line in lines]


def generations(folder):
    return json.loads((folder / "summary.json").read_text())["generations"]


@pytest.mark.parametrize(
    "limits",
    [
        (),
        ("stop.fitness=-1000",),
        ("stop.eval=-1000",),
        ("stop.env_steps=6",),
        ("stop.seconds=0.000001",),
        ("stop.fitness=-1000", "stop.eval=-1000", "stop.env_steps=1", "eval.every=1"),
        ("generations=2", "stop.eval=-1000"),
    ],
    ids=lambda words: "+".join(words) or "generations",
)
def test_a_limit_that_was_reached_is_lifted(typed, tmp_path, limits):
    code, said = typed(*TINY, *limits, "hydra.run.dir=run")
    assert code == 0
    before = generations(tmp_path / "run")
    (words,) = remedies(said)
    assert words[:3] == ["esrun", "resume", "run"]
    code, said = typed(*words[1:])
    assert code == 0
    assert generations(tmp_path / "run") > before


NAMES = ["a b", "ü", "lr=1/seed=2", "it's", 'a"b', "-dash", "a$HOME`x`", "a;b", "#1", "~"]


@pytest.mark.parametrize("chdir", ["true", "false"])
@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_any_name_can_be_typed(typed, tmp_path, name, chdir):
    quoted = name.replace("'", "\\'")
    code, said = typed(*TINY, f"hydra.run.dir='{quoted}'", f"hydra.job.chdir={chdir}")
    assert code == 0, said
    assert (tmp_path / name / "run.json").exists()
    (words,) = remedies(said)
    code, said = typed(*words[1:])
    assert code == 0, said
    assert generations(tmp_path / name) == 8


@pytest.mark.parametrize(
    "ending",
    [
        ("strategy=cma_es", "generations=10000"),  # tolfun
        pytest.param(
            ("strategy=cma_es", "generations=10000", "strategy.restarts=ipop",
             "strategy.max_restarts=1"), marks=pytest.mark.slow),
        ("strategy.sigma_decay=1e-3", "strategy.sigma_limit=1e-20", "generations=40"),
        ("strategy.learning_rate=1e38", "generations=40"),
    ],
    ids=["tolfun", "restarts", "collapsed", "exploded"],
)  # fmt: skip
def test_a_search_that_has_ended_does_not_go_on(typed, tmp_path, ending):
    _, said = typed(*TINY, *ending, "hydra.run.dir=run")
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["stop_reason"] != "signal"
    assert remedies(said) == []


def test_a_folder_that_holds_a_run_says_how_it_goes_on(typed, tmp_path):
    assert typed(*TINY, "hydra.run.dir='a run'")[0] == 0
    code, said = typed(*TINY, "hydra.run.dir='a run'", "generations=6")
    assert code == 2
    words = shlex.split(said.partition("write ")[2])
    assert typed(*words[1:], "generations=6")[0] == 0
    assert generations(tmp_path / "a run") == 6
    for path in (tmp_path / "a run" / "checkpoints").iterdir():
        path.unlink()
    code, said = typed(*words[1:], "generations=8")
    assert code == 1
    words = shlex.split(said.partition("anew with ")[2])
    assert typed(*words[1:], "generations=8")[0] == 0


def test_latest_is_the_run_that_was_begun_last(typed, tmp_path):
    code, said = typed("resume", "latest")
    assert (code, said.count("\n")) == (2, 1)
    assert "there is none" in said
    for name in ("b/1", "a/2"):
        assert typed(*TINY, f"hydra.run.dir=outputs/{name}")[0] == 0
    assert typed("resume", "latest", "generations=6")[0] == 0
    assert generations(tmp_path / "outputs" / "b" / "1") == 4
    assert generations(tmp_path / "outputs" / "a" / "2") == 6
