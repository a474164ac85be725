"""(e) One device against several: the same training on 1, 2, 4 ... of the devices that JAX sees
here."""

from measure import Options, Table, in_turn, ratio
from worker import Worker

from esrun.config.compose import composed

NOTES = [
    "same members in all; speed-up: over one device, in turn in one process; on a CPU host a "
    "device is a core"
]


def scaling(options: Options) -> Table:
    """Pendulum, 100 members, with both strategies."""
    size = options.size([], ["task.episodes=2", "strategy.population_size=10"])
    rows = []
    for strategy in ("openai_es", "cma_es"):
        overrides = ["task=pendulum", f"strategy={strategy}", "strategy.population_size=100", *size]
        rows += compared(overrides, strategy, options.in_round(20), options)
    return Table("One device against several", NOTES, rows)


def compared(overrides: list[str], strategy: str, generations: int, options: Options) -> list[dict]:
    """-> a row for each number of devices."""
    with Worker([spec(overrides, "auto")]) as worker:
        most = len(worker.environment["devices"])
    counts = [2**i for i in range(most.bit_length()) if 2**i < most] + [most]
    with Worker([spec(overrides, count) for count in counts]) as worker:
        timings = in_turn(
            {count: worker.turn(generations, i) for i, count in enumerate(counts)}, options
        )
        steps = worker.facts()["env_steps"]
    return [
        {
            "strategy": strategy,
            "devices": count,
            "kind": worker.environment["devices"][0],
            "first s": timing.first,
            "ms a generation": 1e3 * timing.median / generations,
            "env steps/s": generations * steps / timing.median,
            "speed-up": None if count == 1 else ratio(timings[1], timing),
            "generations": generations,
            "seconds": timing.seconds,
        }
        for count, timing in timings.items()
    ]


def spec(overrides: list[str], devices: int | str) -> dict:
    """-> esrun's program on so many devices."""
    return {
        "program": "esrun_program",
        "config": composed([*overrides, f"runtime.devices={devices}"]).config,
    }
