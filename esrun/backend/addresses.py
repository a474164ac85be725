"""Where the processes of a run meet: what `runtime.hosts` says, or the system that started them."""

import re
from typing import NamedTuple

from esrun.errors import ConfigError, why

FORM = "ADDRESS:PORT/NUMBER/COUNT"
PATIENCE = 300
"""Seconds that Kubernetes may take to say where process 0 is."""


class Place(NamedTuple):
    """Where to meet, and as which of how many."""

    address: str
    port: int
    number: int
    count: int  # pyright: ignore[reportIncompatibleMethodOverride]

    @property
    def at(self) -> str:
        """-> "ADDRESS:PORT"."""
        return f"{self.address}:{self.port}"


def place_of(text: str) -> Place | None:
    """-> what `runtime.hosts` says, None for auto. Raises ConfigError for anything else."""
    if text == "auto":
        return None
    found = re.fullmatch(r"\[?([^\[\]/\s]+?)\]?:(\d{1,5})/(\d{1,6})/(\d{1,6})", text)
    if not found:
        raise ConfigError(
            f"runtime.hosts must be null, auto or {FORM}, got {text}: write "
            "runtime.hosts=10.0.0.1:4711/0/2 on the first of two machines, and .../1/2 on the other"
        )
    port, number, count = map(int, found.groups()[1:])
    if not 0 < port < 2**16:
        raise ConfigError(f"runtime.hosts={text} must have a port of 1 to 65535, got {port}")
    if not 0 <= number < count:
        raise ConfigError(
            f"runtime.hosts={text} must have a NUMBER from 0 to COUNT - 1, got {number} of {count}"
        )
    return Place(found[1], port, number, count)


def found_place() -> Place:
    """-> where the system that started this process says (Slurm, Open MPI, Kubernetes). Raises
    ConfigError."""
    from jax._src import clusters  # there is no public way to ask without joining

    try:
        address, count, number, _ = clusters.ClusterEnv.auto_detect_unset_distributed_params(
            None, None, None, None, None, PATIENCE
        )
    except Exception as error:  # whatever a system of another kind may do
        raise ConfigError(f"runtime.hosts=auto cannot tell the hosts: {why(error)}") from error
    if address is None or count is None or number is None:
        raise ConfigError(
            "runtime.hosts=auto needs Slurm (srun), Open MPI (mpirun) or Kubernetes, and this "
            f"process was started by none of them: write runtime.hosts={FORM}"
        )
    return Place(*_split(address), number, count)


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
