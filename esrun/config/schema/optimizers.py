"""What may be said to optax's optimisers, which take any number without a word.

Which arguments an optimiser has, only optax can tell, when the run is built; what each of them
means is the same for all.
"""

from typing import Any

SHARES = frozenset({"b1", "b2", "b3", "decay", "momentum", "rho", "threshold"})
"""Shares of what was before, which a step keeps: with 1 and more it would grow without end."""
SWITCHES = frozenset({"nesterov", "centered", "bias_correction", "eps_in_sqrt", "cautious"})


def within_bounds(options: dict[str, Any]) -> dict[str, Any]:
    """-> the options. Raises ValueError for a number that no optimiser can take."""
    for key, value in options.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if key in SHARES and not (number and 0 <= value < 1):
            must, example = "a number from 0 to less than 1", "0.9"
        elif key in SWITCHES and not isinstance(value, bool):
            must, example = "true or false", "true"
        elif number and value < 0:
            must, example = "at least 0", "0.001"
        else:
            continue
        name = f"strategy.optimizer_options.{key}"
        raise ValueError(
            f"{name} must be {must}, got {value!r}: write for example {name}={example}"
        )
    return options
