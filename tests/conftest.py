"""JAX as the tests need it, set up before anything imports it: two CPU devices, one OpenBLAS thread."""

import os
import subprocess
import sys

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "JAX_NUM_CPU_DEVICES": "2"}
os.environ.setdefault("JAX_PLATFORMS", "cpu")  # what needs two devices fails elsewhere
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"  # what is not the cache's own test neither reads nor writes one

import jax
import pytest

from esrun.compose import composed
from esrun.config import build, checked

jax.devices()  # from here on the number of devices stays, whatever this machine has


@pytest.fixture
def built():
    """-> (overrides) -> the run that `esrun *overrides` would train; JAX has its precision until the test ends."""
    yield lambda *overrides: build(checked(composed(list(overrides))[0]))
    jax.config.update("jax_enable_x64", False)


@pytest.fixture
def keys():
    """-> (n, seed=0) -> [n] episode keys."""
    return lambda n, seed=0: jax.random.split(jax.random.key(seed), n)


@pytest.fixture
def quick_to_compile():
    """A few steps are not worth an optimiser's time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="session")
def command():
    """-> (arguments) -> the finished command, which must have done what it was asked."""

    def run(*arguments):
        return subprocess.run([sys.executable, "-m", "esrun", *arguments], check=True, capture_output=True, text=True)

    return run
