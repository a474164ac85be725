"""JAX as the tests need it, set up before anything imports it: two CPU devices, one OpenBLAS
thread."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it would be ignored, by tests too
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a script, too
os.environ |= {"OPENBLAS_NUM_THREADS": "1", "JAX_NUM_CPU_DEVICES": "2"}
os.environ.setdefault("JAX_PLATFORMS", "cpu")  # what needs two devices fails elsewhere
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = (
    "false"  # what is not the cache's own test neither reads nor writes one
)

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from esrun import files
from esrun.backend import machine
from esrun.cli import main
from esrun.config.check import checked
from esrun.config.compose import composed
from esrun.training.build import build

MAIN = "import sys; from esrun.cli import main; sys.exit(main())"
ROOT = Path(__file__).parent.parent
PATIENCE = 1200
"""Seconds after which a process counts as hung; a machine may be busy, or a process paused."""
STARTS = {"command", "esrun", "package", "start", "wheel"}
"""The fixtures that start processes: what uses them is marked `commands`."""
RUNS = {"built", "in_process", "refused", "typed"}
"""Those that compose or train whole runs: what uses them is marked `runs`."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

jax.devices()  # from here on the number of devices stays, whatever this machine has


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Mark what starts processes, and leave out what is slow or needs a browser unless it is asked
    for: by a marker's name, `-m slow`, or by its own, `tests/test_x.py::test_y`."""
    for item in items:
        if STARTS & set(item.fixturenames):
            item.add_marker("commands")
        if RUNS & set(item.fixturenames):
            item.add_marker("runs")
    if any("::" in word for word in config.args):
        return
    for name in ("slow", "browser", "hosts", "ray"):
        if name not in config.option.markexpr:
            left = [item for item in items if item.get_closest_marker(name)]
            config.hook.pytest_deselected(items=left)
            items[:] = [item for item in items if item not in left]


@pytest.fixture(autouse=True, scope="module")
def few_programs():
    """Let go of what the tests so far have compiled before it is more than Linux allows."""
    yield
    if machine.crowded():
        jax.clear_caches()


def pytest_sessionfinish(session):
    """Where nothing may be skipped, as in `scripts/test --extras`, a skip is a failure."""
    told = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("ESRUN_TEST_NO_SKIP") and told.stats.get("skipped"):
        session.exitstatus = 1


def quickly(cases, *quick):
    """-> the cases for `parametrize`: all but the `quick` ones, of the same kind, are slow."""
    return [x if x in quick else pytest.param(x, marks=pytest.mark.slow) for x in cases]


