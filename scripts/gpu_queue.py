"""Run a list of commands on the GPUs of this machine, one at a time on each.

    python scripts/gpu_queue.py commands.txt             # a command a line; # begins a comment
    python scripts/gpu_queue.py --gpus 0,2 commands.txt
    for s in 0 1 2; do echo "esrun task=breakout resume=auto seed=$s"; done |
        python scripts/gpu_queue.py -

A command sees its GPU alone (CUDA_VISIBLE_DEVICES). One that exits with 75 was interrupted with its
state saved: with resume=auto in it, the same list typed again goes on. The exit code is the largest
of all. Ctrl-C and SIGTERM are passed on.
"""

import argparse
import contextlib
import os
import queue
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

NOT_FOUND = 127
"""The shell's exit code of a command that cannot be started."""


def visible_gpus() -> list[str]:
    """-> the numbers of this machine's GPUs, as CUDA_VISIBLE_DEVICES or else nvidia-smi names
    them."""
    if os.environ.get("CUDA_VISIBLE_DEVICES"):
        return os.environ["CUDA_VISIBLE_DEVICES"].split(",")
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return []


def say(line: str) -> None:
    """Print a line, its end included, in one write: the commands write to the same place."""
    with contextlib.suppress(BrokenPipeError):  # nobody reads any more, and the work goes on
        print(f"{line}\n", end="", flush=True)


def main() -> int:
    """Work the list off -> the largest exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("commands", help="a file with a command a line, - for standard input")
    parser.add_argument("--gpus", help="numbers separated by commas; all of them if left out")
    options = parser.parse_args()
    try:
        text = sys.stdin.read() if options.commands == "-" else Path(options.commands).read_text()
    except (OSError, UnicodeDecodeError) as error:
        parser.error(f"the list of commands cannot be read: {error}")
    commands = [
        line.strip()
        for line in text.splitlines()
        if line.strip() and not line.strip().startswith("#")
    ]
    gpus = options.gpus.split(",") if options.gpus else visible_gpus()
    if not gpus:
        parser.error("no GPU found: write --gpus 0,1")

    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    for command in commands:
        waiting.put(command)
    running: set[subprocess.Popen] = set()
    codes: list[int] = []
    ending = threading.Event()

    def pass_on(number, frame):
        ending.set()
        for process in list(running):
            process.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)

    def work(gpu: str) -> None:
        while not ending.is_set():
            try:
                command = waiting.get_nowait()
            except queue.Empty:
                return
            say(f"gpu {gpu}: {command}")
            environment = os.environ | {"CUDA_VISIBLE_DEVICES": gpu}
            try:
                process = subprocess.Popen(
                    shlex.split(command), env=environment, start_new_session=True
                )
            except (OSError, ValueError) as error:  # no such program, a quote that is left open
                codes.append(NOT_FOUND)
                say(f"gpu {gpu}: exit {NOT_FOUND}: {command}: {error}")
                continue
            running.add(process)
            code = process.wait()
            running.discard(process)
            codes.append(code if code >= 0 else 128 - code)
            say(f"gpu {gpu}: exit {codes[-1]}: {command}")

    workers = [threading.Thread(target=work, args=(gpu,)) for gpu in gpus]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return max(codes, default=0) if not ending.is_set() else max([75, *codes])


if __name__ == "__main__":
    sys.exit(main())
