"""Which runs belong together: those that differ in their seed alone. JAX is not imported here."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from esrun.config.check import KINDS, short
from esrun.config.schema.base import TaskModel
from esrun.config.trees import flat
from esrun.errors import as_typed, clipped, printable
from esrun.runs.paths import RunFolder
from esrun.runs.record import Record, what_it_computes

LONGEST_VALUE, LONGEST = 28, 90
"""Characters of a value, and of all that is said of a group."""
LONGEST_TASK = 60
"""Letters of what a task is called."""
UNSET = "unset"
"""Said of a key that a run does not have."""
FEW = 4
"""Seeds that are told one by one."""


class Run(NamedTuple):
    """A run that is looked at together with others."""

    folder: RunFolder
    config: dict[str, Any]
    """As `run.json` has it."""
    names: dict[str, str]
    """What task, strategy and policy are called."""

    @property
    def seed(self) -> Any:
        """Of all its random numbers."""
        return self.config.get("seed")

    def section(self, name: str) -> dict[str, Any]:
        """-> a section of the configuration, empty where the file has something else there."""
        found = self.config.get(name)
        return found if isinstance(found, dict) else {}


class Group(NamedTuple):
    """Runs that compute the same but for their seeds."""

    runs: list[Run]
    differs: str
    """What tells it from the other groups, as short as it can be said; nothing where it is the only
    one."""
    whole: str = ""
    """The same, in full."""

    @property
    def label(self) -> str:
        """-> what differs, and the seeds."""
        return f"{self.differs} ({seeds(self.runs)})" if self.differs else seeds(self.runs)


def run_of(folder: RunFolder, record: Record) -> Run:
    """-> a run by what its folder says of it."""
    return run_named(folder, record.config, record.choices)


def run_named(folder: RunFolder, config: dict[str, Any], choices: dict[str, str]) -> Run:
    """-> a run by its configuration and the options that were chosen by name."""
    names = {kind: choices.get(kind) or _name(config.get(kind)) for kind in KINDS}
    task = config.get("task")
    if isinstance(task, dict) and names["task"] == _name(task) and task.get("env"):
        names["task"] += f" {task['env']}"  # an option of many environments
    return Run(folder, config, {kind: printable(name) for kind, name in names.items()})


def _name(section: Any) -> str:
    name = section.get("name") if isinstance(section, dict) else None
    return name if isinstance(name, str) else "?"


def by_problem(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """-> the runs by their problem: with another function, environment, measure or length a score
    is no measure of the same thing. What a problem is called says what differs."""
    found: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        found.setdefault((run.names["task"], as_typed(problem_of(run))), []).append(run)
    leaves = {key: flat(problem_of(own[0])) for key, own in found.items()}
    named: dict[str, list[Run]] = {}
    for key, own in found.items():
        others = [leaves[other] for other in leaves if other[0] == key[0]]
        differing = (k for k in leaves[key] if any(x.get(k) != leaves[key][k] for x in others))
        words = [key[0], *(f"{k}={as_typed(leaves[key][k])}" for k in differing)]
        name = printable(" ".join(words))[:LONGEST_TASK]
        named[name if name not in named else f"{name} ({len(named) + 1})"] = own
    return named


def problem_of(run: Run) -> dict[str, Any]:
    """-> the keys of a task that say what is to be solved."""
    return {k: x for k, x in run.section("task").items() if k not in TaskModel.how}


def grouped(runs: Sequence[Run], also: Sequence[str] = ()) -> list[Group]:
    """-> the groups of runs, in the order of their first ones, each told by what differs: in what
    it computes, or in the keys and sections that are named `also`.

    Options are compared by name first, and keys among the runs of the same options alone: that
    another strategy has other keys and defaults says nothing new.
    """
    varying = [kind for kind in KINDS if len({run.names[kind] for run in runs}) > 1]
    alike: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        alike.setdefault(tuple(run.names[kind] for kind in KINDS), []).append(run)
    found: dict[tuple[str, ...], Group] = {}
    for options, same in alike.items():
        computed = [_computed(run, also) for run in same]
        keys = dict.fromkeys(key for one in computed for key in one)
        told = [key for key in keys if len({one.get(key, UNSET) for one in computed}) > 1]
        for run, values in zip(same, computed, strict=True):
            words = [f"{kind}={run.names[kind]}" for kind in varying]
            own = {key: values.get(key, UNSET) for key in told}
            names = {key: short(key, told) for key in told}
            brief = [f"{names[key]}={clipped(own[key], LONGEST_VALUE)}" for key in told]
            full = [f"{names[key]}={printable(own[key])}" for key in told]
            differs = clipped(printable(" ".join([*words, *brief])), LONGEST)
            new = Group([], differs, " ".join([*words, *full]))
            found.setdefault((*options, *own.values()), new).runs.append(run)
    return _told_apart(list(found.values()))


def _told_apart(groups: list[Group]) -> list[Group]:
    """-> the groups, with a number where what is said of several is cut to the same."""
    seen: Counter[str] = Counter()
    several = Counter(group.differs for group in groups)
    found = []
    for group in groups:
        seen[group.differs] += 1
        number = f" ({seen[group.differs]})" if several[group.differs] > 1 else ""
        found.append(group._replace(differs=group.differs + number))
    return found


def _computed(run: Run, also: Sequence[str]) -> dict[str, str]:
    """-> what a run computes, as it is typed; its seed is left out."""
    whole = what_it_computes(run.config, also)
    return {key: as_typed(value) for key, value in whole.items() if key != "seed"}


def seeds(runs: Sequence[Run]) -> str:
    """-> "seed 3", "seeds 0, 1, 5", "seeds 0 to 9" or "12 seeds"."""
    known = [run.seed for run in runs]
    if not all(type(seed) is int and 0 <= seed < 2**32 for seed in known):
        return f"{len(runs)} run{'s' * (len(runs) > 1)}"
    numbers = sorted(set(known))
    if len(numbers) == 1:
        many = f", {len(runs)} runs" if len(runs) > 1 else ""
        return f"seed {numbers[0]}{many}"
    if len(numbers) <= FEW:
        return f"seeds {', '.join(map(str, numbers))}"
    if numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"seeds {numbers[0]} to {numbers[-1]}"
    return f"{len(numbers)} seeds"
