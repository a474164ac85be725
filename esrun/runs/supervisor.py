"""A run that is carried on: its command is begun again where it is killed, until it has ended by
itself.

This is what stays on a cluster (`backend.detached`) and is begun again on another machine when its
own is lost. The command is a process of its own, which ends with this one, so that no two of them
work at the same run.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from esrun.backend import detached
from esrun.errors import FAILED, SAVED, first_line
from esrun.runs.carried import HELD, Belongings, Job

TRIES = 3
"""How often the command may be killed without having got further: then the run has failed."""
KEPT = 10_000
"""Lines that are kept for whoever watches."""
UNWATCHED = 24 * 3600.0
"""Seconds after which a run that nobody watches is saved and ended."""
LINGER = 3600.0
"""Seconds for which the end of a run is kept for somebody to ask how it was."""
HEARD = 3.0
"""Seconds for which it is kept for others when somebody has heard it."""
SEND = 1.0
"""Seconds after which files are sent that have changed, where the disk is no shared one."""
COMMAND = """
import os, signal, sys, threading
signal.pthread_sigmask(signal.SIG_SETMASK, [])  # threads of Ray's block all of them
threading.Thread(target=lambda: (os.read(0, 1), os._exit(75)), daemon=True).start()
sys.argv[0] = "esrun"
from esrun.cli import main
sys.exit(main())
"""
"""`esrun`, which ends when nobody holds the other end of its standard input any more."""


class Supervisor:
    """Carries a job on. Others ask it, in threads of their own, with JSON and for JSON."""

    def __init__(self, content: bytes, own: Any = None):
        """Begin. `content` of a Job; `own`: a `detached.Own`, if not this process's."""
        self._job, self._own = Job(**json.loads(content)), own or detached.Own()
        self._has = Belongings(self._job, self._own)
        self._life = secrets.token_hex(8)
        self._said, self._count = deque[tuple[int, str]](maxlen=KEPT), 0
        self._changed = threading.Condition()
        self._process: subprocess.Popen | None = None
        self._signal: str | None = None
        self._code: int | None = None
        self._over = False
        self._watched = time.monotonic()
        threading.Thread(target=self._carry_on, daemon=True).start()

    def job(self, question: bytes) -> bytes:
        """-> what is carried on, whether its folder is `shared` with who has typed it, whether this
        is done `again`, after another one was lost, and whether it is `over`, as is known."""
        about = {"shared": self._has.shared, "again": self._own.again, "over": self._over}
        return json.dumps(self._job._asdict() | about).encode()

    def listen(self, question: bytes) -> bytes:
        """-> this one's `life`, the number of lines that are `known` with it, those that were
        `said` since the ones of the question ([1 or 2 for the stream, line]), and the exit `code`,
        null before the end. Waits for any of it for at most the question's `seconds`."""
        asked = json.loads(question)
        with self._changed:
            self._watched = time.monotonic()
            known = asked["known"] if asked["life"] == self._life else 0
            self._changed.wait_for(
                lambda: self._count > known or self._code is not None, asked["seconds"]
            )
            new = [*self._said][max(len(self._said) - (self._count - known), 0) :]
            answer = {"life": self._life, "known": self._count, "said": new, "code": self._code}
        return json.dumps(answer).encode()

    def signal(self, question: bytes) -> bytes:
        """Send the command the signal of a name, after which it is not begun again; it hears the
        first one only, as a second Ctrl-C would end it unsaved."""
        self._interrupt(json.loads(question))
        return b"null"

    def heard(self, question: bytes) -> bytes:
        """Whoever asks has heard the end and has the files: they are not kept for long now."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        return b"null"

    def _interrupt(self, name: str) -> None:
        with self._changed:
            if self._signal is not None:
                return
            self._signal = name
            if self._process is not None:
                self._process.send_signal(signal.Signals[name])
        self._has.note(SAVED)

    def _carry_on(self) -> None:
        code = FAILED
        try:
            code = self._carried_on()
        except Exception as error:
            self._say(2, f"esrun: {type(error).__name__}: {first_line(error)}")
        self._has.note(code)
        with self._changed:
            self._code = code
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._over, LINGER)
        time.sleep(HEARD)
        self._has.leave()
        self._own.end(self._job.files)

    def _carried_on(self) -> int:
        folder, reached, killed = self._has.folder, -1, 0
        self._has.have()
        if (noted := self._has.noted()) is not None:
            self._say(2, "esrun: it was to end, or had ended, when its machine was lost")
            return noted
        while True:
            if folder.lock.exists():
                with suppress(Timeout), FileLock(folder.lock, timeout=HELD):
                    pass  # if not, the command says so
            code = self._once()
            self._has.send(TRIES)
            if self._signal is not None:
                return SAVED if code < 0 else code
            if code >= 0 and code != SAVED:
                return code
            here = folder.saved()
            killed, reached = 1 if here > reached else killed + 1, max(here, reached)
            how = f"ended by {signal.Signals(-code).name}" if code < 0 else "told to end"
            if killed == TRIES:
                self._say(2, f"esrun: {how} {TRIES} times without getting further")
                return FAILED
            self._say(2, f"esrun: {how}: begun again")

    def _once(self) -> int:
        """Run the command -> its exit code, below 0 that of a signal."""
        place = self._job.place
        with self._changed:
            if self._signal is not None:
                return SAVED
            self._process = process = subprocess.Popen(
                [sys.executable, "-P", "-c", COMMAND, *self._job.words, *self._job.own],
                cwd=place if Path(place).is_dir() else None,
                env=os.environ | self._own.surroundings() | {"PYTHONUNBUFFERED": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                process_group=0,  # what is sent to this one's group is not meant for it
            )
        streams = enumerate((process.stdout, process.stderr), 1)
        readers = [threading.Thread(target=self._read, args=one, daemon=True) for one in streams]
        for reader in readers:
            reader.start()
        sent = time.monotonic()
        while process.poll() is None:
            time.sleep(0.1)
            if time.monotonic() - sent > SEND:
                with suppress(detached.GoneError, OSError):  # they are sent again
                    self._has.send(tries=1)
                sent = time.monotonic()
            if time.monotonic() - self._watched > UNWATCHED:
                self._interrupt("SIGTERM")
        if process.returncode < 0:
            with suppress(OSError):  # what it has begun may hold the lock of the folder
                os.killpg(process.pid, signal.SIGKILL)
        for reader in readers:
            reader.join(1.0)  # what has left the group may hold the other end, for any time
        if process.stdin is not None:
            process.stdin.close()
        with self._changed:
            self._process = None
        return process.returncode

    def _read(self, stream: int, lines: IO[bytes]) -> None:
        with lines:
            for line in lines:
                self._say(stream, line.decode(errors="replace").removesuffix("\n"))

    def _say(self, stream: int, line: str) -> None:
        with self._changed:
            self._said.append((stream, line))
            self._count += 1
            self._changed.notify_all()
