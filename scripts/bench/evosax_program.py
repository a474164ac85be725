"""evosax as a measured program: its own strategy in one compiled scan over generations, on one
device as it ships.

On gymnax environments its own GymnaxProblem evaluates, with observation normalisation off, as it is
in esrun's defaults. GymnaxProblem knows no carry, so recurrent policies use a rollout of this file
in its place. On other tasks esrun's evaluation is used, and strategies alone differ.
"""

import jax

jax.devices()  # JAX starts here, with its own settings

import gymnax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import networks  # noqa: E402
import optax  # noqa: E402
from evosax.algorithms import CMA_ES, Open_ES  # noqa: E402
from evosax.problems import GymnaxProblem  # noqa: E402

from esrun.tasks.gymnax import space_of  # noqa: E402
from esrun.tasks.spaces import decoding  # noqa: E402


class RecurrentProblem(GymnaxProblem):
    """GymnaxProblem whose policy has a carry."""

    def _rollout(self, key, params, state):
        reset_key, steps_key = jax.random.split(key)
        observation, environment = self.env.reset(reset_key, self.env_params)
        carry = self.policy.apply(params, observation, method="initial_carry")

        def step(loop, key):
            observation, environment, carry, total, alive = loop
            action, carry = self.policy.apply(params, carry, observation, method="step")
            observation, environment, reward, terminated, truncated, _ = self.env.step(
                key, environment, action, self.env_params
            )
            loop = (
                observation,
                environment,
                carry,
                total + alive * reward,
                alive * (1 - (terminated | truncated)),
            )
            return loop, (observation, environment)

        start = observation, environment, carry, jnp.zeros(()), jnp.ones(())
        loop, seen = jax.lax.scan(step, start, jax.random.split(steps_key, self.episode_length))
        return loop[3], seen


class Program:
    """The same configuration as esrun's, with evosax's parts."""

    def __init__(self, config: dict):
        """`config` is what Hydra composes for esrun."""
        first, self.evaluate = (on_gymnax if config["task"]["name"] == "gymnax" else on_task)(
            config
        )
        self.strategy, self.params = make_strategy(config["strategy"], first)
        start = self.strategy.init(jax.random.key(1), first, self.params)
        self.start = jax.tree.map(
            lambda x: jnp.asarray(x, x.dtype), start
        )  # else the second call compiles again
        self.scan = jax.jit(self._scan, static_argnums=(1, 2))
        self.last = self.start, 1

    def _scan(self, state, generations: int, counting: bool):
        def generation(state, key):
            ask_key, task_key, tell_key = jax.random.split(key, 3)
            population, state = self.strategy.ask(ask_key, state, self.params)
            fitness, steps = self.evaluate(task_key, population)
            state, metrics = self.strategy.tell(tell_key, population, fitness, state, self.params)
            # steps that are not returned are not computed
            return state, (
                metrics["best_fitness_in_generation"],
                jnp.mean(fitness),
                steps if counting else 0,
            )

        return jax.lax.scan(generation, state, jax.random.split(jax.random.key(2), generations))

    def advance(self, generations: int, keep: bool) -> None:
        """Train from the start for some generations; with `keep`, later calls start from there."""
        self.last = self.start, generations
        state, _ = jax.block_until_ready(self.scan(self.start, generations, False))
        if keep:
            self.start = state

    def facts(self) -> dict:
        """-> the number of parameters and the steps of a generation that counted, by a replay of
        the last call."""
        _, (_, _, steps) = self.scan(*self.last, True)
        return {
            "parameters": self.strategy.num_dims,
            "env_steps": float(jnp.mean(steps)),
            "devices": 1,
        }


def make_strategy(options: dict, solution):
    """-> (evosax's counterpart of an option of esrun's group `strategy`, its parameters)."""
    p, sigma = options["population_size"], options["sigma"]
    if options["name"] == "cma_es":
        strategy = CMA_ES(p, solution)
        return strategy, strategy.default_params.replace(std_init=jnp.asarray(sigma))
    adam = optax.adam(options["learning_rate"])
    strategy = Open_ES(p, solution, optimizer=adam, std_schedule=lambda _: jnp.float32(sigma))
    return strategy, strategy.default_params


def on_gymnax(config: dict):
    """-> (a first solution, (key, population) -> (fitness to minimise [p], steps that counted))."""
    task = config["task"]
    environment, defaults = gymnax.make(task["env"])
    changes = {
        key: jnp.asarray(x) if isinstance(x, list) else x for key, x in task["env_params"].items()
    }
    changes["max_steps_in_episode"] = task["episode_length"]
    space = space_of(environment.action_space(defaults.replace(**changes)))
    decode, output_size, _ = decoding(space, task["action"])
    problem = (RecurrentProblem if config["policy"]["name"] == "rnn" else GymnaxProblem)(
        task["env"],
        networks.make(config["policy"], output_size, decode),
        episode_length=task["episode_length"],
        num_rollouts=task["episodes"],
        use_normalize_obs=False,
        env_params=changes,
    )
    state = problem.init(jax.random.key(0))

    def evaluate(key, population):
        returns, _, metrics = problem.eval(key, population, state)
        time = metrics["env_states"][1].time  # [p, e, steps], 0 where an episode has just ended
        ended = time == 0
        steps = jnp.where(jnp.any(ended, -1), jnp.argmax(ended, -1) + 1, task["episode_length"])
        return -returns, jnp.sum(steps.astype(float))

    return problem.sample(jax.random.key(3)), evaluate


def on_task(config: dict):
    """As `on_gymnax`, with esrun's own task and policy."""
    from esrun.config.check import checked
    from esrun.training.build import build

    run = build(checked(config))
    task, policy, *_ = run.parts

    def evaluate(key, population):
        seen = task.evaluate(jax.random.split(key, task.episodes), policy, population, None)
        return -jnp.mean(seen.returns, axis=1), jnp.sum(seen.steps.astype(float))

    return policy.init(jax.random.key(3)), evaluate
