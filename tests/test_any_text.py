"""Any text, typed or in a file, is refused in one line or is a configuration that is accepted."""

import json

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from esrun.cli import main
from esrun.config.check import checked
from esrun.config.compose import composed
from esrun.config.loader import Source
from esrun.config.schema.run import Config
from esrun.config.trees import flat
from esrun.errors import ConfigError

pytestmark = pytest.mark.runs

KEYS = sorted(flat(composed(["strategy=openai_es"]).config))
GROUPS = ["task", "strategy", "policy", "experiment", "logger", "hydra/launcher", "hydra"]
PIECES = [
    *"=,.:+~[]{}()'\"\\ $@/-_é\t\n\0", "${", "null", "none", "true", "1e999", "-1", "0.5", "x",
    "nan", "range(", "glob(*)", "choice(1,2)", "interval(0,1)", "${seed}", "${hydra:job.num}",
    "${oc.env:HOME}", "task", "pendulum", "auto", "[1,2]", "{a:1}", "99999999999999999999", "..",
    "???",
]  # fmt: skip
PARTS = sorted({part for key in KEYS for part in key.split(".")})
TEXT = st.one_of(st.lists(st.sampled_from(PIECES), max_size=6).map("".join), st.text(max_size=12))
WORD = st.one_of(
    TEXT, st.tuples(st.sampled_from(["", "+", "++", "~"]), st.sampled_from([*KEYS, *GROUPS]), TEXT)
    .map(lambda x: f"{x[0]}{x[1]}={x[2]}"),
)  # fmt: skip
LEAF = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT)
TREE = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from([x for key in KEYS for x in key.split(".")]), inner, max_size=3
        ),
    ),
    max_leaves=6,
)
CONTENT = st.one_of(TEXT, TREE.map(lambda tree: f"# @package _global_\n{yaml.safe_dump(tree)}"))
QUICK = settings(max_examples=60, derandomize=True, deadline=None, database=None)


def is_one_line_or_a_configuration(words, source):
    try:
        assert isinstance(checked(composed(words, source).config), Config)
    except ConfigError as error:
        line = " ".join(str(error).split())
        assert line
        assert "Traceback" not in line


@QUICK
@given(st.lists(WORD, min_size=1, max_size=3))
@example(["seed=${hydra:runtime}"])
@example(["task@x=pendulum"])
@example(["~task.name"])
def test_typed(words):
    is_one_line_or_a_configuration(words, Source())


@QUICK
@given(content=CONTENT)
@example(content="# @package _global_\n? [1]\n: 2\n")
@example(content="# @package _global_\nseed: &a [*a]\n")
@example(content="# @package task\nname: [1]\n")
def test_in_a_file(content, tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "experiment").mkdir()
    (folder / "experiment" / "mine.yaml").write_text(content, errors="replace")
    is_one_line_or_a_configuration(["experiment=mine"], Source(directory=str(folder)))


WHOLE = [
    ["seed=${hydra:runtime.cwd}"], ["task@x=pendulum"], ["~task.name"], ["="], [""], ["\0=1"],
    ["a b=c"], ["seed=\udcff"], ["+=1"], ["task/x=y"], ["hydra=null"], ["hydra.job.name=[1"],
    ["seed=${seed}"], ["generations=${oc.env:NO_SUCH_VARIABLE}"], ["policy=mlp,cnn"],
    ["-m", "seed="], ["-m", "task=,"], ["--cfg"], ["-c", "job", "x"], ["logger=[wandb,wandb]"],
    ["task=../../etc/passwd"],
]  # fmt: skip


@pytest.mark.parametrize("words", WHOLE, ids=json.dumps)
def test_as_a_whole_command(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith("esrun: ")
    assert not list(tmp_path.iterdir())
