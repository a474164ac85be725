"""The paths of a run folder: the one place that spells the names of its files."""

import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

CHECKPOINT = re.compile(r"([0-9]{10})-([0-9a-f]{16})\.safetensors")
"""Generation and digest in the name of a checkpoint."""
KEPT = re.compile(r"([1-9][0-9]{0,9})\.safetensors")
"""Generation in the name of a policy that was kept."""
RECORDS = [
    f"{root}/{'*/' * depth}run.json" for root in ("outputs", "multirun") for depth in (1, 2, 3)
]
"""Where runs lie below a working directory: Hydra's folders, and those with names of their own."""


class RunFolder(NamedTuple):
    """Where everything of a run lies."""

    path: Path

    def identity(self) -> tuple[int, int] | None:
        """-> what the system knows the folder by, None if it is gone. It can be moved away while a
        run works in it, and another one be put in its place."""
        with suppress(OSError):
            about = self.path.stat()
            return about.st_dev, about.st_ino
        return None

    @property
    def record(self) -> Path:
        """What ran, and where; what makes a folder a run's."""
        return self.path / "run.json"

    @property
    def summary(self) -> Path:
        """How it ended."""
        return self.path / "summary.json"

    @property
    def metrics(self) -> Path:
        """A line a generation."""
        return self.path / "metrics.jsonl"

    @property
    def log(self) -> Path:
        """What the console showed."""
        return self.path / "esrun.log"

    @property
    def policy(self) -> Path:
        """The trained policy."""
        return self.path / "policy.safetensors"

    @property
    def policy_best(self) -> Path:
        """The mean policy of the generation whose held-out mean was best."""
        return self.path / "policy_best.safetensors"

    @property
    def members_best(self) -> Path:
        """The best members of all generations."""
        return self.path / "members_best.safetensors"

    @property
    def policies(self) -> Path:
        """The folder of the policies that are kept."""
        return self.path / "policies"

    def kept(self, generation: int) -> Path:
        """The mean policy that a generation left."""
        return self.policies / f"{generation}.safetensors"

    @property
    def checkpoints(self) -> Path:
        """The folder of the training states."""
        return self.path / "checkpoints"

    def saved(self) -> int:
        """-> the generation of the newest checkpoint by name, 0 where there is none."""
        return max(self.saved_generations(), default=0)

    def saved_generations(self) -> list[int]:
        """-> the generations of the checkpoints, by name, ascending."""
        return _generations(self.checkpoints, CHECKPOINT)

    def kept_generations(self) -> list[int]:
        """-> the generations whose policies were kept, by name, ascending."""
        return _generations(self.policies, KEPT)

    @property
    def hydra(self) -> Path:
        """The folder of Hydra's own record."""
        return self.path / ".hydra"

    @property
    def lock(self) -> Path:
        """Held by the process that works here."""
        return self.path / ".lock"


def _generations(folder: Path, name: re.Pattern) -> list[int]:
    found = (name.fullmatch(path.name) for path in folder.glob("*.safetensors"))
    return sorted({int(match[1]) for match in found if match})
