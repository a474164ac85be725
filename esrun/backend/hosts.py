"""Several processes that train one run in step: what they say to each other, and what becomes of
all when one is lost.

Process 0 decides. Each of the others has one connection to it, over which its decisions come as
*words*, in the order in which everybody asks for them. Beats go both ways every second: whoever is
silent for longer than SILENCE, or whose connection ends before the run is over, is lost, and then
every process ends by itself, since what the devices of one wait for will never come.

Nothing here computes: arrays travel between devices by JAX's own collectives.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, NoReturn

import numpy as np

from esrun.backend import links
from esrun.backend.links import ARRAY, BEATS, GIVEN, LEAVING, OVER, SIGNAL, WORD, Link
from esrun.errors import FAILED, SAVED, complain, printable

BEAT, SILENCE = 1.0, 10.0
"""Seconds between signs of life, and without one after which a process counts as lost."""
PARTING = 5.0
"""Seconds that the others may take to say that they have heard that the run is over."""
VERDICT = 3.0
"""Seconds within which a process that has died is known to be lost: an error in what devices say to
each other may come before that, and is its consequence."""

LOST = "host_lost"
"""Why a run ends that one of its processes is missing from."""

here: "Hosts | None" = None
"""Those that this process trains with, None where it is alone."""


class OverError(Exception):
    """Process 0 says that nothing is left to do, while a word was expected; `code` is how it
    ends."""

    def __init__(self, code: int):
        """`code`: the exit code of all."""
        super().__init__(f"the run is over ({code})")
        self.code = code


class Hosts:
    """The processes of a run, seen by one of them."""

    def __init__(self, number: int, connections: Mapping[int, Connection], about: list[dict]):
        """`connections`: to process 0 or, there, to all the others, by number; `about`: what each
        process said of itself when they met."""
        self.number, self.count, self.about = number, len(about), about
        self._saved = False
        self.signalled: str | None = None
        """The signal that one of the others was sent."""
        self.when_lost: Callable[[str, int, str], Any] = lambda line, code, reason: complain(line)
        """(line, exit code, reason), called before this process ends, in whatever thread."""
        self._links = {i: Link(connection) for i, connection in connections.items()}
        self._over, self._ending = threading.Event(), threading.Lock()
        self._code: int | None = None
        for i, link in self._links.items():
            threading.Thread(target=self._listen, args=(i, link), daemon=True).start()
        threading.Thread(target=self._watch, name="hosts", daemon=True).start()

    @property
    def name(self) -> str:
        """-> "process 1 of 3"."""
        return self._named(self.number)

    def _named(self, number: int) -> str:
        return f"process {number} of {self.count}"

    @property
    def saved(self) -> bool:
        """Whether there is a checkpoint: a run that loses a process can be gone on with."""
        return self._saved

    def note_saved(self) -> None:
        """Process 0 has a checkpoint; the others know at once."""
        if not self._saved:
            self._saved = True
            self._say(BEATS, b"1")

    def word(self, topic: str, value: Any = None) -> Any:
        """Process 0 says a `value`, anything that JSON knows -> it, for everybody. All ask for the
        same topics in the same order. Raises OverError where process 0 is done instead."""
        if self.number:
            return self._hear(topic)
        self._say(WORD, json.dumps([topic, value]).encode())
        return value

    def everyone(self, topic: str, value: Any) -> list[Any]:
        """Everybody says a value -> all of them, by number."""
        if self.number:
            self._send(0, GIVEN, json.dumps([topic, value]).encode())
            return self._hear(topic)
        given = [link.given(topic, None) for link in self._links.values()]
        return self.word(topic, [value, *(one[0] for one in given if one)])

    def all_come(self, topic: str, seconds: float) -> bool:
        """Whether all come to the same place of the program within so many seconds, from wherever
        they are: what process 0 has said before is forgotten."""
        if self.number:
            self._send(0, GIVEN, json.dumps([topic]).encode())
            return self._links[0].heard_of(topic, seconds) is not None
        until = time.monotonic() + seconds
        for link in self._links.values():
            if link.given(topic, max(0.0, until - time.monotonic())) is None:
                return False
        self.word(topic)
        return True

    def arrays(self, topic: str, given: Mapping[str, np.ndarray] | None = None) -> dict:
        """Process 0 gives arrays by name -> them, for everybody; -> {} where it gives none."""
        said = {name: [str(x.dtype), x.shape] for name, x in (given or {}).items()}
        said = self.word(topic, said)
        if not self.number:
            for x in (given or {}).values():
                content = links.bytes_of(np.ascontiguousarray(x))
                for at in range(0, len(content), links.PIECE):
                    self._say(ARRAY, content[at : at + links.PIECE])
            return dict(given or {})
        return {
            name: self._links[0].array(np.empty(shape, dtype))
            for name, (dtype, shape) in said.items()
        }

    def tell_signal(self, name: str) -> None:
        """Tell process 0 of a signal that came here."""
        if self.number:
            self._send(0, SIGNAL, name.encode())

    def leave(self, line: str, code: int, reason: str = LOST) -> None:
        """Tell the others that this process ends, and why: they cannot go on without it. Their exit
        code is the same."""
        self._over.set()
        self._say(LEAVING, json.dumps([line, code, reason]).encode())

    def part(self, code: int) -> int:
        """The run is over -> process 0's exit code, for everybody. Waits until all know."""
        if self._over.is_set() and not self.number:  # the others have been left before
            return code
        if self.number:
            self._links[0].ended.wait()
            if self._code is None:  # this process is ending in another thread
                time.sleep(PARTING)
            return FAILED if self._code is None else self._code
        self._over.set()
        self._say(OVER, str(code).encode())
        until = time.monotonic() + PARTING
        for link in self._links.values():
            link.ended.wait(max(0.0, until - time.monotonic()))
        return code

    def verdict(self) -> None:
        """Wait a moment, after an error: if it is because another process is lost, this one ends
        meanwhile."""
        time.sleep(VERDICT)

    def _hear(self, topic: str) -> Any:
        said = self._links[0].words.get()
        if said is None:
            self._done()
        if said[0] != topic:
            raise RuntimeError(f"{self.name} expects {topic} and hears {said[0]}")
        return said[1]

    def _done(self) -> NoReturn:
        if self._code is None:  # this process is ending in another thread
            time.sleep(PARTING)
        raise OverError(FAILED if self._code is None else self._code)

    def _send(self, to: int, kind: bytes, content: Any = b"") -> None:
        with suppress(OSError):  # whoever listens there notices
            self._links[to].send(kind, content)

    def _say(self, kind: bytes, content: Any = b"") -> None:
        for i in self._links:
            self._send(i, kind, content)

    def _listen(self, number: int, link: "Link") -> None:
        """Take in what another process says, until it is gone."""
        with suppress(EOFError, OSError):
            while True:
                message = link.receive()
                kind, content = message[:1], message[1:]
                if kind == BEATS and number == 0:
                    self._saved = content == b"1"
                elif kind == SIGNAL:
                    self.signalled = self.signalled or content.decode()
                elif kind == LEAVING:
                    line, code, reason = json.loads(content)
                    self._lost(number, f"has ended: {line}", int(code), str(reason))
                elif kind == OVER:
                    if number == 0:
                        self._code = int(content)
                        self._over.set()
                        link.send(OVER)
                    break
        link.end()
        self._lost(number, "is lost: its connection has ended", SAVED if self.saved else FAILED)

    def _watch(self) -> None:
        while not self._over.wait(BEAT):
            beat = b"1" if self.saved else b"0"
            for i, link in self._links.items():
                link.beat(beat)
                silent = time.monotonic() - link.heard
                if silent > SILENCE:
                    how = f"is lost: not a word for {silent:.0f} s"
                    self._lost(i, how, SAVED if self.saved else FAILED)

    def _lost(self, number: int, how: str, code: int, reason: str = LOST) -> None:
        """End this process, since another has."""
        if self._over.is_set() or not self._ending.acquire(blocking=False):
            return
        late = threading.Timer(PARTING / 2, os._exit, [code])  # whatever a disk may do
        late.daemon = True
        late.start()
        line = printable(f"{self._named(number)} {how}")
        self.leave(line, code, reason)
        with suppress(Exception):  # a disk may refuse; there is nobody to be told
            self.when_lost(line, code, reason)
        os._exit(code)
