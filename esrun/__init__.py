"""esrun: train neural networks by evolution, from one command.

The public front, for programs: `configure` makes a checked configuration of KEY=VALUE words,
`build` a run of it, `train` trains that; `load` reads a trained policy back, and
`esrun.numpy_policy` does without JAX; `esrun.types` holds the interfaces, and every option's
factory `make_NAME` stands in the file of its name (`esrun.strategies.cma_es.make_cma_es`). Versions
are semantic for this front, for keys, files and stop reasons. docs/library.md has a program.
"""

TYPE_CHECKING = False  # as in typing, whose import alone takes longer than all that comes first
if TYPE_CHECKING:
    from typing import Any

    from esrun import numpy_policy
    from esrun.config.schema.run import Config
    from esrun.results.policy import load
    from esrun.training.build import Run, build
    from esrun.training.restarts import search_until as train

__version__ = "0.1.0"
__all__ = [
    "Config",
    "Run",
    "__version__",
    "allow_imports",
    "build",
    "configure",
    "load",
    "numpy_policy",
    "train",
]


def configure(*words: str) -> "Config":
    """-> the configuration that `esrun *words` would train.

    Raises `esrun.errors.ConfigError`, a ValueError of one line. JAX is not imported.
    """
    from esrun.config.check import checked
    from esrun.config.compose import composed

    return checked(composed(list(words)).config)


def allow_imports(*modules: str) -> None:
    """Let configurations, and the policies that are read back, name environments in these modules
    of yours, as `--import` does. Raises `esrun.errors.ConfigError`."""
    from esrun.config import imports

    imports.allow(*modules)


_LATER = {
    "Config": ("esrun.config.schema.run", "Config"),
    "Run": ("esrun.training.build", "Run"),
    "build": ("esrun.training.build", "build"),
    "load": ("esrun.results.policy", "load"),
    "numpy_policy": ("esrun.numpy_policy", None),
    "train": ("esrun.training.restarts", "search_until"),
}
"""What is imported when it is first asked for: it brings pydantic or JAX with it."""


def __getattr__(name: str) -> "Any":
    if name not in _LATER:
        raise AttributeError(f"module esrun has no attribute {name}")
    from importlib import import_module

    module, attribute = _LATER[name]
    found = import_module(module)
    return found if attribute is None else getattr(found, attribute)
