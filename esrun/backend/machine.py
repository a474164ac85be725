"""The machine under this process, as far as its system tells: cores, memory, processor, owner.

Linux tells all of it, macOS and others less. Whoever needs such a thing asks here, and gets an
answer or None where there is none; no other file names what a system may lack. (Signals are
`runs/interrupts.py`'s.)
"""

import contextlib
import os
import platform
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

CPUINFO = 16384
"""Bytes of /proc/cpuinfo that are read, enough for its first core."""


def cores() -> int:
    """-> the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def which_cores() -> list[int] | None:
    """-> the numbers of those cores, None where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def keep_to(cores: list[int]) -> None:
    """Have this thread and those that it will start run on these cores alone."""
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setaffinity(0, cores)


def let_messages_wait() -> None:
    """Have those threads of ours that wait for messages of a network, or ask for them, take no core
    from one that computes, ever: the system calls it a batch policy. Called where nothing else is
    done by any thread.

    Such a thread asks over and over for what has come, until one that computes has taken it; on a
    core of their own the latter waited for the end of the former's turn, some milliseconds.
    """
    own = threading.get_native_id()
    for thread in Path("/proc/self/task").glob("*"):
        with contextlib.suppress(AttributeError, OSError):
            waits_in = (thread / "wchan").read_text()
            awake = waits_in == "0" and int(thread.name) != own
            if awake or "epoll" in waits_in or "ep_poll" in waits_in:
                os.sched_setscheduler(int(thread.name), os.SCHED_BATCH, os.sched_param(0))


def processor() -> list[str]:
    """-> what machine code depends on: the system, and the kind of processor as far as it is
    known."""
    kind = [platform.system(), platform.machine()]
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        lines = file.read(CPUINFO).split("\n\n")[0].splitlines()  # the first core's
        kind += [
            line
            for line in lines
            if line.startswith(("model name", "flags", "Features", "CPU part"))
        ]
    return kind


def memory() -> int | None:
    """-> bytes of main memory, or what the process's control group or its own limits allow of
    it."""
    try:
        whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
    return min([whole, *_limits()])


def available() -> int | None:
    """-> bytes of main memory that could be taken without pushing others out; where that cannot be
    asked, all of it."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(
            int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")
        )
    except (OSError, StopIteration):
        return memory()
    return min([free, *_limits()])


def crowded() -> bool:
    """Whether this process has more than half of the memory mappings that it may have. Linux ends
    a process that has no further one for its code."""
    try:
        most = int(Path("/proc/sys/vm/max_map_count").read_text())
        with open("/proc/self/maps", "rb") as file:
            return sum(1 for _ in file) > most // 2
    except (OSError, ValueError):
        return False


def _limits(
    root: Path = Path("/sys/fs/cgroup"), member: Path = Path("/proc/self/cgroup")
) -> Iterator[int]:
    """-> the limits of the process's control group (version 2) and of those above it, and those
    that `ulimit` has set."""
    with contextlib.suppress(ImportError):
        import resource

        kinds = [getattr(resource, x, None) for x in ("RLIMIT_AS", "RLIMIT_DATA")]
        for kind in kinds:
            if kind is not None and (most := resource.getrlimit(kind)[0]) != resource.RLIM_INFINITY:
                yield most
    with contextlib.suppress(OSError):
        group = member.read_text().strip().rpartition("::/")[2]
        for folder in (root / group, *(root / group).parents):
            limit = folder / "memory.max"
            if limit.is_file() and (text := limit.read_text().strip()).isdigit():
                yield int(text)


def resident() -> int:
    """-> bytes of main memory that the process holds; where that cannot be asked, the most it ever
    held."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError):
        return most_resident()


def most_resident() -> int:
    """-> the most bytes of main memory that the process ever held, 0 where that cannot be asked."""
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def is_private(folder: Path) -> bool:
    """Whether nobody but the user may write there, as far as the system has users."""
    if not hasattr(os, "getuid"):
        return True
    about = folder.stat()
    return about.st_uid == os.getuid() and not about.st_mode & 0o022


def opengl_without_a_screen() -> str | None:
    """-> what OpenGL needs to be asked for to draw without a screen, None where it always does."""
    return "egl" if sys.platform == "linux" else None
