"""(n) Workers that come and go: a small run on Ray beside the same one without; stubs that sleep a
known time, on a real cluster; and a model of many more, which is held against the stubs.

Stubs and model are handed their blocks by esrun's own crew and ledger (see `far_model`).
"""

import statistics
import time
from contextlib import suppress
from importlib.util import find_spec

from far_cluster import a_cluster, measured_links, stubs
from far_model import Hand, Link, Shape, simulated
from measure import Options, Table, in_turn
from worker import Worker, WorkerError

from esrun.config.compose import composed

RUN = (
    *("task=pendulum", "strategy=openai_es", "strategy.population_size=104", "task.episodes=20"),
    *("policy.hidden=[48]", "runtime.population_chunk=26"),
)
LARGE = (
    *("task=sphere", "task.dimension=100000", "strategy=openai_es"),
    *("strategy.population_size=960", "runtime.population_chunk=48"),
)
SLEPT = 0.2
"""Seconds of a generation of stubs."""
NOTES = [
    "ideal: the same work by so many workers without an engine (a run's: without Ray, on the same "
    "cores); overhead: what a generation takes more; efficiency: ideal / taken",
    "stubs: Ray's actors that sleep, all on this machine's cores; a state of 3 KB",
    "model ÷: the overhead that the model has for the same, fed with round trips to the stubs",
    "recovery: what a generation takes longer in which a worker dies; until a machine that joins "
    "is at work",
    "model: generations of 1 s, 10,000 parameters with Adam's moments, a network of 10 Gbit/s, "
    "what a message costs this machine's process, and what the scheduling takes of its processor",
    "deaths: each lives 1,000 s on average; stragglers: one answer in a hundred takes five times "
    "as long; slow links: one worker in four at 10 Mbit/s and 50 ms",
]


def far(options: Options) -> Table:
    """Runs, stubs, and the model of 100, 1,000 and 10,000 workers."""
    notes, here, away = list(NOTES), None, Link(3e-4, 1e-4, 0.0, 8e-4)
    rows = []
    if find_spec("ray"):
        rows += runs(options)
        links, measured = beside_stubs(options)
        rows += measured + joins(options)
        here, away = links
        notes.append(f"messages: {in_words(here)}; where workers are elsewhere: {in_words(away)}")
    else:
        notes.append("runs and stubs left out: ray is not installed: pip install 'esrun[ray]'")
    rows += modelled(away._replace(rate=min(away.rate, 1.25e9)), options)
    return Table("Workers that come and go", notes, rows)


def in_words(link: Link) -> str:
    """-> what messages cost, for a note."""
    ms = [f"{1e3 * x:.2f}" for x in (link.ask, link.hear, link.way)]
    return f"{ms[0]} ms to ask, {ms[1]} to hear, {ms[2]} each way, {link.rate / 1e6:.0f} MB/s"


def row(what: str, count: int, each: int | None, ideal: float, took: list[float], **more) -> dict:
    """-> a row; seconds."""
    taken = statistics.median(took)
    return {
        "what": what,
        "workers": count,
        "blocks each": each,
        "ideal ms": 1e3 * ideal,
        "ms": 1e3 * taken,
        "overhead ms": 1e3 * (taken - ideal),
        "efficiency %": 100 * ideal / taken,
        "model ÷": None,
        "KB": None,
        "recovery s": None,
        **more,
        "raw": took,
    }


# ---- runs ----------------------------------------------------------------------------------------


def runs(options: Options) -> list[dict]:
    """-> a row for runs without Ray, with one worker, with two; and for one with large updates, of
    which everybody makes all or the two workers a share."""
    words = [*RUN[:-1], *options.size(RUN[-1:], ["runtime.population_chunk=26", "task.episodes=1"])]
    small = {"pendulum, local": (0, True), "pendulum, Ray": (1, True), "pendulum, Ray ": (2, True)}
    found = beside_local(words, small, options.in_round(20), options)
    words = [*LARGE[:1], *options.size(LARGE[1:2], ["task.dimension=1000"]), *LARGE[2:]]
    large = {
        "large updates, local": (0, True),
        "large updates, Ray, each makes all": (2, False),
        "large updates, Ray, shared": (2, True),
    }
    return found + beside_local(words, large, options.in_round(5), options)


