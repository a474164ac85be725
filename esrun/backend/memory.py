"""Memory: what arrays take, what devices have and have held."""

from typing import Any

import jax

from esrun.backend import among, hosts, machine
from esrun.backend.devices import BESIDE


def tree_bytes(tree: Any) -> int:
    """-> the bytes of all leaves, arrays or their shapes."""
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def of_each(devices: tuple) -> int | None:
    """-> the bytes that one of the devices may hold, None if nobody knows. Devices of a CPU share
    the machine's, and so do runs that go on side by side.

    It does not depend on what else is running, so that a run that is resumed plans as it did. Of
    several hosts it is the least.
    """
    if hosts.here is not None:
        return among.least_memory(devices)
    if devices[0].platform == "cpu":
        whole = machine.memory()
        return whole and whole // (len(devices) * BESIDE.get())
    return (
        min(((device.memory_stats() or {}).get("bytes_limit", 0) for device in devices), default=0)
        or None
    )


def free_of_each(devices: tuple) -> int | None:
    """-> the bytes that one of the devices could take just now, None if nobody knows;
    of several hosts one of this one's."""
    devices = among.own(devices)
    if devices[0].platform == "cpu":
        free = machine.available()
        return free and free // (len(devices) * BESIDE.get())
    stats = [device.memory_stats() or {} for device in devices]
    return min(x.get("bytes_limit", 0) - x.get("bytes_in_use", 0) for x in stats) or None


def sharing(devices: tuple) -> int:
    """-> how many of the devices share one memory: all those of a CPU (of one host)."""
    devices = among.own(devices)
    return len(devices) if devices[0].platform == "cpu" else 1


def peak_of(devices: tuple, before: int) -> int | None:
    """-> the most bytes that were held here: by one accelerator, or on a CPU by the process beyond
    the `before` bytes."""
    devices = among.own(devices)
    if devices[0].platform == "cpu":
        return max(0, machine.most_resident() - before) or None
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
