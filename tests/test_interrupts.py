"""Signals are heard, handed on and given back."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from esrun.runs.interrupts import SIGNALS, Interrupts

WHOLE_LIFE = """
import atexit, os, signal, sys, threading
from esrun import cli

moment, name = sys.argv[1:]

def interrupt(kill=os.kill, me=os.getpid(), number=getattr(signal, name)):
    kill(me, number)
    kill(me, number)

class Last:
    def __del__(self, interrupt=interrupt):
        interrupt()

def command(words):
    if moment == "beginning":
        interrupt()
        threading.Event().wait()
    atexit.register(lambda: moment == "behind" and (interrupt(), threading.Event().wait()))
    return 1

cli._run = command
if moment == "end":
    sys.modules["last"] = last = Last()  # it goes when Python takes its modules down
code = cli.main()
print("out")
sys.exit(code)
"""


def test_the_first_signal_is_remembered_and_earlier_handlers_are_called():
    heard = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: heard.append(number))
    try:
        with Interrupts() as interrupts:
            assert interrupts.name is None
            os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGTERM)
            assert interrupts.name == "SIGUSR1"
            assert heard == [signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_one_ctrl_c_raises_nothing():
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.name == "SIGINT"


def test_every_handler_is_given_back():
    before = [signal.getsignal(number) for number in SIGNALS]
    with Interrupts():
        assert all(
            signal.getsignal(number) != handler
            for number, handler in zip(SIGNALS, before, strict=True)
        )
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_outside_the_main_thread_nothing_is_touched():
    before = [signal.getsignal(number) for number in SIGNALS]
    inside = []

    def work():
        with Interrupts():
            inside.extend(signal.getsignal(number) for number in SIGNALS)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert inside == before


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("moment", ["beginning", "behind", "end"])
def test_the_whole_life_of_a_process_answers(moment, name):
    done = subprocess.run(
        [sys.executable, "-c", WHOLE_LIFE, moment, name], capture_output=True, text=True, timeout=60
    )
    before_anything = 130 if name == "SIGINT" else 75
    assert done.returncode == (before_anything if moment == "beginning" else 1), done.stderr
    assert done.stderr.count("\n") == (moment == "beginning"), done.stderr


def test_a_second_ctrl_c_reaches_the_callers_own_handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    try:
        with pytest.raises(KeyboardInterrupt), Interrupts():  # noqa: PT012
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_hang_up_that_nohup_ignores_is_not_heard():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGHUP)
        assert interrupts.name is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_forked_process_has_pythons_own_handlers():
    code = """
import os, signal
from esrun.runs import process_signals
process_signals.take_over()
reader, writer = os.pipe()
if child := os.fork():
    os.read(reader, 1)
    os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status))
else:
    os.write(writer, b"1")
    signal.pause()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"{-signal.SIGTERM}\n")


HEARD = """
import os, signal, time
from esrun.runs import process_signals
process_signals.SILENCE = 0.1
process = process_signals.take_over()
with process.saving():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(2)
process.close(75)
os._exit(75)
"""


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
def test_who_waits_at_a_terminal_is_told_that_a_first_ctrl_c_was_heard(terminal):
    reader, writer = os.openpty() if terminal else os.pipe()
    with os.fdopen(reader, "rb", closefd=True), os.fdopen(writer, "wb", closefd=True) as stderr:
        code = subprocess.run([sys.executable, "-c", HEARD], stderr=stderr, timeout=60).returncode
        os.set_blocking(reader, False)
        try:
            said = os.read(reader, 1000)
        except BlockingIOError:
            said = b""
    assert code == 75
    assert (b"SIGINT: saving when what runs is over; Ctrl-C ends at once" in said) == terminal
    assert bool(said) == terminal
