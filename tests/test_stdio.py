"""What a console cannot take ends nothing."""

import io
import os
import subprocess
import sys

import pytest
from conftest import quickly

from esrun.stdio import Patient, patient

pytestmark = pytest.mark.runs

MAIN = "import sys; from esrun.cli import main; sys.exit(main())"
RUN = (
    "task=sphere", "task.dimension=2", "strategy=openai_es", "generations=40",
    "log.every=1", "eval.episodes=2", "hydra.run.dir=run",
)  # fmt: skip
ENV = os.environ | {"JAX_PLATFORMS": "cpu"}
full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
RESULTS = (["list"], ["explain", "--json"], ["--cfg", "job"], ["--help"], ["--version"], ["x=1"])


def started(folder, words, before="", **streams):
    return subprocess.Popen(
        [sys.executable, "-c", before + MAIN, *words],
        cwd=folder,
        env=ENV | streams.pop("env", {}),
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams,
    )


def test_a_reader_that_leaves_does_not_end_a_run(tmp_path):
    process = started(tmp_path, RUN, stderr=subprocess.STDOUT)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(120) == 0
    log = (tmp_path / "run" / "esrun.log").read_text()
    assert "generation 40/40" in log
    assert "Traceback" not in log


@full
def test_a_full_console_does_not_end_a_run(tmp_path):
    with open("/dev/full", "w") as console:
        process = started(tmp_path, RUN, stdout=console)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0
    assert said.decode().count("\n") == 1
    assert b"standard output could not be written: No space left" in said
    assert "generation 40/40" in (tmp_path / "run" / "esrun.log").read_text()


@pytest.mark.parametrize("closed", quickly([">&-", "2>&-", "<&- >&- 2>&-"], "<&- >&- 2>&-"))
def test_a_run_without_streams_keeps_its_files_clean(tmp_path, closed):
    """Closed before Python begins: the first files would get the numbers."""
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", MAIN, *RUN]
    done = subprocess.run(command, cwd=tmp_path, env=ENV, capture_output=True, timeout=120)
    assert done.returncode == 0
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 40
    assert all(line.startswith("{") for line in lines)


def test_a_console_without_the_letters_does_not_end_a_run(tmp_path):
    process = started(tmp_path, RUN, env={"PYTHONIOENCODING": "ascii"})
    said, wrong = process.communicate(timeout=120)
    assert (process.returncode, wrong) == (0, b"")
    assert b"held-out" in said
    assert said.isascii()


@pytest.mark.parametrize("words", RESULTS, ids=lambda words: words[0])
def test_a_reader_that_leaves_is_no_error(tmp_path, words):
    reader, writer = os.pipe()
    os.close(reader)
    process = started(tmp_path, words, stdout=writer)
    os.close(writer)
    _, said = process.communicate(timeout=120)
    refused = words == ["x=1"]
    assert (process.returncode, said.count(b"\n")) == ((2, 1) if refused else (0, 0)), said


@full
@pytest.mark.parametrize("words", RESULTS[:-1], ids=lambda words: words[0])
def test_a_result_that_cannot_be_written_is_a_failure(tmp_path, words):
    with open("/dev/full", "w") as console:
        process = started(tmp_path, words, stdout=console)
    _, said = process.communicate(timeout=120)
    shown_by_training = words[0].startswith("--")
    assert process.returncode == (0 if shown_by_training else 1), said
    assert said == b"esrun: standard output could not be written: No space left on device\n"


@full
def test_errors_need_no_reader(tmp_path):
    with open("/dev/full", "w") as console:
        process = started(tmp_path, ["x=1"], stderr=console)
    assert process.communicate(timeout=120) == (b"", None)
    assert process.returncode == 2


def test_a_patient_stream_leaves_out_what_cannot_be_shown():
    below = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    stream = patient(below)
    assert patient(stream) is stream
    assert stream.write("1 ± 2 \udcff") == 7
    stream.flush()
    assert below.buffer.getvalue() == b"1 ? 2 ?"
    below.close()
    stream.write("more")
    assert isinstance(stream, Patient)
    assert stream.refused is not None
