"""Whatever the files of a run folder say is refused or passed over in one line."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save

from esrun import files
from esrun.cli import main

TINY = (
    "task=sphere", "task.dimension=2", "strategy=openai_es", "strategy.population_size=4",
    "eval.episodes=2", "generations=2", "checkpoint.keep=1", "hydra.run.dir=run",
)  # fmt: skip
NAMES = ("run.json", "summary.json", "metrics.jsonl", "esrun.log", "policy.safetensors", ".lock",
         ".hydra/config.yaml", "checkpoint")  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\x1b[2J"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
QUICK = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """-> a folder with a run in it."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main([*TINY]) == 0
    return folder


@pytest.fixture
def resumed(finished, tmp_path, monkeypatch, capsys):
    """-> (change a run folder) -> what is said when a copy of it goes on."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "STARTED_IN", tmp_path)

    def run(change):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        shutil.copytree(finished / "run", tmp_path / "run")
        change(tmp_path / "run")
        capsys.readouterr()
        code = main(["resume", "run", "generations=3"])
        said = capsys.readouterr()
        assert code in (0, 1, 2)
        assert "Traceback" not in said.out + said.err
        assert said.err.count("\n") == (code != 0), said.err
        assert all(c.isprintable() or c == "\n" for c in said.out + said.err)
        if code == 0:
            summary = json.loads((tmp_path / "run" / "summary.json").read_text())
            assert (summary["status"], summary["generations"]) == ("done", 3)

    return run


def path_of(run: Path, name: str) -> Path:
    return next((run / "checkpoints").iterdir()) if name == "checkpoint" else run / name


@pytest.mark.parametrize("name", NAMES)
def test_any_bytes(resumed, name):
    @QUICK
    @given(st.binary(max_size=200), st.booleans())
    def check(content, behind):
        def change(run):
            path = path_of(run, name)
            path.write_bytes((path.read_bytes() if behind else b"") + content)

        resumed(change)

    check()


@pytest.mark.parametrize("name", ["run.json", "summary.json"])
def test_any_value_in_the_place_of_another(resumed, name):
    @QUICK
    @given(st.data())
    def check(data):
        def change(run):
            content = json.loads((run / name).read_text())
            node, key = content, None
            while isinstance(node, dict) and node and (key is None or data.draw(st.booleans())):
                parent, key = node, data.draw(st.sampled_from(sorted(node)))
                node = node[key]
            parent[key] = data.draw(JSON)
            (run / name).write_text(json.dumps(content))

        resumed(change)

    check()


def test_any_progress_in_a_checkpoint_with_a_right_digest(resumed):
    @QUICK
    @given(st.data())
    def check(data):
        def change(run):
            path = path_of(run, "checkpoint")
            content = path.read_bytes()
            header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
            about = json.loads(header["__metadata__"]["esrun"])
            key = data.draw(st.sampled_from(sorted(about["progress"])))
            about["progress"][key] = data.draw(JSON)
            content = save(load_file(path), {"esrun": json.dumps(about)})
            path.unlink()
            digest = hashlib.sha256(content).hexdigest()[:16]
            (path.parent / f"0000000002-{digest}.safetensors").write_bytes(content)

        resumed(change)

    check()
