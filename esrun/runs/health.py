"""Health: what the figures of a run say when it is not learning, in plain language and each once.

Nothing here ends a run or changes it; the stop rules are in `esrun.training.stop`.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain

EPS = {"float32": 2.0**-23, "float64": 2.0**-52}

FLAT = 10
"""Generations on end without a difference between members."""

COARSE = 0.01
"""A fitness whose last bit is worth more than this is a matter of precision."""

FAULTY, FAULTY_SHARE = 3, 0.1
"""Generations on end in which more than this share of the members has no finite fitness."""

STEP_FACTOR = 1000.0
"""How far sigma may go from where it began."""

BEGINNING, WINDOW = 20, 50
"""The mean fitness of the first generations is held against that of the latest."""

NOISE = 1.1
"""A signal to noise below is no signal: noise alone gives 1."""


class Health:
    """Reads the generations of one run, oldest first."""

    def __init__(self, precision: str, fitness_decay: str | None = None):
        """Nothing seen yet; `precision` and `fitness_decay` are the run's."""
        self._precision = precision
        self._divides = fitness_decay if str(fitness_decay).startswith("divide") else None
        self._said: set[str] = set()
        self._evaluations = 0
        self._search = 0
        self._begin(0)

    def _begin(self, generation: int) -> None:
        """A search begins behind this generation."""
        self._origin = generation
        self._flat = self._faulty = 0
        self._sigma: float | None = None
        self._best, self._stuck = -math.inf, 0
        self._beginning: list[float] = []
        self._first: tuple[float, float] | None = None
        self._latest: deque[dict] = deque(maxlen=WINDOW)
        self._means: deque[float] = deque(maxlen=WINDOW)

    def look(self, rows: list[dict], search: int = 0) -> list[str]:
        """-> what is to be said of these generations, a line each. A restart has another number of
        `search`."""
        lines = []
        if rows and search != self._search:
            self._search = search
            self._begin(rows[0]["generation"] - 1)
        for row in rows:
            self._add(row)
            for name, line in chain(self._complaints(row), self._rewarded(row)):
                if name not in self._said:
                    self._said.add(name)
                    lines.append(f"warning, generation {row['generation']}: {line}")
        return lines

    def _add(self, row: dict) -> None:
        if self._sigma is None:
            self._sigma = row["sigma"]
        if not self._evaluations:
            self._evaluations = row["evaluations"] * (row["generation"] - 1) // row["generation"]
        self._population_size = row["evaluations"] - self._evaluations
        self._evaluations = row["evaluations"]
        self._flat = (
            self._flat + 1 if row["tied"] == 1 and not row["non_finite"] and _level(row) else 0
        )
        self._faulty = (
            self._faulty + 1 if row["non_finite"] > FAULTY_SHARE * self._population_size else 0
        )
        self._stuck = 0 if row["fitness_best"] > self._best else self._stuck + 1
        self._best = max(self._best, row["fitness_best"])
        if math.isfinite(row["fitness_mean"]):
            if row["generation"] - self._origin <= BEGINNING:
                self._beginning.append(row["fitness_mean"])
            self._latest.append(row)
            self._means.append(row["fitness_mean"])

    def _complaints(self, row: dict) -> Iterator[tuple[str, str]]:
        sigma, began = row["sigma"], self._sigma or row["sigma"]
        if self._flat >= FLAT:
            fitness = row["fitness_mean"]
            line = (
                f"every member has had the fitness {fitness:.4g} for {FLAT} generations, so "
                f"nothing tells them apart. {self._apart(fitness, sigma)}"
            )
            yield "flat", line
        if self._faulty >= FAULTY:
            line = (
                f"{row['non_finite']} of {self._population_size} members have a fitness that is "
                "NaN or infinite, for "
                f"{FAULTY} generations now; they rank last. Smaller steps keep a task within its "
                "bounds: "
                f"strategy.sigma={_about(sigma / 10)}"
            )
            yield "non_finite", line
        if sigma < began / STEP_FACTOR and self._stuck >= BEGINNING:
            line = (
                f"sigma has shrunk from {began:.3g} to {sigma:.3g} and no member has been better "
                f"than {self._best:.4g} "
                f"for {self._stuck} generations: the search has settled. If that is not good "
                "enough, begin wider or "
                f"elsewhere: strategy.sigma={_about(10 * began)}, a larger "
                "strategy.population_size, seed=..."
            )
            yield "small_sigma", line
        if sigma > began * STEP_FACTOR:
            line = (
                f"sigma has grown from {began:.3g} to {sigma:.3g}. Either it began too small: "
                "strategy.sigma="
                f"{_about(sigma)}, or fitness does not fall with distance: look at the task's "
                "rewards and at "
                "policy.activation"
            )
            yield "large_sigma", line
        condition = _condition(row)
        if condition > 0.1 / EPS[self._precision]:
            remedy = "bring a network's inputs to one scale: policy.normalize_input=true"
            if self._precision == "float32":
                remedy = f"write runtime.precision=float64, or {remedy}"
            line = (
                f"the axes of the search distribution differ by {_about(math.sqrt(condition))} in "
                "length, a condition "
                f"of {condition:.1e}, which is as much as {self._precision} can tell apart: "
                f"{remedy}"
            )
            yield "condition", line
        if "flat" not in self._said and self._does_not_learn():
            line = (
                f"the mean fitness is no better than in the first {BEGINNING} "
                f"generations{self._noise()}. A larger "
                "strategy.population_size or more task.episodes average noise out; strategy.sigma= "
                "and "
                "strategy.learning_rate= set how far it looks and goes"
            )
            yield "no_progress", line

    def _rewarded(self, row: dict) -> Iterator[tuple[str, str]]:
        """What a decay does that is not meant."""
        if self._divides and row["fitness_mean"] < 0:
            line = (
                f"the mean fitness is {row['fitness_mean']:.4g}, and "
                f"strategy.fitness_decay={self._divides} brings a negative one the nearer to 0 the "
                "larger a member's weights are, so it rewards large weights: write "
                "strategy.fitness_decay=subtract_l2, or choose a reward above 0"
            )
            yield "negative", line

    def _apart(self, fitness: float, sigma: float) -> str:
        """What may tell members apart."""
        step = abs(fitness) * EPS[self._precision]
        if step > COARSE:
            remedy = "take what all members share out of the task's fitness"
            if self._precision == "float32":
                remedy = f"write runtime.precision=float64, or {remedy}"
            return f"There {self._precision} tells only steps of {_about(step)} apart: {remedy}"
        wider = f"strategy.sigma={_about(10 * sigma)}"
        return f"If more can be reached, search wider: {wider}, or begin elsewhere: seed=..."

    def _does_not_learn(self) -> bool:
        """Whether the latest generations are no better than the first, by twice the standard error
        of both."""
        if (
            len(self._beginning) < BEGINNING
            or self._latest[0]["generation"] - self._origin <= 2 * BEGINNING
        ):
            return False
        if self._first is None:
            mean = _mean(self._beginning)
            self._first = mean, _error(self._beginning, mean)
        (first, error), latest = self._first, _mean(self._means)
        if latest <= first:
            return True
        return latest - first <= 2 * math.hypot(_error(self._means, latest), error)

    def _noise(self) -> str:
        """What the strategy itself knows of signal and noise."""
        seen = [
            x for row in self._latest if math.isfinite(x := row.get("signal_to_noise", math.inf))
        ]
        if not seen or _mean(seen) > NOISE:
            return ""
        ratio = f"{_mean(seen):.2f}"
        return f", and the signal to noise of the pairs is {ratio}, where noise alone gives 1"


def _level(row: dict) -> bool:
    """Whether all members have the same fitness, but for the rounding of the mean."""
    return row["fitness_std"] <= 1e-6 * abs(row["fitness_best"])


def _condition(row: dict) -> float:
    """-> of the covariance matrix, 1 where a strategy has none."""
    ratio = row.get("axis_ratio", 1.0)
    return row.get("condition", ratio * ratio)  # Python's ** raises where this is infinite


def _about(x: float) -> str:
    """-> one digit of a number, as it is typed."""
    return f"{float(f'{x:.1g}'):g}"


def _mean(values: Sequence[float]) -> float:
    try:
        return math.fsum(values) / len(values)
    except OverflowError:
        return math.fsum(x / len(values) for x in values)


def _error(values: Sequence[float], mean: float) -> float:
    """-> the standard error of the mean."""
    return math.dist(values, [mean] * len(values)) / math.sqrt((len(values) - 1) * len(values))
