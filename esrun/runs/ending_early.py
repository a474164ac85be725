"""A run that is ended before it trains: what is left of it then. JAX may not be there yet."""

import time
from contextlib import suppress
from typing import Any

from esrun import files
from esrun.errors import SAVED
from esrun.runs.folder import going_on
from esrun.runs.opening import Order, names_in, write_record
from esrun.runs.paths import RunFolder
from esrun.runs.process_signals import end
from esrun.runs.record import FORMAT, Record


def leave(
    folder: RunFolder, order: Order, earlier: Record | None, began: float, signal: str
) -> str:
    """Write record and summary of a run that a signal has ended -> the last line. What an earlier
    process has told of the run stays true."""
    write_record(folder, order, earlier)
    told: Any = {}
    with suppress(OSError, ValueError):
        told = files.read_json(folder.summary)
    generations = max(folder.saved(), earlier.generations if earlier else 0)
    files.write_json(
        folder.summary,
        told
        | {"generations": generations}
        | {"format": FORMAT, "status": "interrupted", "stop_reason": signal}
        | {"wall_seconds": round(time.monotonic() - began, 3)}
        | names_in(order.config, order.choices)
        | {"seed": order.config.seed},
    )
    return words(folder, signal, generations)


def leave_lost(folder: RunFolder, order: Order, line: str, code: int, reason: str) -> None:
    """Write the summary of a run that another process is missing from, in whatever thread, and end
    with the last line and the exit code."""
    with suppress(OSError, ValueError):
        if folder.record.exists():
            told: Any = {}
            with suppress(OSError, ValueError):
                told = files.read_json(folder.summary)
            status = "interrupted" if code == SAVED else "failed"
            files.write_json(
                folder.summary,
                told
                | {"format": FORMAT, "status": status, "stop_reason": reason}
                | {"generations": folder.saved(), "seed": order.config.seed}
                | names_in(order.config, order.choices),
            )
    further = f"; to go on: {going_on(folder.path)}" if code == SAVED else ""
    end(code, f"esrun: {line}{further}")


def words(folder: RunFolder, signal: str, generation: int) -> str:
    """-> the last line of a run that a signal has ended while nothing was to be saved."""
    where = f"after generation {generation}" if generation else "before anything was trained"
    return f"ended by {signal} {where}; to go on: {going_on(folder.path)}"
