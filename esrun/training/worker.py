"""A worker of a run: evaluates blocks that it is handed, and follows the run by being told what all
blocks have seen.

It is a process of its own, which is given bytes and answers with bytes. JAX is imported when there
is something to be prepared, behind what the environment says.
"""

import json
import os
from typing import TYPE_CHECKING

from esrun.errors import ConfigError, first_line

if TYPE_CHECKING:
    from esrun.training.follower import Follower


class Worker:
    """What is asked of one of them."""

    def __init__(self, environment: dict[str, str]):
        """`environment`: variables that JAX is started with."""
        os.environ.update(environment)
        self._follower: Follower | None = None

    def prepare(self, order: bytes) -> bytes:
        """Build and compile what an `order` says (see `hiring.Order`) -> JSON: what this worker is
        (`follower.about`), or why it cannot be one (`refused`)."""
        try:
            from esrun.training.follower import Follower

            self._follower = Follower(json.loads(order))
            return json.dumps(self._follower.about).encode()
        except ConfigError as error:
            return json.dumps({"refused": str(error)}).encode()
        except Exception as error:
            return json.dumps({"refused": f"{type(error).__name__}: {first_line(error)}"}).encode()

    def work(self, question: bytes, *contents: bytes) -> bytes:
        """Go to where the run is, by the `contents`, and evaluate blocks -> what they told (see
        `Follower.work`). Raises RuntimeError, of plain words, where it fails."""
        try:
            assert self._follower is not None, "a worker must be prepared first"
            return self._follower.work(json.loads(question), contents)
        except Exception as error:
            raise RuntimeError(f"{type(error).__name__}: {first_line(error)}") from None
