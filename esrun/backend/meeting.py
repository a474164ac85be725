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
from importlib.metadata import version
from multiprocessing.connection import Connection
from typing import Any

from esrun.backend import hosts, machine, relay
from esrun.backend.addresses import Place
from esrun.backend.hosts import Hosts
from esrun.errors import ConfigError, complain, why

PATIENCE, SAYING = 300.0, 5.0
"""Seconds that processes wait for each other, and after which whoever waits says for whom."""
NEVER = 10**6
"""Seconds after which JAX's own service would miss somebody: `hosts` is quicker."""


def join(
    place: Place, asked: dict[str, Any], devices: int | str, patience: float = PATIENCE
) -> Hosts:
    """Meet the others at a `place` -> Hosts; this process's part in JAX is set up.

    `asked`: what this process is to do, which must be the same for all. `devices`: how many this
    one is to take. Raises ConfigError.
    """
    import jax

    about = {
        "versions": {name: version(name) for name in ("esrun", "jax", "jaxlib")},
        "number": place.number,
        "count": place.count,
        "asked": asked,
        "devices": devices,
        "machine": [socket.gethostname(), machine.which_cores()],
        "memory": machine.memory(),
    }
    meet = _wait_for_all if place.number == 0 else _come
    connections, everybody, token, waiting = meet(place, about, patience)
    _share_cores(everybody, place.number)
    if place.number == 0:
        service = relay.free_port()
        relay.serve(waiting, token, service)
    else:
        service = relay.lead(lambda: _knock(place, token))
    try:
        jax.config.update("jax_enable_preemption_service", False)  # it would take our SIGTERM
        jax.distributed.initialize(
            f"127.0.0.1:{service}",
            place.count,
            place.number,
            cluster_detection_method="deactivate",
            coordinator_bind_address=f"127.0.0.1:{service}",
            heartbeat_timeout_seconds=NEVER,
        )
    except RuntimeError as error:
        raise ConfigError(
            f"runtime.hosts cannot be joined by this process: {why(error)}"
        ) from error
    hosts.here = Hosts(place.number, connections, everybody)
    return hosts.here


def _wait_for_all(place: Place, about: dict, patience: float) -> tuple:
    """Process 0's side -> (connections by number, what everybody said, the word that lets in, the
    socket)."""
    try:
        waiting = relay.listening(place.address, place.port, place.count)
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"runtime.hosts must name an address of process 0's own machine and a free port, got "
            f"{place.at}: {why(error)}"
        ) from error
    try:
        come, everybody = _all_that_come(place, about, waiting, _Clock(patience))
    except BaseException:
        waiting.close()
        raise
    token = secrets.token_hex()
    _tell(list(come.values()), {"everybody": everybody, "token": token})
    waiting.settimeout(None)
    return come, everybody, token, waiting


def _all_that_come(
    place: Place, about: dict, waiting: socket.socket, clock: "_Clock"
) -> tuple[dict[int, Connection], list[dict]]:
    come, said = {}, {0: about}
    while len(said) < place.count:
        missing = next(i for i in range(place.count) if i not in said)
        left = clock.left(f"process {missing} of {place.count} has not come to {place.at}")
        waiting.settimeout(left)
        try:
            connection = Connection(waiting.accept()[0].detach())
        except TimeoutError:
            continue
        own = _heard(connection)
        if own is None:  # nobody of ours
            connection.close()
            continue
        if wrong := _difference(about, own, said):
            _tell([*come.values(), connection], {"refused": wrong})
            raise ConfigError(wrong)
        come[own["number"]], said[own["number"]] = connection, own
    return come, [said[i] for i in range(place.count)]


def _tell(connections: list[Connection], what: dict) -> None:
    for connection in connections:
        relay.send(connection, what)


def _heard(connection: Connection) -> dict | None:
    """-> what somebody who came says, None where that is nothing of ours."""
    said = relay.receive(connection, SAYING)
    wanted = {"versions": dict, "number": int, "count": int, "asked": dict, "machine": list}
    ours = said is not None and all(isinstance(said.get(key), x) for key, x in wanted.items())
    return said if ours else None


def _difference(about: dict, other: dict, said: dict) -> str | None:
    """-> what is wrong between process 0 and another one that came, None for nothing."""
    number, count = other["number"], other["count"]
    named = f"process {number}"
    if count != about["count"] or not 0 < number < count:
        ours = f"0/{about['count']}"
        return f"runtime.hosts must have the same COUNT everywhere, got {ours} and {number}/{count}"
    if number in said:
        return f"runtime.hosts must have another NUMBER for each process, got {number} twice"
    for what, mine in about["versions"].items():
        if (its := other["versions"].get(what)) != mine:
            return f"all hosts must have the same {what}, got {mine} and, of {named}, {its}"
    mine, its = about["asked"], other["asked"]
    differing = [key for key in sorted(mine | its) if mine.get(key) != its.get(key)]
    if differing:
        key = differing[0]
        more = f" (and {len(differing) - 1} more keys)" if differing[1:] else ""
        return (
            f"all hosts must be asked for the same, got {key}={mine.get(key)} and, of {named}, "
            f"{key}={its.get(key)}{more}: type the same line everywhere"
        )
    return None


def _come(place: Place, about: dict, patience: float) -> tuple:
    """The side of the others."""
    clock = _Clock(patience)
    while True:
        try:
            ours = socket.create_connection((place.address, place.port), timeout=SAYING)
            break
        except (socket.gaierror, UnicodeError) as error:
            raise ConfigError(
                f"runtime.hosts must name a host that is known here, got {place.address}: "
                f"{why(error)}"
            ) from error
        except OSError as error:
            clock.left(f"process 0 does not answer at {place.at} ({why(error)})")
            time.sleep(0.2)
    ours.settimeout(None)
    connection = Connection(ours.detach())
    relay.send(connection, about)
    answer = None
    while answer is None:
        answer = relay.receive(connection, min(SAYING, patience))
        if answer is None and connection.closed:
            raise ConfigError(f"what answers at {place.at} is no process of this run, or has ended")
        if answer is None:
            clock.left(f"process 0, at {place.at}, waits for others")
    if "refused" in answer:
        raise ConfigError(str(answer["refused"]))
    return {0: connection}, answer["everybody"], answer["token"], None


def _knock(place: Place, token: str) -> socket.socket:
    """-> a connection to JAX's service, through process 0's port."""
    ours = socket.create_connection((place.address, place.port), timeout=SAYING)
    ours.settimeout(None)
    connection = Connection(os.dup(ours.fileno()))
    relay.send(connection, {"token": token})
    connection.close()
    return ours


class _Clock:
    """How long others are waited for."""

    def __init__(self, patience: float):
        self._began, self._patience, self._said = time.monotonic(), patience, False

    def left(self, what: str) -> float:
        """-> seconds until somebody should look again. Raises ConfigError when all are over."""
        passed = time.monotonic() - self._began
        if passed >= self._patience:
            raise ConfigError(f"runtime.hosts: {what} within {passed:.0f} s")
        if passed >= SAYING and not self._said:
            self._said = True
            complain(f"waiting: {what}")
        return min(0.2, self._patience - passed)


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
