"""The loop over chunks: every generation once, evaluations where they belong, limits."""

import json
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

from esrun.backend.compilation import Clock
from esrun.config.check import checked
from esrun.config.compose import composed
from esrun.runs.metrics import Metrics
from esrun.training.loop import NOTHING, Start, advance_until
from esrun.training.stop import Reached

pytestmark = pytest.mark.usefixtures("quick_to_compile")

TINY = (
    "task=rosenbrock",
    "task.dimension=4",
    "strategy.population_size=8",
    "generations=23",
    "eval.every=10",
)


def trained(run, **options):
    """-> (outcome, every progress report)."""
    reports = []
    outcome = advance_until(run.program, run.hyper, run.config, reports.append, **options)
    return outcome, reports


def test_every_generation_is_reported_once_and_in_order(built):
    outcome, reports = trained(built(*TINY))
    rows = [row for report in reports for row in report.rows]
    assert [row["generation"] for row in rows] == list(range(1, 24))
    assert outcome.reason.name == "generations"
    assert outcome.progress.env_steps == 23 * 8 == rows[-1]["env_steps"]
    assert outcome.progress.best_fitness == max(row["fitness_best"] for row in rows)


def test_everything_is_compiled_before_the_first_generation(built):
    run = built(*TINY, "task.dimension=5")
    with Clock() as clock:
        compiled = {}

        def counted(name):
            def call(*arguments):
                before = clock.compilations
                result = getattr(run.program, name)(*arguments)
                compiled[name] = compiled.get(name, 0) + clock.compilations - before
                return result

            return call

        names = ("prepare", "init", "advance", "evaluate")
        trained(
            run._replace(program=run.program._replace(**{name: counted(name) for name in names}))
        )
    assert compiled == {"prepare": 3, "init": 0, "advance": 0, "evaluate": 0}


def test_the_mean_policy_is_evaluated_on_time_and_at_the_end(built):
    outcome, reports = trained(built(*TINY))
    assert [report.score.generation for report in reports if report.score] == [0, 10, 20, 23]
    assert outcome.score.generation == 23


def test_the_first_policy_is_scored_before_the_first_generation(built):
    run = built(*TINY)
    outcome, reports = trained(run)
    first = run.program.init(run.hyper, np.uint32(run.config.seed))
    x = np.asarray(first.strategy.mean, np.float64)
    f = np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)
    assert (reports[0].generation, reports[0].rows, reports[0].evaluations) == (0, [], 0)
    assert reports[0].score == outcome.progress.initial
    assert reports[0].score.mean == pytest.approx(-f, rel=1e-4)
    assert [report.score for report in reports[1:] if report.generation < 10] == [None] * (
        sum(report.generation < 10 for report in reports) - 1
    )


def test_the_first_score_ends_no_run_and_stands_until_there_is_another_one(built):
    outcome, _ = trained(built(*TINY, "stop.eval=-1e9"))
    assert (outcome.reason.name, outcome.progress.generation) == ("eval", 10)
    asked = iter([False, False, True])
    outcome, _ = trained(built(*TINY), interrupted=lambda: next(asked))
    assert outcome.reason.name == "signal"
    assert 0 < outcome.progress.generation < 10
    assert outcome.score == outcome.progress.initial is not None


def test_a_run_that_goes_on_has_its_first_score_and_is_not_asked_again(built):
    run, saved = built(*TINY), []
    asked = iter([False, False, True])
    first, _ = trained(run, interrupted=lambda: next(asked), save=lambda *of: saved.append(of))
    state, progress, final = saved[-1]
    assert (final, progress.generation) == (True, first.progress.generation)
    outcome, reports = trained(run, start=Start(state, progress))
    assert [report.score.generation for report in reports if report.score] == [10, 20, 23]
    assert outcome.progress.initial == first.progress.initial is not None
    whole, _ = trained(run)
    assert outcome.score == whole.score
    begun = Start(run.program.init(run.hyper, np.uint32(run.config.seed)), NOTHING)
    assert trained(run, start=begun)[1][0].score == first.progress.initial


def test_the_score_is_of_the_mean_on_held_out_episodes(built):
    run = built(*TINY)
    outcome, _ = trained(run)
    x = np.asarray(outcome.state.strategy.mean, np.float64)
    f = np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)
    assert outcome.score.mean == pytest.approx(-f, rel=1e-4)
    assert outcome.score.episodes == 128
    assert outcome.score.std == pytest.approx(0, abs=1e-6)


def test_fitness_ends_a_run_and_is_named(built):
    run = built(*TINY, "stop.fitness=-50", "generations=500")
    outcome, _ = trained(run)
    assert outcome.reason.name == "fitness"
    assert outcome.progress.best_fitness >= -50
    assert outcome.score.generation == outcome.progress.generation < 500


