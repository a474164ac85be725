"""What stays on a cluster of Ray's when whoever has begun it goes: objects that are found by their
names, and that Ray begins again, on another machine, where they are lost with their own.
"""

import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from esrun.backend import joining
from esrun.backend.joining import HELD
from esrun.errors import why

SPACE = "esrun"
"""Where Ray keeps the names."""
RESTARTS = 1000
"""How often one is begun again: what is lost every time must come to an end."""
QUESTIONS = 8
"""How many are answered at the same time."""
ON_HEAD = {"num_cpus": 0, "resources": {"node:__internal_head__": 0.001}}
"""What takes a place on the one machine that stays."""
ANSWERED = 60.0
"""Seconds in which a question about files must be answered."""
ENDS = 10.0
"""Seconds for which the end of one is waited for."""


class GoneError(Exception):
    """It has ended, for good."""


class Detached:
    """One of them, as it is seen from a process that has joined the cluster."""

    def __init__(self, name: str):
        """Join. Raises ConfigError."""
        self._ray, self._name = joining.joined("runtime.driver=ray"), name
        self._actor: Any = None

    def core(self, devices: int | str) -> dict[str, Any]:
        """-> what takes a core and, where the cluster has GPUs, `devices` of them; "auto": one."""
        there = int(self._ray.cluster_resources().get("GPU", 0))
        return {"num_cpus": 1, "num_gpus": min(1 if devices == "auto" else int(devices), there)}

    def begin(self, kind: type, content: bytes, place: dict[str, Any]) -> None:
        """Begin one of an importable class, which is given the `content`, unless it is there.
        Raises ConfigError."""
        with joining.asking("runtime.driver=ray: nothing can be begun on the cluster"):
            options = {"name": self._name, "namespace": SPACE, "get_if_exists": True}
            lasting = {"lifetime": "detached", "max_restarts": RESTARTS}
            kept = self._ray.remote(kind).options(
                **options, **lasting, **place, max_concurrency=QUESTIONS
            )
            self._actor = kept.remote(content)

    def find(self) -> bool:
        """Whether it is there."""
        try:
            self._actor = self._ray.get_actor(self._name, namespace=SPACE)
        except ValueError:
            return False
        return True

    def ask(self, method: str, *contents: bytes, seconds: float) -> bytes | None:
        """-> what a method answers, None where no answer comes in so many seconds, as while it is
        begun again. Raises GoneError."""
        try:
            return self._ray.get(getattr(self._actor, method).remote(*contents), timeout=seconds)
        except (self._ray.exceptions.ActorUnavailableError, self._ray.exceptions.GetTimeoutError):
            return None
        except Exception as error:
            raise GoneError(why(error)) from error

    def answer(self, method: str, *contents: bytes) -> bytes:
        """-> what a method answers. Raises GoneError where none comes."""
        answer = self.ask(method, *contents, seconds=ANSWERED)
        if answer is None:
            raise GoneError("it does not answer")
        return answer

    def end(self) -> None:
        """End it for good, and wait for that: who leaves the cluster at once may not be heard."""
        self._ray.kill(self._actor, no_restart=True)
        until = time.monotonic() + ENDS
        while self.find() and time.monotonic() < until:
            time.sleep(0.1)

    def leave(self) -> None:
        """Leave the cluster, where it stays."""
        self._ray.shutdown()


class Own:
    """What this process knows of the one that it is."""

    def __init__(self):
        """It is one."""
        self._ray = import_module("ray")
        self._about = self._ray.get_runtime_context()
        self.again = bool(self._about.was_current_actor_reconstructed)
        """Whether there was one before it."""

    def surroundings(self) -> dict[str, str]:
        """-> the variables of a process of its own: where the cluster is, and what is held of it
        already."""
        held = self._about.get_assigned_resources()
        return {"RAY_ADDRESS": self._about.gcs_address} | {
            HELD[kind]: str(int(count)) for kind, count in held.items() if kind in HELD
        }

    def other(self, name: str) -> Callable[..., bytes] | None:
        """-> what asks the one of a name, if it is there."""
        found = Detached(name)
        return found.answer if found.find() else None

    def end(self, name: str) -> None:
        """End it for good, and the other one of a name with it."""
        try:
            if (other := Detached(name)).find():
                other.end()
        finally:
            self._ray.kill(self._about.current_actor, no_restart=True)
