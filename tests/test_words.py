"""The words of the command line: verbs, help, lists and what a shell completes."""

import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec

import pytest
import yaml
from conftest import MAIN, ROOT, quickly, tree
from defaults import chosen

from esrun.cli import main
from esrun.commands.completion import candidates
from esrun.commands.flags import parsers
from esrun.commands.list import sentence
from esrun.commands.words import KINDS, VERBS
from esrun.config import CONF_DIR, registry
from esrun.config.compose import options
from esrun.config.loader import PRIMARY


@pytest.fixture
def typed(capsys):
    """-> (words) -> what a command prints that must end well."""

    def run(*words):
        with suppress(SystemExit):  # argparse's own help
            assert main([*words]) == 0
        return capsys.readouterr().out

    return run


def test_help_names_every_verb_and_config_dir(typed):
    page = typed("--help")
    for verb in set(VERBS) - {"train"}:
        assert f"esrun {verb} " in page
    assert "--config-dir DIR" in page
    assert typed("help") == page == typed("help", "train")


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"train"}))
def test_every_verb_has_help_by_flag_and_by_verb(typed, verb):
    page = typed(verb, "--help")
    assert page == typed("help", verb)
    assert page.startswith(f"usage: esrun {verb} ")
    for flag in parsers()[verb]._option_string_actions.values():
        assert flag.help == "==SUPPRESS==" or flag.option_strings[-1] in page


@pytest.mark.parametrize("group", KINDS.values())
def test_help_on_an_option_is_its_file_with_its_comments(typed, group):
    for option in options(group):
        file = CONF_DIR / group / f"{option}.yaml"
        assert typed("help", f"{group}={option}") == file.read_text()


def test_help_on_an_option_of_the_users_own(typed, tmp_path):
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "mine.yaml").write_text("# Mine.\nname: sine\n")
    page = typed("help", "task=mine", "--config-dir", str(tmp_path))
    assert page == "# Mine.\nname: sine\n"
    assert re.search(r"  mine +Mine\.\n", typed("list", "tasks", "--config-dir", str(tmp_path)))


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["help", "strategy=CMA-ES"], "did you mean cma_es?"),
        (["help", "stategy=cma_es"], "did you mean strategy?"),
        (["help", "resum"], "did you mean resume?"),
        (["list", "stratgies"], "did you mean strategies?"),
        (["list", "a", "b"], "unrecognized arguments: b: see `esrun help list`"),
        (["explain", "--jsn"], "did you mean --json?"),
        (["resume"], "the following arguments are required: RUN"),
        (["resume", "seed=3"], "write esrun resume outputs/DATE/TIME seed=3"),
        (["resum", "x"], "did you mean `esrun resume`?"),
        (["=3"], "=3 must be KEY=VALUE"),
        (["task=glob(zz*)"], "matches no option of task"),
        (["stop.eval=nan"], "write for example stop.eval=null"),
        (["eval.episodes=2000000000"], "Make eval.episodes smaller"),
        (["--lr", "0.1", "strategy=openai_es"], "--lr is not a flag"),
        (["-x"], "unrecognized arguments: -x"),
        (["--cfg", "jbo"], "invalid choice: 'jbo'"),
        (["explain", "seed=0,1"], "esrun explain takes one configuration"),
    ],
)
def test_words_that_are_none_get_one_line(words, part, capsys):
    assert main(words) == 2
    said = capsys.readouterr()
    assert part in said.err
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert not re.search("-m |--multirun", said.err)


def test_a_kind_is_listed_in_the_singular_too(typed):
    for plural, singular in KINDS.items():
        assert typed("list", plural) == typed("list", singular) != ""


