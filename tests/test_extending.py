"""The page on extending esrun: its files, installed, do what it says they do."""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from typing import NamedTuple

import pytest
from conftest import PATIENCE, ROOT

BLOCK = re.compile(
    r"^(?P<before>[^\n]*)\n+```(?P<language>\w+)\n(?P<content>.*?)\n```$", re.MULTILINE | re.DOTALL
)
PAGE = (ROOT / "docs" / "extending.md").read_text()
BLOCKS = list(BLOCK.finditer(PAGE))
FILES = {
    name[1]: block["content"] + "\n"
    for block in BLOCKS
    if (name := re.match(r"`([\w./]+)`.*:$", block["before"]))
}


class Shell(NamedTuple):
    """A command of the page and what the page shows of its output."""

    words: list[str]
    shown: str


def commands():
    """-> the commands of the page in their order."""
    for block in BLOCKS:
        if block["language"] == "console":
            for part in block["content"].removeprefix("$ ").split("\n$ "):
                line, _, shown = part.partition("\n")
                yield Shell(shlex.split(line), shown)


COMMANDS = list(commands())
RUNS = [x for x in COMMANDS if x.words[0] == "esrun" and x.words[1] != "list"]


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """-> (words) -> what the command prints, in the folder that the page fills, its package
    installed."""
    folder, target = tmp_path_factory.mktemp("page"), tmp_path_factory.mktemp("site")
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    python = [sys.executable, "-P"]  # -P: the package comes from where it is installed
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--target", target]
    subprocess.run([*python, "-m", "pip", "install", *offline, folder], check=True)
    path = f"{target}{os.pathsep}{ROOT}"  # this checkout, whichever one is installed
    # a few generations are not worth an optimiser's time
    environment = {"PYTHONPATH": path, "JAX_DISABLE_MOST_OPTIMIZATIONS": "true"}

    def run(words):
        programs = {"esrun": [*python, "-m", "esrun"], "python": python}
        done = subprocess.run(
            [*programs.get(words[0], words[:1]), *words[1:]],
            cwd=folder,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run.folder = folder
    return run


def test_the_page_has_a_file_and_a_run_for_every_kind():
    assert {"pyproject.toml", "my_esrun/__init__.py", "test_shrink.py"} < set(FILES)
    for kind, module in (
        ("task", "tasks"),
        ("policy", "policies"),
        ("strategy", "strategies"),
        ("logger", "loggers"),
    ):
        (yaml,) = (name for name in FILES if name.startswith(f"conf/{kind}/"))
        option = yaml.split("/")[-1].removesuffix(".yaml")
        assert f"def make_{option}(" in FILES[f"my_esrun/{module}.py"]
        assert any(
            f"{kind}={option}" in x or f"{kind}=[{option}]" in x for y in RUNS for x in y.words
        )


def test_lines_of_code_fit_a_screen():
    longest = max((line for content in FILES.values() for line in content.splitlines()), key=len)
    assert len(longest) <= 100, longest


@pytest.mark.slow
def test_every_command_does_what_the_page_shows(package):
    for words, shown in COMMANDS:
        if words[0] == "pip":
            continue  # installed by the fixture, without a network
        printed = package(words)
        lines = {bare(line) for line in printed.splitlines()}
        assert {bare(line) for line in shown.splitlines() if is_certain(line)} <= lines, printed
    for words in (run.words for run in RUNS):
        (folder,) = (x.removeprefix("hydra.run.dir=") for x in words if x.startswith("hydra.run"))
        summary = json.loads((package.folder / folder / "summary.json").read_text())
        assert (summary["status"], summary["generations"]) == ("done", 20)
    dock = json.loads((package.folder / "outputs" / "dock" / "summary.json").read_text())
    assert dock["eval"]["distance"] >= 0
    with (package.folder / "outputs" / "table" / "table.csv").open() as opened:
        rows = list(csv.DictReader(opened))
    assert list(rows[0]) == ["generation", "fitness_best", "eval_mean"]
    assert [int(row["generation"]) for row in rows] == list(range(1, 21))
    assert all(float(row["fitness_best"]) < 0 for row in rows)
    assert [bool(row["eval_mean"]) for row in rows] == [False] * 19 + [True]


def bare(line):
    """-> a line without the frame of its panel, which is as wide as the devices' names need."""
    return line.strip("│ ")


def is_certain(line):
    """Whether a line of the page's output holds nothing that differs between machines."""
    return not re.match(r"\.\.\.$|generation +\d|\d|│ devices|[╭╰]", line)
