"""Devices: which there are, how JAX is started for them, and what they tell each other inside of a
program that runs on each of them (see `esrun.backend.everywhere`)."""

import functools
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from esrun.backend import among, hosts
from esrun.backend.machine import cores
from esrun.errors import ConfigError, complain, first_line, printable

AXIS = "devices"
DETERMINISTIC = "--xla_gpu_deterministic_ops"


def may_have_accelerator() -> bool:
    """Whether JAX could find anything but the CPU: false where no plug-in is installed or
    JAX_PLATFORMS says cpu."""
    return (
        os.environ.get("JAX_PLATFORMS", "") != "cpu"
        and importlib.util.find_spec("jax_plugins") is not None
    )


def announce() -> None:
    """Say what JAX is to find when it starts, for whatever imports it before `start`: modules that
    make an array as they are imported start it (gymnax does)."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(cores()))


def start(precision: str, deterministic: bool) -> None:
    """Set up JAX; called before its first import (what can only be set then stays as the first call
    set it).

    On a CPU host JAX sees one device per core: XLA:CPU runs the small kernels of a rollout on one
    thread each. OpenBLAS is kept to one thread, since two devices in LAPACK at once fight over its
    threads. Raises ConfigError where JAX cannot be started with the variables of this environment.
    """
    ours = ("JAX_", "XLA_", "CUDA_VISIBLE")
    given = [f"{name}={x}" for name, x in sorted(os.environ.items()) if name.startswith(ours)]
    announce()
    flags = os.environ.get("XLA_FLAGS", "")
    lacks_flag = deterministic and DETERMINISTIC not in flags
    if lacks_flag:
        os.environ["XLA_FLAGS"] = f"{flags} {DETERMINISTIC}=true".strip()
    try:
        import jax

        wanted = int(os.environ["JAX_NUM_CPU_DEVICES"])
        if _started():
            _say_what_came_too_late(wanted, lacks_flag)
        elif hosts.here is not None or not jax.distributed.is_initialized():
            jax.config.update("jax_num_cpu_devices", wanted)
        jax.config.update("jax_enable_x64", precision == "float64")
        all_local()
        among.settle()
    except (ValueError, RuntimeError, AssertionError) as error:
        reason = printable(first_line(error))
        told = printable(f"; the environment says {' '.join(given)}") if given else ""
        raise ConfigError(f"JAX cannot start here: {reason}{told}") from error


def _say_what_came_too_late(wanted: int, lacks_flag: bool) -> None:
    import jax

    found = len(jax.local_devices())
    if on_cpu() and found < wanted:
        _warn(
            f"JAX was started with {found} of {wanted} devices before esrun could set it up: "
            f"import esrun first, or set JAX_NUM_CPU_DEVICES={wanted}"
        )
    if lacks_flag and not on_cpu():
        _warn(
            "JAX was started before runtime.deterministic=true could be set up, and bits may "
            f"differ from run to run: set XLA_FLAGS={DETERMINISTIC}=true"
        )


@functools.cache
def _warn(line: str) -> None:
    complain(f"warning: {line}")


def _started() -> bool:
    from jax._src import xla_bridge  # there is no public way to ask without starting the backend

    return xla_bridge.backends_are_initialized()


_HERE: ContextVar[tuple | None] = ContextVar("devices of this thread", default=None)
BESIDE: ContextVar[int] = ContextVar("runs that share the main memory, this one too", default=1)


@contextmanager
def within(devices: tuple, runs: int) -> Iterator[None]:
    """Have this thread see these devices alone, as one of so many runs that go on side by side."""
    before = _HERE.set(devices), BESIDE.set(runs)
    try:
        yield
    finally:
        _HERE.reset(before[0])
        BESIDE.reset(before[1])


def all_local() -> tuple:
    """-> every device of this process, or those that this thread is kept to."""
    import jax

    return _HERE.get() or tuple(jax.local_devices())


def found() -> tuple:
    """-> every device that a run could take: of all processes, where several train in step."""
    return all_local() if hosts.here is None else among.all_there()


def choose(requested: int | str, most: int) -> tuple:
    """-> the devices to run on: for "auto" all local ones up to `most`; those of all processes
    where several train in step.

    Raises ValueError when more are requested than there are.
    """
    if hosts.here is not None:
        return among.chosen(most)
    local = all_local()
    if requested == "auto":
        return local[:most]
    if int(requested) > len(local):
        raise ValueError(
            f"runtime.devices must be at most {len(local)}, the devices that JAX sees here "
            f"({local[0].platform}), got {requested}: write runtime.devices=auto"
        )
    return local[: int(requested)]


def names(devices: tuple) -> list[str]:
    """-> "cpu:0" and so on, of several processes "1/cpu:0"."""
    return [among.name(device) for device in devices]


def on_cpu(devices: tuple | None = None) -> bool:
    """Whether these devices, or those that JAX computes on by itself, are processors."""
    import jax

    return (devices[0].platform if devices else jax.default_backend()) == "cpu"


def number():
    """-> [] int32, which of the devices this is."""
    import jax

    return jax.lax.axis_index(AXIS)


def gather(tree):
    """-> every leaf [size, ...] on every device as [devices * size, ...], the same everywhere, in
    the order of the devices."""
    import jax

    if among.several():
        return among.gathered(tree, AXIS)
    return jax.tree.map(lambda x: jax.lax.all_gather(x, AXIS, tiled=True), tree)


def total(tree):
    """-> the sum over devices of every leaf, the same everywhere, added in an order of JAX's."""
    import jax

    # not gathered and added: XLA would fuse that sum with what it is used for, and round otherwise
    summed = functools.partial(jax.lax.psum, axis_name=AXIS)
    return among.packed(summed, tree) if among.several() else summed(tree)


def in_full_precision():
    """Products in their own type: a GPU would round what it multiplies to tf32's 10 bits."""
    import jax

    return jax.default_matmul_precision("highest")
