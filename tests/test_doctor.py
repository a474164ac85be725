"""`esrun doctor`: what it finds, and that its test fails where something is broken."""

import json
import signal
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from conftest import MAIN, finished, wait_for

from esrun.backend import cache
from esrun.commands import doctor, eval, resume, train
from esrun.commands.selftest import BrokenError, steps
from esrun.config import extras
from esrun.runs.paths import RunFolder

METADATA = [
    "numpy>=2",
    "six>=99",
    'nosuchpackage<3,>=2; extra == "later"',
    'pydantic>=2; extra == "now"',
    'pytest>=1; extra == "test"',
]


@pytest.fixture
def packaged(monkeypatch):
    """What esrun's own metadata say."""

    class Metadata:
        def get_all(self, name):
            assert name == "Provides-Extra"
            return ["later", "now", "test", "dev"]

    monkeypatch.setattr(extras, "requires", lambda name: METADATA)
    monkeypatch.setattr(extras, "metadata", lambda name: Metadata())


@pytest.mark.usefixtures("packaged")
def test_extras_are_those_of_the_package_and_missing_ones_are_told_with_the_command():
    later, now = doctor._extras()
    command = f"{sys.executable} -m pip install 'nosuchpackage<3,>=2'"
    assert later == f"later: missing: {command}"
    assert now == f"now: pydantic {version('pydantic')}"


@pytest.mark.usefixtures("packaged")
def test_a_package_of_another_version_is_told():
    fitting, wrong = doctor._packages()
    assert fitting.startswith("numpy 2.")
    assert wrong.startswith("not as esrun needs them: six 1.")
    assert wrong.endswith("-m pip install 'six>=99'")


def test_every_extra_of_the_package_that_an_option_needs_is_told():
    names = {line.partition(":")[0] for line in doctor._extras()}
    assert {"bbob", "evosax", "tensorboard", "wandb"} <= names
    assert not {*extras.DEVELOPERS} & names


def test_the_cache_is_told_with_its_size(tmp_path, monkeypatch):
    import jax

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.state() == cache.State(None, "switched off: JAX_ENABLE_COMPILATION_CACHE is false")
    jax.config.update("jax_enable_compilation_cache", True)
    try:
        monkeypatch.setattr(cache, "_verdict", lambda folder: cache.FAILS)
        own = cache.state()
        assert own == (tmp_path / "esrun" / cache.machine(), own.says, 0, 0)
        assert own.says == "not used: JAX refused here what it had stored itself"
        (own.folder / "a-cache").write_bytes(b"12345")
        (own.folder / "verdict").write_bytes(cache.FAILS)
        assert cache.state()[2:] == (1, 5)
        own.folder.chmod(0o777)
        assert cache.state().says == "not used: others may write to its folder"
    finally:
        jax.config.update("jax_enable_compilation_cache", False)


@pytest.mark.usefixtures("quick_to_compile")
def test_what_works_passes_and_leaves_nothing(in_process, tmp_path):
    code, said, complaint = in_process("doctor")
    assert (code, complaint) == (0, "")
    lines = [line.split(maxsplit=1) for line in said.splitlines()]
    found = {name for name, _ in lines}
    assert {"esrun", "package", "devices", "precision", "cache", "extra", "test"} <= found, said
    steps = [what.partition(" (")[0] for name, what in lines if name == "test"]
    assert steps == [
        "train: 4 generations", "resume: the same bits as in one go",
        "eval: summary.json to the last digit",
    ]  # fmt: skip
    assert "on a TPU   untested" in said.splitlines()
    assert list(tmp_path.iterdir()) == []


def broken_train(monkeypatch):
    monkeypatch.setattr(train, "train", lambda words: print("no room") or 1)
    return "train: exit code 1: no room"


def broken_resume(monkeypatch):
    right = resume.resume

    def wrong(words):
        code = right(words)
        policy = RunFolder(Path(words[0])).policy
        policy.write_bytes(policy.read_bytes()[:-1] + b"?")
        return code

    monkeypatch.setattr(resume, "resume", wrong)
    return "resume: a run that was resumed has another policy than one in one go"


def broken_eval(monkeypatch):
    right = eval.evaluate

    def wrong(words):
        place = RunFolder(Path(words[0])).summary
        summary = json.loads(place.read_text())
        summary["eval"]["mean"] = -1.0
        place.write_text(json.dumps(summary))
        return right(words)

    monkeypatch.setattr(eval, "evaluate", wrong)
    return "eval: mean is -"


@pytest.mark.usefixtures("quick_to_compile")
@pytest.mark.parametrize("break_it", [broken_train, broken_resume, broken_eval])
def test_what_is_broken_is_one_line(tmp_path, monkeypatch, capsys, break_it):
    line = break_it(monkeypatch)
    with pytest.raises(BrokenError, match=f"^{line}"):
        list(steps(tmp_path))
    assert doctor._self_test() == 1
    said = capsys.readouterr().err
    assert said.startswith(f"esrun: the test fails: {line}")
    assert said.count("\n") == 1


def test_a_folder_that_cannot_be_written_to_is_one_line(monkeypatch, capsys):
    def refuse(**options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor.tempfile, "TemporaryDirectory", refuse)
    assert doctor._self_test() == 1
    assert capsys.readouterr().err.endswith("Permission denied: set TMPDIR\n")


@pytest.mark.slow
def test_the_wheel_is_well_in_an_empty_folder(esrun, tmp_path):
    done = esrun("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert "scipy" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_where_jax_does_not_start_that_is_the_line(esrun):
    done = esrun("doctor", JAX_PLATFORMS="nonsense")
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith("esrun: JAX cannot start here: ")
    assert "; the environment says " in line
    assert "JAX_PLATFORMS=nonsense" in line
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("esrun ")


def test_a_signal_ends_it_and_leaves_nothing(start, tmp_path):
    here = f"import tempfile; tempfile.tempdir = {str(tmp_path)!r}\n"
    process = start(tmp_path, "doctor", code=here + MAIN)
    wait_for(lambda: any(tmp_path.glob("esrun-doctor-*/whole")), process)
    process.send_signal(signal.SIGINT)
    code, said = finished(process)
    assert code == 75
    assert said.splitlines()[-1] == "esrun: ended by SIGINT"
    assert not list(tmp_path.iterdir())
