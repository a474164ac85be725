"""What is wrong is told with what to write instead, and what it says works when it is typed.

The mistakes are not listed by hand: every key of every option is set to what it cannot be, and the
remedy is taken out of the line that answers.
"""

import copy
import re
import shlex

import pytest
from defaults import NEEDED
from hydra.core.override_parser.overrides_parser import OverridesParser

from esrun import files
from esrun.cli import main
from esrun.config.check import KINDS, checked
from esrun.config.compose import composed, options
from esrun.config.trees import flat
from esrun.errors import ConfigError

BAD = ["none", "", "Adam", "x!", True, -1, -1.5, 0, 10**30, 1e39, float("nan"), [], {"a": 1}, None]
FITTING = {"cnn": "task=breakout", "vector": "task=sphere"} | {
    option: f"task.{key}={value}" for option, (key, value) in NEEDED.items()
}
OPTIONS = [(kind, option) for kind in KINDS for option in options(kind)]
WRITE = re.compile(r"write (?:for example )?(.*?)(?: \(.*)?$")


def option_of(kind, option):
    """-> the configuration with that option chosen."""
    return composed([f"{kind}={option}", *filter(None, [FITTING.get(option)])]).config


def complaint(config):
    """-> the line that a configuration gets, None where it is accepted."""
    try:
        checked(config)
    except ConfigError as error:
        return str(error)
    return None


def put(config, key, value):
    """-> the same with another value."""
    changed = copy.deepcopy(config)
    node = changed
    *inner, last = key.split(".")
    for part in inner:
        node = node[part]
    node[last] = value
    return changed


def remedies(line):
    """-> the KEY=VALUE words that a line says to write, read as Hydra reads them."""
    found = WRITE.search(line)
    for words in found[1].split(" or ") if found else ():
        for word in shlex.split(words):
            if re.match(r"[\w./]+=", word):
                try:
                    read = OverridesParser.create().parse_override(word)
                except Exception as error:
                    raise AssertionError(line) from error
                yield read.key_or_group, read.value()


def leaves(kind, option):
    config = option_of(kind, option)
    sections = {kind: config[kind]} if option != "pendulum" else config
    return config, [key for key in flat(sections) if not key.endswith(".name") and key != "logger"]


@pytest.fixture(autouse=True)
def as_if_installed(monkeypatch, tmp_path):
    """Every extra is there, as far as the checks look, and so are the files that a line names as
    an example."""
    monkeypatch.setattr(files, "STARTED_IN", tmp_path)
    for name in ("PATH", "TEXT"):
        (tmp_path / name).touch()
    monkeypatch.setattr("esrun.config.check.find_spec", lambda package: True)


@pytest.mark.parametrize(("kind", "option"), OPTIONS)
def test_every_remedy_is_accepted_in_the_place_of_what_was_wrong(kind, option):
    config, keys = leaves(kind, option)
    told = 0
    for key in keys:
        for value in BAD:
            wrong = put(config, key, value)
            line = complaint(wrong)
            if line is None:
                continue
            assert "\n" not in line
            for _ in range(3):  # what is mended may show what else is wrong
                words = list(remedies(line))
                told += len(words)
                if not words or any(name in KINDS for name, _ in words):
                    assert all(meant in options(name) for name, meant in words if name in KINDS)
                    break
                for name, meant in words:
                    wrong = put(wrong, name, meant)
                before, line = line, complaint(wrong)
                if line is None:
                    break
                assert line.split()[0] != before.split()[0], (key, value, before, line)
            else:
                raise AssertionError((key, value, line))
    assert told


@pytest.mark.parametrize(("kind", "option"), OPTIONS)
def test_every_number_has_bounds_and_its_line_names_it(kind, option):
    config, keys = leaves(kind, option)
    for key in keys:
        value = config
        for part in key.split("."):
            value = value[part]
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        for much in (10**40, 10**400):
            line = complaint(put(config, key, much))
            assert line, key
            assert line.startswith(f"{key} must be "), line
            assert len(line) < 300


