"""Where workers come from and how bytes reach them: what a crew asks of Ray, or of what has its
place."""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol


class Order(NamedTuple):
    """What workers are to be prepared for."""

    config: dict[str, Any]
    least: int | None
    """As in `build`."""
    imports: list[str]
    """Modules of the user's own that the command line has named."""

    @property
    def content(self) -> bytes:
        """-> as it is sent."""
        return json.dumps(self._asdict(), sort_keys=True).encode()


class Heard(NamedTuple):
    """An answer, or that there is none."""

    who: int
    content: bytes | None
    """None where the worker is gone, or has failed."""
    why: str = ""


class Hiring(Protocol):
    """Where workers come from."""

    say: Callable[[str], Any]

    def hire(self, on_cpu: bool, refused: int) -> list[int]:
        """-> workers that were begun now, so that there are as many as are wanted but for so many
        that were refused."""
        ...

    def ask(self, who: int, method: str, contents: Sequence[Any]) -> None:
        """Ask a worker, which is not at another question, for a method of `Worker`."""
        ...

    def hear(self, seconds: float) -> list[Heard]:
        """-> the answers that have come, and who is gone; waits at most so long for the first."""
        ...

    def share(self, content: bytes) -> Any:
        """-> what `ask` takes in the place of bytes that several will be sent."""
        ...

    def dismiss(self, who: int) -> None:
        """End a worker."""
        ...


class Later:
    """Bytes that are made, and shared, when the first one is sent them."""

    def __init__(self, make: Callable[[], bytes], share: Callable[[bytes], Any]):
        """`share` as in `Hiring`."""
        self._make, self._share = make, share
        self._shared: Any = None

    def __call__(self) -> Any:
        """-> what is sent."""
        if self._shared is None:
            self._shared = self._share(self._make())
        return self._shared
