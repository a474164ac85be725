"""Memory: what arrays take, what a machine has, what a process has held."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax


def tree_bytes(tree: Any) -> int:
    """-> the bytes of all leaves, arrays or their shapes."""
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def of_each(devices: tuple) -> int | None:
    """-> the bytes that one of the devices may hold, None if nobody knows. Devices of a CPU share
    the machine's.

    It does not depend on what else is running, so that a run that is resumed plans as it did.
    """
    if devices[0].platform == "cpu":
        whole = machine()
        return whole and whole // len(devices)
    return (
        min(((device.memory_stats() or {}).get("bytes_limit", 0) for device in devices), default=0)
        or None
    )


def free_of_each(devices: tuple) -> int | None:
    """-> the bytes that one of the devices could take just now, None if nobody knows."""
    if devices[0].platform == "cpu":
        free = available()
        return free and free // len(devices)
    stats = [device.memory_stats() or {} for device in devices]
    return min(x.get("bytes_limit", 0) - x.get("bytes_in_use", 0) for x in stats) or None


def sharing(devices: tuple) -> int:
    """-> how many of the devices share one memory: all those of a CPU."""
    return len(devices) if devices[0].platform == "cpu" else 1


def machine() -> int | None:
    """-> bytes of main memory, or what the process's control group or its own limits allow of
    it."""
    try:
        whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
    return min([whole, *_limits()])


def available() -> int | None:
    """-> bytes of main memory that could be taken without pushing others out."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(
            int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")
        )
    except (OSError, StopIteration):
        return machine()
    return min([free, *_limits()])


def _limits(
    root: Path = Path("/sys/fs/cgroup"), member: Path = Path("/proc/self/cgroup")
) -> Iterator[int]:
    """-> the limits of the process's control group (version 2) and of those above it, and those
    that `ulimit` has set."""
    with contextlib.suppress(ImportError):
        import resource

        for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
            if (most := resource.getrlimit(kind)[0]) != resource.RLIM_INFINITY:
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
    except OSError:
        return most_resident()


def most_resident() -> int:
    """-> the most bytes of main memory that the process ever held."""
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def peak_of(devices: tuple, before: int) -> int | None:
    """-> the most bytes that were held: by one accelerator, or on a CPU by the process beyond the
    `before` bytes."""
    if devices[0].platform == "cpu":
        return max(0, most_resident() - before) or None
    return (
        max((device.memory_stats() or {}).get("peak_bytes_in_use", 0) for device in devices) or None
    )


def shown(nbytes: float) -> str:
    """-> "1.4 GiB"."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if nbytes < 1000 or unit == "TiB":
            break
        nbytes /= 1024
    return f"{nbytes:.3g} {unit}"
