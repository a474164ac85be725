"""(l) Environments that processes step: a generation beside the same processes stepping random
actions alone."""

import time

import numpy as np
from measure import Options, Table, in_turn, ratio

from esrun.config.check import checked
from esrun.config.compose import composed
from esrun.tasks.simulators import together
from esrun.training.build import build
from esrun.training.hosted import pool_of
from esrun.training.slices import plan_blocks
from esrun.training.stop import stop_at

NOTES = [
    "random: the same episodes in the same blocks, with actions that are drawn beforehand, and "
    "nothing of a policy or a strategy",
    "share: env steps a second of a generation, of those with random actions alone",
]
RUNS = [
    ["task.env=HalfCheetah-v5", "strategy=ars", "strategy.population_size=64", "policy=linear"],
    ["task.env=HalfCheetah-v5", "strategy=openai_es", "strategy.population_size=64", "policy=mlp"],
    ["task.env=CartPole-v1", "strategy=openai_es", "strategy.population_size=64", "policy=mlp"],
]


def hosted(options: Options) -> Table:
    """64 members, an episode each."""
    size = options.size([], ["strategy.population_size=8", "strategy.parents=2"])
    rows = [row for words in RUNS for row in compared([*words, *size], options)]
    return Table("Environments that processes step", NOTES, rows)


def compared(words: list[str], options: Options) -> list[dict]:
    """-> a row."""
    known = [x for x in words if "parents" not in x or "strategy=ars" in words]
    length = options.size(1000, 20)
    run = build(
        checked(composed(["task=gymnasium", f"task.episode_length={length}", *known]).config)
    )
    seed, hyper, program = np.uint32(0), run.hyper, run.program
    parts = program.parts(hyper)
    blocks = plan_blocks(parts, run.local_devices, "auto")
    state = program.init(hyper, seed)
    pool = pool_of(parts.task.simulators, "auto")
    action = parts.task.simulators.action
    draws = [action.sample() for _ in range(blocks.size)]
    taken = np.stack(draws)

    def generation(first: bool) -> float:
        began = time.perf_counter()
        _, rows, *_ = program.advance(hyper, seed, state, stop_at(run.config, 1))
        high, low = map(int, rows["env_steps"][0])
        return (time.perf_counter() - began) / ((high << 32) + low)

    def random(first: bool) -> float:
        seeds, real = np.arange(blocks.size, dtype=np.uint64), np.ones(blocks.size, bool)
        began = time.perf_counter()
        played = together(
            [lambda n: pool.play(n, seeds, real, lambda *_: (taken, None))] * blocks.count
        )
        return (time.perf_counter() - began) / sum(int(x.steps.sum()) for x in played)

    times = in_turn({"esrun": generation, "random": random}, options)
    return [
        {
            "environment": run.config.task.env,
            "strategy": run.config.strategy.name,
            "policy": run.config.policy.name,
            "workers": pool.workers.count,
            "esrun, steps/s": 1 / times["esrun"].median,
            "random, steps/s": 1 / times["random"].median,
            "share": ratio(times["random"], times["esrun"]),
            "raw": times["esrun"].seconds + times["random"].seconds,
        }
    ]
