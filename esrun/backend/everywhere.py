"""Programs that every device runs: the only file that knows pmap and how arrays lie on devices.

A program is run by every device at once, each with the whole training state and its own slice of
the population. Arguments and results are replicated (`in_axes=None`, `out_axes=None`), so a result
goes back in as it came out and the second chunk finds the first one's program.
"""

import threading
from collections.abc import Callable
from typing import Any

from esrun.backend import among, traces
from esrun.backend.deferred import deferred
from esrun.backend.devices import AXIS


class OnEvery:
    """`function`, compiled for `devices`: each runs the whole of it on the same arguments.

    Inside it `number` and `gather` tell the devices apart. All results must be the same on every
    device. One process maps with pmap; several share a mesh, with the same bits.
    """

    def __init__(
        self, devices: tuple, function: Callable, mesh: bool | None = None, name: str = ""
    ):
        """Nothing is compiled before it is needed. `mesh`: None takes what the number of processes
        asks for. `name`: all that the function depends on, under which its trace is kept from
        process to process; none where it is not to be."""
        import jax
        import numpy as np

        def program(_, arguments):
            return function(*arguments)

        self._numbers = np.arange(len(devices))  # pmap asks for one argument that is mapped
        if among.several() if mesh is None else mesh:
            self._mapped = among.meshed(program, _mesh(devices))
        else:
            self._mapped = jax.pmap(
                program, axis_name=AXIS, devices=devices, in_axes=(0, None), out_axes=None
            )
        self._devices, self._name = devices, name
        self._kept, self._lock = {}, threading.Lock()

    def __call__(self, *arguments) -> Any:
        """Run it."""
        if self._kept and (trace := self._kept.get(_signature(arguments))):
            return trace.program(*arguments)
        return self._plain(*arguments)

    def _plain(self, *arguments):
        return self._mapped(self._numbers, arguments)

    def lowered(self, *arguments):
        """-> the lowered function, for arrays or shapes; its `compile()` saves the first such call
        from compiling."""
        # JAX looks for LAPACK in a module of scipy.linalg, of which all else would be loaded too
        with deferred("scipy.linalg"):
            if trace := self._trace(arguments):
                return trace.program.lower(*arguments)
            return self._mapped.lower(self._numbers, arguments)

    def results(self, *arguments) -> Any:
        """-> the shapes of its results, for arrays or shapes."""
        import jax

        if trace := self._trace(arguments):
            return trace.results
        return jax.eval_shape(self._plain, *arguments)

    def _trace(self, arguments: tuple) -> traces.Trace | None:
        """-> the kept trace for such arguments, made if there is none; None where none is kept."""
        import jax

        if not self._name or among.several():
            return None
        signature = _signature(arguments)
        with self._lock:  # runs side by side share the program
            if signature not in self._kept:
                everywhere = _everywhere(self._devices)
                alone = jax.jit(self._plain, in_shardings=everywhere, out_shardings=everywhere)
                self._kept[signature] = traces.kept(self._name, alone, arguments, everywhere)
            return self._kept[signature]


def _signature(arguments: tuple) -> tuple:
    """-> what a program is traced for."""
    import jax

    leaves, tree = jax.tree.flatten(arguments)
    return tree, tuple((x.shape, x.dtype) for x in leaves)


def _mesh(devices: tuple):
    import numpy as np
    from jax.sharding import Mesh

    return Mesh(np.array(devices), (AXIS,))


def replicated(devices: tuple, tree):
    """-> the same tree on every device, lying as the results of a program lie."""
    import jax

    if among.several():
        return among.everywhere(tree, _everywhere(devices))
    return jax.device_put(tree, _everywhere(devices))


def _everywhere(devices: tuple):
    from jax.sharding import NamedSharding, PartitionSpec

    return NamedSharding(_mesh(devices), PartitionSpec())


def shapes(devices: tuple, tree):
    """-> the shapes of a tree of a program's results, with how they lie."""
    import jax

    everywhere = _everywhere(devices)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere), tree)
