"""Memory: what a traced function will hold, what a machine has, what a process has held.

The prediction walks a jaxpr as a compiler would: products, sorts, reductions and loops hold their results, what stands
between them is fused into its only reader and is never held. A value is freed after its last reader. There is no table
of strategies or tasks, and nothing is compiled.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, Var

SAME_BYTES = {"reshape", "squeeze", "expand_dims", "copy", "stop_gradient", "bitcast_convert_type", "random_wrap",
              "random_unwrap", "pvary"}  # fmt: skip
"""Operations that only call the same bytes by another name."""

HELD = ("dot_general", "conv_general", "sort", "top_k", "reduce", "arg", "cum", "scatter", "dynamic_update", "while",
        "scan", "cond", "all_gather", "psum", "eigh", "eig", "cholesky", "lu", "qr", "householder", "svd", "triangular",
        "custom", "ffi", "optimization_barrier", "fft", "tridiagonal", "schur", "pure_callback", "rng_bit",
        "random_bits", "random_split", "threefry")  # fmt: skip
"""Beginnings of the names of operations whose result is held; all others are fused where they have one reader."""

FREE = {"iota", "broadcast_in_dim", "axis_index"}
"""Operations whose result every reader makes for itself."""

DEAR = ("exp", "log", "pow", "sqrt", "rsqrt", "cbrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh",
        "div", "rem", "erf", "lgamma", "digamma", "bessel", "concatenate", "stack", "gather")  # fmt: skip
"""Beginnings of the names of operations that are not done twice for two readers."""

FUSING = ("reduce", "arg", "dynamic_update")
"""Beginnings of those among them into which what they read may be fused."""

IN_PLACE = ("while", "scan", "dynamic_update_slice", "psum", "optimization_barrier")
"""Those among them whose result may take the place of what they read."""


@dataclass(eq=False)
class Value:
    """An array while a function runs."""

    nbytes: int


class Step(NamedTuple):
    """One operation on values; those of a called function stand in the place of the call."""

    name: str
    reads: tuple[Value, ...]
    writes: tuple[Value, ...]
    params: dict[str, Any]


def peak(closed: ClosedJaxpr) -> int:
    """-> bytes that the function holds at its worst moment, arguments left out, results and constants included."""
    return sum(map(nbytes, closed.consts)) + _peak(closed.jaxpr, ())


def _peak(jaxpr: Jaxpr, own: Sequence[Var]) -> int:
    """-> bytes held at the worst moment. Of the arguments only `own` count, until their last reader."""
    values = {v: Value(nbytes(v) if v in own else 0) for v in (*jaxpr.invars, *jaxpr.constvars)}
    steps = list(_steps(jaxpr, values))
    results = {values[v] for v in jaxpr.outvars if isinstance(v, Var)}
    readers: dict[Value, list[Step]] = {}
    for step in steps:
        for x in set(step.reads):
            readers.setdefault(x, []).append(step)

    behind: dict[Value, tuple[Value, ...]] = {}  # a value that is not held -> what is held, so that it can be read
    copied: dict[Value, tuple[Value, ...]] = {}  # the same of values that are held, though not for readers that fuse

    def sources(step):
        known = behind | copied if _fuses(step) else behind
        return tuple(dict.fromkeys(y for x in step.reads for y in known.get(x, (x,))))

    held = []
    for step in steps:
        first, reads = step.writes[0], sources(step)
        fusing = [_fuses(reader) for reader in readers.get(first, [])]
        arithmetic = not step.name.startswith(HELD)
        free = step.name in FREE and all(fusing)
        if free or (first not in results and arithmetic and len(fusing) <= 1 and all(fusing)):
            behind[first] = reads
            continue
        if any(fusing) and not all(fusing) and arithmetic and not step.name.startswith(DEAR):
            copied[first] = reads
        held.append(step._replace(reads=reads))

    last = {x: -1 for x in values.values()}
    for i, step in enumerate(held):
        last |= dict.fromkeys((*step.reads, *step.writes), i)
    last |= dict.fromkeys((y for x in results for y in behind.get(x, (x,))), len(held))

    total = worst = sum(values[v].nbytes for v in own)
    for i, step in enumerate(held):
        freed = sum(x.nbytes for x in step.reads if last[x] == i)
        made = sum(x.nbytes for x in step.writes)
        in_place = step.name in IN_PLACE or not step.name.startswith(HELD)
        worst = max(worst, total + made + _inside(step) - (freed if in_place else 0))
        total += made - freed - sum(x.nbytes for x in step.writes if last[x] == i)
    return worst


def _fuses(step: Step) -> bool:
    """Whether a step makes what it reads by itself, where that can be done."""
    return not step.name.startswith(HELD) or step.name.startswith(FUSING)


def _inside(step: Step) -> int:
    """-> bytes that a step holds besides its operands and results."""
    if step.name == "cond":
        return max(_peak(branch.jaxpr, ()) for branch in step.params["branches"])
    if step.name == "while":
        body = step.params["body_jaxpr"].jaxpr
        own = carry = body.invars[step.params["body_nconsts"] :]
    elif step.name == "scan":
        body = step.params["jaxpr"].jaxpr
        own = body.invars[step.params["num_consts"] :]
        carry = own[: step.params["num_carry"]]
    else:
        return 0
    return max(0, _peak(body, own) - sum(map(nbytes, carry)))


def _steps(jaxpr: Jaxpr, values: dict[Var, Value]) -> Iterator[Step]:
    """-> the operations in order. `values` has the arguments' and gets every variable's."""
    for equation in jaxpr.eqns:
        inner = _called(equation)
        if inner is None:
            values |= {v: Value(nbytes(v)) for v in equation.outvars}
            reads = tuple(values[v] for v in equation.invars if isinstance(v, Var))
            if equation.primitive.name in SAME_BYTES and reads:
                values[equation.outvars[0]] = reads[0]
                continue
            writes = tuple(values[v] for v in equation.outvars)
            if equation.primitive.name == "split":
                yield from (Step("slice", reads, (write,), {}) for write in writes)
            else:
                yield Step(equation.primitive.name, reads, writes, equation.params)
            continue
        pairs = zip(equation.invars, inner.invars, strict=True)
        within = {v: values[given] if isinstance(given, Var) else Value(0) for given, v in pairs}
        within |= {v: Value(nbytes(v)) for v in inner.constvars}
        yield from _steps(inner, within)
        for v, result in zip(equation.outvars, inner.outvars, strict=True):
            values[v] = within[result] if isinstance(result, Var) else Value(nbytes(v))


def _called(equation) -> Jaxpr | None:
    """-> the function that an equation does nothing but call."""
    if equation.primitive.name in ("while", "scan", "cond"):
        return None
    found = (equation.params.get(key) for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"))
    inner = next((x for x in found if isinstance(x, (Jaxpr, ClosedJaxpr))), None)
    return inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner


def nbytes(x: Any) -> int:
    """-> the bytes of an array, a shape or a variable of a jaxpr."""
    aval = getattr(x, "aval", x)
    size = 1
    for length in getattr(aval, "shape", ()):
        size *= length
    return size * getattr(getattr(aval, "dtype", None), "itemsize", 4)


def tree_bytes(tree: Any) -> int:
    """-> the bytes of all leaves."""
    return sum(map(nbytes, jax.tree.leaves(tree)))


# ---- the machine -----------------------------------------------------------------------------------------------------


def of_each(devices: tuple) -> int | None:
    """-> the bytes that one of the devices may hold, None if nobody knows. Devices of a CPU share the machine's.

    It does not depend on what else is running, so that a run that is resumed plans as it did.
    """
    if devices[0].platform == "cpu":
        whole = machine()
        return whole and whole // len(devices)
    return min(((device.memory_stats() or {}).get("bytes_limit", 0) for device in devices), default=0) or None


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
    """-> bytes of main memory, or what the process's control group allows of it."""
    try:
        whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
    return min([whole, *_limits()])


def available() -> int | None:
    """-> bytes of main memory that could be taken without pushing others out."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return machine()
    return min([free, *_limits()])


def _limits(root: Path = Path("/sys/fs/cgroup"), member: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """-> the limits of the process's control group (version 2) and of those above it."""
    with contextlib.suppress(OSError):
        group = member.read_text().strip().rpartition("::/")[2]
        for folder in (root / group, *(root / group).parents):
            limit = folder / "memory.max"
            if limit.is_file() and (text := limit.read_text().strip()).isdigit():
                yield int(text)


def resident() -> int:
    """-> bytes of main memory that the process holds; where that cannot be asked, the most it ever held."""
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
    """-> the most bytes that were held: by one accelerator, or on a CPU by the process beyond the `before` bytes."""
    if devices[0].platform == "cpu":
        return max(0, most_resident() - before) or None
    return max((device.memory_stats() or {}).get("peak_bytes_in_use", 0) for device in devices) or None


def shown(nbytes: float) -> str:
    """-> "1.4 GiB"."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if nbytes < 1000 or unit == "TiB":
            break
        nbytes /= 1024
    return f"{nbytes:.3g} {unit}"
