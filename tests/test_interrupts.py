"""Signals are heard, handed on and given back."""

import os
import signal
import threading

from esrun.runs.interrupts import SIGNALS, Interrupts


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
