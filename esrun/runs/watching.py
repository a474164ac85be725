"""Having a run's own process on the cluster, where Ray begins another one when it is lost, and
watching it from here: its lines are this command's, and so are signals and the exit code."""

import hashlib
import json
import secrets
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from esrun.backend.detached import ON_HEAD, Detached, GoneError
from esrun.errors import SAVED, USAGE, ConfigError, complain, tell
from esrun.runs import interrupts
from esrun.runs.folder import Made, shown
from esrun.runs.holder import Holder, Mirror
from esrun.runs.supervisor import Job, Supervisor

WAIT = 1.0
"""Seconds for which it is listened, before signals are looked at again."""
PATIENCE = 5.0
"""Seconds beyond that in which an answer must come."""
AWAY = 60.0
"""Seconds after which one that is to end, and is away, is ended for good."""
TRIES = 20
"""How often one is begun: its name may be that of one that is just ending."""
HERE = "++runtime.driver=here"
"""What the command on the cluster is told, whose configuration may know no such key."""


def driven(words: list[str], own: list[str], made: Made, devices: int | str) -> int:
    """Have `esrun` with the `words` that were typed, and what is to stand behind them to go on with
    the run, work in its folder on the cluster -> its exit code; `devices` as in `Detached.core`.

    Where that is being done already, it is watched. Raises ConfigError.
    """
    folder, code = made.folder.absolute(), USAGE
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    token = folder / f"run.json.{secrets.token_hex(4)}.partial"
    job = Job(words, [*own, HERE], str(folder), str(Path.cwd()), token.name, f"files-{name}")
    try:
        with interrupts.listening() as heard, heard.saving():
            there = Detached(f"run-{name}")
            try:
                token.touch(exist_ok=False)
                code = _carried(there, job, devices, lambda: heard.name)
            finally:
                there.leave()
    finally:
        token.unlink(missing_ok=True)
        if code == USAGE:
            made.unmake()
    return code


def _carried(there: Detached, job: Job, devices: int | str, heard: Callable[[], str | None]) -> int:
    """Have a job carried on and watch it; files that lie on another disk come here at its end ->
    its exit code. Raises ConfigError."""

    def begin() -> None:
        there.begin(Supervisor, job.content, there.core(devices))

    about = _begun(there, begin, heard)
    if about is None:
        return SAVED
    if about["words"] != job.words:
        line = shlex.join(["esrun", *about["words"]])
        raise ConfigError(
            f"{shown(Path(job.folder))} is in use on the cluster: write {line} to watch it, or "
            "hydra.run.dir=... for another folder"
        )
    if about["shared"]:
        return _watched(there, heard)
    holder = Detached(job.files)
    holder.begin(Holder, b"", ON_HEAD)
    mirror = Mirror(Path(job.folder), holder.answer)
    if not mirror.there() and not about["again"]:
        mirror.send()
    code = _watched(there, heard)
    mirror.fetch()
    holder.end()
    return code


def _begun(
    there: Detached, begin: Callable[[], None], heard: Callable[[], str | None]
) -> dict[str, Any] | None:
    """Begin, and wait until it is -> what is carried on, None where a signal came before. Raises
    ConfigError."""
    begin()
    waits = tries = 0
    while True:
        try:
            content = there.ask("job", b"", seconds=PATIENCE)
        except GoneError as error:  # its name may be that of one that is just ending
            tries += 1
            if tries == TRIES:
                raise ConfigError(f"runtime.driver=ray: it cannot be begun: {error}") from error
            time.sleep(0.5)
            begin()
            continue
        if content is not None:
            return json.loads(content)
        waits += 1
        if waits == 1:
            tell("esrun: the run's own process waits for a place", wrong=True)
        if name := heard():
            there.end()
            complain(f"ended by {name}")
            return None


def _watched(there: Detached, heard: Callable[[], str | None]) -> int:
    """Say what it says until it has ended -> its exit code."""
    life, known, told, since = "", 0, "", None
    while True:
        question = json.dumps({"life": life, "known": known, "seconds": WAIT}).encode()
        try:
            answer = there.ask("listen", question, seconds=WAIT + PATIENCE)
        except GoneError as error:
            complain(f"the run's own process has ended, and nobody can say how: {error}")
            return SAVED
        if answer is None:
            if since is None:
                since = time.monotonic()
                tell("esrun: the run's own process is away: Ray begins another one", wrong=True)
            if heard() and time.monotonic() - since > AWAY:
                there.end()
                complain(f"ended by {heard()} while the run's own process was away")
                return SAVED
            time.sleep(0.2)
            continue
        about, since = json.loads(answer), None
        life, known = about["life"], about["known"]
        for stream, line in about["said"]:
            tell(line, wrong=stream == 2)
        if about["code"] is not None:
            there.end()
            return about["code"]
        if (name := heard()) and told != life:
            # others may be ignored, as by whatever nohup has started
            content = json.dumps(name if name == "SIGINT" else "SIGTERM").encode()
            told = life if there.ask("signal", content, seconds=PATIENCE) else told
