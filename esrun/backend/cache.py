"""The compile cache: what one run has compiled, later ones read from the user's cache folder.

JAX's persistent cache does the work; this says where and whether. On some machines JAX refuses to
load what it stored (jax#38445), so it is used only where it has been seen to work: a small program
is stored and read back, and the verdict stands for a week. Entries hold machine code, hence a
folder for each kind of machine (a home is often shared by many) that nobody else may write to. None
of it can fail a run: where anything is wrong, programs are compiled as ever.
"""

import hashlib
import os
import random
import time
import warnings
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from esrun import files
from esrun.backend import devices, everywhere
from esrun.backend.machine import is_private, processor

WORKS, FAILS = b"works\n", b"fails\n"
VERDICT_SECONDS = 7 * 86400
"""How long a verdict stands."""


def use() -> None:
    """Have JAX keep what it compiles, unless the user has said where or whether; to be called once
    JAX is set up.

    The user says it to JAX: JAX_COMPILATION_CACHE_DIR=... or JAX_ENABLE_COMPILATION_CACHE=false.
    """
    import jax

    chosen = jax.config.values
    if (
        chosen["jax_compilation_cache_dir"] is not None
        or not chosen["jax_enable_compilation_cache"]
    ):
        return
    with suppress(OSError, RuntimeError):  # no home, not writable, full
        folder = root() / machine()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if is_private(folder) and _is_plain(folder) and _verdict(folder) == WORKS:
            _switch(str(folder))


class State(NamedTuple):
    """What is known of the cache."""

    folder: Path | None
    """Where programs are kept, or would be."""
    says: str
    """Whether they are, and why not."""
    programs: int = 0
    size: int = 0
    """Bytes of all of them."""


def state() -> State:
    """-> what has become of the cache in this process, which is set up if it was not yet."""
    import jax

    use()
    chosen = jax.config.values
    if not chosen["jax_enable_compilation_cache"]:
        return State(None, "switched off: JAX_ENABLE_COMPILATION_CACHE is false")
    given = chosen["jax_compilation_cache_dir"]
    try:
        own = root() / machine()
        place = Path(given) if given else own
        found = place.glob("*-cache")
        sizes = [path.lstat().st_size for path in found if path.is_file()]
        tried = "works" if place == own else "where JAX_COMPILATION_CACHE_DIR says, untried"
        says = tried if given else _why_not(place)
    except (OSError, RuntimeError) as error:
        return State(Path(given) if given else None, f"cannot be used: {error}")
    return State(place, says, len(sizes), sum(sizes))


def _why_not(folder: Path) -> str:
    if not is_private(folder):
        return "not used: others may write to its folder"
    if not _is_plain(folder):
        return "not used: something else than files lies in its folder"
    return "not used: JAX refused here what it had stored itself"


def root() -> Path:
    """-> the folder of all machines' caches. Raises RuntimeError where there is no home."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if os.path.isabs(given) else Path.home() / ".cache") / "esrun"


def machine() -> str:
    """-> a name for what machine code depends on: JAX's version, the kind of processor and of
    device."""
    import jax

    device = jax.local_devices()[0]
    kind = [*processor(), device.platform, device.device_kind, version("jaxlib")]
    digest = hashlib.sha256(repr(kind).encode()).hexdigest()[:12]
    return f"jax-{jax.__version__}-{device.platform}-{digest}"


def _is_plain(folder: Path) -> bool:
    """Whether nothing lies there that reading would wait for, or that leads elsewhere."""
    with os.scandir(folder) as entries:
        return all(
            entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)
            for entry in entries
        )


def _switch(folder: str | None) -> None:
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    compilation_cache.reset_cache()  # or it stays where it was
    jax.config.update("jax_compilation_cache_dir", folder)
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # an entry that cannot be read or written is compiled: no more than a run without a cache would
    # do
    warnings.filterwarnings(
        "ignore", message="Error (reading|writing) persistent compilation cache entry"
    )


def _verdict(folder: Path) -> bytes:
    """-> WORKS or FAILS, found out where there is none or an old one."""
    file = folder / "verdict"
    if file.is_file() and time.time() - file.stat().st_mtime < VERDICT_SECONDS:
        return files.read(file, 64)
    files.write(file, FAILS)  # if trying it ends the process, the next one does without
    _switch(str(folder))
    try:
        verdict = WORKS if _reads_back() else FAILS
    finally:
        _switch(None)
    files.write(file, verdict)
    return verdict


def _reads_back() -> bool:
    """Store a program for all devices and have it read back: whether JAX did that, and the bits are
    the same."""
    import jax
    import numpy as np

    unique = random.random()  # a program that no earlier try has stored
    hits = []

    def hear(event: str, **_) -> None:
        hits.append(event == "/jax/compilation_cache/cache_hits")

    def compiled():  # a new function each time, or JAX would have its program in memory
        return everywhere.OnEvery(
            tuple(jax.local_devices()), lambda x: devices.total(jax.numpy.sin(x + unique) * x)
        )

    x = np.arange(1000, dtype=np.float32)
    stored = np.asarray(compiled()(x))
    jax.monitoring.register_event_listener(hear)
    try:
        read = np.asarray(compiled()(x))
    finally:
        jax.monitoring.unregister_event_listener(hear)
    return any(hits) and np.array_equal(stored, read)
