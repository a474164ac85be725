"""The options by name: one registry a kind, filled by the package and by entry points.

An installed package adds options through the entry-point groups `esrun.tasks`, `esrun.strategies`,
`esrun.policies` and `esrun.loggers`: the entry point's name is the option's `name`, its value a
factory with keyword-only arguments, whose annotations are the schema. A yaml file or a run folder
can only name what is registered.
"""

import inspect
from collections.abc import Callable
from importlib.metadata import entry_points
from pkgutil import resolve_name
from typing import Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, create_model

from esrun.config import schema


class Option(NamedTuple):
    """One named option of a kind."""

    schema: type[BaseModel]
    factory: str
    """"module:function", imported when a run is built: that is where JAX comes in."""
    package: str | None = None
    """An optional package that it needs."""
    extra: str | None = None
    """The extra that installs it."""


OPTIONS: dict[str, dict[str, Option]] = {
    "task": {
        "gymnax": Option(schema.Gymnax, "esrun.tasks.gymnax:make_gymnax"),
        "sine": Option(schema.Sine, "esrun.tasks.sine:make_sine"),
        "blackbox": Option(schema.Blackbox, "esrun.tasks.blackbox:make_blackbox"),
        "bbob": Option(schema.BBOB, "esrun.tasks.bbob:make_bbob", package="bbobax", extra="bbob"),
    },
    "strategy": {
        "openai_es": Option(schema.OpenAIES, "esrun.strategies.openai_es:make_openai_es"),
        "eggroll": Option(schema.EGGROLL, "esrun.strategies.eggroll:make_eggroll"),
        "pgpe": Option(schema.PGPE, "esrun.strategies.pgpe:make_pgpe"),
        "ars": Option(schema.ARS, "esrun.strategies.ars:make_ars"),
        "cma_es": Option(schema.CMAES, "esrun.strategies.cma_es:make_cma_es"),
        "sep_cma_es": Option(schema.SepCMAES, "esrun.strategies.sep_cma_es:make_sep_cma_es"),
        "ma_es": Option(schema.MAES, "esrun.strategies.ma_es:make_ma_es"),
        "lm_ma_es": Option(schema.LMMAES, "esrun.strategies.lm_ma_es:make_lm_ma_es"),
        "snes": Option(schema.SNES, "esrun.strategies.snes:make_snes"),
        "xnes": Option(schema.XNES, "esrun.strategies.xnes:make_xnes"),
        "simple_gaussian": Option(
            schema.SimpleGaussian, "esrun.strategies.simple_gaussian:make_simple_gaussian"
        ),
        "simple_ga": Option(schema.SimpleGA, "esrun.strategies.simple_ga:make_simple_ga"),
    }
    | {
        name: Option(
            schema.Evosax, "esrun.strategies.evosax:make_evosax", package="evosax", extra="evosax"
        )
        for name in get_args(schema.EvosaxName)
    },
    "policy": {
        "mlp": Option(schema.MLP, "esrun.policies.mlp:make_mlp"),
        "cnn": Option(schema.CNN, "esrun.policies.cnn:make_cnn"),
        "rnn": Option(schema.RNN, "esrun.policies.rnn:make_rnn"),
        "vector": Option(schema.Vector, "esrun.policies.vector:make_vector"),
    },
    "logger": {
        "tensorboard": Option(
            schema.TensorBoard,
            "esrun.runs.loggers:make_tensorboard",
            package="tensorboardX",
            extra="tensorboard",
        ),
        "wandb": Option(
            schema.WandB, "esrun.runs.loggers:make_wandb", package="wandb", extra="wandb"
        ),
    },
}

PLURAL = {"task": "tasks", "strategy": "strategies", "policy": "policies", "logger": "loggers"}

GIVEN = {"n", "name", "unravel", "input_shape", "output_size"}
"""Arguments of factories that no configuration sets: they follow from the other parts."""


def names(kind: str) -> list[str]:
    """-> every registered name of a kind, the package's first."""
    return [*OPTIONS[kind], *(point.name for point in entry_points(group=f"esrun.{PLURAL[kind]}"))]


def find(kind: str, name: str) -> Option:
    """-> the option; KeyError when there is none of that name. A plug-in's module is imported
    here."""
    if name in OPTIONS[kind]:
        return OPTIONS[kind][name]
    for point in entry_points(group=f"esrun.{PLURAL[kind]}"):
        if point.name == name:
            return Option(schema_of(name, point.load()), point.value)
    raise KeyError(name)


def schema_of(name: str, factory: Callable) -> type[BaseModel]:
    """The model of a plug-in's options: the annotations of its factory's keyword-only arguments."""
    fields: Any = {"name": (Literal[name], ...)} | {
        argument: (parameter.annotation, ...)
        for argument, parameter in inspect.signature(factory, eval_str=True).parameters.items()
        if argument not in GIVEN
    }
    return create_model(name, __config__=ConfigDict(extra="forbid", strict=True), **fields)


def factory(kind: str, name: str) -> Callable:
    """-> the function that makes the option."""
    return resolve_name(find(kind, name).factory)
