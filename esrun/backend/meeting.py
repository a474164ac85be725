"""How the processes of a run find each other, before JAX starts in any of them.

Process 0 listens at the one address that all are told. The others come, say what they are and what
they were asked for, and process 0 lets all of them in or sends all of them away with a line.

JAX's own service, by which devices find each other, listens on process 0's machine alone; the
others reach it through the same port (`relay`). So one port is all that has to be open, nobody who
has not been let in gets to that service, and a process whose process 0 has died is not aborted by
JAX, as it would be with a connection of its own, but ends by itself (`hosts`).
"""

import os
import secrets
import socket
import time
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from esrun.backend import hosts, machine, messages, relay
from esrun.backend.addresses import Place
from esrun.backend.arriving import Arrivals, Clock
from esrun.backend.hosts import Hosts
from esrun.errors import AbsentError, ConfigError, why

PATIENCE = 300.0
"""Seconds that processes wait for each other."""
STRANGERS = 128
"""Connections at once that may come to process 0's port."""
NEVER = 10**6
"""Seconds after which JAX's own service would miss somebody: `hosts` is quicker."""


class Met(NamedTuple):
    """What a process has when all have met."""

    connections: dict[int, socket.socket]
    everybody: list[dict]
    """What each said of itself, by number."""
    token: str
    """The word that leads to JAX's service."""
    waiting: socket.socket | None
    """Where process 0 goes on listening."""


def meet(
    place: Place,
    same: dict[str, str],
    asked: dict[str, Any],
    devices: int | str,
) -> tuple[Hosts, int]:
    """Meet the others at a `place` -> (Hosts, the port at which JAX's service is to be found here).
    From here on whoever is lost is missed: nothing else may wait for others before.

    `same`: what each process has that must be the same for all, versions and the like; `asked`:
    what it is to do, likewise; `devices`: how many this one is to take. Raises ConfigError, and
    AbsentError where others are not there.
    """
    import jax

    jax.config.update("jax_enable_preemption_service", False)  # it would take our SIGTERM
    about = {
        "same": same,
        "number": place.number,
        "count": place.count,
        "asked": asked,
        "devices": devices,
        "machine": [socket.gethostname(), machine.which_cores()],
        "memory": machine.memory(),
    }
    met = (_wait_for_all if place.number == 0 else _come)(place, about, PATIENCE)
    connections = {i: Connection(one.detach()) for i, one in met.connections.items()}
    hosts.here = Hosts(place.number, connections, met.everybody)
    _share_cores(met.everybody, place.number)
    if met.waiting is None:
        return hosts.here, relay.lead(lambda: _knock(place, met.token))
    service = relay.free_port()
    relay.serve(met.waiting, met.token, service)
    return hosts.here, service


def start(here: Hosts, service: int) -> None:
    """Set up this process's part in JAX, whose service is found at a port. Raises ConfigError."""
    import jax

    try:
        jax.distributed.initialize(
            f"127.0.0.1:{service}",
            here.count,
            here.number,
            cluster_detection_method="deactivate",
            coordinator_bind_address=f"127.0.0.1:{service}",
            heartbeat_timeout_seconds=NEVER,
        )
    except RuntimeError as error:
        raise ConfigError(
            f"runtime.hosts cannot be joined by this process: {why(error)}"
        ) from error


def _wait_for_all(place: Place, about: dict, patience: float) -> Met:
    """Process 0's side."""
    try:
        waiting = relay.listening(place.address, place.port, max(STRANGERS, place.count))
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"runtime.hosts must name an address of process 0's own machine and a free port, got "
            f"{place.at}: {why(error)}"
        ) from error
    try:
        come, everybody = Arrivals(place, about, waiting).all(Clock(patience))
    except BaseException:
        waiting.close()
        raise
    token = secrets.token_hex()
    for one in come.values():
        messages.send(one, {"everybody": everybody, "token": token})
    return Met(come, everybody, token, waiting)


def _come(place: Place, about: dict, patience: float) -> Met:
    """The side of the others. What is there may not be process 0 yet, but a former one that ends,
    and its host may start later."""
    clock = Clock(patience)
    while True:
        try:
            ours = socket.create_connection((place.address, place.port), messages.SAYING)
        except UnicodeError as error:
            raise ConfigError(
                f"runtime.hosts must name a host, got {place.address}: {why(error)}"
            ) from error
        except OSError as error:
            what = f"process 0 does not answer at {place.at} ({why(error)})"
        else:
            with ours:
                if met := _let_in(ours, place, about, clock):
                    return met
            what = f"what answers at {place.at} is no process of this run"
        time.sleep(clock.left(what))


def _let_in(ours: socket.socket, place: Place, about: dict, clock: Clock) -> Met | None:
    """-> what process 0 says when all have come, None where nobody answers who is process 0."""
    ours.settimeout(None)
    messages.send(ours, about)
    welcome = False
    while ours.fileno() >= 0:
        left = clock.left(f"process 0, at {place.at}, waits for others")
        answer = messages.receive(ours, left) or {}
        welcome |= "welcome" in answer
        if "refused" in answer:
            raise ConfigError(str(answer["refused"]))
        if welcome and "token" in answer:
            own = socket.socket(fileno=ours.detach())
            return Met({0: own}, answer["everybody"], answer["token"], None)
    if welcome:
        raise AbsentError(f"process 0, at {place.at}, has ended while it waited for others")
    return None


def _knock(place: Place, token: str) -> socket.socket:
    """-> a connection to JAX's service, through process 0's port."""
    ours = socket.create_connection((place.address, place.port), timeout=messages.SAYING)
    messages.send(ours, {"token": token})
    return ours


def _share_cores(everybody: list[dict], number: int) -> None:
    """Keep this process to its share of the cores that others on its host may use too: threads of
    several that wait for each other on all cores take three times as long. There are as many
    devices, unless the environment says otherwise."""
    own, before = everybody[number], machine.cores()
    same = [i for i, x in enumerate(everybody) if x["machine"] == own["machine"]]
    cores, place = own["machine"][1] or [], same.index(number)
    each = len(cores) // len(same)
    if each and same[1:]:
        machine.keep_to(cores[place * each : (place + 1) * each])
    if os.environ.get("JAX_NUM_CPU_DEVICES") in (None, str(before)):
        least = own["devices"] if isinstance(own["devices"], int) else 1
        share = each if cores else before // len(same)
        os.environ["JAX_NUM_CPU_DEVICES"] = str(max(least, share, 1))


def beside(everybody: list[dict], number: int) -> int:
    """-> how many processes share the cores of this one, it too."""
    return sum(x["machine"] == everybody[number]["machine"] for x in everybody)
