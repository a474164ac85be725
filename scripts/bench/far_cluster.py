"""A Ray cluster of this machine for the bench, its stubs, and what messages to them cost."""

import contextlib
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from far_model import Link, Search, Shape
from far_stub import Stub
from worker import WorkerError

from esrun.backend.cluster import Cluster
from esrun.backend.relay import free_port
from esrun.errors import ConfigError

HERE = Path(__file__).parent
TOKEN = secrets.token_hex(32)
"""Of all clusters: Ray knows one a process."""
SMALL, LARGE = 3_000, 10_000_000
"""Bytes of messages that are timed."""
REPEATED, NAP = 20, 0.1
"""How often, and the seconds that a stub sleeps before it echoes: whoever was asleep answers later
than who has just answered."""
BEGUN = 300.0
"""Seconds that a cluster or its stubs may take to begin."""


@contextlib.contextmanager
def a_cluster(cores: int) -> Iterator[Callable[[int], subprocess.Popen]]:
    """A cluster that says that it has so many cores, which this process joins from now on -> what
    begins another machine of it, here too, with so many."""
    with contextlib.ExitStack() as stack:
        port = free_port()
        paths = [str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": TOKEN,
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        }

        def begin(*words: str) -> subprocess.Popen:
            folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
            own = (f"--temp-dir={folder}",) if "--head" in words else ()
            process = subprocess.Popen(
                [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-gpus=0",
                 f"--object-store-memory={2**28}", *own, *words],
                env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            stack.callback(process.wait)
            stack.callback(process.terminate)
            return process

        head = begin("--head", f"--port={port}", f"--num-cpus={cores}", "--include-dashboard=false")
        joins = {k: x for k, x in environment.items() if k.startswith("RAY_")}
        os.environ |= joins | {"RAY_ADDRESS": f"127.0.0.1:{port}"}
        stack.callback(lambda: [os.environ.pop(k, None) for k in (*joins, "RAY_ADDRESS")])
        wait_for(head)
        yield lambda more: begin(f"--address=127.0.0.1:{port}", f"--num-cpus={more}")


def wait_for(process: subprocess.Popen) -> None:
    """Wait until the cluster at RAY_ADDRESS can be joined."""
    until = time.monotonic() + BEGUN
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(ConfigError):
            Cluster(Stub, 0).close()
            return
        time.sleep(1.0)
    raise WorkerError("no cluster can be started here")


@contextlib.contextmanager
def stubs(count: int | str, seconds: list[float], shape: Shape, dies=()) -> Iterator[Search]:
    """-> a search whose workers are so many stubs, that take so long a block, the first of them the
    first of the `seconds` and so on; `dies`: (number, generation) of one. All have begun and have
    been sent the state."""
    with tempfile.TemporaryDirectory() as folder:
        order = {"folder": folder, "seconds": seconds, "members": shape.members}
        there = Cluster(Stub, count)
        there.say = lambda line: None
        try:
            content = json.dumps(order | {"dies": list(dies)}).encode()
            search = Search(there, content, shape, lambda blocks: time.sleep(blocks * max(seconds)))
            until = time.monotonic() + BEGUN
            while search.crew.to_be_ready:
                search.crew.tend()
                search.crew.hear(1.0)
                if time.monotonic() > until:
                    raise WorkerError("stubs have not begun")
            search.generation()
            search.crew.news()
            yield search
        finally:
            there.close()


def measured_links(search: Search) -> tuple[Link, Link]:
    """-> what messages cost between the run's process and stubs on the same processor, whose own
    share counts; and what they cost where stubs are elsewhere: the run's process's own share."""
    there, numbers = search.crew.hiring, list(search.crew.hands)

    def burst(count: int, size: int) -> tuple[float, float, float]:
        """-> seconds of a round trip of so many at once, of them until all were asked, and of this
        process's processor time."""
        own, began = time.process_time(), time.perf_counter()
        for who in numbers[:count]:
            there.ask(who, "echo", [NAP, bytes(size)])
        asked, heard = time.perf_counter() - began, 0
        while heard < count:
            heard += len(there.hear(10.0))
        return time.perf_counter() - began - NAP, asked, time.process_time() - own

    def typical(count: int, size: int) -> list[float]:
        burst(count, size)
        times = [burst(count, size) for _ in range(REPEATED)]
        return [statistics.median(x) for x in zip(*times, strict=True)]

    every = len(numbers)
    (one, _, _), (all_of_them, asked, own) = typical(1, SMALL), typical(every, SMALL)
    large, *_ = typical(1, LARGE)
    each = (all_of_them - one) / (every - 1)
    ask, rate = min(asked / every, each), (LARGE - SMALL) / (large - one)
    here = Link(ask, each - ask, 0.0, max(0.0, one - each) / 2, rate)
    ask = min(ask, own / every)
    return here, here._replace(ask=ask, hear=own / every - ask)
