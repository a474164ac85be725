"""How processes that train in step meet and what they say to each other, in one process."""

import socket
import threading
from contextlib import suppress
from multiprocessing.connection import Connection

import numpy as np
import pytest

from esrun.backend import hosts, links, meeting, relay
from esrun.backend.addresses import Place, found_place, place_of
from esrun.backend.hosts import Hosts, OverError
from esrun.errors import ConfigError
from esrun.runs.in_step import asked_for


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


def beside(*work):
    """-> what calls return that are made at the same time, or the errors they raise."""
    results = [None] * len(work)

    def call(i):
        try:
            results[i] = work[i]()
        except Exception as error:
            results[i] = error

    threads = [threading.Thread(target=call, args=(i,)) for i in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


@pytest.fixture
def both():
    """-> the two of two processes; they part when the test ends."""
    ours, its = (Connection(x.detach()) for x in socket.socketpair())
    zero, one = Hosts(0, {1: ours}, [{}, {}]), Hosts(1, {0: its}, [{}, {}])
    yield zero, one
    assert beside(lambda: zero.part(75), lambda: one.part(0)) == [75, 75]


def test_process_0_has_the_word(both):
    zero, one = both
    assert [zero.word("clock", x) for x in (0.1, 2.5)] == [0.1, 2.5]
    assert [one.word("clock", 7.0) for _ in range(2)] == [0.1, 2.5]
    zero.word("signal", True)
    with pytest.raises(RuntimeError, match="process 1 of 2 expects clock and hears signal"):
        one.word("clock")


def test_everybody_is_heard(both):
    assert (
        beside(*(lambda x=x: x.everyone("data", f"of {x.number}") for x in both))
        == [["of 0", "of 1"]] * 2
    )


def test_arrays_arrive_as_they_are(both, monkeypatch):
    monkeypatch.setattr(links, "PIECE", 1000)  # the longest takes several messages
    given = {
        "mean": np.arange(1000, dtype=np.float32)[::2],
        "generation": np.int32(7),
        "none": np.zeros((0, 3)),
        "flags": np.array([[True], [False]]),
        "C": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    }
    _, heard = beside(lambda: both[0].arrays("state", given), lambda: both[1].arrays("state"))
    assert heard.keys() == given.keys()
    for name, x in given.items():
        assert heard[name].dtype == np.asarray(x).dtype
        np.testing.assert_array_equal(heard[name], x)


def test_all_begin_anew_wherever_they_were(both):
    zero, one = both
    for x in (1.0, 2.0):
        zero.word("clock", x)  # nobody asks for it any more
    assert (
        beside(lambda: zero.all_come("memory", 9), lambda: one.all_come("memory", 9)) == [True] * 2
    )
    assert beside(lambda: zero.word("clock", 3.0), lambda: one.word("clock")) == [3.0, 3.0]


@pytest.mark.parametrize("number", [0, 1])
def test_one_that_waits_for_the_others_in_vain_knows(both, number):
    assert both[number].all_come("memory", 0.1) is False


def test_a_signal_reaches_process_0_and_a_checkpoint_is_known_to_all(both):
    zero, one = both
    one.tell_signal("SIGTERM")
    zero.note_saved()
    beside(*(lambda x=x: x.everyone("data", 0) for x in both))  # what was said before has arrived
    assert (zero.signalled, one.signalled) == ("SIGTERM", None)
    assert (zero.saved, one.saved) == (True, True)


def test_whoever_waits_for_a_word_hears_that_all_is_over(both):
    zero, one = both
    code, over = beside(lambda: zero.part(75), lambda: one.word("clock"))
    assert code == 75
    assert isinstance(over, OverError)
    assert over.code == 75


ABOUT = {"versions": {"esrun": "1.0"}, "number": 0, "count": 2, "asked": {"seed": 0}}


@pytest.mark.parametrize(
    ("other", "line"),
    [
        ({"count": 3}, "the same COUNT everywhere, got 0/2 and 1/3"),
        ({"number": 0}, "the same COUNT everywhere, got 0/2 and 0/2"),
        ({"versions": {"esrun": "1.1"}}, "the same esrun, got 1.0 and, of process 1, 1.1"),
        ({"asked": {"seed": 3, "a": 1}}, "got a=None and, of process 1, a=1 (and 1 more keys)"),
        ({}, None),
    ],
)
def test_process_0_says_what_differs(other, line):
    found = meeting._difference(ABOUT, ABOUT | {"number": 1} | other, {0: ABOUT})
    assert (line in found) if line else found is None


def test_a_number_is_one_process_s():
    one = ABOUT | {"number": 1}
    assert "got 1 twice" in meeting._difference(ABOUT, one, {0: ABOUT, 1: one})


ABLE = {"machine": ["here", [0]], "memory": 1, "devices": "auto"}


def test_strangers_do_not_disturb_a_meeting():
    place, words = Place("127.0.0.1", free_port(), 0, 2), []

    def stranger():
        while not words:
            with suppress(ConnectionRefusedError):
                one = socket.create_connection((place.address, place.port), 5)
                one.sendall(b"GET / HTTP/1.1\r\n\r\n")
                with one, suppress(ConnectionResetError):
                    words.append(one.recv(100))
                words.append(b"")
        other = place._replace(number=1)
        return meeting._come(other, ABOUT | ABLE | {"number": 1}, 10)

    zero, one = beside(lambda: meeting._wait_for_all(place, ABOUT | ABLE, 10), stranger)
    zero[3].close()
    assert set(words) == {b""}
    assert (zero[1], zero[2]) == (one[1], one[2])
    assert [x["number"] for x in one[1]] == [0, 1]


def test_what_is_no_process_of_a_run_is_told_from_one():
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = Place("127.0.0.1", server.getsockname()[1], 1, 2)

        def answer():
            one, _ = server.accept()
            with one:
                one.recv(1000)
                one.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        _, error = beside(answer, lambda: meeting._come(place, ABOUT, 30))
    assert str(error) == f"what answers at {place.at} is no process of this run, or has ended"


def test_nobody_is_waited_for_for_ever(capsys, monkeypatch):
    monkeypatch.setattr(meeting, "SAYING", 0.5)
    place = Place("127.0.0.1", free_port(), 0, 3)
    with pytest.raises(ConfigError, match=r"process 1 of 3 has not come to 127.0.0.1:\d+ within"):
        meeting._wait_for_all(place, ABOUT | ABLE, 1)
    assert capsys.readouterr().err.startswith("esrun: waiting: process 1 of 3 has not come")
    with pytest.raises(ConfigError, match=r"process 0 does not answer at 127.0.0.1:\d+ .*refused"):
        meeting._come(place._replace(number=1), ABOUT, 1)


def test_an_address_is_a_machine_s_own():
    for address, wrong in (("192.0.2.1", "assign"), ("no-such-host.invalid", "")):
        place = Place(address, free_port(), 0, 2)
        with pytest.raises(ConfigError, match=f"process 0's own machine and a free port.*{wrong}"):
            meeting._wait_for_all(place, ABOUT, 1)
    with pytest.raises(ConfigError, match="must name a host that is known here"):
        meeting._come(Place("no-such-host.invalid", 4711, 1, 2), ABOUT, 1)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("10.0.0.1:4711/0/2", Place("10.0.0.1", 4711, 0, 2)),
        ("node-3.local:80/11/12", Place("node-3.local", 80, 11, 12)),
        ("[::1]:4711/1/2", Place("::1", 4711, 1, 2)),
        ("auto", None),
    ],
)
def test_places_are_read(text, place):
    assert place_of(text) == place


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("here", "must be null, auto or ADDRESS:PORT/NUMBER/COUNT, got here"),
        ("host:4711/1", "must be null, auto or"),
        ("host:99999/0/2", "must have a port of 1 to 65535, got 99999"),
        ("host:4711/2/2", "must have a NUMBER from 0 to COUNT - 1, got 2 of 2"),
    ],
)
def test_other_places_are_refused(typed, text, line):
    done = typed("task=sphere", f"runtime.hosts={text}")
    assert (done.returncode, line in done.stderr, done.stderr.count("\n")) == (2, True, 1)


