"""Environments that processes step: as gymnasium's own loop does it, whatever happens to them."""

import json
import os
import signal
import tempfile
from pathlib import Path

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from esrun.backend.workers import BUFFER, LostError, Workers
from esrun.config.check import checked
from esrun.config.compose import composed
from esrun.results.policy import load
from esrun.tasks.gymnasium import make_gymnasium, spaces_of
from esrun.tasks.simulators import Pool, Simulators, together
from esrun.tasks.stepping import as_sent, leaves, made
from esrun.training import build as building
from esrun.training.hosted import pool_of, seeds_of
from esrun.training.pieces import Pieces
from esrun.training.stop import stop_at

OPTIONS = {
    "env_params": {}, "episodes": 2, "episode_length": 30, "action": "clip",
    "reward_offset": None, "alive_bonus": None,
}  # fmt: skip
SMALL = ["task=gymnasium", "strategy=openai_es", "strategy.population_size=6",
         "task.episode_length=30", "policy.hidden=[4]", "eval.episodes=3",
         "task.episodes=2"]  # fmt: skip


@pytest.fixture
def pool():
    """-> (env, workers, ...) -> what steps it; its processes end with the test."""
    made_here = []

    def make(env, count=2, **options):
        task = make_gymnasium(env=env, **OPTIONS | options)
        made_here.append(Pool(task.simulators, count))
        return made_here[-1]

    yield make
    for one in made_here:
        one.workers.close()


def ended(pool, seeds, actions, **more):
    """-> the episodes of some seeds at their end, in which actions [t, k, ...] are taken."""
    step = iter(range(10**6))

    def act(observations, alive, kept):
        t = 0 if kept is None else kept
        next(step)
        return actions[t], t + 1

    real = np.ones(len(seeds), bool)
    (played,) = together([lambda n: pool.play(n, np.asarray(seeds, np.uint64), real, act, **more)])
    return played


def by_hand(env, seed, actions, length, **params):
    """-> (return, steps, whether it has ended by itself) of gymnasium's own loop."""
    one = gymnasium.make(env, max_episode_steps=length, **params)
    one.reset(seed=seed)
    total, steps = 0.0, 0
    for action in actions:
        _, reward, terminated, truncated, _ = one.step(as_sent(one.action_space, action))
        total, steps = total + float(reward), steps + 1
        if terminated or truncated:
            break
    return total, steps, terminated


def drawn(env, length, count):
    rng = np.random.default_rng(7)
    space = gymnasium.make(env).action_space
    shape = (length, count, *(space.shape or ()))
    if isinstance(space, gymnasium.spaces.Discrete):
        return rng.integers(space.n, size=shape)
    return rng.uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize(
    "env", ["CartPole-v1", "MountainCarContinuous-v0", "FrozenLake-v1", "Hopper-v5", "Swimmer-v5"]
)
@pytest.mark.parametrize("workers", [1, 3])
def test_episodes_are_those_of_gymnasiums_own_loop(pool, env, workers):
    seeds = [3, 2**40 + 1, 5, 8, 13]
    actions = drawn(env, 30, len(seeds))
    played = ended(pool(env, workers), seeds, actions)
    for i, seed in enumerate(seeds):
        total, steps, terminated = by_hand(env, seed, actions[:, i], 30)
        assert (played.steps[i], played.terminated[i]) == (steps, terminated)
        assert played.totals[i] == pytest.approx(total, rel=1e-12)


def test_episodes_of_the_same_pool_do_not_depend_on_those_before(pool):
    one, actions = pool("Hopper-v5"), drawn("Hopper-v5", 30, 4)
    first = ended(one, [1, 2, 3, 4], actions)
    ended(one, [5, 6, 7, 8], -actions)
    again = ended(one, [1, 2, 3, 4], actions)
    np.testing.assert_array_equal(first.totals, again.totals)


def test_what_training_pays_more(pool):
    task = make_gymnasium(
        env="CartPole-v1", **OPTIONS | {"reward_offset": 0.5, "alive_bonus": -1.0}
    )
    one, actions = pool("CartPole-v1"), np.ones((30, 2), int)
    plain, paid = (ended(one, [1, 2], actions, paid=x) for x in (None, task.simulators.paid))
    assert plain.terminated.all()
    np.testing.assert_allclose(paid.totals, plain.totals + 0.5 * plain.steps - (plain.steps - 1))


