"""Devices where several processes train in step: which ones, what they are called, what lies on
all of them, and fewer messages between them."""

import base64
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from esrun.backend import hosts, machine
from esrun.backend.meeting import beside

SETTLED = 0.05
"""Seconds after which the threads that a first message has begun to pass wait for another one."""


def several() -> bool:
    """Whether JAX has devices of other processes too."""
    import jax

    return jax.process_count() > 1


def all_there() -> tuple:
    """-> the devices of all processes."""
    import jax

    return tuple(jax.devices())


def own(devices: tuple) -> tuple:
    """-> those of the devices that are this process's."""
    import jax

    if not several():
        return devices
    return tuple(x for x in devices if x.process_index == jax.process_index())


def chosen(most: int) -> tuple:
    """-> the devices of all processes to run on, in their order: as many of each as it was asked
    for, for "auto" those of its own up to its share of `most`.

    Raises ValueError where a process has fewer.
    """
    import jax

    assert hosts.here is not None
    taken, each = [], math.ceil(most / hosts.here.count)
    for number, about in enumerate(hosts.here.about):
        found = [x for x in jax.devices() if x.process_index == number]
        wanted = about["devices"]
        if wanted != "auto" and wanted > len(found):
            raise ValueError(
                f"runtime.devices must be at most {len(found)}, the devices of process {number} "
                f"({found[0].platform}), got {wanted}: write runtime.devices=auto"
            )
        taken += found[: each if wanted == "auto" else wanted]
    return tuple(taken)


def meshed(function: Callable, mesh: Any) -> Any:
    """-> `function` (x, arguments), compiled for the devices of a mesh, each with its piece of
    `x`."""
    import jax
    from jax.sharding import PartitionSpec

    piece, everywhere = PartitionSpec(*mesh.axis_names), PartitionSpec()
    specs = {"in_specs": (piece, everywhere), "out_specs": everywhere}
    return jax.jit(jax.shard_map(function, mesh=mesh, check_vma=False, **specs))


def name(device) -> str:
    """-> "cpu:0" or, where there are several processes, "1/cpu:0", the first device of process 1.
    (Their numbers leave gaps between processes.)"""
    import jax

    if not several():
        return f"{device.platform}:{device.id}"
    beside_it = [x for x in jax.devices() if x.process_index == device.process_index]
    return f"{device.process_index}/{device.platform}:{beside_it.index(device)}"


def everywhere(tree: Any, sharding: Any) -> Any:
    """-> a tree that every process has, on every device."""
    import jax
    import numpy as np

    def placed(x):
        x = np.asarray(x)
        return jax.make_array_from_callback(x.shape, sharding, lambda _: x)

    return jax.tree.map(placed, tree)


def packed(collective: Callable, tree: Any) -> Any:
    """-> what a `collective` that treats numbers one by one makes of every leaf, with one message
    for all leaves of a type in the place of one each: between processes a message is a matter of
    0.2 ms."""
    import jax
    import jax.numpy as jnp

    leaves, structure = jax.tree.flatten(tree)
    done: list[Any] = [None] * len(leaves)
    for dtype in dict.fromkeys(x.dtype for x in leaves):
        places = [i for i, x in enumerate(leaves) if x.dtype == dtype]
        whole = collective(jnp.concatenate([leaves[i].reshape(-1) for i in places]))
        at = 0
        for i in places:
            x = leaves[i]
            done[i] = whole[..., at : at + x.size].reshape(*whole.shape[:-1], *x.shape)
            at += x.size
    return jax.tree.unflatten(structure, done)


def gathered(tree: Any, axis: str) -> Any:
    """-> every leaf [size, ...] on every device as [devices * size, ...]."""
    import jax

    each = packed(lambda x: jax.lax.all_gather(x, axis), tree)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), each)


def least_memory(devices: tuple) -> int | None:
    """-> the bytes that one of the devices may hold, on the host that has the least for each, None
    where one does not know."""
    assert hosts.here is not None
    everybody, found = hosts.here.about, []
    for number, about in enumerate(everybody):
        count = sum(x.process_index == number for x in devices)
        if count and devices[0].platform == "cpu":
            whole = about["memory"]
            found.append(whole and whole // (count * beside(everybody, number)))
        elif count:
            found.append(about["of_each"])
    return min(found) if all(found) else None


def shared(count: int, work: Callable[[list[int]], list[list]]) -> list[list]:
    """Have every process do its share of so many pieces of `work` -> the arrays that came of each
    piece, for everybody."""
    here = hosts.here
    if here is None:
        return work(list(range(count)))
    own = work(list(range(here.number, count, here.count)))
    told = here.everyone("pieces", [[_written(x) for x in piece] for piece in own])
    return [[_read(x) for x in told[i % here.count][i // here.count]] for i in range(count)]


def _written(x: Any) -> list:
    import numpy as np

    x = np.asarray(x)
    return [str(x.dtype), x.shape, base64.b64encode(x.tobytes()).decode()]


def _read(said: list) -> Any:
    import numpy as np

    dtype, shape, content = said
    return np.frombuffer(base64.b64decode(content), dtype).reshape(shape)


def settle() -> None:
    """What processes tell each other once JAX has started: what there is of its devices, and
    whether they are of one kind, without which the bits of one host are not those of another.

    Raises ValueError.
    """
    import jax

    here = hosts.here
    if here is None or "of_each" in here.about[0]:
        return
    local = jax.local_devices()
    limits = [(x.memory_stats() or {}).get("bytes_limit", 0) for x in local]
    kind = [local[0].platform, local[0].device_kind]
    kind += machine.processor() if local[0].platform == "cpu" else []
    told = here.everyone("devices", {"kind": kind, "of_each": min(limits)})
    for number, (about, more) in enumerate(zip(here.about, told, strict=True)):
        if more["kind"] != told[0]["kind"]:
            differing = [
                f"{a} and, of process {number}, {b}"
                for a, b in zip(told[0]["kind"], more["kind"], strict=False)
                if a != b
            ]
            raise ValueError(
                "all hosts must have devices of one kind, since other kinds have other bits, got "
                f"{(differing or ['others'])[0]}: start the processes on machines of one kind"
            )
        about["of_each"] = more["of_each"]


def greet(devices: tuple) -> None:
    """Have the devices of all processes say something to each other for the first time, of which
    JAX's CPU writes a line of its own to standard output."""
    import jax
    import numpy as np
    from jax.sharding import Mesh

    summed = meshed(lambda x, _: jax.lax.psum(x, "all"), Mesh(np.array(devices), ("all",)))
    with _silence():
        np.asarray(summed(np.ones(len(devices), np.float32), ()))
    if devices[0].platform == "cpu":  # gloo's
        time.sleep(SETTLED)
        machine.let_messages_wait()


@contextmanager
def _silence() -> Iterator[None]:
    """What libraries write to standard output goes nowhere."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    try:
        before = os.dup(1)
    except OSError:  # it is closed
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)
        os.close(nowhere)
