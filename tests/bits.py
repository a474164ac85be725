"""What a run computes, as digests: on any number of CPU devices, whatever this machine has.

As a script: the number of devices and overrides as JSON -> the digests for 1 to that many devices.
"""

import hashlib
import json
import os
import sys

GENERATIONS = 4


def digests(build, overrides):
    """-> a digest of every array of the state, the metrics and the held-out returns, by name."""
    import jax
    import numpy as np

    from esrun.training.stop import stop_at

    run, seed = build(*overrides), np.uint32(3)
    state = run.program.init(run.hyper, seed)
    state, rows, *_ = run.program.advance(run.hyper, seed, state, stop_at(run.config, GENERATIONS))
    state, returns, measures = run.program.evaluate(run.hyper, seed, state)
    leaves = jax.tree.leaves_with_path((state, rows, returns, measures))
    return {
        jax.tree_util.keystr(path): hashlib.sha256(np.asarray(x).tobytes()).hexdigest()[:16]
        for path, x in leaves
    }


def main(most, overrides):
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
    os.environ["JAX_NUM_CPU_DEVICES"] = str(most)
    from esrun.backend import devices

    devices.cores = lambda: most
    from esrun.config.check import checked
    from esrun.config.compose import composed
    from esrun.training.build import build

    def built(*words):
        return build(checked(composed(list(words)).config))

    for count in range(1, most + 1):
        print(json.dumps(digests(built, [*overrides, f"runtime.devices={count}"])), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]))