@pytest.mark.parametrize("when", [0, 3, 11])
def test_episodes_whose_worker_dies_are_played_again(pool, when):
    one, actions, killed = pool("Hopper-v5"), drawn("Hopper-v5", 30, 4), []

    def act(observations, alive, kept):
        t = 0 if kept is None else kept
        if t == when and not killed:
            os.kill(one.workers._workers[1].process.pid, signal.SIGKILL)
            killed.append(t)
        return actions[t], t + 1

    def played(number):
        return one.play(number, np.arange(4, dtype=np.uint64), np.ones(4, bool), act)

    sets = together([played, played])
    assert killed
    expected = ended(pool("Hopper-v5"), range(4), actions)
    for found in sets:
        np.testing.assert_array_equal(found.totals, expected.totals)


def test_a_set_whose_beginning_was_lost_with_the_other_sets_worker_begins_again(pool):
    one, actions = pool("Hopper-v5"), drawn("Hopper-v5", 30, 4)

    def act(observations, alive, kept):
        t = 0 if kept is None else kept
        return actions[t], t + 1

    seeds, real = np.arange(4, dtype=np.uint64), np.ones(4, bool)
    sets = [one.play(number, seeds, real, act) for number in range(2)]
    for piece in sets:
        next(piece)  # both have asked for their beginnings
    (victim, *_) = one.workers._workers
    victim.process.kill()
    victim.process.wait()
    found = together([lambda number, piece=piece: piece for piece in sets])
    expected = ended(pool("Hopper-v5"), range(4), actions)
    for played in found:
        np.testing.assert_array_equal(played.totals, expected.totals)


CUT = """
import sys
from multiprocessing.connection import Connection
connection = Connection(int(sys.argv[1]))
connection.recv_bytes()
connection._send((1000).to_bytes(4, "big") + b"o" * 100)
"""


