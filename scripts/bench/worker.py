"""Processes that hold the measured programs: one a side, so that each is set up as its own users
have it.

A peer starts with one JAX device, all of OpenBLAS's threads and its own memory; esrun with what
`esrun.backend.devices.start` chooses. A worker runs one of its programs when it is told to, times
it and waits; between turns it sleeps.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path


class WorkerError(Exception):
    """A worker ended; the message is the last line that it said."""


NOTHING_KEPT = {"JAX_ENABLE_COMPILATION_CACHE": "false"}
"""A first call is one that compiles."""


class Worker:
    """A child process with one program for each of `specs`; a context manager."""

    def __init__(self, specs: list[dict], environment: dict[str, str] | None = None):
        """Each spec names a `program` of this folder and holds the arguments of its `Program`."""
        environment = (
            os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} | (environment or NOTHING_KEPT)
        )
        if specs[0]["program"] != "esrun_program":
            environment.setdefault("OPENBLAS_NUM_THREADS", str(os.cpu_count()))
        self.said = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed with the worker)
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve())],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            text=True,
        )
        self.environment = self.ask({"specs": specs})

    def __enter__(self):
        """-> itself."""
        return self

    def __exit__(self, *error):
        """End the process."""
        self.process.kill()
        self.process.communicate()
        self.said.close()

    def ask(self, request: dict) -> dict:
        """Send a request and wait for its answer. Raises WorkerError if the process has ended."""
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if answer:
            return json.loads(answer)
        self.process.wait()
        self.said.seek(0)
        lines = self.said.read().strip().splitlines() or [f"exit code {self.process.returncode}"]
        self.__exit__()
        raise WorkerError(lines[-1])

    def turn(self, generations: int, number: int = 0) -> Callable[[bool], float]:
        """-> a side for `measure.in_turn`: runs a program for some generations; the first time it
        stays there."""
        return lambda first: self.ask({"run": number, "generations": generations, "keep": first})[
            "seconds"
        ]

    def facts(self, number: int = 0) -> dict:
        """-> what the program knows of its work, and the process's peak memory in MB."""
        return self.ask({"facts": number})


@contextlib.contextmanager
def open_all(specs: dict[str, dict], say: Callable[[str], None], platform: str | None = None):
    """-> a worker for each of the named specs, on JAX's first choice of devices or on those of
    `platform`; one that cannot be started is left out, with a line that says why."""
    environment = None if platform is None else NOTHING_KEPT | {"JAX_PLATFORMS": platform}
    with contextlib.ExitStack() as stack:
        workers = {}
        for name, spec in specs.items():
            try:
                workers[name] = stack.enter_context(Worker([spec], environment))
            except WorkerError as error:
                say(f"{name} left out: {error}")
        yield workers


# ---- the child -----------------------------------------------------------------------------------


def serve() -> None:
    """Answer requests from standard input until it ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes where errors go

    def answer(reply: dict) -> None:
        print(json.dumps(reply), file=answers, flush=True)

    specs = json.loads(sys.stdin.readline())["specs"]
    programs = [make(**spec) for spec in specs]
    answer(environment())
    for line in sys.stdin:
        request = json.loads(line)
        if "facts" in request:
            answer(programs[request["facts"]].facts() | peak_memory())
        else:
            began = time.perf_counter()
            programs[request["run"]].advance(request["generations"], request["keep"])
            answer({"seconds": time.perf_counter() - began})


def make(program: str, **arguments):
    """-> the program of a spec. A peer that is not installed ends the process with one line that
    says what to do."""
    from importlib import import_module

    try:
        return import_module(program).Program(**arguments)
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is not installed: pip install 'esrun[bench]'")


def environment() -> dict:
    """-> the devices that JAX sees here, if this process uses it."""
    jax = sys.modules.get("jax")
    return (
        {"devices": [f"{d.platform}:{d.id} {d.device_kind}" for d in jax.devices()]} if jax else {}
    )


def peak_memory() -> dict:
    """-> the peak of this process's memory and of its devices', in MB."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    peak = {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6}
    devices = sys.modules["jax"].local_devices() if "jax" in sys.modules else []
    held = [(d.memory_stats() or {}).get("peak_bytes_in_use") for d in devices]
    return peak | ({"device_peak_mb": sum(held) / 1e6} if any(held) else {})


if __name__ == "__main__":
    try:
        serve()
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
