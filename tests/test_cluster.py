"""The page on GPU boxes and clusters: every command on it, typed, with the clusters' own programs
and esrun acted by scripts that write down what they were asked."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import MAIN, PATIENCE, ROOT, wait_for

from esrun.cli import main
from esrun.commands.words import VERBS
from esrun.config.check import checked
from esrun.config.compose import composed

PAGE = (ROOT / "docs" / "clusters.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
INLINE = re.findall(r"`(esrun (?:-m )?[a-z]+=[^`]*)`", PAGE)
FAKES = {
    "python": f'exec {sys.executable} "$@"',
    "nvidia-smi": "printf '0\\n1\\n'",
    "srun": 'while :; do case $1 in --*) shift ;; *) exec "$@" ;; esac; done',
    "scontrol": 'echo "$*" >>"$HERE/scontrol.txt"',
    # runs a job or the tasks of an array here and now; its other options are Slurm's own business
    "sbatch": """
name=esrun array=
while :; do
    case $1 in
        --array=*) array=${1#--array=} ;;
        --job-name=*) name=${1#--job-name=} ;;
        --*) ;;
        *) break ;;
    esac
    shift
done
if [ -z "$array" ]; then
    SLURM_JOB_NAME=$name SLURM_JOB_ID=4711 sh "$@"
    exit
fi
worst=0
for task in $(seq "${array%-*}" "${array#*-}"); do
    SLURM_JOB_NAME=$name SLURM_ARRAY_JOB_ID=4711 SLURM_ARRAY_TASK_ID=$task sh "$@" || worst=$?
done
exit "$worst"
""",
}

ESRUN = f"""#!{sys.executable} -S
import fcntl, os, sys
with open(os.environ["HERE"] + "/esrun.txt", "a") as asked:
    fcntl.flock(asked, fcntl.LOCK_EX)
    print(os.environ["CUDA_VISIBLE_DEVICES"], *sys.argv[1:], sep="\\t", file=asked)
    with open(os.environ["HERE"] + "/codes.txt", "r+") as codes:
        code, *left = codes.read().split() or ["0"]
        codes.seek(0)
        codes.truncate()
        codes.write(" ".join(left))
