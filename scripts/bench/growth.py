"""(f) How the cost of a generation grows: one size doubled five times, everything else as it was.

The exponent is the slope of log time over log size, by least squares over all six points and for
the last doubling.
"""

from math import log

import numpy as np
from measure import Options, Table, in_turn
from worker import Worker

from esrun.config.compose import composed

DOUBLINGS = 5
SECONDS = 0.5
"""About the length of a round."""

PENDULUM = ["task=pendulum", "strategy=openai_es"]
GROWING = [
    ("population", "strategy.population_size", 64, PENDULUM),
    ("episodes", "task.episodes", 4, [*PENDULUM, "strategy.population_size=64"]),
    ("hidden width", "policy.hidden", 16, [*PENDULUM, "strategy.population_size=64"]),
    ("parameters, CMA-ES", "task.dimension", 32, ["task=sphere", "strategy=cma_es"]),
    ("parameters, OpenAI-ES", "task.dimension", 4096, ["task=sphere", "strategy=openai_es"]),
]
"""What grows, its key, its first value, the rest of the configuration."""

NOTES = [
    "esrun alone, all sizes in turn; population, episodes and width on pendulum with OpenAI-ES, "
    "parameters on the "
    "sphere function",
    "exponent: of the size, in a generation's time, over all sizes; last: over the last doubling",
]


def growth(options: Options) -> Table:
    """Each of GROWING."""
    rows = []
    for what, key, first, overrides in GROWING:
        values = [first * 2**i for i in range(options.size(DOUBLINGS, 2) + 1)]
        rows += grown(what, key, values, overrides, options)
    return Table("Cost as the work grows", NOTES, rows)


def grown(
    what: str, key: str, values: list[int], overrides: list[str], options: Options
) -> list[dict]:
    """-> a row for each value of the key."""
    configs = [
        composed([*overrides, f"{key}={[v] if key == 'policy.hidden' else v}"]).config
        for v in values
    ]
    with Worker([{"program": "esrun_program", "config": config} for config in configs]) as worker:
        firsts = [worker.turn(1, i)(True) for i in range(len(values))]
        lengths = [options.in_round(length(worker.turn(1, i)(False))) for i in range(len(values))]
        timings = in_turn({v: worker.turn(lengths[i], i) for i, v in enumerate(values)}, options)
        facts = [worker.facts(i) for i in range(len(values))]
    times = [timings[v].median / k for v, k in zip(values, lengths, strict=True)]
    slope = float(np.polyfit(np.log(values), np.log(times), 1)[0])
    ends = {"exponent": slope, "last": log(times[-1] / times[-2]) / log(2)}
    return [
        {
            "what": what,
            "size": value,
            "n": facts[i]["parameters"],
            "first s": firsts[i],
            "ms a generation": 1e3 * times[i],
            "env steps/s": facts[i]["env_steps"] / times[i],
            **(ends if i == len(values) - 1 else dict.fromkeys(ends)),
            "generations": lengths[i],
            "seconds": timings[value].seconds,
        }
        for i, value in enumerate(values)
    ]


def length(seconds: float) -> int:
    """-> the generations that fill a round, when one takes `seconds`."""
    return max(1, min(500, int(SECONDS / seconds)))
