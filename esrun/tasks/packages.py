"""What the adapters of environment packages say of words that a package does not know."""

import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from esrun.errors import as_typed, first_line, nearest


def refuse_unknown(env: str, known: Iterable[str], package: str) -> None:
    """Raise ValueError where the package has no environment of that name."""
    names = sorted(known)
    if env not in names:
        raise ValueError(
            f"task.env must be an environment of {package}, got {env}{nearest(env, names)}: "
            f"write one of {', '.join(names)}"
        )


def parameters(
    env: str, given: Mapping[str, Any], defaults: Mapping[str, Any], limit: str | None = None
) -> dict[str, Any]:
    """-> `env_params` as the environment takes them: of the types of their defaults, where these
    say one. `limit` is the parameter that the task sets by its `episode_length`.

    Raises ValueError for one that there is not, and for a value of another type.
    """
    known = sorted(set(defaults) - {limit})
    for key, value in given.items():
        if key == limit:
            raise ValueError(
                f"task.env_params.{key} is set by the task: write task.episode_length={value}"
            )
        if key not in known:
            one_of = f"one of {', '.join(known)}" if known else "none, it has no parameters"
            raise ValueError(
                f"task.env_params.{key} is not a parameter of {env}{nearest(key, known)}: "
                f"write {one_of}"
            )
    return {key: _typed(key, value, defaults[key]) for key, value in given.items()}


def _typed(key: str, value: Any, default: Any) -> Any:
    if isinstance(default, tuple) and isinstance(value, list):
        return tuple(value)
    if type(default) is float and type(value) is int:
        return float(value)
    if default is None or type(default) is type(value):
        return value
    raise ValueError(
        f"task.env_params.{key} must be of type {type(default).__name__}, got {value!r}: write for "
        f"example task.env_params.{key}={as_typed(default)}"
    )


def arguments(make: Callable) -> dict[str, Any]:
    """-> the defaults of a function's arguments that a yaml can say: numbers, words, and those that
    are None, of which no type is known."""
    plain = (bool, int, float, str, type(None))
    return {
        name: x.default
        for name, x in inspect.signature(make).parameters.items()
        if isinstance(x.default, plain)
    }


@contextmanager
def refusing(env: str, given: Mapping[str, Any], package: str) -> Iterator[None]:
    """Raise ValueError for whatever the package raises meanwhile on values of `env_params`."""
    try:
        yield
    except Exception as error:
        if not given:
            raise
        raise ValueError(
            f"{package} cannot make {env} with task.env_params={as_typed(given)}: "
            f"{first_line(error)}"
        ) from error


def mixing_types(function: Callable) -> Callable:
    """-> the function traced without what JAX says where an array is updated with numbers of
    another type: the package's authors can do something about it, a user cannot."""

    def wrapped(*given, **named):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "scatter inputs have incompatible", FutureWarning)
            return function(*given, **named)

    return wrapped


@contextmanager
def quiet_mujoco() -> Iterator[None]:
    """While this is open MuJoCo keeps its warnings to itself: it would print them, and append them
    to a file MUJOCO_LOG.TXT in the working directory."""
    mujoco: Any = import_module("mujoco")  # a type checker cannot see its compiled parts
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)
