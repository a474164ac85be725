"""JAX as the tests need it, set up before anything imports it: two CPU devices, one OpenBLAS thread."""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax

jax.config.update("jax_num_cpu_devices", 2)
jax.devices()  # from here on the number of devices stays, whatever this machine has

import pytest

from esrun.config import build, checked, composed


@pytest.fixture
def built():
    """-> (overrides) -> the run that the command line `esrun *overrides` would train."""
    return lambda *overrides: build(checked(composed(list(overrides))[0]))


@pytest.fixture
def keys():
    """-> (n, seed=0) -> [n] episode keys."""
    return lambda n, seed=0: jax.random.split(jax.random.key(seed), n)