def beside_local(
    words: list[str], sides: dict[str, tuple[int, bool]], generations: int, options: Options
) -> list[dict]:
    """-> a row for every side (workers, whether they share sums), the first one without Ray."""
    workers = {}
    try:
        for side, (count, shares) in sides.items():
            config = composed(words).config
            config["runtime"] |= {"engine": "ray", "workers": count} if count else {}
            workers[side] = Worker([{"program": "far_program", "config": config, "shares": shares}])
        times = in_turn({side: one.turn(generations) for side, one in workers.items()}, options)
        took = {side: [x / generations for x in times[side].seconds] for side in sides}
        ideal = statistics.median(took[next(iter(sides))])
        return [
            row(side.strip(), count, None, ideal, took[side],
                KB=workers[side].facts()["bytes"] / 1e3)
            for side, (count, _) in sides.items()
        ]  # fmt: skip
    finally:
        for one in workers.values():
            one.__exit__()


# ---- stubs ---------------------------------------------------------------------------------------


def beside_stubs(options: Options) -> tuple[tuple[Link, Link], list[dict]]:
    """-> (what messages cost, a row for every number of stubs, with what the model says of it)."""
    counts, rows = options.size((4, 8, 32), (2,)), []
    with a_cluster(counts[-1]):
        with stubs(counts[-1], [0.0], Shape(counts[-1])) as search:
            links = measured_links(search)

        def compared(what: str, count: int, each: int, seconds: list[float]) -> None:
            shape, speed = Shape(count * each), sum(1 / x for x in seconds) * count / len(seconds)
            with stubs(count, seconds, shape) as search:
                took = [search.generation() for _ in range(options.size(30, 3))]
                moved = search.crew.news()[2] / len(took)
            told, _ = simulated(
                count, shape, links[0], lambda who: Hand(seconds[(who - 1) % len(seconds)]), 10
            )
            one = row(what, count, each, shape.blocks / speed, took, KB=moved / 1e3)
            ideal = one["ideal ms"]
            one["model ÷"] = (1e3 * statistics.median(told) - ideal) / one["overhead ms"]
            rows.append(one)

        for count in counts:
            for each in (1, 4):
                compared("stubs", count, each, [SLEPT / each])
        compared("a fast and a slow stub", 2, 32, [SLEPT / 32, SLEPT / 8])
        rows.append(a_death())
    return links, rows


def a_death() -> dict:
    """-> the row of a generation in which one of four stubs dies."""
    shape, each, dies = Shape(16), SLEPT / 4, 10
    with stubs(4, [each], shape, dies=(0, dies)) as search:
        took = [search.generation() for _ in range(dies + 1)]
        lost = search.crew.lost
    if lost != 1:
        raise WorkerError("a stub was to die")
    usual, longest = statistics.median(took), max(took)
    return row("stubs, one dies", 4, 4, 4 * each, [longest], **{"recovery s": longest - usual})


def joins(options: Options) -> list[dict]:
    """-> the row of a machine that joins two stubs."""
    with a_cluster(2) as another, stubs("auto", [SLEPT / 4], Shape(12)) as search:
        began, crew = time.monotonic(), search.crew
        process = another(1)
        while len(crew.ready) < 3 and time.monotonic() - began < 60.0:
            search.generation()
        until = time.monotonic() - began
        took = [search.generation() for _ in range(3)]
        with suppress(ProcessLookupError):
            process.terminate()
    return [row("stubs, a machine joins", 3, 4, SLEPT, took, **{"recovery s": until})]


# ---- the model -----------------------------------------------------------------------------------

NUMBERS, MEMBERS = 30_000, 8
SITUATIONS = {
    "calm": lambda each: lambda who: Hand(each),
    "deaths": lambda each: lambda who: Hand(each, lives=1000.0),
    "stragglers": lambda each: lambda who: Hand(each, straggles=0.01),
    "slow links": lambda each: lambda who: Hand(each, 0.05, 1.25e6) if who % 4 == 0 else Hand(each),
}


def modelled(link: Link, options: Options) -> list[dict]:
    """-> a row for every number of workers and situation."""
    rows = []
    for count, generations in options.size({100: 40, 1000: 10, 10_000: 3}, {10: 2}).items():
        for name, each in [("calm", 1), *((name, 4) for name in SITUATIONS)]:
            shape, hand = Shape(count * each, MEMBERS, NUMBERS), SITUATIONS[name](1 / each)
            took, crew = simulated(count, shape, link, hand, generations)
            moved = crew.news()[2] / len(took) / 1e3
            recovery = max(took) - statistics.median(took) if crew.lost else None
            rows.append(
                row(f"model, {name}", count, each, 1.0, took, KB=moved, **{"recovery s": recovery})
            )
    return rows
