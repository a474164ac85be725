"""TensorBoard: event files in the run folder, scalars and hyperparameters."""

import json
import math
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from esrun import files
from esrun.runs.loggers.tracker import News, Tracker, hyperparameters, status

EVENTS = "events.out.tfevents."
"""What TensorBoard knows its files by, which it reads in the order of their names."""
FLUSHING = 1.0
"""Seconds between two times that what was told is flushed to the disk."""
START = 1
"""Of a session, as TensorBoard knows it: what was told of this step and later ones is void."""
LARGEST = 2**32
"""Bytes of an event file that is read."""


def make_tensorboard(*, folder: Path) -> Tracker:
    """Event files in `tensorboard/`, a new one for each process that works on the run.

    Each begins by taking back what earlier ones told from its first generation on, so that a run
    that was killed has every generation once. Scalars have 32 bits there. Raises OSError.
    """
    events: Any = import_module("tensorboardX.proto.event_pb2")
    summaries: Any = import_module("tensorboardX.proto.summary_pb2")
    records: Any = import_module("tensorboardX.record_writer")
    hparams = import_module("tensorboardX.summary").hparams

    place = folder / "tensorboard"
    files.make_folder(place)
    last, path = _told(place, events), _next_file(place)
    experiment, begin, end = hparams(_as_hparams(hyperparameters(folder)), {"eval_mean": None})
    writer = records.RecordWriter(str(path))  # not SummaryWriter, whose thread dies silently
    news, before, flushed = News(), math.inf, -math.inf

    def write(**what):
        writer.write(events.Event(wall_time=time.time(), **what).SerializeToString())

    def flush():
        path.stat()  # what is written to a file that was deleted is lost without an error
        writer.flush()

    def log(line):
        nonlocal news, before, flushed
        generation = line["generation"]
        if generation < before:  # the first one, or a run that goes on from a checkpoint
            write(step=generation, session_log=events.SessionLog(status=START))
            news = News()
        before = generation
        if new := news.of(line):
            values = [summaries.Summary.Value(tag=name, simple_value=x) for name, x in new.items()]
            write(step=generation, summary=summaries.Summary(value=values))
        if time.monotonic() > flushed + FLUSHING:
            flush()
            flushed = time.monotonic()

    def close():
        if status(folder) == "done":
            write(summary=end)
        flush()
        writer.close()

    def or_closed(work):
        def closing(*arguments):
            try:
                work(*arguments)
            except BaseException:  # it is not called again
                with suppress(OSError):
                    writer.close()
                raise

        return closing

    write(file_version="brain.Event:2")
    write(summary=experiment)
    write(summary=begin)
    return Tracker(or_closed(log), or_closed(close), last)


def _as_hparams(config: dict[str, Any]) -> dict[str, Any]:
    """-> hyperparameters of the types that TensorBoard has: numbers, truth values and text."""
    plain = (str, bool, int, float)
    return {key: x if isinstance(x, plain) else json.dumps(x) for key, x in config.items()}


def _next_file(place: Path) -> Path:
    """-> a name behind those of all event files that are there, whatever this machine's clock
    says."""
    found = [path.name.removeprefix(EVENTS).partition(".")[0] for path in _event_files(place)]
    newest = max((int(x) for x in found if x.isdecimal()), default=0)
    seconds = max(int(time.time()), newest + 1)
    return place / f"{EVENTS}{seconds:010d}.{socket.gethostname()}.{os.getpid()}"


def _event_files(place: Path) -> list[Path]:
    return sorted(place.glob(f"{EVENTS}*"))


def _told(place: Path, events: Any) -> int:
    """-> the last generation that the event files tell of, 0 for none."""
    last = 0
    for path in _event_files(place):
        for record in _records(path):
            event = events.Event.FromString(record)
            if event.session_log.status == START:
                last = min(last, event.step - 1)
            elif event.step:
                last = max(last, event.step)
    return last


def _records(path: Path) -> Iterator[bytes]:
    """-> the records of an event file: length, its checksum, content, its checksum. The end may be
    torn, of a process that was killed."""
    with files.open_to_read(path, LARGEST) as file:
        content = file.readall()
    start = 0
    while start + 12 <= len(content):
        (length,) = struct.unpack_from("<Q", content, start)
        if start + 16 + length > len(content):
            return
        yield content[start + 12 : start + 12 + length]
        start += 16 + length
