"""The interfaces between policy, strategy, task and training loop: names and shapes, no logic.

Axes: p = population size, m = members in a slice of the population, n = parameters of the policy
(one flat vector), e = episodes. Fitness is maximised everywhere. Every function is pure and may be
traced.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

Key = jax.Array
PyTree = Any
Number = jax.Array | float
"""A number that may be traced."""


class Reason(NamedTuple):
    """Why a search ends; declared where it is tested."""

    name: str
    """As `summary.json` and the console show it."""
    final: bool = False
    """Whether it ends the run too, where another search could follow (see
    `esrun.training.restarts`)."""
    failed: bool = False
    """Whether the state is worth nothing then: it is neither evaluated nor saved."""
    why: str = ""
    """What a user needs to know besides the name."""


class Policy(NamedTuple):
    """A network: input -> output. The task decodes the output into its action."""

    init: Callable[[Key], PyTree]
    """key -> params, a haiku tree."""
    initial_carry: Callable[[], PyTree]
    """() -> the carry of a fresh episode; () for a feed-forward policy."""
    apply: Callable[[PyTree, PyTree, jax.Array], tuple[jax.Array, PyTree]]
    """(params, carry, input [*input_shape]) -> (output [output_size], carry)."""
    looks_up: bool = False
    """Whether an input may also be an `esrun.policies.products.OneHot`, which costs no product."""
    references: int = 0
    """How many reference inputs it is given, the same ones throughout a run."""
    refer: Callable[[PyTree, jax.Array], PyTree] | None = None
    """(params, reference inputs [references, *input_shape]) -> what they come to: `apply` then
    takes `Referred` params. None where there are no references."""


class Referred(NamedTuple):
    """The params of a policy with reference inputs, as it acts."""

    params: PyTree
    statistics: PyTree
    """What `Policy.refer` has made of the references, once for all inputs."""


class Moments(NamedTuple):
    """Count, mean and sum of squared deviations of a stream of inputs (see
    `esrun.tasks.normalizer`)."""

    count: jax.Array  # [] # pyright: ignore[reportIncompatibleMethodOverride]
    mean: jax.Array  # [*input_shape]
    m2: jax.Array  # [*input_shape]


class Sums(NamedTuple):
    """What one slice saw, as plain sums about a fixed origin: sums of members, chunks and devices
    simply add."""

    count: jax.Array  # [...] # pyright: ignore[reportIncompatibleMethodOverride]
    first: jax.Array  # [..., *input_shape], sum of (input - origin)
    second: jax.Array  # [..., *input_shape], sum of (input - origin)^2
    ignored: jax.Array  # [...], how many inputs were left out, since they were not finite


class Evaluation(NamedTuple):
    """How a slice of members did."""

    returns: jax.Array  # [m, e] return of every episode, higher is better
    steps: jax.Array  # [m] int32, environment steps that counted: none negative, less than 2^31
    inputs: Sums | None  # [m, ...] what each member saw; None without an input normaliser
    measures: dict[
        str, jax.Array
    ]  # each [m, e]: further figures of the task, reported beside the return


class Interface(NamedTuple):
    """What stands between an environment and a policy, for whoever uses the policy outside of
    training."""

    encode: Callable[[PyTree], jax.Array]
    """observation -> input [*input_shape], not yet normalised."""
    decode: Callable[..., jax.Array]
    """(output [output_size]) -> action; where some may be illegal, (output, which are legal)."""
    about: Callable[[], dict[str, Any]]
    """() -> the same in plain data, for programs without JAX (see docs/results.md). Not for
    traces."""


class HeldOut(NamedTuple):
    """Examples that training never sees, where a task has a fixed number of them."""

    size: int
    evaluate: Callable[[jax.Array, Policy, PyTree, Moments | None], Evaluation]
    """(numbers [e] of examples, policy, params [m, ...], normalizer) -> Evaluation, every example
    an episode. Numbers beyond the last are padding."""


class Task(NamedTuple):
    """A problem to be solved. The policy is built from its two sizes."""

    input_shape: tuple[int, ...]
    output_size: int
    episodes: int
    """Episodes that a member plays in one generation."""
    evaluate: Callable[[Key, Policy, PyTree, Moments | None], Evaluation]
    """(episode keys [e], policy, params [m, ...], normalizer) -> Evaluation. All members play the
    same episodes."""
    steps: int | None = None
    """The most environment steps that a member takes in a generation; None if only the run can
    tell."""
    interface: Interface | None = None
    """None where what is observed is the input and the output is the action."""
    watch: Callable[[Key, Policy, PyTree, Moments | None, jax.Array], Any] | None = None
    """(episode keys [e], policy, one member's params, normalizer, which episodes [k]) -> what
    happens in those, for pictures (see `esrun.results.film`): the returns are those of `evaluate`
    on the same keys. None where there is nothing to be seen."""
    frame: Callable[[Any], Any] | None = None
    """One state of what `watch` tells, as NumPy's arrays -> its picture [height, width, 3] uint8;
    None where the task draws none itself."""
    held_out: Callable[[Key, Policy, PyTree, Moments | None], Evaluation] | None = None
    """What the mean policy is scored by on held-out episodes, where that is not `evaluate`."""
    validation: HeldOut | None = None
    """What the mean policy is scored by where the task has data, in the place of episodes that are
    drawn. `watch` is given numbers of its examples then, not keys."""
    test: HeldOut | None = None
    """What the last mean policy is scored by once, when training has ended; it decides nothing."""
    simulators: Any = None
    """How its environments are stepped outside of the compiled program, where they are (see
    `esrun.tasks.simulators`); `evaluate` and `watch` are not called then."""
    references: Callable[[Key, int], jax.Array] | None = None
    """(key, count) -> inputs [count, *input_shape], not normalised, such as policies meet; None
    where it has none to give."""
    in_groups_of: Callable[[int], "Task"] | None = None
    """k -> the same task, to the bit, which plays k of a member's episodes at a time and so takes
    less memory; None where there is no such thing."""


class Strategy(NamedTuple):
    """An evolution strategy. None of the functions knows how the population is spread over chunks
    and devices.

    Every state has a `mean` [n], the policy that is held out, saved and reported, and a step size
    `sigma` [].
    """

    population_size: int
    init: Callable[[Key, jax.Array], Any]
    """(key, mean [n]) -> State."""
    ask: Callable[[Key, Any, jax.Array], PyTree]
    """(key, State, member numbers [m]) -> solutions [m, n], or what `express` takes, [m, ...] each.
    A member is the same row, to the bit, in any slice of whole units."""
    weigh: Callable[[Any, jax.Array], jax.Array]
    """(State, fitness [p]) -> weights [p]."""
    recombine: Callable[[Any, PyTree, jax.Array], PyTree]
    """(State, solutions [m, n], weights [m]) -> sums over the slice; sums of slices add. Weight 0 =
    not there."""
    update: Callable[[Any, PyTree, jax.Array], Any]
    """(State, sums over the whole population, fitness [p]) -> State."""
    flat: Callable[[Any, jax.Array], Any] = lambda state, fitness: state
    """(State, fitness [p]) -> State, in the place of `update` after a generation that told nothing:
    no two members differ, or none has a weight. It is the State as it was, but for a number that
    the next population is drawn from where `ask` does not use its key."""
    express: Callable[[Any], Callable[[PyTree], PyTree]] | None = None
    """State -> (one member's solution -> params), where a solution is not the flat vector of the
    parameters. The params may hold `esrun.policies.products.LowRank` in the place of a weight
    matrix or of a convolution's kernel."""
    decay_fitness: Callable[[PyTree, jax.Array], jax.Array] | None = None
    """(solutions [m, n], raw fitness [m]) -> the fitness [m] that takes its place in `weigh`,
    `update`, `flat` and `diagnose`, such as one that has paid for large weights. What is reported,
    kept and stopped by stays raw. None: the raw one does it all."""
    ended: Callable[[Any], dict[Reason, jax.Array]] = lambda state: {}
    """State -> the strategy's own termination tests, each [] bool."""
    diagnose: Callable[[Any, jax.Array], dict[str, jax.Array]] = lambda state, fitness: {}
    """(State that the population was drawn from, fitness [p]) -> further figures of the generation
    by name, each []."""
    constants: Mapping[str, Number] = {}
    """The numbers that it works with, by name, as far as they hold throughout a search; for
    whoever wants to know what a default has become."""
    unit: int = 1
    """Members that belong together, such as a mirrored pair: `ask` is given whole units,
    aligned."""
    members: Number | None = None
    """How many members there are, the first ones, where the rest of `population_size` is padding;
    None: all. A number, so that searches with more and with fewer share one program."""
    least: int | None = None
    """The fewest that there may be then."""


class Incumbent(NamedTuple):
    """The best mean of the searches before the present one."""

    mean: jax.Array  # [n]
    held_out: jax.Array  # [] its held-out mean, -inf before the first search has ended


class Archive(NamedTuple):
    """The best members of all generations by raw fitness, best first; no two have the same
    parameters."""

    fitness: jax.Array  # [k], -inf where there is none yet
    generation: jax.Array  # [k] int32, the generation that they were members of
    members: jax.Array  # [k, n] their parameters
    normalizer: Moments | None  # [k, ...] each, what their inputs were normalised by


class TrainState(NamedTuple):
    """All that a run needs to go on."""

    generation: jax.Array  # [] int32, generations done
    strategy: Any  # the strategy's State
    normalizer: Moments | None
    env_steps: jax.Array  # [2] uint32, high and low word: 2^32 steps are a minute's work on a GPU
    best_fitness: jax.Array  # [] best raw fitness of any member so far
    held_out: jax.Array  # [] latest held-out mean, -inf before the first
    barren: jax.Array  # [] int32, consecutive generations without a finite fitness
    incumbent: Incumbent | None  # None where nothing restarts
    archive: Archive | None  # None where none is kept
    references: jax.Array | None  # [k, *input_shape] the policy's; None where it takes none
