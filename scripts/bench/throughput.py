"""(n) Pendulum and OpenAI-ES by population on every kind of device that is here: run time and
compile time, against evosax; one line is Gymnasium's own loop, a step at a time on one core."""

from measure import Options, Table, in_turn
from rollout import NOTES, compared
from worker import Worker, WorkerError

from esrun.config.compose import composed

POPULATIONS = (16, 64, 256, 1024, 4096, 16384)
ONE_BY_ONE = (
    "gymnasium: one episode after another on one core, the network in NumPy, no strategy: what a "
    "loop in Python makes of the same environment"
)


def throughput(options: Options) -> Table:
    """A row a population, side and kind of device; `--episodes` of a member, the task's own unless
    it is said."""
    notes, rows = [*NOTES, ONE_BY_ONE], []
    episodes = [] if options.episodes is None else [f"task.episodes={options.episodes}"]
    words = ["task=pendulum", "strategy=openai_es", *episodes]
    for platform in platforms():
        for p in options.populations or options.size(POPULATIONS, (4, 8)):
            sized = [*words, f"strategy.population_size={p}"]
            rows += compared(sized, options.in_round(10), options, notes, platform)
    rows += one_by_one(words, options, notes)
    return Table("Pendulum by population and device, against evosax", notes, rows)


def platforms() -> list[str | None]:
    """-> JAX's first choice of devices, and the CPU behind it where that is another."""
    with Worker([{"program": "esrun_program", "config": composed([]).config}]) as worker:
        first = worker.environment["devices"][0]
    return [None] if first.startswith("cpu") else [None, "cpu"]


def one_by_one(words: list[str], options: Options, notes: list[str]) -> list[dict]:
    """-> the row of Gymnasium's loop, none where it cannot be made."""
    config = composed(words).config
    steps = options.size(config["task"]["episode_length"] * 20, 20)
    try:
        with Worker([{"program": "gymnasium_program", "config": config}]) as worker:
            timing = in_turn({"gymnasium": worker.turn(steps)}, options)["gymnasium"]
    except WorkerError as error:
        notes.append(f"gymnasium left out: {error}")
        return []
    return [
        {
            "task": config["task"]["env"],
            "members": 1,
            "side": "gymnasium",
            "device": "a core",
            "env steps/s": steps / timing.median,
            "seconds": timing.seconds,
        }
    ]
