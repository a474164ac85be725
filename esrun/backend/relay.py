"""JAX's own service through process 0's port (see `meeting`).

A relay that loses the far end keeps the near one: to JAX that is a service that is slow to answer.
"""

import ipaddress
import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from esrun.backend.messages import SAYING, receive

PIECE = 2**16


def listening(address: str, port: int, backlog: int) -> socket.socket:
    """-> a socket at an address of this machine's. A name may mean the loopback here and something
    else to others: with one it is all addresses. Raises OSError or UnicodeError."""
    found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    with suppress(ValueError):
        ipaddress.ip_address(address)
        return socket.create_server(found[4][:2], family=found[0], backlog=backlog)
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    return socket.create_server(("", port), family=family, backlog=backlog, dualstack_ipv6=both)


def free_port() -> int:
    """-> a port of this machine's own that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


def serve(waiting: socket.socket, token: str, port: int) -> None:
    """Lead whoever comes with the `token` to a `port` of this machine, for as long as the process
    lives."""

    def lead_in(far: socket.socket) -> None:
        with far:
            said = receive(far, SAYING)
            if said is not None and said.get("token") == token:
                with socket.create_connection(("127.0.0.1", port)) as near:
                    _both_ways(near, far)

    _accept(waiting, lead_in)


def lead(knock: Callable[[], socket.socket]) -> int:
    """-> a port of this machine; who comes there is led to where `knock` connects."""
    waiting = socket.create_server(("127.0.0.1", 0))

    def lead_out(near: socket.socket) -> None:
        with near:
            with knock() as far:
                ended = _both_ways(near, far)
            while ended is far and near.recv(PIECE):  # unanswered: to JAX its service is slow
                pass

    _accept(waiting, lead_out)
    return waiting.getsockname()[1]


def _accept(waiting: socket.socket, work: Callable[[socket.socket], None]) -> None:
    def take(one: socket.socket) -> None:
        with suppress(OSError):
            work(one)

    def go() -> None:
        with suppress(OSError):
            while True:
                one, _ = waiting.accept()
                threading.Thread(target=take, args=(one,), daemon=True).start()

    threading.Thread(target=go, name="relay", daemon=True).start()


def _both_ways(near: socket.socket, far: socket.socket) -> socket.socket:
    """Pass on what comes on either side, until one has ended -> that one."""
    other = {near: far, far: near}
    for one in other:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while True:
        for one in select.select([near, far], [], [])[0]:
            try:
                content = one.recv(PIECE)
            except OSError:
                content = b""
            if not content:
                return one
            try:
                other[one].sendall(content)
            except OSError:
                return other[one]
