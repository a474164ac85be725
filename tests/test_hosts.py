"""Several processes that train one run in step: their bits, their ends, and what they refuse."""

import hashlib
import json
import socket

import pytest
from conftest import MAIN, finished, quickly

pytestmark = [pytest.mark.hosts, pytest.mark.commands]

SOON = 15
"""Seconds within which the others end when one is lost."""
SMALL = (
    *("task=pendulum", "task.episodes=2", "task.episode_length=30", "policy.hidden=[8]"),
    *("eval.every=4", "eval.episodes=4", "generations=12", "seed=3"),
)
SPHERE = ("task=sphere", "strategy=openai_es", "strategy.population_size=16", "eval.episodes=2")
ENDLESS = (*SPHERE, "generations=2000000000", "eval.every=1000000", "checkpoint.every=50")
MIXED = ("strategy=openai_es", "strategy.population_size=24", "policy.normalize_input=true")
KINDS = {
    "a normaliser": MIXED,
    "a table": (*MIXED[:2], "strategy.noise=table", "strategy.noise_table_size=100000"),
    "cma_es": ("strategy=cma_es", "strategy.population_size=16"),
    "a gru and archive": ("strategy=pgpe", "strategy.population_size=20", "policy=rnn"),
    "restarts": (
        *("task=rastrigin", "task.dimension=3", "strategy=cma_es", "strategy.restarts=bipop"),
        *("generations=300", "eval.every=100"),
    ),
}
TWO_DEVICES = "import os; os.environ['JAX_NUM_CPU_DEVICES'] = '2'; " + MAIN


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


@pytest.fixture
def hosts(start, tmp_path):
    """-> (count, words) -> so many processes that train in step, by number; `each` has words of
    their own."""

    def begin(count, *words, each=None, code=MAIN):
        at, each = f"127.0.0.1:{free_port()}", each or {}
        return [
            start(
                tmp_path, *words, *each.get(i, ()), f"runtime.hosts={at}/{i}/{count}", code=code
            )
            for i in range(count)
        ]  # fmt: skip

    return begin


def computed(folder):
    """-> what a run came to, but for times."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rows = [{key: x for key, x in row.items() if "seconds" not in key} for row in rows]
    files = [folder / name for name in ("policy.safetensors", "policy_best.safetensors")]
    return rows, [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]


def generations(folder):
    """-> how many lines of metrics there are."""
    file = folder / "metrics.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def saved(folder):
    """-> the newest checkpoint's generation, 0 without one."""
    return max([int(x.name[:10]) for x in folder.glob("checkpoints/*.safetensors")], default=0)


@pytest.mark.parametrize("kind", quickly(KINDS, "a normaliser"))
def test_two_processes_compute_what_one_does(hosts, start, tmp_path, kind):
    own = SMALL if kind != "restarts" else ("eval.episodes=4", "seed=3")
    words = [*own, *KINDS[kind], "runtime.population_chunk=6"]
    both = hosts(2, *words, "hydra.run.dir=both")
    alone = start(tmp_path, *words, "hydra.run.dir=alone")
    said = [finished(x) for x in (*both, alone)]
    assert [code for code, _ in said] == [0, 0, 0], said
    assert said[1][1] == ""
    assert computed(tmp_path / "both") == computed(tmp_path / "alone")
    record = json.loads((tmp_path / "both" / "run.json").read_text())
    assert [x.split()[0] for x in record["devices"]] == ["0/cpu:0", "1/cpu:0"]
