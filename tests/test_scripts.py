"""The scripts beside the command."""

import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parent.parent / "scripts"


def test_the_queue_runs_one_command_a_gpu_and_returns_the_worst_code(tmp_path):
    commands = tmp_path / "commands.txt"
    show = "import os, sys; print('on', os.environ['CUDA_VISIBLE_DEVICES']); sys.exit({})"
    commands.write_text(
        "# a comment\n\n" + "".join(f'{sys.executable} -c "{show.format(code)}"\n' for code in (0, 3, 0, 0))
    )
    done = subprocess.run(
        [sys.executable, SCRIPTS / "gpu_queue.py", "--gpus", "4,7", commands],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    ran = [line for line in done.stdout.splitlines() if line.startswith("on ")]
    assert len(ran) == 4
    assert set(ran) <= {"on 4", "on 7"}
    assert done.stdout.count("exit 0") == 3


def test_shell_scripts_are_posix():
    for script in ("esrun", "test", "setup.sh", "slurm_array.sh"):
        subprocess.run(["sh", "-n", SCRIPTS / script], check=True)