@pytest.mark.parametrize("columns", [60, 100])
def test_a_list_is_wrapped_with_an_indent_and_says_whole_sentences(typed, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = typed("list").splitlines()
    assert all(len(line) < columns or "://" in line or " " not in line.strip() for line in lines)
    for kind, group in KINDS.items():
        listed = typed("list", kind)
        for option in options(group):
            says = sentence((CONF_DIR / group / f"{option}.yaml").read_text())
            assert says.endswith((".", "!", "?")), (option, says)
            assert " ".join(says.split()) in " ".join(listed.split())


COMPLETED = {
    "esrun res": ["resume", "resume="],
    "esrun task=pend": ["task=pendulum"],
    "esrun explain strategy=cma": ["strategy=cma_es"],
    "esrun strategy.sig": ["strategy.sigma="],
    "esrun strategy=openai_es strategy.optimizer=": ["strategy.optimizer=adam"],
    "esrun list st": ["strategies"],
    "esrun help strategy=cma": ["strategy=cma_es"],
    "esrun explain --js": ["--json"],
    "esrun resume --fo": ["--force"],
    "esrun resume ou": ["outputs/2026-01-02/03-04-05"],
    "esrun resume mul": ["multirun/2026-01-02/03-04-05", "multirun/2026-01-02/03-04-05/0"],
    "esrun resume outputs/2026-01-02/03-04-05 generat": ["generations="],
    "esrun resume own": ["own/"],
    "esrun plot ou": ["outputs/2026-01-02/03-04-05"],
    "esrun plot outputs/2026-01-02/03-04-05 --x s": ["seconds"],
    "esrun --config-dir ow": ["own/"],
    "esrun --config-dir own task=moo": ["task=moon"],
    "python -m esrun li": ["list"],
    "sh scripts/esrun li": ["list"],
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """-> a working directory with runs and options in it."""
    for name in ("outputs/2026-01-02/03-04-05", "multirun/2026-01-02/03-04-05/0"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "run.json").write_text("{}")
    (tmp_path / "multirun/2026-01-02/03-04-05/sweep.json").write_text("{}")
    (tmp_path / "own" / "task").mkdir(parents=True)
    (tmp_path / "own" / "task" / "moon.yaml").write_text("name: sine\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("line", COMPLETED)
def test_the_last_word_is_completed(folder, line):
    assert candidates(line, PRIMARY) == COMPLETED[line]


@pytest.mark.parametrize(
    "line",
    ["esrun task=nope x", "esrun seed=[ ", "esrun 'task=", "esrun --config-dir no x", "", None],
)
def test_nothing_is_printed_into_the_prompt(folder, line, capfd, monkeypatch):
    monkeypatch.delenv("COMP_LINE", raising=False)
    if line is not None:
        monkeypatch.setenv("COMP_LINE", line)
    assert main(["-sc", "query=bash"]) == 0
    said = capfd.readouterr()
    assert said.err == ""
    assert "esrun:" not in said.out


def test_bash_completes_by_the_one_function_that_is_installed(folder, tmp_path):
    """In a real bash: the function is installed, and asked as Tab asks it."""
    command = tmp_path / "esrun"
    command.write_text(f"#!/bin/sh\nexec {sys.executable} -P -c '{MAIN}' \"$@\"\n")
    command.chmod(0o755)
    ask = """
eval "$(esrun -sc install=bash | sed 's/ python$/ esrun/; s/ -c$/ esrun/')"
try() { COMP_LINE="$1"; COMP_WORDS=($1); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMP_POINT=${#1};
        hydra_bash_completion; echo "${COMPREPLY[@]}"; }
complete -p esrun | grep -c .
try "esrun res"; try "esrun task=pend"; try "esrun resume outp"
"""
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", ask], capture_output=True, text=True, check=True, cwd=tmp_path,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "1", "resume resume=", "task=pendulum", "outputs/2026-01-02/03-04-05",
    ]  # fmt: skip


NAMED = {
    "file/x": "cannot be made: Not a directory",
    "file": "file is no folder",
    "a" * 300: "cannot be made: File name too long",
    "/": "/ holds something else than a run",
    "null": "hydra.run.dir=null cannot be set",
}


@pytest.mark.parametrize("place", NAMED)
def test_a_run_folder_that_cannot_be_is_one_line(tmp_path, monkeypatch, capsys, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    before = tree(tmp_path)
    assert main(["task=sphere", f"hydra.run.dir={place}"]) == 2
    said = capsys.readouterr()
    assert NAMED[place] in said.err
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert tree(tmp_path) == before


def test_a_sweep_names_each_job_above_it_and_the_job_that_is_wrong(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("esrun.runs.sweep.run_composed", lambda *a, **k: print("trains") or 0)
    assert main(["-m", "task=sphere", "seed=2,3", "policy.high=5", "runtime.parallel_runs=1"]) == 0
    assert capsys.readouterr().out.splitlines()[:4] == [
        "job 1/2: seed=2", "trains", "job 2/2: seed=3", "trains",
    ]  # fmt: skip
    assert main(["-m", "task=pendulum,cartpole", "task.env_params={g: 9.8}"]) == 2
    line = capsys.readouterr().err
    assert line.startswith("esrun: job 2 (task=cartpole): task.env_params.g is not a parameter")


def test_explain_prints_what_training_is_refused_with(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["task=sine", "strategy=cma_es", "policy.hidden=[4096,4096]"]
    assert main(["explain", "--json", *words]) == 0
    told = json.loads(capsys.readouterr().out)
    assert main(["explain", *words]) == 0
    assert f"hopeless: {told['hopeless']}" in capsys.readouterr().out
    assert main(words) == 2
    assert capsys.readouterr().err == f"esrun: {told['hopeless']}\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("task", quickly(options("task"), *options("task")[::2]))
def test_every_task_alone_is_sensible(task, capsys):
    """No line of warning: the default strategy fits the default policy."""
    name = yaml.safe_load((CONF_DIR / "task" / f"{task}.yaml").read_text())["name"]
    package = registry.find("task", name).schema.package
    if package and not find_spec(package):
        pytest.skip(f"{package} is not installed")
    assert main(["explain", "--json", *chosen(task)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["hopeless"], told["warnings"]) == (None, [])
