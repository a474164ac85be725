"""Yaml that would become more than any memory holds is refused in one line."""

import os

import pytest

from esrun.cli import main
from esrun.config.bounds import NODES, check_yaml
from esrun.config.compose import composed
from esrun.config.loader import Source
from esrun.errors import ConfigError

HEAD = "# @package _global_\n"
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)
MERGED = "a0: &a0 {x: 1, y: 2}\n" + "".join(
    f"a{i}: &a{i} {{l: *a{i - 1}, r: *a{i - 1}}}\n" for i in range(1, 40)
)
DOUBLING = "a0: xxxxxxxxxx\n" + "".join(f"a{i}: ${{a{i - 1}}}${{a{i - 1}}}\n" for i in range(1, 60))
NESTED = "b:\n  a0: xxxxxxxxxx\n" + "".join(
    f"  a{i}: {{l: '${{..a{i - 1}}}${{b.a{i - 1}}}'}}\n"
    if i == 1
    else f"  a{i}: {{l: '${{..a{i - 1}.l}}${{b.a{i - 1}[l]}}'}}\n"
    for i in range(1, 60)
)
LISTED = "a0: x\n" + "".join(f"a{i}: ['${{..a{i - 1}}}', '${{a{i - 1}}}']\n" for i in range(1, 60))
BOMBS = {
    "interpolations": DOUBLING,
    "relative": NESTED,
    "listed": LISTED,
    "laughs": LAUGHS,
    "mappings": MERGED,
    "itself": "a: &a [*a]\n",
    "long": "a: [" + "1, " * NODES + "1]\n",
    "deep": "a: " + "[" * 500 + "]" * 500 + "\n",
    "large": "a: " + "x" * 2**21 + "\n",
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("way", ["experiment", "primary"])
def test_a_bomb_is_one_line(tmp_path, monkeypatch, capsys, name, way):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "conf" / ("experiment/x.yaml" if way == "experiment" else "x.yaml")
    path.parent.mkdir(parents=True)
    path.write_text(HEAD + BOMBS[name])
    chosen = ["experiment=x"] if way == "experiment" else ["--config-name=x"]
    assert main(["task=sphere", "--config-dir=conf", *chosen]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "x.yaml" in said or "interpolations" in said
    assert len(said) < 400
    assert [path.name for path in tmp_path.iterdir()] == ["conf"]


def test_a_pipe_for_an_option_is_not_waited_for(tmp_path):
    (tmp_path / "task").mkdir()
    os.mkfifo(tmp_path / "task" / "x.yaml")
    with pytest.raises(ConfigError):
        composed(["task=x"], Source(directory=str(tmp_path)))


def test_aliases_of_reasonable_size_are_read(tmp_path):
    (tmp_path / "experiment").mkdir()
    text = HEAD + "x: &x {seed: 3}\ny: *x\nseed: ${y.seed}\n"
    (tmp_path / "real.yaml").write_text(text)
    (tmp_path / "experiment" / "x.yaml").symlink_to(tmp_path / "real.yaml")
    check_yaml(str(tmp_path / "experiment" / "x.yaml"))
    found = composed(["task=sphere", "experiment=x"], Source(directory=str(tmp_path)))
    assert found.config["seed"] == 3