def test_a_worker_that_dies_within_an_answer_is_lost(tmp_path, monkeypatch):
    (tmp_path / "cutting.py").write_text(CUT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    workers = Workers("cutting", {}, 1)
    workers.ask([b"?"])
    with pytest.raises(LostError):
        workers.answers(1)


@pytest.mark.slow
def test_questions_and_answers_may_be_larger_than_a_socket_holds():
    size = 3 * BUFFER // 4
    module = (
        "import gymnasium, numpy as np\n"
        "class Wide(gymnasium.Env):\n"
        f"    observation_space = action_space = gymnasium.spaces.Box(-1, 1, ({size},))\n"
        "    def reset(self, *, seed=None, options=None):\n"
        f"        return np.zeros({size}, np.float32), {{}}\n"
        "    def step(self, a): return a, 1.0, False, False, {}\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "wide_env.py").write_text(
            module + "gymnasium.register('Wide-v0', entry_point=Wide)\n"
        )
        order = {"env": "wide_env:Wide-v0", "params": {}, "length": 3, "beside": folder}
        space = gymnasium.spaces.Box(-1, 1, (size,))
        one = Pool(Simulators(order, space, space, lambda x: x[0], 3, None), 1)

        def act(observations, alive, kept):
            return np.zeros((2, size), np.float32), 0

        seeds, real = np.arange(2, dtype=np.uint64), np.ones(2, bool)
        played = together([lambda number: one.play(number, seeds, real, act)] * 2)
        assert [x.steps.tolist() for x in played] == [[3, 3], [3, 3]]
        one.workers.close()


def test_what_is_observed_otherwise_than_said_is_told(pool):
    one = pool("CartPole-v1")
    space = gymnasium.spaces.Box(-1, 1, (3,))
    code = (
        "import gymnasium.envs.classic_control.cartpole as c, gymnasium\n"
        "class Wrong(c.CartPoleEnv):\n"
        "    def reset(self, **more): return super().reset(**more)[0][:3], {}\n"
        "gymnasium.register('Wrong-v0', entry_point=Wrong)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "wrong_env.py").write_text(code)
        order = {"env": "wrong_env:Wrong-v0", "params": {}, "length": 3, "beside": folder}
        wrong = Pool(one.simulators._replace(order=order, observation=space), 1)
        with pytest.raises(RuntimeError, match=r"observes an array of shape \(3,\)"):
            ended(wrong, [1], np.zeros((3, 1), int))
        wrong.workers.close()


def test_seeds_are_such_as_every_generator_takes(keys):
    seeds = seeds_of(keys(1000))
    assert len(set(seeds.tolist())) == 1000
    assert max(seeds) < 2**31


def test_workers_that_die_again_and_again_end_the_run_with_a_line(pool, monkeypatch):
    monkeypatch.setattr("esrun.tasks.simulators.TRIES", 2)
    one = pool("CartPole-v1")

    def act(observations, alive, kept):
        for worker in one.workers._workers:
            worker.process.kill()
        return np.zeros(4, int), 0

    with pytest.raises(RuntimeError, match="CartPole-v1 died 2 times"):
        together([lambda n: one.play(n, np.arange(4, dtype=np.uint64), np.ones(4, bool), act)])


def test_what_an_environment_raises_is_told(pool):
    one = pool("CartPole-v1")
    with pytest.raises(RuntimeError, match=r"CartPole-v1 cannot be stepped: .*7"):
        ended(one, [1, 2], np.full((30, 2), 7))


def test_workers_end_when_nobody_asks_them_any_more():
    workers = Workers("esrun.tasks.stepping", {"env": "CartPole-v1", "params": {}, "length": 5}, 1)
    workers.ask([b"r\0" + np.arange(2, dtype=np.uint64).tobytes()])
    assert len(workers.answers(1)[0]) == 2 + 2 * 4 * 4
    (worker,) = workers._workers
    worker.connection.close()
    assert worker.process.wait(60) == 0
    worker.complaints.close()
    workers._workers = []


# ---- spaces --------------------------------------------------------------------------------------


def test_observations_of_several_parts_travel_whole():
    space = gymnasium.spaces.Dict({
        "b": gymnasium.spaces.Box(-1, 1, (2, 2), np.float32),
        "a": gymnasium.spaces.Tuple([
            gymnasium.spaces.Discrete(3, start=1), gymnasium.spaces.MultiBinary(2),
        ]),
    })  # fmt: skip
    value = space.sample()
    parts = [x for _, x in leaves(space, value)]
    assert parts[0] == value["a"][0]
    np.testing.assert_array_equal(parts[1], value["a"][1])
    np.testing.assert_array_equal(parts[2], value["b"])


@pytest.mark.parametrize("env", ["CartPole-v1", "FrozenLake-v1", "Blackjack-v1", "Hopper-v5"])
def test_an_observation_becomes_the_input_that_its_space_says(env):
    task = make_gymnasium(env=env, **OPTIONS)
    seen, _ = spaces_of(json.dumps({"env": env, "params": {}, "length": 30}))
    value = seen.sample()
    tree = tuple(value) if isinstance(value, tuple) else value
    assert task.interface.encode(jax.tree.map(jnp.asarray, tree)).shape == task.input_shape


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["task.env=HalfCheeta-v5"], "HalfCheetah-v5"),
        (["task.env=CartPole-v1", "task.env_params.gravitas=3"], "gravitas"),
        (["task.env=CartPole-v1", "policy=cnn"], "write policy=mlp"),
        (["task.env=HalfCheetah-v5", "task.action=squish"], "clip"),
        (["task.env=os:system"], "os:system"),
    ],
)
def test_what_cannot_be_is_one_line(in_process, words, said):
    code, _, error = in_process(*SMALL, *words)
    assert code == 2
    assert said in error
    assert len(error.strip().splitlines()) == 1


# ---- runs ----------------------------------------------------------------------------------------


def config_of(*words):
    return checked(composed([*SMALL, *words]).config)


def advanced(generations, *words):
    """-> (the run, its state after some generations)."""
    run = building.build(config_of(*words))
    seed = np.uint32(run.config.seed)
    state = run.program.init(run.hyper, seed)
    run.program.prepare(run.hyper, seed, stop_at(run.config, 0), state)
    limit = stop_at(run.config, generations)
    return run, run.program.advance(run.hyper, seed, state, limit)[0]


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["strategy=eggroll"], ["policy.normalize_input=true"]])
def test_a_run_does_not_depend_on_the_number_of_workers(more):
    words = ["task.env=CartPole-v1", *more]
    one, *others = (advanced(3, *words, f"runtime.workers={n}")[1] for n in (1, 2, 3))
    for other in others:
        jax.tree.map(np.testing.assert_array_equal, one, other)


