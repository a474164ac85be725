"""What a run is composed of, and members as policies."""

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import jax

from esrun.types import Policy, PyTree, Referred, Strategy, Task, TrainState


class Parts(NamedTuple):
    """What a run is composed of, built from its options."""

    task: Task
    policy: Policy
    strategy: Strategy
    unravel: Callable[[Any], PyTree]
    """(parameters [n]) -> the policy's tree."""
    n: int
    known: dict | None = None
    """What has been found `once`, for all Parts of the same structure."""

    def once(self, what: Hashable, find: Callable[[], Any]) -> Any:
        """-> what `find` returns, a figure of shapes alone: runs of the same structure share it."""
        known = {} if self.known is None else self.known
        if what not in known:
            known[what] = find()
        return known[what]


def policy_of(parts: Parts, state: TrainState) -> Policy:
    """-> the policy of the `params_of` members.

    What members share, such as the mean that a low-rank perturbation is added to, enters the policy
    from outside the members' axis: a product with it stays one product for all of them.
    """
    if parts.strategy.express is None:
        return parts.policy
    express, refer = parts.strategy.express(state.strategy), parts.policy.refer

    def apply(solution, carry, x):
        if isinstance(solution, Referred):
            params = solution._replace(params=express(solution.params))
        else:
            params = express(solution)
        return parts.policy.apply(params, carry, x)

    about = refer and (lambda solution, references: refer(express(solution), references))
    return parts.policy._replace(apply=apply, refer=about)


def params_of(parts: Parts, solutions: PyTree) -> PyTree:
    """-> the params of members, [m, ...] each."""
    return solutions if parts.strategy.express else jax.vmap(parts.unravel)(solutions)
