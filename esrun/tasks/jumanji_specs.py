# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
"""jumanji's specs of what is observed and done, as spaces."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from esrun.errors import nearest
from esrun.tasks.spaces import Box, Codes, Discrete, Joint, Space
from esrun.types import PyTree

with jax.enable_x64(False):  # it makes arrays when it is imported
    from jumanji import specs

MASK = "action_mask"
VIEWS = ("agents_view", "searcher_views")
"""What observations call what each of several agents sees for itself."""
MOST = 50
"""Values that a whole number of an observation may have to be a code; more are a quantity, such as
a count of steps."""


class Observed(NamedTuple):
    """What of an observation a policy sees."""

    see: Callable[[Any], PyTree]
    spaces: Any
    agents: int | None


def observed(spec: Any, env: str, observe: str | list[str]) -> Observed:
    """-> the parts of an observation without its mask, of several only those to `observe`. One part
    alone is itself, an image stays one.

    Agents that have views of their own see these, and of what begins with their number their own;
    the rest is seen by all. Raises ValueError for a part that there is not.
    """
    known = parts(spec)
    names = [*known] if observe == "all" else [*observe]
    for name in names:
        if name not in known:
            raise ValueError(
                f"task.observe must be all or a list of parts of what {env} shows, got "
                f"{name}{nearest(name, known)}: write some of {', '.join(known)}"
            )
    agents = next((known[name].shape[0] for name in VIEWS if name in known), None)
    each = [agents is not None and known[name].shape[:1] == (agents,) for name in names]
    spaces = {name: space_of(known[name], own) for name, own in zip(names, each, strict=True)}

    def part(observation: Any, name: str, own: bool) -> PyTree:
        x = seen(known[name], getattr(observation, name))
        if agents is None or own:
            return x
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (agents, *x.shape)), x)

    def see(observation: Any) -> PyTree:
        found = {x: part(observation, x, own) for x, own in zip(names, each, strict=True)}
        return found if len(names) > 1 else found[names[0]]

    return Observed(see, spaces if len(names) > 1 else spaces[names[0]], agents)


def parts(spec: Any) -> dict[str, Any]:
    """-> the parts of a nested spec by name, but for the mask."""
    found = {name: x for name, x in vars(spec).items() if isinstance(x, specs.Spec)}
    return {name: x for name, x in found.items() if name != MASK}


def space_of(spec: Any, own: bool = False) -> Any:
    """-> the space of a spec, or the tree of those of a nested one; of one agent where the spec is
    that of what each has of its `own`."""
    if type(spec) is specs.Spec:
        return {name: space_of(x) for name, x in parts(spec).items()}
    shape, codes = spec.shape[1:] if own else spec.shape, codes_of(spec)
    return Codes((len(codes),), (*shape, 1)) if codes else Box(shape)


def seen(spec: Any, x: Any) -> PyTree:
    """-> what was observed as the spec's space has it: codes begin at 0 and have an axis for
    themselves, so that a grid of them becomes an image."""
    if type(spec) is specs.Spec:
        return {name: seen(part, getattr(x, name)) for name, part in parts(spec).items()}
    codes = codes_of(spec)
    x = jnp.asarray(x)
    return jnp.expand_dims(x.astype(jnp.int32) - codes.start, -1) if codes else x


def codes_of(spec: Any) -> range | None:
    """-> the values of whole numbers that are codes; two of them are as good as numbers."""
    if not isinstance(spec, specs.BoundedArray) or not jnp.issubdtype(spec.dtype, jnp.integer):
        return None
    values = range(int(np.asarray(spec.minimum).min()), int(np.asarray(spec.maximum).max()) + 1)
    return values if 2 < len(values) <= MOST else None


class Acting(NamedTuple):
    """What a policy may do."""

    space: Space
    mask: Callable[[Any], Any] = lambda mask: mask
    """jumanji's mask of an action, None where there is none -> ours."""


def acting(game: Any) -> Acting:
    """-> the space of an environment's actions. Where the mask has an axis for each of several
    numbers they are chosen together; where it has a row for each, one by one."""
    spec = game.action_spec
    mask = getattr(game.observation_spec, MASK, None)
    views = any(name in parts(game.observation_spec) for name in VIEWS)
    if not jnp.issubdtype(spec.dtype, jnp.integer):
        low, high = (float(np.asarray(x).flat[0]) for x in (spec.minimum, spec.maximum))
        return Acting(Box(spec.shape[1:] if views else spec.shape, low, high))
    if isinstance(spec, specs.DiscreteArray):
        return Acting(Discrete(int(spec.num_values)))
    sizes = tuple(np.ravel(np.broadcast_to(np.asarray(spec.maximum), spec.shape) + 1).tolist())
    if mask is None:
        return Acting(Codes(sizes))
    if mask.shape == sizes:
        return Acting(Joint(sizes))
    if views:
        return Acting(Discrete(mask.shape[1]))
    return Acting(Codes((mask.shape[1],) * mask.shape[0]), jnp.ravel)
