"""Having a run's own process on the cluster, where Ray begins another one when it is lost, and
watching it from here: its lines are this command's, and so are signals and the exit code."""

import hashlib
import json
import secrets
import shlex
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from esrun.backend.detached import ON_HEAD, Detached, GoneError
from esrun.errors import SAVED, USAGE, AbsentError, ConfigError, complain, tell, why
from esrun.runs import interrupts
from esrun.runs.carried import Job
from esrun.runs.folder import Made, shown
from esrun.runs.holder import Holder, Mirror
from esrun.runs.paths import RunFolder
from esrun.runs.supervisor import Supervisor

WAIT = 1.0
"""Seconds for which it is listened, before signals are looked at again."""
PATIENCE = 5.0
"""Seconds beyond that in which an answer must come."""
AWAY = 60.0
"""Seconds after which one that is to end, and is away, is ended for good."""
OTHERS = 1.0
"""Seconds in which others who watch hear the end."""
TURN = 10.0
"""Seconds that another watcher may take to have the files here."""
TRIES = 20
"""How often one is begun: its name may be that of one that is just ending."""
HERE = "++runtime.driver=here"
"""What the command on the cluster is told, whose configuration may know no such key."""


def driven(words: list[str], own: list[str], made: Made, devices: int | str) -> int:
    """Have `esrun` with the `words` that were typed, and what is to stand behind them to go on with
    the run, work in its folder on the cluster -> its exit code; `devices` as in `Detached.core`.

    Where that is being done already, it is watched. Raises ConfigError, and AbsentError where what
    is on the cluster is gone, or its files cannot come here now.
    """
    folder, code = made.folder.resolve(), USAGE
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
    except GoneError as error:
        raise AbsentError(f"what the run had on the cluster is gone: {error}") from error
    finally:
        if code == USAGE:
            token.unlink(missing_ok=True)
            made.unmake()
    return code


def _carried(there: Detached, job: Job, devices: int | str, heard: Callable[[], str | None]) -> int:
    """Have a job carried on and watch it; files that lie on another disk come here at its end ->
    its exit code. Raises ConfigError, AbsentError and GoneError."""
    about, token = _begun(there, job, devices, heard), Path(job.folder, job.token)
    if about is None or not about["shared"] or about["token"] != job.token:
        token.unlink(missing_ok=True)  # else it is left to who has been begun with it
    if about is None:
        return SAVED
    if about["words"] != job.words:
        line = shlex.join(["esrun", *about["words"]])
        raise ConfigError(
            f"{shown(Path(job.folder))} is in use on the cluster: write {line} to watch it, or "
            "hydra.run.dir=... for another folder"
        )
    holder = mirror = None
    if not about["shared"]:
        holder = Detached(job.files)
        holder.begin(Holder, b"", ON_HEAD)
        mirror = Mirror(Path(job.folder), holder.answer)
        if not mirror.there() and (about["ours"] or not about["again"]):
            mirror.send()
    code = _watched(there, heard)
    if mirror is not None:
        _fetch(mirror, Path(job.folder))
    with suppress(GoneError):  # others have heard the end, too
        if code is not None and there.ask("heard", b"", seconds=PATIENCE) is not None:
            time.sleep(OTHERS)
    there.end()
    if holder is not None:
        holder.end()
    token.unlink(missing_ok=True)
    return SAVED if code is None else code


def _fetch(mirror: Mirror, folder: Path) -> None:
    """Have the files here, where nobody works beside it. Raises ConfigError for another run's
    folder, GoneError, and AbsentError where it may be possible later."""
    lock = RunFolder(folder).lock
    try:
        with FileLock(lock, timeout=TURN):
            mirror.fetch()
        if not RunFolder(folder).record.exists():
            lock.unlink(missing_ok=True)
        return
    except Timeout:
        reason = "another process works there"
    except OSError as error:
        reason = why(error)
    raise AbsentError(
        f"the files of the run cannot come to {shown(folder)}: {reason}; they are on the cluster "
        "for an hour, and the same line has them come"
    )


def _begun(
    there: Detached, job: Job, devices: int | str, heard: Callable[[], str | None]
) -> dict[str, Any] | None:
    """Begin, and wait until it is -> what is carried on, and whether it is `ours`, begun from here
    (be it again, where its place was lost before it was there); None where a signal came before.
    Raises ConfigError."""

    def begin() -> bool:
        """-> whether it was not there before."""
        found = there.find()
        if not found:
            there.begin(Supervisor, job.content, there.core(devices))
        return not found

    own, tries, since = begin(), 0, time.monotonic()
    waits = False
    while True:
        reason = "one before it does not end"
        try:
            content = there.ask("job", b"", seconds=PATIENCE)
        except GoneError as error:  # its name may be that of one that is just ending
            content, reason = b'{"over": true}', str(error)
        if content is not None:
            about = json.loads(content)
            if not about["over"]:
                return about | {"ours": own}
            tries += 1
            if tries == TRIES:
                raise ConfigError(f"runtime.driver=ray: it cannot be begun: {reason}")
            time.sleep(0.5)
            own, since = begin(), time.monotonic()
            continue
        if not waits:
            tell("esrun: the run's own process waits for a place", wrong=True)
        waits = True
        if name := heard():
            if own:  # and it has not begun
                there.end()
                complain(f"ended by {name}")
                return None
            if time.monotonic() - since > AWAY:  # it may be another line's
                complain(f"ended by {name}: the run's own process is away, and is left as it is")
                return None


def _watched(there: Detached, heard: Callable[[], str | None]) -> int | None:
    """Say what it says until it has ended -> its exit code, None for one that is away and must be
    ended from here."""
    life, known, told, since = "", 0, "", None
    while True:
        question = json.dumps({"life": life, "known": known, "seconds": WAIT}).encode()
        try:
            answer = there.ask("listen", question, seconds=WAIT + PATIENCE)
        except GoneError as error:
            complain(f"the run's own process has ended, and nobody can say how: {error}")
            return None
        if answer is None:
            if since is None:
                since = time.monotonic()
                tell("esrun: the run's own process is away: Ray begins another one", wrong=True)
            if heard() and time.monotonic() - since > AWAY:
                complain(f"ended by {heard()} while the run's own process was away")
                return None
            time.sleep(0.2)
            continue
        about, since = json.loads(answer), None
        life, known = about["life"], about["known"]
        for stream, line in about["said"]:
            tell(line, wrong=stream == 2)
        if about["code"] is not None:
            return about["code"]
        if (name := heard()) and told != life:
            # others may be ignored, as by whatever nohup has started
            content = json.dumps(name if name == "SIGINT" else "SIGTERM").encode()
            told = life if there.ask("signal", content, seconds=PATIENCE) else told
