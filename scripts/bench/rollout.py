"""(a) Training on environments: env steps a second of esrun and of evosax with its GymnaxProblem.

Every round repeats the same generations from the same state. An env step counts until its episode's
first end, on both sides; esrun stops when all episodes of a generation have ended, evosax goes on
to the episode's length.
"""

from measure import Options, Table, Timing, in_turn, ratio
from worker import open_all

from esrun.config.compose import composed

NOTES = [
    "evosax: its strategy and GymnaxProblem in one compiled scan, on one device as it ships; no "
    "input normalisation on "
    "either side",
    "env steps count up to an episode's first end; 'lived' is their share of members x episodes x "
    "episode length",
    "first: tracing, compiling and running the first round; compile: what of it is beyond the "
    "median round; esrun ×: how many times more env steps a second esrun makes",
]

RUNS = [
    (["task=pendulum", "strategy=openai_es"], 20),
    (["task=pendulum", "strategy=cma_es"], 20),
    (["task=cartpole", "strategy=openai_es"], 20),
    (["task=acrobot", "strategy=openai_es"], 5),
    (["task=breakout", "strategy=openai_es"], 3),
    (["task=memory_chain", "policy.normalize_input=false", "strategy=openai_es"], 100),
]
"""Overrides and the generations of a round."""


def rollout(options: Options) -> Table:
    """100 members; episodes, their length and the network as the task's option has them."""
    notes, rows = list(NOTES), []
    size = options.size([], ["task.episodes=2", "strategy.population_size=10"])
    for overrides, generations in RUNS:
        overrides = [*overrides, "strategy.population_size=100", *size]
        rows += compared(overrides, options.in_round(generations), options, notes)
    return Table("Environments, against evosax", notes, rows)


def compared(
    overrides: list[str],
    generations: int,
    options: Options,
    notes: list[str],
    platform: str | None = None,
) -> list[dict]:
    """-> a row for esrun and one for evosax, on JAX's first choice of devices or on those of
    `platform`."""
    config = composed(overrides).config
    task, strategy = config["task"], config["strategy"]
    most = strategy["population_size"] * task["episodes"] * task["episode_length"]
    specs = {name: {"program": f"{name}_program", "config": config} for name in ("esrun", "evosax")}
    with open_all(specs, notes.append, platform) as workers:
        timings = in_turn(
            {name: worker.turn(generations) for name, worker in workers.items()}, options
        )
        facts = {name: worker.facts() for name, worker in workers.items()}
        kinds = {name: worker.environment["devices"][0] for name, worker in workers.items()}

    def row(name: str, timing: Timing) -> dict:
        steps = facts[name]["env_steps"]
        own, other = facts["esrun"]["env_steps"], timings["esrun"]
        return {
            "task": task["env"],
            "strategy": strategy["name"],
            "network": config["policy"]["name"],
            "members": strategy["population_size"],
            "episodes": task["episodes"],
            "length": task["episode_length"],
            "side": name,
            "device": kinds[name],
            "devices": facts[name]["devices"],
            "first s": timing.first,
            "compile s": timing.first - timing.median,
            "ms a generation": 1e3 * timing.median / generations,
            "env steps/s": generations * steps / timing.median,
            "lived": steps / most,
            "esrun ×": None if name == "esrun" else ratio(timing, other, scale=own / steps),
            "generations": generations,
            "seconds": timing.seconds,
        }

    return [row(name, timing) for name, timing in timings.items()]