def test_without_a_system_that_knows_the_hosts_there_is_nothing_to_find(monkeypatch):
    for name in ("SLURM_JOB_ID", "OMPI_MCA_orte_hnp_uri", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="started by none of them"):
        found_place()
    slurm = {"JOB_ID": "9", "STEP_NODELIST": "node[07-09]", "NTASKS": "3", "PROCID": "2",
             "LOCALID": "0"}  # fmt: skip
    for name, value in slurm.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert found_place() == Place("node07", 9 + 61440, 2, 3)


def test_a_sweep_is_no_run_of_several_hosts(typed):
    done = typed("-m", "task=sphere", "seed=0,1", "runtime.hosts=127.0.0.1:4711/0/2")
    assert (done.returncode, "runtime.hosts is for one run" in done.stderr) == (2, True)


def test_what_processes_may_have_for_themselves_is_not_compared():
    config = {
        "seed": 1,
        "runtime": {"hosts": "a", "devices": 2, "population_chunk": 8},
        "checkpoint": {"every": 20, "keep_at": [3]},
        "logger": {"wandb": {"key": "secret"}},
        "resume": "auto",
    }
    assert asked_for(config) == {
        "seed": 1, "runtime.population_chunk": 8, "checkpoint.keep_at": [3]
    }  # fmt: skip


def test_jax_s_service_is_for_those_who_were_let_in():
    with socket.create_server(("127.0.0.1", 0)) as service:
        waiting = socket.create_server(("127.0.0.1", 0))
        relay.serve(waiting, "token", service.getsockname()[1])
        place = Place("127.0.0.1", waiting.getsockname()[1], 1, 2)
        wrong = meeting._knock(place, "another")
        assert wrong.recv(1) == b""
        port = relay.lead(lambda: meeting._knock(place, "token"))
        near = socket.create_connection(("127.0.0.1", port))
        far, _ = service.accept()
        near.sendall(b"question")
        assert far.recv(100) == b"question"
        far.sendall(b"answer")
        assert near.recv(100) == b"answer"
        far.close()  # as if process 0 had died
        near.settimeout(0.5)
        with pytest.raises(TimeoutError):
            near.recv(1)
        near.close()
        wrong.close()


def test_alone_a_process_agrees_with_itself():
    assert hosts.here is None
