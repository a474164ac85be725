"""Words that Hydra's grammar cannot read are named, and the remedy is read."""

import os
import shlex
import subprocess
import sys

import pytest

from esrun.cli import main
from esrun.config.compose import composed
from esrun.config.quoting import quoted, to_be_quoted


@pytest.mark.parametrize("value", ["langü", "x;y", "a!b", "ü'", 'ü"', "ü\\", "日本/語", "a&b"])
def test_the_remedy_is_read_as_it_was_meant(value, capsys):
    word = f"hydra.run.dir={value}"
    assert main(["task=sphere", word]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert word in said
    (remedy,) = shlex.split(said.partition("write ")[2])
    assert composed(["task=sphere", remedy]).hydra.run.dir == value


def test_what_no_quote_helps_is_left_alone():
    assert to_be_quoted(["seed=1", "task=sine", "~logger"]) is None
    assert to_be_quoted(["seed=range(3", "x", "ü=3"]) is None


@pytest.mark.parametrize("text", ["a", "a'b", "a\\", "\\'", "a\\b", "$x"])
def test_a_quoted_text_is_itself_again(text):
    assert composed(["task=sphere", f"hydra.run.dir={quoted(text)}"]).hydra.run.dir == text


@pytest.mark.parametrize(
    "words", [["task=sphere"], ["list"], ["explain"], ["resume", "x"], ["-m", "seed=1,2"]],
    ids=lambda words: words[0],
)  # fmt: skip
def test_a_working_directory_that_is_gone_is_one_line(tmp_path, words):
    gone = tmp_path / "gone"
    gone.mkdir()
    code = f"""
import os, sys
os.chdir({str(gone)!r})
os.rmdir({str(gone)!r})
os.execv(sys.executable, [sys.executable, "-m", "esrun", *{words!r}])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "esrun: the working directory is gone: cd to one that is there\n"
