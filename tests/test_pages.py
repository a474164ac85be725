"""The commands that README, the pages of docs/ and the help show: each is run, with a small budget.

docs/clusters.md, docs/extending.md and docs/tutorial.md have tests of their own.
"""

import re
import shlex

import jax
import pytest
from conftest import ROOT, quickly

from esrun.cli import main
from esrun.commands.words import VERBS
from esrun.config import registry

pytestmark = pytest.mark.runs

PAGES = [
    ROOT / "README.md",
    ROOT / "conf" / "hydra" / "help" / "esrun.yaml",
    *(
        path
        for path in sorted((ROOT / "docs").glob("*.md"))
        if path.name not in ("clusters.md", "extending.md", "tutorial.md")
    ),
]
PLACE = re.compile(r"\b(PATH|RUN|SWEEP|TEXT|KEY=VALUE|VERB|GROUP=OPTION|KIND|DIR|DATE)\b|\.\.\.")
READING = ("eval", "plot", "render", "report")
"""Verbs that take flags alone."""
SMALL = ["generations=2", "eval.episodes=2", "task.episodes=1"]
STUDY = ["tune.trials=2", "tune.seeds=1", "tune.fresh_seeds=1", "tune.first_rung=auto"]


def commands(page):
    """-> the commands of a page as they are written, those that leave something open left out."""
    text = re.sub(r"\\\n\s*", "", page.read_text())
    lines = [line.strip().removeprefix("$ ") for line in text.splitlines()]
    lines += re.findall(r"`(esrun [^`]+)`", text)
    for line in lines:
        line = line.replace("sh scripts/esrun", "esrun").replace("outputs/DATE/TIME", "first")
        line = re.split(r"   +", line.replace("latest", "first"))[0]  # the help says more there
        words = line.partition(" #")[0].split()
        says_all = "=" in line or (len(words) > 2 and words[1] in VERBS)
        if words[:1] == ["esrun"] and not PLACE.search(line) and says_all:
            yield line


COMMANDS = sorted({line.partition(" #")[0].strip() for page in PAGES for line in commands(page)})
FIRST_SEEN = {line.partition(" #")[0].strip() for page in PAGES[:2] for line in commands(page)}
QUICK = [
    x for x in FIRST_SEEN
    if x.split()[1] not in ("-m", "resume") and ("=" not in x.split()[1] or "task=pendulum" in x)
]  # fmt: skip
"""The others train something else, for which much is to be compiled."""


def test_there_are_commands_of_every_verb():
    assert len(COMMANDS) > 25
    verbs = {words.split()[1] for words in COMMANDS}
    assert set(VERBS) - {"train", "list", "doctor"} <= verbs


@pytest.mark.parametrize("line", COMMANDS)
def test_no_shell_would_expand_a_word(line):
    bare = re.sub(r"'[^']*'", "", line)
    assert not re.search(r"[][*?(){}<>|;&~$]", bare), line


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.mark.usefixtures("folder", "quick_to_compile")
@pytest.mark.parametrize(
    "line",
    quickly(COMMANDS, *QUICK),
)
def test_every_command_does_what_it_is_shown_for(line):
    words = shlex.split(re.sub(r"--(generations?|episodes) [\d,]+", r"--\1 2", line))[1:]
    for word in words:
        for name in re.findall(r"\w+", word.removeprefix("logger=")) if "logger=[" in word else ():
            pytest.importorskip(str(registry.find("logger", name).schema.package))
    if "first" in words:  # a finished run
        run = ["task=pendulum", "policy.hidden=[4]", "task.episode_length=5", *SMALL]
        assert main([*run, "checkpoint.keep_at=[1,2]", "hydra.run.dir=first"]) == 0
    small = {
        "resume": ["generations=3"], "tune": [*SMALL, *STUDY], "explain": [], "list": [],
        "help": [], "--help": [], **{verb: [] for verb in READING},
    }.get(words[0], SMALL)  # fmt: skip
    kept = [x for x in words if x.partition("=")[0] not in {y.partition("=")[0] for y in small}]
    assert main([*kept, *small]) == 0
