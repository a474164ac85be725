"""Traces: what Python makes of a program, kept beside what XLA makes of it.

To trace a program and lower it takes Python ten times as long as to load what it was compiled to.
So the lowered program, which knows neither machine code nor numbers, is kept by `jax.export` next
to JAX's compile cache, and read instead of being made where all that could change it is as it was:
its name (the structure of the run), the shapes of its arguments, the devices, JAX's settings, the
versions, Python's path, and the file of every module that was there when it was traced: the same
one, by size and times, as Python tells whether its own compiled files are current. What could be
changed otherwise is traced: in a process that is not the command's, with modules of the user's own,
and where a package reads files. None of it can fail a run.
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
"""Bytes that a kept trace may have, compressed and not."""
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

    file = found = None
    with suppress(Exception):  # whatever is wrong with a file, the program is traced
        if name and (folder := _folder()) is not None:
            file = folder / _key(name, arguments, sharding)
            found = _read(file)
    if file is not None and found is None:
        with suppress(Exception):  # what cannot be exported is compiled as ever
            found = jax.export.export(function)(*arguments)
            _write(file, found)
    if found is None:
        return None
    call, shapes = found.call, [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in found.out_avals]

    def traced(*arguments):
        return call(*arguments)

    traced.__name__ = name.partition(" ")[0]  # what a profile and JAX's log call it
    return Trace(
        jax.jit(traced, in_shardings=sharding, out_shardings=sharding),
        jax.tree.unflatten(found.out_tree, shapes),
    )


def _folder() -> Path | None:
    """-> where traces are kept: beside what JAX compiles; None where they are not."""
    import jax

    chosen = jax.config.values
    place = chosen["jax_compilation_cache_dir"]
    if place is None or not chosen["jax_enable_compilation_cache"]:
        return None
    if not _allowed_since or any(chosen.get(key) for key in WATCHED):
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
        _surroundings(),
    ]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]


@functools.cache
def _surroundings() -> list[str]:
    """-> versions, and where modules are looked for."""
    from importlib.metadata import version

    import esrun

    others = map(version, ("jax", "jaxlib", "dm-haiku"))
    return [sys.version, esrun.__version__, *others, *sys.path]


def _read(file: Path) -> Any | None:
    """-> the exported program that a file holds, None where there is none that is current."""
    import jax

    try:
        content = zlib.decompressobj().decompress(files.read(file, LIMIT), LIMIT)
    except FileNotFoundError:
        return None
    header, _, blob = content.partition(b"\n")
    said = json.loads(header)
    if said["digest"] != hashlib.sha256(blob).hexdigest() or not _are_current(said["files"]):
        return None
    if not all(map(_is_known, said["nodes"])):
        return None
    for node in said["nodes"]:
        _register(resolve_name(node), node)
    return jax.export.deserialize(bytearray(blob))


def _write(file: Path, exported: Any) -> None:
    """Keep an exported program, unless a file may have changed since it was imported."""
    found = {name: [path, *(_state(path) or ())] for name, path in _sources().items()}
    if any(len(x) == 1 or max(x[2:]) > _allowed_since[0] for x in found.values()):
        return
    nodes = {*_nodes(exported.in_tree), *_nodes(exported.out_tree)}
    named = {f"{x.__module__}:{x.__qualname__}": x for x in nodes}
    if not all(map(_is_known, named)):
        return
    for name, node in named.items():
        _register(node, name)
    blob = bytes(exported.serialize())
    said = {"files": found, "nodes": sorted(named), "digest": hashlib.sha256(blob).hexdigest()}
    content = json.dumps(said).encode() + b"\n" + blob
    if len(content) <= LIMIT:
        files.write(file, zlib.compress(content, 1), flush=False)


def _are_current(known: dict[str, list]) -> bool:
    """Whether modules have the files that they had, and those that are loaded here are of them.
    Modules that the other process did not have change nothing of what it traced."""
    here = _sources()
    return all(
        here.get(name, path) == path and _is_still(path, tuple(state))
        for name, (path, *state) in known.items()
    )


def _sources() -> dict[str, str]:
    """-> the files of all modules that are there but the command's own, by their names."""
    found = {}
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__dict__", {}).get("__file__")  # a module may load when it is asked
        if isinstance(path, str) and name != "__main__":
            found[name] = os.path.abspath(path)
    return found


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
