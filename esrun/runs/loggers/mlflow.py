"""MLflow: a run in a tracking server or in a file beside the run folder."""

import json
import math
import os
import re
import shlex
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

from filelock import FileLock

from esrun import files
from esrun.runs.loggers.tracker import (
    News,
    Tracker,
    hyperparameters,
    keep_id,
    kept_id,
    set_unless_set,
    status,
    sweep_of,
)

UNLESS_SET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # what goes wrong is told in a line
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # what a server misses is told when the run goes on
}
"""Its settings where the environment does not say them."""
STORE = "mlflow.db"
"""The file, beside the run folder, of runs for which no server is named."""
KEY, PARAM = 250, 6000
"""Letters that a name and a parameter may have."""
PARAMS, METRICS = 100, 1000
"""Parameters and metrics that MLflow takes at a time."""
TELLING = 1.0
"""Seconds between two times that lines are passed on, which takes milliseconds each time."""
STATUS = {"done": "FINISHED", "interrupted": "KILLED"}
"""Its words for how a run has ended; FAILED for others."""


def make_mlflow(
    *,
    folder: Path,
    tracking_uri: str | None,
    experiment: str | None,
    run_name: str | None,
    tags: dict[str, str],
) -> Tracker:
    """A run of MLflow's, the same one when the run goes on. Raises OSError, and MlflowException of
    its store or server."""
    set_unless_set(UNLESS_SET)
    mlflow: Any = import_module("mlflow")

    where, note = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI"), ""
    if where is None:
        where = _store(folder)
        note = f"mlflow: to look at it: mlflow ui --backend-store-uri {shlex.quote(where)}"
    with _alone(where):
        client = mlflow.MlflowClient(tracking_uri=where)
        client.search_experiments(max_results=1)  # makes the tables of a file that is new
    name = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "esrun"
    run = _found(client, folder)
    if run is None:
        about = {"sweep": sweep} if (sweep := sweep_of(folder)) else {}
        made_in = _experiment(client, name)
        run = client.create_run(made_in, run_name=run_name or folder.name, tags=about | tags)
        keep_id(folder / "mlflow.json", run.info.run_id)
    else:
        client.update_run(run.info.run_id, status="RUNNING")
    identity = run.info.run_id
    _tell_parameters(client, run, folder)
    last = int(run.data.metrics.get("generation", 0))
    scores = (x for x in run.data.metrics if x.startswith("eval_"))
    news = News(last, {x: _last_step(client, identity, x) for x in scores})
    waiting, told = [], -math.inf

    def pass_on():
        for some in _batches(waiting, METRICS):
            client.log_batch(identity, metrics=some)
        waiting.clear()

    def log(line):
        nonlocal told
        now, generation = int(1000 * time.time()), line["generation"]
        waiting.extend(
            mlflow.entities.Metric(_key(x), y, now, generation) for x, y in news.of(line).items()
        )
        if len(waiting) >= METRICS or time.monotonic() > told + TELLING:
            pass_on()
            told = time.monotonic()

    def close():
        pass_on()
        client.set_terminated(identity, STATUS.get(status(folder), "FAILED"))

    return Tracker(log, close, last, note)


def _alone(where: str) -> AbstractContextManager:
    """-> a lock for as long as a file may be made: two processes would make its tables at once."""
    path = where.removeprefix("sqlite:///")
    return nullcontext() if path == where else FileLock(f"{path}.lock", timeout=60)


def _store(folder: Path) -> str:
    """-> the address of the file beside the run folder. Raises RefusedError where its name is that
    of a link or of anything else, or no address can have it."""
    path = folder.parent / STORE
    if {"?", "%"} & set(str(path)):
        raise files.RefusedError(f"{path} has ? or % in it: write logger.mlflow.tracking_uri")
    if path.exists() or path.is_symlink():
        files.open_to_read(path, limit=2**40).close()
    return f"sqlite:///{path}"


def _found(client: Any, folder: Path) -> Any | None:
    """-> the run that an earlier process made, None where the server has none."""
    identity = kept_id(folder / "mlflow.json")
    if identity is None:
        return None
    try:
        run = client.get_run(identity)
    except Exception as error:  # MlflowException has a code
        if getattr(error, "error_code", None) == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return run if run.info.lifecycle_stage == "active" else None


def _experiment(client: Any, name: str) -> str:
    """-> the experiment of that name, made if it is not there."""
    if found := client.get_experiment_by_name(name):
        return found.experiment_id
    try:
        return client.create_experiment(name)
    except Exception:  # another process may have made it meanwhile
        if found := client.get_experiment_by_name(name):
            return found.experiment_id
        raise


def _tell_parameters(client: Any, run: Any, folder: Path) -> None:
    """Parameters stay as they were told first: what has changed since is a tag of the same name."""
    entities: Any = import_module("mlflow.entities")
    identity, known = run.info.run_id, run.data.params
    params = {_key(key): _text(x)[:PARAM] for key, x in hyperparameters(folder).items()}
    new = [entities.Param(key, x) for key, x in params.items() if key not in known]
    for some in _batches(new, PARAMS):
        client.log_batch(identity, params=some)
    for key, x in params.items():
        if known.get(key, x) != x:
            client.set_tag(identity, key, x)


def _last_step(client: Any, identity: str, name: str) -> int:
    return max(x.step for x in client.get_metric_history(identity, name))


def _batches(what: list, size: int) -> Iterator[list]:
    return (what[i : i + size] for i in range(0, len(what), size))


def _key(name: str) -> str:
    """-> a name of letters that MLflow takes."""
    return re.sub(r"[^\w.:/ -]", "_", name)[:KEY]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
