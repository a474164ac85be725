"""What every option's model is made of.

Defaults stand in `conf/` alone, so no field has one here. **Floats are traced, everything else is
structure**: a run's floats become arguments of its compiled program, and runs that differ in floats
and seed share one program. Declare a number `float` to let it be swept without compiling, `int`
where it shapes an array or a loop.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field

WHOLE, REAL = 2**31, 1e38
"""What 32 bits hold: whole numbers shape arrays and loops that count in int32, and a float must be
one in float32 too."""
Positive = Annotated[float, Field(gt=0, le=REAL)]
NonNegative = Annotated[float, Field(ge=0, le=REAL)]
Finite = Annotated[float, Field(ge=-REAL, le=REAL)]
Factor = Annotated[float, Field(gt=0, le=1)]
Whole = Annotated[int, Field(gt=-WHOLE, lt=WHOLE)]
Count = Annotated[int, Field(ge=1, lt=WHOLE)]
Several = Annotated[int, Field(ge=2, lt=WHOLE)]
Total = Annotated[int, Field(ge=1, lt=2**63)]
"""A count over a whole run, which is kept in 64 bits."""
Widths = Annotated[list[Count], Field(max_length=64)]

Shape = Literal["nothing", "vector", "image", "sequence"]
"""What a task shows to a policy: nothing at all, numbers without an order in space, a picture
[height, width, channels], or values that follow one another."""


class Model(BaseModel):
    """An option or a section: unknown keys and wrong types are errors; 1 is taken for 1.0, and
    nothing else is converted.

    What others need to know of an option, its model says. An option with `name: my_option` is made
    by `make_my_option` in a file `my_option.py`, unless `factory` names another one.
    """

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)

    factory: ClassVar[str | None] = None
    """"MODULE:FUNCTION" where the factory is not where its name says, MODULE below `esrun`."""
    package: ClassVar[str | None] = None
    """An optional package that the option needs."""
    extra: ClassVar[str | None] = None
    """The extra that installs it."""
    run_keys: ClassVar[frozenset[str]] = frozenset()
    """Keys that the run reads and the factory does not."""
    fixed: ClassVar[frozenset[str]] = frozenset()
    """Keys whose floats are structure too."""
    reads: ClassVar[str | None] = None
    """"MODULE:FUNCTION" that reads files of this machine, MODULE below `esrun`: given the option's
    keys, it returns a tree of NumPy's arrays, which the factory gets as `data` (None for
    whoever only looks at the sizes). None where nothing is read."""
    is_code: ClassVar[bool] = True
    """Whether its programs depend on code and on the option alone, so that their traces may be
    kept."""
    examples: ClassVar[Mapping[str, str]] = {}
    """Values for keys that its yaml leaves to the user."""

    def resolved(self) -> Self:
        """-> the option with what only it can check or fill in. Raises ConfigError."""
        return self

    def tables(self) -> dict[str, int]:
        """-> arguments of the factory that are long arrays of normals, made once a process: their
        lengths."""
        return {}


class TaskModel(Model):
    """What every task's option says."""

    name: Any  # each option says which: Literal["my_option"]

    still: ClassVar[bool] = False
    """Whether `esrun render` draws one picture of it, and no film."""

    how: ClassVar[frozenset[str]] = frozenset({
        *("episodes", "generations", "action", "batch_size", "episodes_at_once", "flat"),
        *("reward_offset", "alive_bonus", "feedback", "normalize_input"),
    })  # fmt: skip
    """Keys that say how it is trained, not what is to be solved."""

    run_keys = frozenset({"generations", "normalize_input"})

    generations: Count | None = None  # a task may suggest these two; the run's own key decides,
    normalize_input: bool = False  # and the policy's, of mlp, rnn and cnn

    def shows(self) -> Shape:
        """-> what a policy gets to see."""
        return "vector"


class Episodic(TaskModel):
    """What the package's own tasks share."""

    episodes: Count


class PolicyModel(Model):
    """What every policy's option says."""

    name: Any  # each option says which: Literal["my_option"]

    run_keys = frozenset({"normalize_input", "keep_every", "start"})

    keep_every: Count | None = None  # the run's own, as is `start`: a plug-in's yaml need not
    start: str | None = None  # say them

    takes: ClassVar[frozenset[str]] = frozenset({"vector", "image", "sequence"})
    """What it can be shown, of `Shape`."""


class PluginPolicy(PolicyModel):
    """What every policy of a plug-in says besides the arguments of its factory."""

    normalize_input: bool = False  # the run's own: its yaml need not say it


class StrategyModel(Model):
    """What every strategy's option says."""

    name: Any  # each option says which: Literal["my_option"]

    linear: ClassVar[bool] = False
    """Whether it is to be recommended where a matrix of n x n is too much."""

    def restarting(self) -> str | None:
        """-> how searches follow one another (see `esrun.training.restarts`), None if none does."""
        return None


class LoggerModel(Model):
    """What every logger's option says."""

    name: Any  # each option says which: Literal["my_option"]


def names_of(model: type[Model]) -> tuple[str, ...]:
    """-> the names under which an option is chosen: the values that its field `name` may have."""
    field = model.model_fields.get("name")
    return get_args(field.annotation) if field else ()
