"""Every option of `conf/` says all that its schema and its factory ask for, and nothing else."""

import inspect
from importlib.util import find_spec

import pytest
import yaml
from defaults import NEEDED, arguments_of, chosen
from omegaconf import OmegaConf

from esrun.config import CONF_DIR, plugins, registry
from esrun.config.check import KINDS, checked
from esrun.config.compose import composed, options

FILES = [(kind, option) for kind in (*KINDS, "logger") for option in options(kind)]


def read(kind, option):
    content = yaml.safe_load((CONF_DIR / kind / f"{option}.yaml").read_text())
    content.pop("defaults", None)
    return content


@pytest.mark.parametrize(("kind", "option"), FILES)
def test_yaml_has_the_keys_of_its_schema(kind, option):
    content = read(kind, option)
    fields = registry.find(kind, content["name"]).schema.model_fields
    required = {name for name, field in fields.items() if field.is_required()}
    assert required <= set(content) <= set(fields)


@pytest.mark.parametrize(("kind", "option"), FILES)
def test_yaml_has_the_arguments_of_its_factory(kind, option):
    content = read(kind, option)
    package = registry.find(kind, content["name"]).schema.package
    if package and not find_spec(package):
        pytest.skip(f"{package} is not installed")
    make = registry.factory(kind, content["name"])
    parameters = inspect.signature(make).parameters.values()
    kinds = {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}
    assert {p.kind for p in parameters} <= kinds
    assert {p.default for p in parameters} <= {inspect.Parameter.empty}
    schema = registry.find(kind, content["name"]).schema
    given = plugins.GIVEN[kind] | ({"data"} if schema.reads else set())
    assert set(content) - schema.run_keys - {"name"} == {*arguments_of(make)} - given


@pytest.mark.parametrize("kind", [*KINDS, "logger"])
def test_every_registered_option_has_a_yaml(kind):
    # by their factories: evosax's names share one, and its yaml
    named = {registry.OPTIONS[kind][read(kind, option)["name"]].factory for option in options(kind)}
    assert named == {option.factory for option in registry.OPTIONS[kind].values()}


@pytest.fixture
def as_if_installed(monkeypatch):
    """Every extra is there, as far as the checks look."""
    monkeypatch.setattr("esrun.config.check.find_spec", lambda package: True)


@pytest.mark.parametrize("option", options("task"))
def test_task_composes_and_passes_the_checks(option, as_if_installed):
    config = checked(composed(chosen(option)).config)
    needed = dict([NEEDED[option]]) if option in NEEDED else {}
    assert config.task.model_dump().items() >= (read("task", option) | needed).items()


@pytest.mark.parametrize("option", options("strategy"))
def test_strategy_composes_and_passes_the_checks(option):
    assert checked(composed([f"strategy={option}"]).config).strategy.model_dump() == read(
        "strategy", option
    )


@pytest.mark.parametrize("option", options("policy"))
def test_policy_composes_with_a_task_it_fits_and_passes_the_checks(option):
    fitting = {"cnn": "breakout", "vector": "sphere"}.get(option, "cartpole")
    config = checked(composed([f"task={fitting}", f"policy={option}"]).config)
    said = OmegaConf.create(read("policy", option))  # what a task may say is an interpolation
    assert config.policy.model_dump() == OmegaConf.to_container(said, resolve=True)


@pytest.mark.parametrize("option", options("logger"))
def test_logger_composes_and_passes_the_checks(option, as_if_installed):
    config = checked(composed([f"logger=[{option}]"]).config)
    assert config.logger[option].model_dump() == read("logger", option)


@pytest.mark.parametrize("option", options("experiment"))
def test_experiment_composes_sets_what_it_says_and_passes_the_checks(option):
    task = option.removesuffix("_cnn")
    needed = chosen(task)[1:]  # an experiment whose task needs it has the task's name
    config = checked(composed([f"experiment={option}", *needed]).config)
    said = read("experiment", option)
    assert config.generations == said["generations"]
    for kind in KINDS:
        assert getattr(config, kind).model_dump().items() >= said.get(kind, {}).items()


def test_runs_that_do_not_say_what_is_kept_keep_what_new_ones_do():
    config = composed([]).config
    del config["archive"], config["checkpoint"]["keep_at"], config["policy"]["keep_every"]
    assert checked(config) == checked(composed([]).config)


def test_a_task_may_set_its_own_generations():
    assert (
        checked(composed(["task=sine"]).config).generations == read("task", "sine")["generations"]
    )
    assert checked(composed(["task=sine", "generations=7"]).config).generations == 7


@pytest.mark.parametrize(
    ("words", "normalized"),
    [
        ([], False),
        (["task=mountain_car"], True),
        (["task=mountain_car", "policy.normalize_input=false"], False),
        (["task=mountain_car", "policy=rnn"], True),
        (["task=mountain_car", "task.normalize_input=false"], False),
        (["task=mountain_car", "task.normalize_input=false", "policy=linear"], True),
    ],
)
def test_a_task_may_say_whether_its_inputs_are_normalised(words, normalized):
    assert checked(composed(words).config).policy.normalize_input is normalized
