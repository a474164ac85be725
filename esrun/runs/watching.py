"""Having a run's own process on the cluster, where Ray begins another one when it is lost, and
watching it from here: its lines are this command's, and so are signals and the exit code."""

import hashlib
import json
import shlex
import time
from collections.abc import Callable
from pathlib import Path

from esrun.backend.detached import Detached, GoneError
from esrun.errors import SAVED, USAGE, ConfigError, complain, tell
from esrun.runs import interrupts
from esrun.runs.folder import Made, shown
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
    the run, work in its folder on the cluster -> its exit code; `devices` as in `Detached`.

    Where that is being done already, it is watched. Raises ConfigError.
    """
    folder = made.folder.absolute()
    job = Job(words, [*own, HERE], str(folder), str(Path.cwd()))
    name = f"run-{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"
    code = USAGE
    try:
        with interrupts.listening() as heard, heard.saving():
            there = Detached(Supervisor, name, job.content, devices)
            try:
                _begun(there, job, folder)
                code = _watched(there, lambda: heard.name)
            finally:
                there.leave()
    finally:
        if code == USAGE:
            made.unmake()
    return code


def _begun(there: Detached, job: Job, folder: Path) -> None:
    """Wait until the job is carried on. Raises ConfigError where it cannot be, or where another one
    is in its folder."""
    for tries in range(1, TRIES + 1):
        try:
            content = there.ask("job", b"", PATIENCE)
        except GoneError as error:
            if tries == TRIES:
                raise ConfigError(f"runtime.driver=ray: it cannot be begun: {error}") from error
            time.sleep(0.5)
            there.begin()
            continue
        if content is None:  # it waits for a place, or is being begun again
            return
        if content != job.content:
            line = shlex.join(["esrun", *json.loads(content)["words"]])
            raise ConfigError(
                f"{shown(folder)} is in use on the cluster: write {line} to watch it, or "
                "hydra.run.dir=... for another folder"
            )
        return


def _watched(there: Detached, heard: Callable[[], str | None]) -> int:
    """Say what it says until it has ended -> its exit code."""
    life, known, told, since = "", 0, "", None
    while True:
        question = json.dumps({"life": life, "known": known, "seconds": WAIT}).encode()
        try:
            answer = there.ask("listen", question, WAIT + PATIENCE)
        except GoneError as error:
            complain(f"the run's own process has ended, and nobody can say how: {error}")
            return SAVED
        if answer is None:
            if since is None:
                since = time.monotonic()
                what = "is away: Ray begins another one" if life else "waits for a place"
                tell(f"esrun: the run's own process {what}", wrong=True)
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
            told = life if there.ask("signal", content, PATIENCE) else told