sys.exit(int(code))
"""
"""Writes down its words, and ends with the next of the codes that it was given, or else with 0."""


@pytest.fixture
def shell(tmp_path):
    """-> (lines, the exit codes of esrun in their order) -> (the exit code, what esrun was asked:
    its GPU, its words), in a folder with `scripts/` in it."""
    programs, here = tmp_path / "bin", tmp_path / "here"
    programs.mkdir()
    here.mkdir()
    (here / "scripts").symlink_to(ROOT / "scripts")
    put(programs, {"esrun": ESRUN} | FAKES)
    environment = os.environ | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "HERE": str(here),
        "CUDA_VISIBLE_DEVICES": "",
    }

    def run(lines, codes=()):
        (here / "codes.txt").write_text(" ".join(map(str, codes)))
        (here / "esrun.txt").write_text("")
        done = subprocess.run(
            ["sh", "-c", lines], cwd=here, env=environment, timeout=60, check=False,
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.stderr == ""
        asked = (line.split("\t") for line in (here / "esrun.txt").read_text().splitlines())
        return done.returncode, sorted((gpu, words) for gpu, *words in asked)

    run.here = here
    return run


@pytest.fixture(autouse=True)
def ray_is_installed(monkeypatch):
    """What the page says of it is checked without the package, which is an extra."""
    monkeypatch.setattr("esrun.config.check.find_spec", lambda name: True)


def put(folder, programs):
    """Put programs into a folder: scripts for sh, where they do not say otherwise."""
    for name, text in programs.items():
        (folder / name).write_text(text if text.startswith("#!") else f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)


def block(*having):
    """-> the one block of the page that has these words."""
    (found,) = [text for text in BLOCKS if all(word in text for word in having)]
    return found


def seeds(asked):
    return sorted(word for _, words in asked for word in words if word.startswith("seed="))


@pytest.mark.commands
@pytest.mark.parametrize("text", BLOCKS, ids=lambda text: text.splitlines()[0][:40])
def test_every_command_runs_and_what_it_asks_of_esrun_is_right(shell, text, capsys):
    if "commands.txt" in text and "cat >" not in text:
        shell(block("commands.txt", "cat >"))
    code, asked = shell(text)
    assert (code, bool(asked)) == (0, True)
    for _, words in asked:
        acceptable(words, capsys)


@pytest.mark.parametrize("line", INLINE)
def test_what_is_written_in_passing_is_right_too(line, capsys):
    acceptable(shlex.split(line)[1:], capsys)


def test_something_is_written_in_passing():
    assert any(" -m " in line for line in INLINE)


def acceptable(words, capsys):
    """Fail where esrun would not take the words."""
    if words[0] in VERBS:
        assert main(["help", words[0]]) == 0
        flags = re.findall(r"-+[a-z]+", capsys.readouterr().out)
        assert {x for x in words if x.startswith("-")} <= {*flags}
    elif words[0] == "-m":
        for job in jobs(words[1:]):
            checked(composed(job).config)
    else:
        checked(composed(words).config)


def jobs(words):
    """-> the words of one job: the first value of each key that is swept."""
    yield [re.sub(r"range\(\d+\)", "0", word).partition(",")[0] for word in words]


@pytest.mark.commands
def test_each_gpu_has_one_command_at_a_time(shell):
    code, asked = shell(block("cat > commands.txt"))
    assert (code, len(asked)) == (0, 4)
    assert {gpu for gpu, _ in asked} <= {"0", "1"}  # nvidia-smi's
    code, asked = shell(block("--gpus 0,2"))
    assert {gpu for gpu, _ in asked} <= {"0", "2"}
    assert shell(block("--gpus 0,2"), [0, 75, 0, 1])[0] == 75


@pytest.mark.commands
def test_a_loop_fills_the_queue(shell):
    assert seeds(shell(block("done | python"))[1]) == [f"seed={x}" for x in range(5)]


@pytest.mark.commands
def test_an_array_is_queued_again_where_it_was_interrupted(shell):
    code, asked = shell(block("--array=0-9"), [0, 75, 0, 1])
    assert code in (1, 75)
    assert seeds(asked) == [f"seed={x}" for x in range(10)]
    assert [words[-2:] for _, words in asked if "seed=3" in words] == [
        ["hydra.run.dir=outputs/esrun-4711/3", "resume=auto"]
    ]
    assert (shell.here / "scontrol.txt").read_text() == "requeue 4711_1\n"
    assert "policy.hidden=[512]" in shell(block("--array=0-4"))[1][0][1]


@pytest.mark.commands
@pytest.mark.parametrize(
    ("code", "saved", "ended", "again"),
    [(0, True, 0, False), (75, False, 75, True), (1, True, 1, False), (2, True, 2, False),
     (137, True, 75, True), (137, False, 137, False)],
)  # fmt: skip
def test_a_job_of_several_hosts_is_queued_again(shell, code, saved, ended, again):
    folder = shell.here / "outputs" / "esrun-4711" / "checkpoints"
    folder.mkdir(parents=True)
    if saved:
        (folder / "1.safetensors").write_text("")
    found, asked = shell(block("slurm_hosts.sh"), [code])
    assert (found, len(asked)) == (ended, 1)
    words = ["runtime.hosts=auto", "hydra.run.dir=outputs/esrun-4711", "resume=auto"]
    assert asked[0][1][-3:] == words
    assert (shell.here / "scontrol.txt").exists() == again


@pytest.mark.commands
@pytest.mark.parametrize(
    ("codes", "code", "calls"), [([75, 75, 0], 0, 3), ([75, 1], 1, 2), ([2], 2, 1), ([130], 130, 1)]
)
def test_the_loop_goes_on_at_75_and_nowhere_else(shell, codes, code, calls):
    ended, asked = shell(block("train.sh"), codes)
    assert (ended, len(asked)) == (code, calls)


@pytest.mark.commands
def test_ctrl_c_ends_the_loop_when_the_run_has_saved(tmp_path):
    saving = "trap 'echo saved; exit 75' INT; echo runs; while :; do sleep 0.05; done"
    put(tmp_path, {"esrun": saving})
    loop = subprocess.Popen(
        ["sh", "-c", block("train.sh")], cwd=tmp_path, start_new_session=True, text=True,
        env=os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert loop.stdout is not None
    assert loop.stdout.readline() == "runs\n"
    os.killpg(loop.pid, signal.SIGINT)
    said, _ = loop.communicate(timeout=60)
    assert said == "saved\n"
    assert loop.returncode != 0


@pytest.mark.slow
@pytest.mark.commands
def test_an_array_goes_on_with_what_a_signal_has_saved(start, tmp_path):
    """The script with the real command, a signal as Slurm sends it, and the script again."""
    programs = tmp_path / "bin"
    programs.mkdir()
    command = f'echo $$ >"$HERE/pid"; exec {sys.executable} -c \'{MAIN}\' "$@"'
    put(programs, {"srun": FAKES["srun"], "scontrol": FAKES["scontrol"], "esrun": command})
    words = ["task=sphere", "strategy=openai_es", "generations=2000000000", "eval.episodes=2"]
    slurm = {"SLURM_ARRAY_JOB_ID": "4711", "SLURM_ARRAY_TASK_ID": "3", "HERE": str(tmp_path)}
    code = (
        f"import os, sys; os.environ |= {slurm}; "
        f"os.environ['PATH'] = {str(programs)!r} + os.pathsep + os.environ['PATH']; "
        f"os.execvp('sh', ['sh', {str(ROOT / 'scripts' / 'slurm_array.sh')!r}, *sys.argv[1:]])"
    )
    folder = tmp_path / "outputs" / "esrun-4711" / "3"
    for resumed in (False, True):
        process = start(tmp_path, *words, code=code)
        before = lines(folder)
        wait_for(lambda before=before: lines(folder) > before, process)
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGUSR1)
        said, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 75, said
        assert ("resumed" in said) == resumed
    assert (tmp_path / "scontrol.txt").read_text() == "requeue 4711_3\n" * 2


def lines(folder: Path):
    """-> how many generations its metrics tell of."""
    file = folder / "metrics.jsonl"
    return len(file.read_text().splitlines()) if file.exists() else 0