def script(path):
    """-> a file of scripts/ as a module."""
    path = ROOT / "scripts" / path
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # they import each other
    spec = spec_from_file_location(f"script_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def chromium():
    """-> a headless Chromium of this machine. Without one the test is skipped, or fails where
    ESRUN_TEST_BROWSER says that it must not be."""
    missing = pytest.fail if os.environ.get("ESRUN_TEST_BROWSER") else pytest.skip
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        missing(f"there is no Chromium here: {', '.join(BROWSERS)}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def in_process(tmp_path, monkeypatch, capsys):
    """-> (words) -> (exit code, standard output, standard error) of a command typed in `tmp_path`,
    without a process of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "STARTED_IN", tmp_path)
    monkeypatch.setattr("esrun.config.imports._ALLOWED", [])

    def run(*words):
        code = main(list(words))
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def sweep(in_process):
    """-> (words) -> (exit code, lines on standard output, lines on standard error), in process."""

    def run(*words):
        code, said, wrong = in_process(*words)
        return code, said.splitlines(), wrong.splitlines()

    return run


@pytest.fixture
def built():
    """-> (overrides) -> the run that `esrun *overrides` would train; JAX has its precision until
    the test ends."""
    yield lambda *overrides: build(checked(composed(list(overrides)).config))
    jax.config.update("jax_enable_x64", False)


@pytest.fixture
def float64():
    """Numbers have 64 bits until the test ends."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def keys():
    """-> (n, seed=0) -> [n] episode keys."""
    return lambda n, seed=0: jax.random.split(jax.random.key(seed), n)


@pytest.fixture
def quick_to_compile():
    """A few steps are not worth an optimiser's time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="session")
def command(compiled):
    """-> (arguments) -> the finished command, which must have done what it was asked."""

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "esrun", *arguments],
            env=os.environ | compiled,
            check=True,
            capture_output=True,
            text=True,
        )

    return run


@pytest.fixture
def start(compiled):
    """-> (folder, arguments) -> the running command; `code` is what Python runs."""
    running = []

    def begin(folder, *arguments, code=MAIN):
        folder.mkdir(exist_ok=True, parents=True)
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=folder,
            env=os.environ | compiled | {"JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def finished(process, timeout=PATIENCE):
    """-> (exit code, everything it said)."""
    said, _ = process.communicate(timeout=timeout)
    return process.returncode, said


def wait_for(condition, process, seconds=PATIENCE):
    """Wait until `condition()` holds or the process has ended."""
    for _ in range(int(seconds / 0.02)):
        if condition() or process.poll() is not None:
            return
        time.sleep(0.02)
    raise TimeoutError


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """-> a folder with nothing but the installed wheel in it."""
    built, target = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("site")
    python = [sys.executable, "-m"]
    subprocess.run(
        [*python, "build", "--wheel", "--no-isolation", "--outdir", built, ROOT],
        check=True,
        capture_output=True,
    )
    pip = [
        *python,
        "pip",
        "install",
        "--no-deps",
        "--quiet",
        "--target",
        target,
        *built.glob("*.whl"),
    ]
    subprocess.run(pip, check=True, capture_output=True)
    return target


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """-> the environment in which commands share what they compiled, most of their time."""
    return {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
        "JAX_ENABLE_COMPILATION_CACHE": "true",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


@pytest.fixture
def esrun(wheel, compiled, tmp_path):
    """-> (arguments) -> the finished command, run in an empty folder with the wheel before the
    checkout.

    `code` is what Python runs, `folder` where; other keywords are environment variables.
    """

    def run(*arguments, code=MAIN, folder=tmp_path, **environment):
        # whoever says where or whether means it
        running = ["-m", "esrun"] if code == MAIN else ["-c", code]  # only a command keeps traces
        shared = {} if any(name.endswith("COMPILATION_CACHE") for name in environment) else compiled
        return subprocess.run(
            # -P: like the script, without the working directory
            [sys.executable, "-P", *running, *arguments],
            cwd=folder,
            env=os.environ
            | {"PYTHONPATH": str(wheel), "JAX_PLATFORMS": "cpu"}
            | shared
            | environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    return run


@pytest.fixture
def typed(tmp_path, monkeypatch, capfd):
    """-> (arguments) -> the finished command as from `esrun`, without a process of its own: a
    tenth of the time, for what is no matter of processes and of the installed package."""

    def run(*arguments, folder=tmp_path, **environment):
        capfd.readouterr()
        with monkeypatch.context() as here:
            here.chdir(folder)
            here.setattr(files, "STARTED_IN", folder)
            for name, value in environment.items():
                here.setenv(name, value)
            code = main([str(word) for word in arguments])
        return subprocess.CompletedProcess(arguments, code, *capfd.readouterr())

    return run


@pytest.fixture
def refused(request, typed):
    """-> (arguments) -> the one line of a command that is refused, which changes nothing below
    `tmp_path`. `code` is what Python runs, in a process of its own."""

    def run(*arguments, folder, root, **options):
        before = tree(root)
        command = request.getfixturevalue("esrun") if "code" in options else typed
        done = command(*arguments, folder=folder, **options)
        said = f"{done.stdout}{done.stderr}"
        assert done.returncode == 2, said
        assert (done.stdout, done.stderr.count("\n")) == ("", 1), said
        assert done.stderr.startswith("esrun: ")
        assert tree(root) == before
        return done.stderr

    return run


def metrics_of(run):
    """-> what a run's metrics say but for the time."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{key: x for key, x in line.items() if key != "wall_seconds"} for line in lines]


def same(one, other):
    """Whether two runs have computed the same, to the bit."""
    for name in ("policy", "policy_best"):
        a, b = (load_file(run / f"{name}.safetensors") for run in (one, other))
        assert a.keys() == b.keys()
        for key, x in a.items():
            np.testing.assert_array_equal(x, b[key])
    assert metrics_of(one) == metrics_of(other)


def tree(root):
    """-> everything below a folder: links, folders, what is in files."""
    return {
        str(path.relative_to(root)): os.readlink(path) if path.is_symlink()
        else path.read_bytes() if path.is_file()
        else path.stat().st_mode
        for path in sorted(root.rglob("*"))
    }  # fmt: skip
