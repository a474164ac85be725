"""(c) Large networks: OpenAI-ES on sine prediction with two wide hidden layers, with fresh noise, a
noise table and low-rank perturbations; parameters x members a second and the peak memory of the
process, each in one of its own.

Both sides evaluate with esrun's task and policy; strategy, memory and devices are theirs.
"""

from measure import Options, Table, in_turn, ratio
from worker import open_all

from esrun.config.compose import composed

SIZES = [(256, 256), (1024, 256)]
"""(width of both hidden layers, members)."""

SIDES = {
    "esrun": ("esrun", []),
    "esrun, table": ("esrun", ["strategy.noise=table"]),
    "esrun, eggroll": ("esrun", ["strategy=eggroll"]),
    "evosax": ("evosax", []),
}
"""name: (whose program, its overrides)"""

NOTES = [
    "two hidden layers on the sine task (batches of 64 sequences), OpenAI-ES; evaluation is "
    "esrun's on both sides",
    "peak MB: the whole process on the host; peak device MB: JAX's own account, on accelerators",
    "arrays MB, predicted MB: what esrun held beyond Python, libraries and compiler, and what its "
    "plan said",
    "esrun ×: how many times longer a generation takes than esrun's",
]


def large(options: Options) -> Table:
    """Every size, in turn."""
    notes, rows = list(NOTES), []
    for width, p in options.size(SIZES, [(64, 16)]):
        rows += compared(width, p, options, notes)
    return Table("Large networks", notes, rows)


def compared(width: int, p: int, options: Options, notes: list[str]) -> list[dict]:
    """-> a row for each side."""
    work = [
        "task=sine",
        "strategy=openai_es",
        f"strategy.population_size={p}",
        f"policy.hidden=[{width},{width}]",
    ]
    generations = options.in_round(1)
    specs = {
        name: {"program": f"{program}_program", "config": composed([*work, *overrides]).config}
        for name, (program, overrides) in SIDES.items()
    }
    with open_all(specs, notes.append) as workers:
        timings = in_turn(
            {name: worker.turn(generations) for name, worker in workers.items()}, options
        )
        facts = {name: worker.facts() for name, worker in workers.items()}
    return [
        {
            "n": facts[name]["parameters"],
            "p": p,
            "side": name,
            "devices": facts[name]["devices"],
            "first s": timing.first,
            "seconds a generation": timing.median / generations,
            "parameters × members/s": facts[name]["parameters"] * p * generations / timing.median,
            "peak MB": facts[name]["peak_mb"],
            "peak device MB": facts[name].get("device_peak_mb"),
            "arrays MB": facts[name].get("held_mb"),
            "predicted MB": facts[name].get("predicted_mb"),
            "esrun ×": None if name == "esrun" else ratio(timing, timings["esrun"]),
            "generations": generations,
            "seconds": timing.seconds,
        }
        for name, timing in timings.items()
    ]