TYPED = [
    ["seed=0,1"], ["task=[pendulum,cartpole]"], ["strategy.sigma=interval(0.1,0.3)"],
    ["seed=range(3"], ["seed=range(0)"], ["+seed=3"], ["~strategy.sigma"], ["~task"],
    ["task=gymnax"], ["hydra.run.dir=langü"], ["policy.hidden=[8,16"], ["task.env=a b:c"],
    ["--seed", "3"], ["--seed=3"], ["--population-size", "8"], ["seed", "3"], ["seed", "=", "3"],
    ["strategy.restarts=IPOP"], ["stop.eval=none"], ["policy.activation=ReLU"], ["stop.eval=x"],
    ["policy.hidden=[a]"], ["policy.hidden=64"], ["-m", "seed=range(0)"], ["policy=cnn"],
    ["-m", "strategy.sigma=interval(0.1,0.3)"], ["task=sphere", "policy=mlp"],
    ["strategy.parents=101"], ["task=himmelblau", "task.dimension=3"],
    ["strategy=openai_es", "strategy.population_size=101"], ["experiment=null"],
    ["task.env_params.max_steps_in_episode=50"], ["resume=none"], ["logger=none"],
    ["task=glob(pen*)"],
]  # fmt: skip


@pytest.mark.parametrize("words", TYPED, ids=" ".join)
def test_what_a_line_says_to_type_is_accepted_when_it_is_typed(
    words, capsys, monkeypatch, tmp_path
):
    """By the command itself, which stops where it would begin to train."""
    monkeypatch.chdir(tmp_path)
    # the sweep's first: it is imported then, and must not keep what stands in for the job's
    monkeypatch.setattr("esrun.runs.sweep.run_composed", lambda *a, **k: 0)
    monkeypatch.setattr("esrun.runs.job.run_composed", lambda *a, **k: 0)
    assert main([*words]) == 2
    for _ in range(2):  # what is mended may show what else is wrong
        line = capsys.readouterr().err
        assert (line.startswith("esrun: "), line.count("\n")) == (True, 1)
        words = typed_instead(words, line)
        if main(words) == 0:
            return
    raise AssertionError((line, words, capsys.readouterr().err))


def typed_instead(words, line):
    """-> the command line that a user types who does what the line says."""
    if "leave it out" in line:
        wrong = line.removeprefix("esrun: ").split(" ")[0]
        return [word for word in words if word != wrong]
    said = line.rstrip("\n").rpartition("write ")[2].removeprefix("for example ")
    said = said.partition(" (")[0]
    wrong = line.split()[1]
    if said.startswith("one of "):
        said = f"{wrong}={said.removeprefix('one of ').split(', ')[0]}"
    *_, said = said.rpartition("esrun -m ") if "esrun -m " in said else ("", said)
    new = shlex.split(said.split(" or ")[0])
    flags = ["-m"] if "esrun -m " in line else []
    keys = {wrong, *(word.lstrip("+~").partition("=")[0] for word in new)}
    kept = [
        word
        for word in words
        if not word.startswith("-")
        and "=" in word.lstrip("=")
        and word.lstrip("+").partition("=")[0] not in keys
    ]
    return [*flags, *kept, *new]


@pytest.mark.commands
@pytest.mark.parametrize(
    "variable", ["JAX_NUM_CPU_DEVICES=x", "JAX_NUM_CPU_DEVICES=0", "JAX_ENABLE_X64=maybe",
                 "JAX_PLATFORMS=abacus", "JAX_PLATFORMS=cuda"],
)  # fmt: skip
def test_an_environment_that_jax_cannot_start_in_is_one_line(esrun, tmp_path, variable):
    name, _, value = variable.partition("=")
    said = esrun("task=sphere", "generations=2", **{name: value})
    assert (said.returncode, said.stderr.count("\n")) == (2, 1)
    assert said.stderr.startswith("esrun: JAX cannot start here: ")
    assert variable in said.stderr
    assert not (tmp_path / "outputs").exists()
