"""The policies that a run keeps besides its training state: those of the generations that were
asked for, and the best by its held-out score."""

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from esrun import files
from esrun.header import LARGEST, read_header
from esrun.runs.checkpoint_writer import SHARE
from esrun.runs.paths import RunFolder
from esrun.runs.policy import describe, packed_mean
from esrun.training.build import Run
from esrun.training.loop import Progress
from esrun.training.pace import is_kept
from esrun.types import TrainState


class Keeper:
    """Writes the policies of one run; a context manager. While the disk refuses, they wait in
    memory; so does the best one where there was another just now."""

    def __init__(
        self,
        folder: RunFolder,
        run: Run,
        written: dict,
        say: Callable[[str], None],
        check: Callable[[], None],
        began: int,
    ):
        """`written` is the configuration as it may be written, `began` the generation after which
        the run goes on, 0 for a new one. `say` is told of what cannot be kept; `check` raises where
        the folder is another one by now."""
        self._folder, self._config, self._say, self._check = folder, run.config, say, check
        self._parts = run.parts
        self._about = describe(written, self._parts)
        self._best = best_score(folder.policy_best, self._about) if began else -math.inf
        self._waiting: dict[Path, tuple[int, bytes]] = {}
        self._refused, self._next = False, -math.inf
        self._lock = threading.Lock()  # `sync` comes from the thread that writes checkpoints
        asked = sorted({*run.config.checkpoint.keep_at})
        gone = [str(at) for at in asked if at <= began and not folder.kept(at).exists()]
        if gone:
            say(
                f"checkpoint.keep_at: generation {' '.join(gone[:5])} is past and was not kept; "
                "only a new run can keep it"
            )

    def __enter__(self):
        """-> itself."""
        return self

    def __exit__(self, *error):
        """Write what waits; the folder may be another one by now."""
        with suppress(OSError), self._lock:
            self._write_all()

    def keep(self, state: TrainState, progress: Progress) -> None:
        """Write what is to be kept of the `state` that a chunk has left."""
        generation, score = progress.generation, progress.score
        with self._lock:
            if is_kept(self._config, generation):
                self._submit(self._folder.kept(generation), state, generation)
            if score and score.generation == generation and score.mean > self._best:
                self._best = score.mean
                self._submit(self._folder.policy_best, state, generation, eval_mean=score.mean)
            if self._waiting.keys() - {self._folder.policy_best} or time.monotonic() > self._next:
                self._write_all()

    def sync(self, generation: int) -> None:
        """Write what waits. Raises OSError where a policy of the first generations is not on the
        disk: a checkpoint must not be ahead of it."""
        with self._lock:
            if any(of <= generation for of, _ in self._waiting.values()):
                self._write_all()
            late = [path.name for path, (of, _) in self._waiting.items() if of <= generation]
        if late:
            raise OSError(f"{', '.join(late)} could not be written")

    def _submit(self, path: Path, state: TrainState, generation: int, **more: float) -> None:
        about = self._about | {"generation": generation} | more
        self._waiting[path] = (generation, packed_mean(state, self._parts, about))

    def _write_all(self) -> None:
        if not self._waiting:
            return
        self._check()
        began = time.monotonic()
        self._write()
        ended = time.monotonic()
        self._next = ended + (ended - began) / SHARE

    def _write(self) -> None:
        try:
            for path, (_, content) in [*self._waiting.items()]:
                if path.parent == self._folder.policies:
                    files.make_folder(path.parent)
                files.write(path, content)
                del self._waiting[path]
            self._refused = False
        except OSError as error:
            if not self._refused:
                self._say(f"policies wait in memory: {error}")
            self._refused = True


def best_score(path: Path, about: dict) -> float:
    """-> the held-out mean of the policy in `policy_best.safetensors`, -inf where there is none, or
    none of what the run is `about`."""
    try:
        found = read_header(files.read(path, LARGEST), "policy")
        return float(found["eval_mean"]) if found | files.plain(about) == found else -math.inf
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return -math.inf
