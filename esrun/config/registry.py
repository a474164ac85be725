"""The options by name: one registry a kind, filled by the schema and by entry points.

The package's own options follow one convention: an option has one name for its model's field
`name`, for its file, for its factory `make_NAME` and for its yaml. An installed package adds
options through the entry-point groups `esrun.tasks`, `esrun.strategies`, `esrun.policies` and
`esrun.loggers`: the entry point's name is the option's `name`, its value a factory with
keyword-only arguments, whose annotations are the schema (docs/extending.md). A yaml file or a run
folder can only name what is registered.
"""

import inspect
import sys
from collections.abc import Callable
from pkgutil import resolve_name
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args

from pydantic import create_model
from pydantic.errors import PydanticSchemaGenerationError

from esrun.config import plugins
from esrun.config.plugins import GIVEN, PLURAL
from esrun.config.schema import base, environments, loggers, policies, strategies, tasks
from esrun.config.schema.base import Model, names_of
from esrun.errors import ConfigError


class Option(NamedTuple):
    """One named option of a kind."""

    schema: type[Model]
    factory: str
    """"module:function", imported when a run is built: that is where JAX comes in."""


BASES: dict[str, type[Model]] = {
    "task": base.TaskModel,
    "strategy": base.StrategyModel,
    "policy": base.PolicyModel,
    "logger": base.LoggerModel,
}


def _own(kind: str, *modules: Any) -> dict[str, Option]:
    """-> the options that modules of the schema have models for."""
    models = [
        x
        for module in modules
        for x in vars(module).values()
        if isinstance(x, type) and issubclass(x, BASES[kind])
    ]
    return {
        name: Option(model, f"esrun.{model.factory or f'{PLURAL[kind]}.{name}:make_{name}'}")
        for model in models
        for name in names_of(model)
    }


OPTIONS: dict[str, dict[str, Option]] = {
    "task": _own("task", environments, tasks),
    "strategy": _own("strategy", strategies),
    "policy": _own("policy", policies),
    "logger": _own("logger", loggers),
}


def names(kind: str) -> list[str]:
    """-> every registered name of a kind, the package's first."""
    return [*OPTIONS[kind], *plugins.names(kind)]


def find(kind: str, name: str) -> Option:
    """-> the option; KeyError when there is none of that name. A plug-in is imported here."""
    if name in OPTIONS[kind]:
        return OPTIONS[kind][name]
    for point in plugins.points(kind):
        if point.name == name:
            made_by = plugins.factory_of(kind, point)
            return Option(schema_of(kind, name, made_by), point.value)
    raise KeyError(name)


def schema_of(kind: str, name: str, factory: Callable) -> type[Model]:
    """The model of a plug-in's options: its factory's keyword-only arguments, as annotated.

    Raises ConfigError where an annotation is missing or no type that a yaml can hold.
    """
    fields: Any = {
        argument: (_typed(parameter.annotation), _default(parameter))
        for argument, parameter in inspect.signature(factory, eval_str=True).parameters.items()
        if argument not in GIVEN[kind]
    } | {"name": (Literal[name], ...)}
    model = base.PluginPolicy if kind == "policy" else BASES[kind]
    try:
        made = create_model(name, __base__=model, **fields)
        made.model_rebuild()  # what is wrong with a type is to be said here
    except PydanticSchemaGenerationError as error:
        got = ", ".join(f"{key}: {_shown(x)}" for key, (x, _) in fields.items() if key != "name")
        raise ConfigError(
            f"the {kind} {name} must have a factory whose every argument is annotated with a type "
            f"that a yaml can hold, such as float, int, str or list[int], got {got}"
        ) from error
    return made


def _default(parameter: inspect.Parameter) -> Any:
    return ... if parameter.default is parameter.empty else parameter.default


def _typed(annotation: Any) -> Any:
    """-> what a configuration may hold for an argument: of `esrun.types.Number` the float alone."""
    traced = getattr(sys.modules.get("jax"), "Array", None)  # who names it has imported JAX
    bounded = {int: base.Whole, float: base.Finite}
    union = get_args(annotation)
    plain = [bounded.get(x, x) for x in union if x is not traced]
    if len(plain) < len(union) or isinstance(annotation, UnionType):
        return Union[tuple(plain)]  # noqa: UP007
    return bounded.get(annotation, annotation) if isinstance(annotation, type) else annotation


def _shown(annotation: Any) -> str:
    return (
        "nothing" if annotation is inspect.Parameter.empty else inspect.formatannotation(annotation)
    )


def factory(kind: str, name: str) -> Callable:
    """-> the function that makes the option."""
    return resolve_name(find(kind, name).factory)


def are_code(models: dict[str, Model]) -> bool:
    """Whether the options chosen of each kind are the package's own, and all that goes into their
    programs is code."""
    return all(
        getattr(x, "name", None) in OPTIONS[kind] and x.is_code for kind, x in models.items()
    )


def read_by(task: dict[str, Any]) -> dict[str, Any]:
    """-> the keys of a task's section that its reader asks for by name."""
    read = reader(find("task", str(task.get("name"))).schema)
    asked = inspect.signature(read).parameters.values() if read else ()
    return {x.name: task.get(x.name) for x in asked if x.kind is x.KEYWORD_ONLY}


def reader(model: Model | type[Model]) -> Callable | None:
    """-> the function that reads the files an option names, None where it names none."""
    return resolve_name(f"esrun.{model.reads}") if model.reads else None
