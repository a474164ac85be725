"""What stays on a cluster of Ray's when whoever has begun it goes: an object that is found by its
name, and that Ray begins again, on another machine, where it is lost with its own.
"""

from importlib import import_module

from esrun.backend import joining
from esrun.backend.joining import HELD
from esrun.errors import why

SPACE = "esrun"
"""Where Ray keeps the names."""
RESTARTS = 1000
"""How often it is begun again: one that is lost every time must come to an end."""
QUESTIONS = 8
"""How many are answered at the same time."""


class GoneError(Exception):
    """It has ended, for good."""


class Detached:
    """One of them, as it is seen from a process that has joined the cluster."""

    def __init__(self, kind: type, name: str, content: bytes, devices: int | str):
        """Find it, or begin one of an importable class, which is given the `content`. Where the
        cluster has GPUs it is given `devices` of them, "auto": one. Raises ConfigError."""
        self._ray = joining.joined("runtime.driver=ray")
        self._kind, self._name, self._content = self._ray.remote(kind), name, content
        there = int(self._ray.cluster_resources().get("GPU", 0))
        self._gpus = min(1 if devices == "auto" else int(devices), there)
        self.begin()

    def begin(self) -> None:
        """Begin it again, where it has ended. Raises ConfigError."""
        with joining.asking("runtime.driver=ray: nothing can be begun on the cluster"):
            self._actor = self._kind.options(
                name=self._name,
                namespace=SPACE,
                get_if_exists=True,
                lifetime="detached",
                max_restarts=RESTARTS,
                max_concurrency=QUESTIONS,
                num_cpus=1,
                num_gpus=self._gpus,
            ).remote(self._content)

    def ask(self, method: str, question: bytes, seconds: float) -> bytes | None:
        """-> what a method answers, None where no answer comes in so many seconds, as while it is
        begun again. Raises GoneError."""
        try:
            return self._ray.get(getattr(self._actor, method).remote(question), timeout=seconds)
        except (self._ray.exceptions.ActorUnavailableError, self._ray.exceptions.GetTimeoutError):
            return None
        except Exception as error:
            raise GoneError(why(error)) from error

    def end(self) -> None:
        """End it for good."""
        self._ray.kill(self._actor, no_restart=True)

    def leave(self) -> None:
        """Leave the cluster, where it stays."""
        self._ray.shutdown()


def end_own() -> None:
    """End the one that this process is, for good."""
    ray = import_module("ray")
    ray.kill(ray.get_runtime_context().current_actor, no_restart=True)


def surroundings() -> dict[str, str]:
    """-> the variables of a process of the one that this process is: where the cluster is, and what
    is held of it already."""
    here = import_module("ray").get_runtime_context()
    held = {HELD[kind]: str(int(x)) for kind, x in here.get_assigned_resources().items()
            if kind in HELD}  # fmt: skip
    return {"RAY_ADDRESS": here.gcs_address, **held}
