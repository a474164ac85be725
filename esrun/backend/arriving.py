"""Process 0's side of a meeting: who comes, who goes again, and what must be the same for all."""

import socket
import time
from contextlib import suppress
from multiprocessing.connection import wait

from esrun.backend.addresses import Place
from esrun.backend.messages import SAYING, Incoming, send
from esrun.errors import AbsentError, ConfigError, complain

GOING = 0.5
"""Seconds after which a connection has ended whose process has, however the network sorts it."""


class Clock:
    """How long others are waited for."""

    def __init__(self, patience: float):
        """Seconds, from now on."""
        self._began, self._patience, self._said = time.monotonic(), patience, False

    def left(self, what: str) -> float:
        """-> seconds until somebody should look again. Raises AbsentError when all are over."""
        passed = time.monotonic() - self._began
        if passed >= self._patience:
            raise AbsentError(f"runtime.hosts: {what} within {passed:.0f} s")
        if passed >= SAYING and not self._said:
            self._said = True
            complain(f"waiting: {what}")
        return min(0.2, self._patience - passed)


class Arrivals:
    """Who has come to process 0. Nobody is waited for alone: what strangers do costs the others
    nothing."""

    def __init__(self, place: Place, about: dict, waiting: socket.socket):
        """`about`: what process 0 says of itself; `waiting`: where the others come."""
        self._place, self._waiting = place, waiting
        self._unheard: dict[socket.socket, Incoming] = {}
        self.come: dict[int, socket.socket] = {}
        self.said = {0: about}

    def all(self, clock: Clock) -> tuple[dict[int, socket.socket], list[dict]]:
        """-> (connections by number, what everybody said). Raises AbsentError for those that do not
        come, ConfigError for those that are to do something else, which all are told."""
        self._waiting.setblocking(False)
        try:
            while len(self.said) < self._place.count:
                self._look(clock)
            self._waiting.setblocking(True)
            return self.come, [self.said[i] for i in range(self._place.count)]
        except BaseException:
            for one in self.come.values():
                one.close()
            raise
        finally:
            for one in self._unheard:
                one.close()

    def _look(self, clock: Clock) -> None:
        count = self._place.count
        missing = next(i for i in range(count) if i not in self.said)
        left = clock.left(f"process {missing} of {count} has not come to {self._place.at}")
        ready = wait([self._waiting, *self._unheard, *self.come.values()], left)
        # whoever has come says nothing more until all have
        for number in [i for i, one in self.come.items() if one in ready]:
            self._drop(number)
        if self._waiting in ready:
            with suppress(OSError):  # it has gone again
                one, _ = self._waiting.accept()
                one.setblocking(True)
                self._unheard[one] = Incoming(one)
        for one in list(self._unheard):
            if one in ready:
                self._hear(one)
            elif time.monotonic() > self._unheard[one].until:
                del self._unheard[one]
                one.close()

    def _drop(self, number: int) -> None:
        self.come.pop(number).close()
        del self.said[number]

    def _hear(self, one: socket.socket) -> None:
        try:
            own = self._unheard[one].more()
        except (OSError, ValueError, RecursionError):
            own = {}
        if own is None:
            return
        del self._unheard[one]
        if not _is_ours(own):
            one.close()
            return
        number = own["number"]
        if number in self.come and wait([self.come[number]], GOING):
            self._drop(number)
        if wrong := difference(self.said[0], own, self.said):
            for each in (*self.come.values(), one):
                send(each, {"refused": wrong})
            one.close()
            raise ConfigError(wrong)
        self.come[number], self.said[number] = one, own
        send(one, {"welcome": number})


def _is_ours(said: dict) -> bool:
    wanted = {"same": dict, "number": int, "count": int, "asked": dict, "machine": list}
    return all(isinstance(said.get(key), kind) for key, kind in wanted.items())


def difference(about: dict, other: dict, said: dict) -> str | None:
    """-> what is wrong between process 0 and another one that came, None for nothing; `said`: what
    those said that have come."""
    number, count = other["number"], other["count"]
    named = f"process {number}"
    if count != about["count"] or not 0 < number < count:
        ours = f"0/{about['count']}"
        return f"runtime.hosts must have the same COUNT everywhere, got {ours} and {number}/{count}"
    if number in said:
        return f"runtime.hosts must have another NUMBER for each process, got {number} twice"
    mine, its = about["same"], other["same"]
    for what in mine | its:
        if mine.get(what) != its.get(what):
            a, b = mine.get(what, "none"), its.get(what, "none")
            return f"all hosts must have the same {what}, got {a} and, of {named}, {b}"
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
