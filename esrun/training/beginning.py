"""What a run is refused for before it begins, since only its built parts can tell."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from esrun.config.schema.run import Config
from esrun.training.generation import Parts
from esrun.training.program import Program
from esrun.training.stop import MEAN_EXPLODED, reached, stop_at
from esrun.types import TrainState

MOST_STEPS = 2**31
"""Of a member's environment steps in a generation: they are counted in 32 bits, their sums in
64."""

USUAL_BOUND = 1e6
"""No first policy of smaller numbers has left its range."""

USUAL_SIGMA = (1e-5, 1e6)
"""Step sizes, the smaller one as a share of the first policy's numbers, with which no first state
can be at its end."""


def refuse_more_steps_than_are_counted(parts: Parts) -> None:
    """Raise ValueError where a member could take more environment steps than it can count."""
    if parts.task.steps is not None and parts.task.steps >= MOST_STEPS:
        raise ValueError(
            "a member's environment steps in a generation must be less than "
            f"{MOST_STEPS}, got {parts.task.steps}: write task.episodes=1 or "
            f"{'a smaller task.batch_size' if parts.task.validation else 'shorter episodes'}"
        )


def refuse_unknown_references(parts: Parts) -> None:
    """Raise ValueError where the policy needs reference inputs and the task has none to give."""
    if parts.policy.references and parts.task.references is None:
        raise ValueError(
            "policy.norm=virtual_batch needs a task that gives reference inputs, which this one "
            "does not: write policy.norm=layer"
        )


def is_extreme(config: Config) -> bool:
    """Whether a first state that ends the run at once is to be feared: finding out takes a
    compilation."""
    sigma = getattr(config.strategy, "sigma", None)
    numbers = [abs(x) for x in config.policy.model_dump().values() if isinstance(x, float)]
    largest = max([1.0, *numbers])
    if largest > USUAL_BOUND:
        return True
    least, most = USUAL_SIGMA
    return isinstance(sigma, float) and not least * largest <= sigma <= most


def refuse_an_end_before_the_beginning(
    config: Config, program: Program, hyper: Any, state: TrainState | None = None
) -> None:
    """Raise ValueError where the first state would end the run by the run's own tests; it is the
    program's own unless it is given."""
    state = state or program.init(hyper, np.uint32(config.seed))
    assert state is not None
    strategy, limits = program.parts(hyper).strategy, stop_at(config, config.generations)
    held = reached(strategy, state, limits).held()
    if not held:
        return
    reason = max(held, key=lambda reason: reason.failed)
    largest, sigma = float(jnp.max(jnp.abs(state.strategy.mean))), float(state.strategy.sigma)
    remedy = f"strategy.sigma={float(f'{0.1 * max(1.0, largest):.1g}'):g}"
    if MEAN_EXPLODED in held:
        remedy = _smaller(config)
    raise ValueError(
        f"the first step size must suit the first policy, whose parameters are up to {largest:.3g},"
        f" got {sigma:.3g}, with which the run would end by {reason.name} before its first "
        f"generation: write {remedy}"
    )


def _smaller(config: Config) -> str:
    """-> what to write for a first policy of smaller numbers."""
    if config.policy.start is not None:
        return "policy.start=null, or a policy of smaller numbers"
    remedies = {"low": "policy.low=-4 policy.high=4", "init_scale": "policy.init_scale=1"}
    known = [words for key, words in remedies.items() if hasattr(config.policy, key)]
    return known[0] if known else "another seed= or a first policy of smaller numbers"