def test_fitness_is_the_mean_return_of_the_members_own_episodes():
    """Each member of the first generation, step by step in gymnasium's own loop."""
    run, _ = advanced(0, "task.env=CartPole-v1")
    seed, hyper = np.uint32(run.config.seed), run.hyper
    state = run.program.init(hyper, seed)
    _, rows, _, _ = run.program.advance(hyper, seed, state, stop_at(run.config, 1))
    pieces, parts = Pieces(run.program.parts), run.program.parts(hyper)
    drawn_keys = pieces.drawn(hyper, seed, state.generation)
    solutions = pieces.ask(hyper, drawn_keys, state, np.arange(6))
    fitness = []
    for i in range(6):
        params, returns = parts.unravel(solutions[i]), []
        for number in seeds_of(drawn_keys.episodes):
            env = made({"env": "CartPole-v1", "params": {}, "length": 30})
            x, total, over = env.reset(seed=int(number))[0], 0.0, False
            while not over:
                output, _ = parts.policy.apply(params, (), jnp.asarray(x))
                x, reward, terminated, truncated, _ = env.step(int(jnp.argmax(output)))
                total, over = total + float(reward), terminated or truncated
            returns.append(total)
        fitness.append(np.mean(returns))
    assert rows["fitness_best"][0] == max(fitness)
    assert rows["fitness_mean"][0] == pytest.approx(np.mean(fitness))


@pytest.mark.slow
def test_a_run_is_resumed_evaluated_and_read_as_any_other(in_process):
    words = [*SMALL, "task.env=Pendulum-v1", "policy.normalize_input=true", "eval.every=2"]
    assert in_process(*words, "generations=4", "hydra.run.dir=whole")[0] == 0
    assert in_process(*words, "generations=2", "hydra.run.dir=cut", "runtime.workers=1")[0] == 0
    assert in_process("resume", "cut", "generations=4")[0] == 0
    whole, cut = (Path(x, "policy.safetensors").read_bytes() for x in ("whole", "cut"))
    assert whole == cut
    code, said, _ = in_process("eval", "whole", "--json")
    row = json.loads(said)[0]
    summary = json.loads(Path("whole/summary.json").read_text())
    assert (code, row["mean"]) == (0, summary["eval"]["mean"])
    action, _ = load("whole")(np.zeros(3, np.float32))
    assert action.shape == (1,)


def test_pools_are_shared_by_runs_that_order_the_same():
    run, _ = advanced(1, "task.env=CartPole-v1")
    other, _ = advanced(1, "task.env=CartPole-v1", "seed=4")
    pools = [pool_of(x.program.parts(x.hyper).task.simulators, "auto") for x in (run, other)]
    assert pools[0] is pools[1]
    assert pools[0].workers.lives == 1


@pytest.mark.browser
@pytest.mark.parametrize("env", ["HalfCheetah-v5", "CartPole-v1", "FrozenLake-v1"])
def test_a_film_has_the_returns_of_the_evaluation(in_process, env):
    assert in_process(*SMALL, f"task.env={env}", "generations=1", "hydra.run.dir=run")[0] == 0
    code, said, error = in_process("render", "run", "--episodes", "2")
    assert (code, said.strip()) == (0, "run/render.gif"), error
    assert Path("run/render.gif").stat().st_size > 10_000


def test_a_limit_between_evaluations_ends_a_run_with_a_score(in_process, tmp_path):
    """The chunk behind the limit has no generation, and a score."""
    words = ("task=gymnasium", "task.env=CartPole-v1", "strategy=openai_es", "task.episodes=1")
    words = (*words, "strategy.population_size=4", "task.episode_length=20", "eval.episodes=2")
    run = ("stop.env_steps=1", "eval.every=2", "generations=6", "hydra.run.dir=run")
    assert in_process(*words, *run)[0] == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["generations"], summary["stop_reason"]) == (1, "env_steps")
    assert summary["eval"]["mean"] > 0
