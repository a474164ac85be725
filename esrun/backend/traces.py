"""Traces: what Python makes of a program, kept beside what XLA makes of it.

To trace a program and lower it takes Python ten times as long as to load what it was compiled to.
So the lowered program, which knows neither machine code nor numbers, is kept by `jax.export` next
to JAX's compile cache, and read instead of being made where all that could change it is as it was:
its name (the structure of the run), the shapes of its arguments, the devices, JAX's settings, the
versions, and every file of every module that was there when it was traced and every one that was
read for it, by size and times, as Python tells whether its own compiled files are current. What
could be changed otherwise is traced: in a process that is not the command's, or that has modules of
the user's own. None of it can fail a run.
"""

import functools
import hashlib
import json
import os
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple

from esrun import files
from esrun.backend.machine import is_private

LIMIT = 2**28
"""Bytes that a kept trace may have."""
WATCHED = ("jax_disable_jit", "jax_debug_nans", "jax_debug_infs", "jax_check_tracer_leaks")
"""Settings of JAX that look into what is traced."""

_allowed_since: list[int] = []
_registered: set[type] = set()


def allow() -> None:
    """Have this process keep and read traces: it is a command's, from its beginning to its end."""
    _allowed_since[:] = [time.time_ns()]


class Trace(NamedTuple):
    """A traced program."""

    program: Any
    """A jitted function, which is not traced again."""
    results: Any
    """The shapes of its results."""


def kept(name: str, function: Any, arguments: tuple, sharding: Any) -> Trace | None:
    """-> the trace of `function`, jitted, for such arguments (arrays or shapes), read or made and
    kept; None where it cannot be. `sharding`: of all arguments and results."""
    import jax
    import jax.export

    folder = _folder()
    if folder is None or not name:
        return None
    file = folder / _key(name, arguments, sharding)
    found = None
    with suppress(Exception):  # whatever is wrong with a file, the program is traced
        found = _read(file)
    if found is None:
        with suppress(Exception):  # what cannot be exported is compiled as ever
            with files.noted() as read:
                found = jax.export.export(function)(*arguments)
            _write(file, found, read)
    if found is None:
        return None
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in found.out_avals]
    return Trace(
        jax.jit(found.call, in_shardings=sharding, out_shardings=sharding),
        jax.tree.unflatten(found.out_tree, shapes),
    )


def _folder() -> Path | None:
    """-> where traces are kept: beside what JAX compiles; None where they are not."""
    import jax

    chosen, main = jax.config.values, sys.modules.get("__main__")
    place = chosen["jax_compilation_cache_dir"]
    if place is None or not chosen["jax_enable_compilation_cache"]:
        return None
    if not _allowed_since or getattr(main, "__file__", None) is None:
        return None
    if any(chosen.get(key) for key in WATCHED):
        return None
    folder = Path(place) / "traces"
    with suppress(OSError):
        folder.mkdir(exist_ok=True, mode=0o700)
        if is_private(folder.parent) and is_private(folder):
            return folder
    return None


def _key(name: str, arguments: tuple, sharding: Any) -> str:
    """-> the name of the file of a program, in which no file's state takes part."""
    import jax

    leaves, tree = jax.tree.flatten(arguments)
    said = [
        name,
        str(tree),
        [str(jax.typeof(x)) for x in leaves],
        [str(x) for x in sharding.mesh.devices.flat],
        sorted((key, repr(x)) for key, x in jax.config.values.items() if "cache" not in key),
        _versions(),
    ]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]


@functools.cache
def _versions() -> list[str]:
    from importlib.metadata import version

    own = [version(name) for name in ("esrun", "jax", "jaxlib", "dm-haiku")]
    return [sys.version, *own]


def _read(file: Path) -> Any | None:
    """-> the exported program that a file holds, None where there is none that is current."""
    import jax

    try:
        content = zlib.decompress(files.read(file, LIMIT))
    except FileNotFoundError:
        return None
    header, _, blob = content.partition(b"\n")
    said = json.loads(header)
    if said["where"] not in (None, str(files.STARTED_IN)):
        return None
    if not all(_is_still(path, tuple(state)) for path, state in said["files"].items()):
        return None
    if not all(map(_is_known, said["nodes"])):
        return None
    for node in said["nodes"]:
        _register(resolve_name(node), node)
    return jax.export.deserialize(bytearray(blob))


def _write(file: Path, exported: Any, read: list[Path]) -> None:
    """Keep an exported program, unless a file may have changed since it was imported. `read`: the
    files whose content may be in it."""
    found = {path: _state(path) for path in [*_sources(), *(str(x.absolute()) for x in read)]}
    if any(state is None or max(state[1:]) > _allowed_since[0] for state in found.values()):
        return
    nodes = {*_nodes(exported.in_tree), *_nodes(exported.out_tree)}
    named = {f"{x.__module__}:{x.__qualname__}": x for x in nodes}
    if not all(map(_is_known, named)):
        return
    for name, node in named.items():
        _register(node, name)
    where = str(files.STARTED_IN) if read else None  # their names may be relative ones
    header = json.dumps({"files": found, "nodes": sorted(named), "where": where}).encode()
    files.write(file, zlib.compress(header + b"\n" + bytes(exported.serialize()), 1), flush=False)


def _sources() -> Iterator[str]:
    """The files of all modules that are there."""
    for module in list(sys.modules.values()):
        path = getattr(module, "__dict__", {}).get("__file__")  # a module may load when it is asked
        if isinstance(path, str):
            yield path


def _state(path: str) -> list[int] | None:
    """-> [bytes, nanoseconds of its last change, of its last change of any kind] of a file."""
    try:
        about = os.stat(path)
    except OSError:
        return None
    return [about.st_size, about.st_mtime_ns, about.st_ctime_ns]


@functools.cache  # what was imported stays as it was, and all programs have the same files
def _is_still(path: str, state: tuple[int, ...]) -> bool:
    return _state(path) == [*state]


def _nodes(tree: Any) -> Iterator[type]:
    """The types of a structure's nodes but Python's own."""
    data = tree.node_data()
    if data is not None and data[0] not in (tuple, list, dict, type(None)):
        yield data[0]
    for child in tree.children():
        yield from _nodes(child)


def _is_known(name: str) -> bool:
    """Whether a type, "MODULE:NAME", is esrun's or optax's: nothing else is looked up."""
    return name.partition(":")[0].partition(".")[0] in ("esrun", "optax")


def _register(node: type, name: str) -> None:
    """Have JAX write and read a type by its name: a named tuple, or a class that says how its fixed
    fields are `written` and `read`."""
    import jax

    if node in _registered:
        return
    if hasattr(node, "_fields"):
        jax.export.register_namedtuple_serialization(node, serialized_name=name)
    else:
        jax.export.register_pytree_node_serialization(
            node,
            serialized_name=name,
            serialize_auxdata=node.written,
            deserialize_auxdata=node.read,
        )
    _registered.add(node)
