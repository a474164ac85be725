"""Joining a cluster of Ray's: how the package is imported, kept quiet, and asked.

Ray forks, takes signals for itself and says much; what it raises is of any kind.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from esrun.errors import ConfigError, why

KNOCK = 10.0
"""Seconds that somebody may take to answer at the address of a cluster."""
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
HELD = {"CPU": "ESRUN_HELD_CORES", "GPU": "ESRUN_HELD_GPUS"}
"""Variables that say how much of a cluster a process holds before it has joined."""
SILENT = {"logging_level": "CRITICAL", "log_to_driver": False}


def address() -> str | None:
    """-> where the cluster is that is there, which `ray job submit` says too; None for none."""
    return os.environ.get("RAY_ADDRESS") or None


@contextmanager
def asking(wrong: str) -> Iterator[Any]:
    """-> the package, to be started inside, where signals stay ours. Raises ConfigError, which
    says what is `wrong` and why, for whatever is raised inside."""
    handlers = _handlers()
    os.environ |= QUIET
    try:
        yield import_module("ray")
    except Exception as error:
        raise ConfigError(f"{wrong}: {why(error)}") from error
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def joined(who: str) -> Any:
    """-> the package, when this process is part of a cluster: the one at the `address`, unless it
    is part of one already. Raises ConfigError that begins with `who` wanted it."""
    ray, where = sys.modules.get("ray"), address()
    if ray is not None and ray.is_initialized():
        return ray
    if where is None:
        raise ConfigError(f"{who} needs a cluster that is there: set RAY_ADDRESS to where it is")
    with asking(f"{who}: the cluster at {where} cannot be joined") as ray:
        _knock(where)
        try:
            ray.init(where, **SILENT)
        except BaseException:
            ray.shutdown()
            raise
    return ray


def _knock(address: str) -> None:
    """Raise OSError where nobody answers at ADDRESS:PORT: Ray would wait for ever."""
    host, _, port = address.rpartition(":")
    if port.isdecimal() and "/" not in host:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK):
            pass


def _handlers() -> dict[signal.Signals, Any]:
    """-> this process's answers to signals that Ray takes for itself."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    found = {x: signal.getsignal(x) for x in (signal.SIGTERM, signal.SIGINT)}
    return {x: handler for x, handler in found.items() if handler is not None}