def test_the_held_out_mean_ends_a_run_at_the_evaluation_that_reaches_it(built):
    outcome, reports = trained(built(*TINY, "stop.eval=-20", "generations=500"))
    scores = [report.score.mean for report in reports if report.score]
    assert outcome.reason.name == "eval"
    assert scores[-1] >= -20
    assert all(score < -20 for score in scores[:-1])
    assert outcome.progress.generation % 10 == 0


def test_seconds_end_a_run(built):
    ticks = iter(np.arange(0.0, 1e6, 10.0))
    outcome, _ = trained(
        built(*TINY, "stop.seconds=25", "generations=100000"), clock=lambda: next(ticks)
    )
    assert outcome.reason.name == "seconds"
    assert outcome.progress.seconds >= 25


def test_metrics_hold_one_line_a_generation_with_the_score_in_its_line(built, tmp_path):
    run = built(*TINY)
    with Metrics(tmp_path / "metrics.jsonl", 0, print) as metrics:
        advance_until(run.program, run.hyper, run.config, metrics.add)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["generation"] for line in lines] == list(range(1, 24))
    assert [line["generation"] for line in lines if line["eval_mean"] is not None] == [10, 20, 23]
    assert [line["evaluations"] for line in lines] == [8 * g for g in range(1, 24)]
    seconds = [line["wall_seconds"] for line in lines]
    assert seconds == sorted(seconds)


def test_metrics_behind_the_resumed_generation_are_removed_and_torn_lines_too(built, tmp_path):
    path = tmp_path / "metrics.jsonl"
    run = built(*TINY)
    with Metrics(path, 0, print) as metrics:
        advance_until(run.program, run.hyper, run.config, metrics.add)
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:15]) + whole[15][:30])
    said = []
    with Metrics(path, 12, said.append):
        pass
    assert path.read_bytes() == b"".join(whole[:12])
    with Metrics(path, 14, said.append):
        pass
    assert said == ["metrics.jsonl lacks 2 of the first 14 generations"]


class SlowProgram:
    """A device that takes its time on a clock of its own, while the host goes on."""

    def __init__(self, seconds):
        """`seconds`: (generation) -> what it takes."""
        self.now, self.busy_until, self.seconds, self.generation = 0.0, 0.0, seconds, 0
        self.prepare = lambda *arguments: None
        self.init = lambda hyper, seed: None
        self.evaluate = lambda hyper, seed, state: (state, np.zeros(2), {})

    def parts(self, hyper):
        return SimpleNamespace(strategy=SimpleNamespace(population_size=2))

    def advance(self, hyper, seed, state, stop):
        new = range(self.generation + 1, int(stop.generation) + 1)
        self.generation = int(stop.generation)
        self.busy_until = max(self.busy_until, self.now) + sum(map(self.seconds, new))
        until, program = self.busy_until, self

        class Done:
            def __int__(self):
                program.now = max(program.now, until)
                return len(new)

        rows = {"env_steps": np.tile([0, 1], (len(new), 1)), "fitness_best": np.ones(len(new))}
        return state, rows, Done(), Reached(np.zeros(0, bool), ())


@pytest.mark.parametrize(
    "seconds",
    [
        lambda g: 1.3,
        lambda g: 0.004,
        lambda g: 7.0,
        lambda g: 0.05 + g * 0.01,  # a policy learns to survive
        lambda g: 0.5 + 0.4 * (g % 2),
    ],
    ids=["seconds", "milliseconds", "longer", "growing", "uneven"],
)
@pytest.mark.parametrize("host", [0.0, 0.3])
@pytest.mark.parametrize("limit", [10, 25])
def test_a_time_limit_is_passed_by_one_generation_at_most(limit, host, seconds):
    program = SlowProgram(seconds)
    words = ("task=sphere", f"stop.seconds={limit}", "generations=1000000", "eval.every=1000000")
    config = checked(composed(list(words)).config)

    def report(progress):
        program.now += host

    outcome = advance_until(program, None, config, report, clock=lambda: program.now)
    begun = seconds(1) + host  # the first one, and the score before it, count as compiling
    trained = program.busy_until - begun
    assert outcome.reason.name == "seconds"
    assert outcome.progress.generation == program.generation
    assert trained - limit <= seconds(program.generation) + host
    assert outcome.progress.seconds >= limit


def test_nothing_is_there_to_be_saved_until_the_first_chunk_has_arrived(built):
    run, seen = built(*TINY), []

    @contextmanager
    def beginning(progress):
        seen.append(("begin", progress.generation))
        yield
        seen.append("arrived")

    def report(progress):
        seen.append(progress.generation)

    advance_until(run.program, run.hyper, run.config, report, beginning=beginning)
    assert seen[:4] == [("begin", 0), 0, "arrived", 1]
    assert seen.count("arrived") == 1
