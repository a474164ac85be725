"""Gymnasium as a measured program: its environment in a loop of Python, the same network in
NumPy."""

from itertools import pairwise

import gymnasium
import numpy as np


class Program:
    """One environment, one episode after another."""

    def __init__(self, config: dict):
        """`config` is what Hydra composes for esrun: its environment, length and hidden layers."""
        task, hidden = config["task"], config["policy"]["hidden"]
        self.environment = gymnasium.make(task["env"], max_episode_steps=task["episode_length"])
        (inputs,), (outputs,) = (
            space.shape
            for space in (self.environment.observation_space, self.environment.action_space)
        )
        draw, sizes = np.random.default_rng(0), [inputs, *hidden, outputs]
        self.layers = [
            (draw.normal(size=pair).astype(np.float32) / pair[0] ** 0.5, np.zeros(pair[1], "f4"))
            for pair in pairwise(sizes)
        ]
        self.high = self.environment.action_space.high
        self.observation, _ = self.environment.reset(seed=0)

    def advance(self, steps: int, keep: bool) -> None:
        """Take some steps, from where it stands."""
        del keep
        for _ in range(steps):
            x = self.observation
            for weights, bias in self.layers:
                x = np.tanh(x @ weights + bias)
            self.observation, _, terminated, truncated, _ = self.environment.step(self.high * x)
            if terminated or truncated:
                self.observation, _ = self.environment.reset()

    def facts(self) -> dict:
        """-> nothing."""
        return {}
