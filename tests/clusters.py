"""A cluster of Ray's on this machine, whose machines are processes here: they may be killed."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from conftest import PATIENCE
from test_hosts import free_port

STORE = 2**27
"""Bytes of a machine's store of objects, the least that Ray takes without complaint."""
OF_ITS_OWN = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"')
"""What gives a command another folder in the place of one."""


def mounts(folder):
    """Whether that may be done here: root may, but for many a container's."""
    command = [*OF_ITS_OWN, folder, "true"]
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0


def marked(mark):
    """-> the processes that were started with a mark in their environment, and their descendants,
    by what they call themselves."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found[int(folder.name)] = (folder / "cmdline").read_bytes().decode()
        except OSError:  # it has ended, or is somebody else's
            continue
    return {pid: name for pid, name in found.items() if name}


class Cluster:
    """The head, with so many `cores`, and the machines that have joined it; a context manager."""

    def __init__(self, environment, cores):
        """`environment`: variables of all processes."""
        self._environment, self._cores, self._machines = environment, cores, []
        self._folder, self._port = tempfile.mkdtemp(prefix="esrun-test-"), free_port()
        self.mark = f"ESRUN_TEST_{secrets.token_hex(8)}"
        """In the environment of every process of the cluster."""
        self.joins = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ADDRESS": f"127.0.0.1:{self._port}",
        }
        """The environment of whoever joins it."""

    def __enter__(self):
        """-> itself, when it answers."""
        own = (f"--port={self._port}", "--include-dashboard=false", f"--temp-dir={self._folder}")
        self._start(self.mark, self._cores, "--head", *own)
        return self

    def __exit__(self, *error):
        """End all of it."""
        for process in reversed(self._machines):
            process.terminate()
        for process in self._machines:
            process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def machine(self, cores, disk=None):
        """Have one join -> the mark of its processes. In the place of the folder `disk` it has one
        of its own, which is empty."""
        mark = f"ESRUN_TEST_{secrets.token_hex(8)}"
        before = [*OF_ITS_OWN, str(disk)] if disk else []
        self._start(mark, cores, f"--address={self.joins['RAY_ADDRESS']}", before=before)
        return mark

    def _start(self, mark, cores, *words, before=()):
        environment = os.environ | self._environment | self.joins | {self.mark: "1", mark: "1"}
        del environment["RAY_ADDRESS"]
        command = [
            *(*before, sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *words),
            *(f"--num-cpus={cores}", "--num-gpus=0", f"--object-store-memory={STORE}"),
        ]
        until, process = time.monotonic() + PATIENCE, None
        while not self._there(mark):
            assert time.monotonic() < until
            # on a busy machine Ray gives up, or takes an address that another one has just taken
            if process is None or process.poll() is not None:
                process = subprocess.Popen(
                    command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
                self._machines.append(process)
            time.sleep(0.1)

    def _there(self, mark):
        """Whether a machine's `raylet` is there, and has begun what it begins when it is known."""
        own = [pid for pid, name in marked(mark).items() if "raylet" in name]
        return any(map(children, own)) and self._answers()

    def _answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1):
                return True
        except OSError:
            return False


def children(pid):
    """-> the processes that a process has begun."""
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it has ended
        return []


def killed(mark):
    """Kill every process with a mark, as when a machine is taken."""
    while found := marked(mark):
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:  # it has ended
                continue
        time.sleep(0.05)
