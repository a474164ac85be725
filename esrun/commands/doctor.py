"""`esrun doctor`: what works here, what to install for the rest, and a test of it."""

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from esrun import __version__
from esrun.backend import cache, devices
from esrun.commands.flags import parsers
from esrun.config import extras
from esrun.errors import DONE, FAILED, ConfigError, complain, printable
from esrun.runs import interrupts
from esrun.runs.interrupts import AGAIN

HOLDS = {
    "CPU": "tested; a run has one set of bits, on however many devices",
    "GPU": "measured on an NVIDIA H100 with JAX 0.11.2, untested on others; with float32, policies "
    "multiply in tf32 and strategies in full",
    "TPU": "untested",
}
"""What is known of each kind of device."""
NVIDIA = "/dev/nvidiactl"
"""There where a driver is."""
ATTEMPTS = 50
"""To remove the folder of a test that a signal ends, and that may be writing there meanwhile."""


def doctor(arguments: list[str]) -> int:
    """Print what is found -> the exit code: FAILED where JAX does not start or the test fails."""
    parsers()["doctor"].read(arguments)
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    _say("esrun", f"{__version__}, Python {platform.python_version()}, {system}")
    for line in _packages():
        _say("package", line)
    try:
        devices.start("float32", False)
        found = devices.all_local()
        kept = cache.state()
    except ConfigError as error:
        complain(str(error))
        return FAILED
    for name, lines in (
        ("devices", _devices(found)),
        ("precision", ["float32; runtime.precision=float64 for all but the environments"]),
        ("cache", _cache(kept)),
        ("extra", _extras()),
        *((f"on a {kind}", [what]) for kind, what in HOLDS.items()),
    ):
        for line in lines:
            _say(name, line)
    return _self_test()


def _say(name: str, line: str) -> None:
    print(printable(f"{name:<11}{line}"), flush=True)


def _packages() -> Iterator[str]:
    """-> what esrun needs, with the versions that are there."""
    wanted = extras.needed()
    yield ", ".join(f"{x.name} {extras.installed(x)}" for x in wanted if extras.fits(x))
    if wrong := [x for x in wanted if not extras.fits(x)]:
        names = ", ".join(f"{x.name} {extras.installed(x)}" for x in wrong)
        yield f"not as esrun needs them: {names}: {extras.installing(wrong)}"


def _devices(found: tuple) -> Iterator[str]:
    from esrun.backend import memory

    free = memory.free_of_each(found)
    room = memory.shown(free * memory.sharing(found)) if free else "unknown memory"
    yield f"{' '.join(devices.names(found))} ({found[0].device_kind}), {room} free"
    if devices.on_cpu(found) and os.path.exists(NVIDIA):
        yield 'an NVIDIA driver is here that JAX does not use: pip install "jax[cuda12]"'


def _cache(kept: cache.State) -> Iterator[str]:
    where = f"{kept.folder}: " if kept.folder else ""
    held = f"; {kept.programs} programs, {kept.size / 2**20:.1f} MiB" if kept.folder else ""
    yield f"{where}{kept.says}{held}"


def _extras() -> Iterator[str]:
    """-> each extra, there or with the command that installs it."""
    for name in extras.extras():
        wanted = extras.needed(name)
        if all(map(extras.fits, wanted)):
            there = ", ".join(f"{x.name} {extras.installed(x)}" for x in wanted)
            yield f"{name}: {there}"
        else:
            yield f"{name}: missing: {extras.installing(wanted)}"


def _self_test() -> int:
    from esrun.commands.selftest import BrokenError, steps

    heard = interrupts.listening()

    def leave(signal: str) -> str:
        for _ in range(ATTEMPTS):
            shutil.rmtree(folder, ignore_errors=True)
            if not os.path.exists(folder):
                break
            time.sleep(0.05)  # what is written there meanwhile comes to an end
        return f"ended by {signal}"

    try:
        with (
            tempfile.TemporaryDirectory(prefix="esrun-doctor-") as folder,
            heard,
            heard.at_once(leave),
        ):
            began = time.monotonic()
            for name, what in steps(Path(folder)):
                now = time.monotonic()
                _say("test", f"{name}: {what} ({now - began:.1f} s)")
                began = now
    except BrokenError as error:
        complain(f"ended by {heard.name}" if heard.name else f"the test fails: {error}")
        return AGAIN if heard.name else FAILED
    except OSError as error:
        complain(f"the test cannot write to a temporary folder: {error}: set TMPDIR")
        return FAILED
    return DONE
