"""Restarts: when a search ends by its own tests, another one begins, with more members or with
other ones.

IPOP doubles the population each time (Auger, Hansen: A Restart CMA Evolution Strategy With
Increasing Population Size, CEC 2005). BIPOP alternates that with short searches of small
populations and small steps, whichever of the two regimes has used fewer evaluations (Hansen:
Benchmarking a BI-Population CMA-ES on the BBOB-2009 Function Testbed, GECCO 2009). Small
populations are rounded to the default times a power of the square root of 2, so that a strategy
whose population is structure compiles few programs.

A restart is a host's affair. Populations of different sizes share a program as long as there is
room (see `esrun.training.rooms`); where there is none, or where the strategy cannot, another one is
another compiled program. Everything else of the training state goes on: generations, evaluations,
the best fitness. What the run reports is the best mean of all searches, on held-out episodes.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from esrun.backend import everywhere
from esrun.training import loop
from esrun.training.ahead import Ahead
from esrun.training.beginning import refuse_an_end_before_the_beginning
from esrun.training.build import Run, build
from esrun.training.loop import Outcome, Progress, Start
from esrun.training.program import SEARCH, stream
from esrun.training.score import scored
from esrun.training.stop import GENERATIONS, SIGNAL
from esrun.types import Incumbent, Moments, Reason, TrainState

EVALUATIONS = Reason("evaluations")
"""A search has used what it was allowed of its own."""


class Search(NamedTuple):
    """What distinguishes one search from the next."""

    population_size: int
    sigma: float
    evaluations: int | None
    """It may use so many, None for no limit of its own."""
    large: bool
    """Of the regime that doubles its population."""


def next_search(kind: str, default: Search, past: list[dict], seed: int) -> Search:
    """-> the search after those of `past`, each a dict of population_size, evaluations and large.

    The first is the `default`, and in neither budget: it belongs to no regime yet. A pure function
    of its arguments: a resumed run goes on with the same one.
    """
    if not past:
        return default
    larger = sum(search["large"] for search in past[1:])
    used = {
        large: sum(s["evaluations"] for s in past[1:] if s["large"] is large)
        for large in (True, False)
    }
    if kind == "ipop" or used[True] <= used[False]:
        return default._replace(population_size=default.population_size * 2 ** (larger + 1))
    u, v = np.random.default_rng([seed, len(past)]).random(2)
    last = [search for search in past if search["large"]][-1]
    growth = (last["population_size"] / default.population_size / 2) ** (u**2)
    rounded = 2 ** (round(2 * math.log2(growth)) / 2)
    return Search(
        population_size=int(default.population_size * rounded),
        sigma=default.sigma * 10 ** (-2 * v),
        evaluations=max(1, last["evaluations"] // 2),
        large=False,
    )


def search_until(
    run: Run,
    report: Callable[[Progress], None],
    *,
    start: Start | None = None,
    save: Callable[[TrainState, Progress, bool], None] = lambda state, progress, final: None,
    say: Callable[[str], None] = lambda line: None,
    **others: Any,
) -> Outcome:
    """Train, with the restarts that the strategy asks for; `say` is told of each.

    The other arguments and the result are those of `esrun.training.loop.advance_until`.
    """
    strategy, kind = run.config.strategy, run.config.strategy.restarting()

    def advance(now: Run, start: Start | None) -> Outcome:
        return loop.advance_until(
            *(now.program, now.hyper, now.config, report),
            start=start,
            save=save,
            **others,
        )

    if kind is None:
        return advance(run, start)

    p = run.parts.strategy.population_size
    default = Search(p, strategy.sigma, None, large=True)
    past = start.progress.searches if start else []
    search = next_search(kind, default, past, run.config.seed)
    # what ends with its first search needs no room for others
    ahead, now = Ahead(), searching(run, search, past) if past else run
    while True:
        if start is not None:
            if now.program.plan() is None:
                ahead.wait()
            doubled = sum(one["large"] for one in past[1:])
            if not search.large and doubled < strategy.max_restarts:  # a larger one will follow
                larger = next_search("ipop", default, past, run.config.seed)
                ahead.compile(searching(run, larger, past), start.state)
        outcome = advance(now, start)
        state, reason, progress = outcome.state, outcome.reason, outcome.progress
        if reason is GENERATIONS and progress.generation < run.config.generations:
            reason = EVALUATIONS
        if reason.final:
            return with_the_best(run, outcome)

        ended = search._asdict() | _how_it_ended(outcome._replace(reason=reason), past)
        past = [*past, ended]
        search = next_search(kind, default, past, run.config.seed)
        if sum(one["large"] for one in past[1:]) + search.large > strategy.max_restarts:
            return with_the_best(run, outcome)
        say(
            f"restart {len(past)}: {reason.name} after {ended['evaluations']} evaluations; the "
            f"next search has {search.population_size} members and sigma {search.sigma:.3g}"
        )
        now = searching(run, search, past)
        fresh = refreshed(now, state, len(past))
        start = Start(fresh, progress._replace(searches=past))


def _how_it_ended(outcome: Outcome, past: list[dict]) -> dict:
    progress, score = outcome.progress, outcome.score
    return {
        "evaluations": progress.evaluations - (past[-1]["until"] if past else 0),
        "until": progress.evaluations,
        "generation": progress.generation,
        "stop_reason": outcome.reason.name,
        "best_fitness": progress.best_fitness,
        "held_out": score and score.mean,
    }


def searching(run: Run, search: Search, past: list[dict]) -> Run:
    """-> the run with the search's own numbers. Only `advance` depends on how many members its
    arrays have room for."""
    config, first = run.config, run.parts.strategy.population_size
    changes: dict[str, Any] = {"sigma": search.sigma}
    if search.population_size != first:
        changes["population_size"] = search.population_size
    generations = config.generations
    if search.evaluations is not None:
        began = past[-1]["generation"] if past else 0
        own = began + math.ceil(search.evaluations / search.population_size)
        generations = min(generations, own)
    strategy = config.strategy.model_copy(update=changes)
    others = config.model_copy(update={"strategy": strategy, "generations": generations})
    # the state lies where it is
    built = build(others, begins=False, least=first, where=run.local_devices)
    shared: dict[str, Any] = {"init": run.program.init, "evaluate": run.program.evaluate}
    if built.program.plan() is not None or built.program.advance is not run.program.advance:
        shared["prepare"] = lambda *arguments: None  # they are compiled, `advance` may not be
    return built._replace(program=built.program._replace(**shared))


def state_at(
    run: Run, mean: np.ndarray, normalizer: Moments | None, references: np.ndarray | None
) -> TrainState:
    """-> the first state of a search around a `mean` [n], with the moments of a `normalizer` and
    the `references` where they are given. Raises ValueError where it would end the run."""
    program, seed = run.program, jnp.uint32(run.config.seed)
    fresh = program.init(run.hyper, seed)

    @jax.jit
    def begun(hyper, seed, mean):
        return program.parts(hyper).strategy.init(stream(seed, SEARCH), mean)

    def like(x, other):
        return jnp.asarray(x, other.dtype)

    state = fresh._replace(strategy=begun(run.hyper, seed, like(mean, fresh.strategy.mean)))
    if fresh.incumbent is not None:
        state = state._replace(incumbent=fresh.incumbent._replace(mean=state.strategy.mean))
    if fresh.normalizer is not None and normalizer is not None:
        state = state._replace(normalizer=jax.tree.map(like, normalizer, fresh.normalizer))
    if fresh.references is not None and references is not None:
        state = state._replace(references=like(references, fresh.references))
    state = everywhere.replicated(run.local_devices, state)
    refuse_an_end_before_the_beginning(run.config, program, run.hyper, state)
    return state


def refreshed(run: Run, state: TrainState, number: int) -> TrainState:
    """-> the state with the strategy's own begun anew, from another first policy; its mean stays if
    it is the best."""
    seed = np.random.SeedSequence([run.config.seed, number]).generate_state(1)[0]
    fresh = run.program.init(run.hyper, jnp.uint32(seed))
    return state._replace(
        strategy=fresh.strategy,
        held_out=fresh.held_out,
        barren=fresh.barren,
        incumbent=better(state),
    )


def better(state: TrainState) -> Incumbent:
    """-> the present mean or the incumbent, whichever scored higher on held-out episodes."""
    assert state.incumbent is not None
    present = Incumbent(state.strategy.mean, state.held_out)
    beats = jnp.isfinite(present.held_out) & (present.held_out > state.incumbent.held_out)
    return present if beats else state.incumbent


def tested(run: Run, outcome: Outcome) -> Outcome:
    """-> the outcome with the score of its mean policy on the task's test part, where it has one
    and the run is done."""
    task = run.parts.task
    if task.test is None or outcome.score is None or outcome.reason is SIGNAL:
        return outcome
    assert run.program.test is not None
    seed = np.uint32(run.config.seed)
    _, returns, measures = run.program.test(run.hyper, seed, outcome.state)
    return outcome._replace(test=scored(outcome.progress.generation, returns, measures))


def with_the_best(run: Run, outcome: Outcome) -> Outcome:
    """-> the outcome with the best mean of all searches."""
    best = better(outcome.state)
    if best.mean is outcome.state.strategy.mean:
        return outcome
    state = outcome.state._replace(strategy=outcome.state.strategy._replace(mean=best.mean))
    state, returns, measures = run.program.evaluate(run.hyper, jnp.uint32(run.config.seed), state)
    score = outcome.score and scored(outcome.progress.generation, returns, measures)
    return outcome._replace(state=state, score=score)
