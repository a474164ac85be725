"""Ray, whose machines come and go: workers are begun on it, asked and ended.

A cluster that is there is joined (`RAY_ADDRESS`, which `ray job submit` sets too). Otherwise one is
started on this machine, for this process alone: its tokens let in nobody else, it says nothing to
anybody outside, and it ends with this process, however that ends.
"""

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from esrun.backend import joining, machine
from esrun.backend.joining import HELD, SILENT
from esrun.errors import tell, why

STORE = 2**28
"""Bytes of the store through which large messages go, of a cluster of our own."""
TRIES = 3
"""Starts of a cluster of our own: on a busy machine Ray's half a minute for one may be over."""
LARGE = 100_000
"""Bytes from which on a message goes through it."""
LOOK = 2.0
"""Seconds after which it is looked again what the cluster has."""
ONE_CORE = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1", "NPROC": "1"}
"""A worker for each core: one device, whose threads are one (NPROC is what XLA asks)."""

ON_GPU = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
"""The run's own process may be on the same one."""

here: Any = None
"""The `Cluster` of this process, None where it has none. (Tests have another one's place taken.)"""


class Answer(NamedTuple):
    """What came of a question; no content where the worker is gone."""

    who: int
    content: bytes | None
    why: str = ""


@contextmanager
def closing() -> Iterator[None]:
    """End the cluster that was opened inside."""
    try:
        yield
    finally:
        close()


def open_cluster(worker: type, workers: int | str) -> None:
    """Join or start a cluster. `worker`: an importable class, of which `workers` are begun; "auto":
    one a core or, where this process computes on an accelerator, one an accelerator.

    Called before JAX is imported: Ray forks. Raises ConfigError.
    """
    global here
    here = Cluster(worker, workers)


def close() -> None:
    """End it, if there is one."""
    global here
    if here is not None:
        here.close()
        here = None


class Cluster:
    """Workers on a cluster, each with a number."""

    def __init__(self, worker: type, workers: int | str):
        """As `open_cluster`."""
        self.say: Callable[[str], Any] = tell
        self._workers, self._folder = workers, None
        self._ray: Any = None
        self._actors: dict[int, Any] = {}
        self._asked: dict[Any, int] = {}
        self._count, self._looked = 0, -LOOK
        if joining.address():
            self._ray = joining.joined("runtime.engine=ray")
        else:
            os.environ["RAY_AUTH_MODE"] = "token"  # of which Ray knows one a process
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
            with joining.asking("runtime.engine=ray: no cluster can be started here") as self._ray:
                try:
                    self._start()
                except BaseException:
                    self.close()
                    raise
        self._class = self._ray.remote(worker)

    def _start(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="esrun-")
        for tries in range(1, TRIES + 1):
            try:
                self._ray.init(
                    "local",
                    num_cpus=machine.cores(),
                    include_dashboard=False,
                    object_store_memory=STORE,
                    _node_ip_address="127.0.0.1",
                    _temp_dir=self._folder,
                    **SILENT,
                )
                return
            except Exception as error:
                self._ray.shutdown()
                if tries == TRIES or "timed out" not in str(error):
                    raise

    def hire(self, on_cpu: bool, refused: int) -> list[int]:
        """-> the numbers of workers that were begun now, so that there are as many as are wanted
        but for so many that were `refused`. Those that there is no room for wait for it."""
        if time.monotonic() - self._looked < LOOK:
            return []
        self._looked = time.monotonic()
        wanted: Any = self._workers
        if wanted == "auto":
            kind = "CPU" if on_cpu else "GPU"
            held = int(os.environ.get(HELD[kind], "0"))
            wanted = int(self._ray.cluster_resources().get(kind, 0)) - held
        environment = ONE_CORE if on_cpu else ON_GPU
        kind = self._class.options(num_cpus=1, num_gpus=0 if on_cpu else 1, max_restarts=0)
        begun = []
        while len(self._actors) < wanted - refused:
            self._count += 1
            self._actors[self._count] = kind.remote(environment)
            begun.append(self._count)
        return begun

    def ask(self, who: int, method: str, contents: Sequence[Any]) -> None:
        """Ask a worker for a method, of bytes."""
        self._asked[getattr(self._actors[who], method).remote(*contents)] = who

    def hear(self, seconds: float) -> list[Answer]:
        """-> what was answered, and whose worker is gone; waits at most so long for the first."""
        asked = list(self._asked)
        if not asked:
            time.sleep(seconds)
            return []
        if not self._ray.wait(asked, num_returns=1, timeout=seconds)[0]:
            return []
        done, _ = self._ray.wait(asked, num_returns=len(asked), timeout=0)
        return [self._answer(self._asked.pop(one), one) for one in done]

    def _answer(self, who: int, one: Any) -> Answer:
        try:
            return Answer(who, self._ray.get(one))
        except Exception as error:  # of a worker's own, too
            return Answer(who, None, why(getattr(error, "cause", None) or error))

    def share(self, content: bytes) -> Any:
        """-> what `ask` takes in the place of bytes that several are sent: where they are many, a
        machine fetches them once."""
        return content if len(content) < LARGE else self._ray.put(content)

    def dismiss(self, who: int) -> None:
        """End a worker; what it was asked is forgotten."""
        self._asked = {one: other for one, other in self._asked.items() if other != who}
        actor = self._actors.pop(who, None)
        if actor is not None:
            with suppress(Exception):  # it may be gone already
                self._ray.kill(actor)

    def close(self) -> None:
        """Leave the cluster, and end one of our own."""
        if self._ray is not None:
            self._ray.shutdown()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
