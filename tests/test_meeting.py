"""How processes that train in step meet and what they say to each other, in one process."""

import socket
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pytest

from esrun.backend import arriving, hosts, links, meeting, messages, relay
from esrun.backend.addresses import Place, found_place, place_of
from esrun.backend.hosts import Hosts, OverError
from esrun.config import imports
from esrun.config.check import checked
from esrun.config.compose import composed
from esrun.config.extras import packages_of
from esrun.errors import AbsentError, ConfigError
from esrun.runs import same
from esrun.runs.same import asked_for


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


def beside(*work):
    """-> what calls return that are made at the same time, or the errors they raise."""
    results: list[Any] = [None] * len(work)

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


ABOUT = {"same": {"esrun": "1.0"}, "number": 0, "count": 2, "asked": {"seed": 0}}
NAMED = {"--import envs": "digest 7"}


@pytest.mark.parametrize(
    ("other", "line"),
    [
        ({"count": 3}, "the same COUNT everywhere, got 0/2 and 1/3"),
        ({"number": 0}, "the same COUNT everywhere, got 0/2 and 0/2"),
        ({"same": {"esrun": "1.1"}}, "the same esrun, got 1.0 and, of process 1, 1.1"),
        ({"same": {}}, "the same esrun, got 1.0 and, of process 1, none"),
        ({"same": ABOUT["same"] | NAMED}, "--import envs, got none and, of process 1, digest 7"),
        ({"asked": {"seed": 3, "a": 1}}, "got a=None and, of process 1, a=1 (and 1 more keys)"),
        ({}, None),
    ],
)
def test_process_0_says_what_differs(other, line):
    found = arriving.difference(ABOUT, ABOUT | {"number": 1} | other, {0: ABOUT})
    assert (line in found) if line else found is None


ABLE = {"machine": ["here", [0]], "memory": 1, "devices": "auto"}


def said_by(number, count=2):
    """-> what a process says of itself."""
    return ABOUT | ABLE | {"number": number, "count": count}


@pytest.fixture
def place():
    return Place("127.0.0.1", free_port(), 0, 2)


def zero(place, patience=30):
    """-> a call: process 0 waits for the others."""
    return lambda: meeting._wait_for_all(place, said_by(0, place.count), patience)


def comes(place, number, patience=30):
    """-> a call: another one comes."""
    there = place._replace(number=number)
    return lambda: meeting._come(there, said_by(number, place.count), patience)


def goes_in(place, what):
    """-> a socket over which somebody has said something to process 0, as soon as it is there."""
    while True:
        with suppress(ConnectionRefusedError):
            one = socket.create_connection((place.address, place.port), 5)
            one.sendall(what) if isinstance(what, bytes) else messages.send(one, what)
            return one


def all_met(*met):
    """Whether all know the same."""
    for one in (*met[0].connections.values(), met[0].waiting, *(x.connections[0] for x in met[1:])):
        one.close()
    numbers = [about["number"] for about in met[0].everybody]
    same = all((x.everybody, x.token) == (met[0].everybody, met[0].token) for x in met)
    return same and numbers == list(range(len(met)))


STRANGE = [b"", b"hi", b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00\x01\x00{", b"\x00\x00\x00\x02[]"]


@pytest.mark.parametrize("first", STRANGE)
def test_strangers_cost_nobody_anything(place, first):
    """They stay, and say nothing more; there are more of them than patience has seconds."""

    def after_strangers():
        strangers = [goes_in(place, first) for _ in range(9)]
        met = comes(place, 1, patience=4)()
        for one in strangers:
            one.close()
        return met

    assert all_met(*beside(zero(place, patience=4), after_strangers))


def test_a_word_that_never_ends_is_not_waited_for(place, monkeypatch):
    monkeypatch.setattr(messages, "SAYING", 0.3)
    words = []

    def after_a_stranger():
        with goes_in(place, b"\x00\x00\x01\x00{") as one:
            one.settimeout(30)
            words.append(one.recv(1))
        return comes(place, 1)()

    assert all_met(*beside(zero(place), after_a_stranger))
    assert words == [b""]


def test_whoever_goes_may_come_again(place):
    place = place._replace(count=3)

    def comes_again():
        for _ in range(3):
            with goes_in(place, said_by(1, 3)) as one:
                assert messages.receive(one, 30) == {"welcome": 1}
        one = comes(place, 1)
        return beside(one, comes(place, 2))

    first, others = beside(zero(place), comes_again)
    assert all_met(first, *others)


def test_a_number_is_one_process_s(place):
    place = place._replace(count=3)

    def comes_twice():
        with goes_in(place, said_by(1, 3)) as first:
            assert messages.receive(first, 30) == {"welcome": 1}
            again = beside(comes(place, 1))
            return [str(*again), messages.receive(first, 30)["refused"]]

    ours, its = beside(zero(place), comes_twice)
    line = "runtime.hosts must have another NUMBER for each process, got 1 twice"
    assert [type(ours), str(ours), *its] == [ConfigError, line, line, line]


def test_when_process_0_goes_the_others_may_be_typed_again(place):
    """As a loop does that types a line again on 75."""

    def goes():
        with socket.create_server((place.address, place.port)) as waiting:
            one, _ = waiting.accept()
            assert messages.receive(one, 30)["number"] == 1
            messages.send(one, {"welcome": 1})
            one.close()

    _, error = beside(goes, comes(place, 1))
    assert isinstance(error, AbsentError)
    assert str(error) == f"process 0, at {place.at}, has ended while it waited for others"


def test_what_is_no_process_0_yet_is_waited_for(place):
    """A former one that is leaving has its port, and takes nobody in."""
    asked = []

    def former_and_new():
        with socket.create_server((place.address, place.port)) as waiting:
            while len(asked) < 6:
                one, _ = waiting.accept()
                asked.append(messages.receive(one, 30))
                one.close()
        return zero(place)()

    assert all_met(*beside(former_and_new, comes(place, 1)))
    assert asked == [said_by(1)] * 6


def test_a_host_that_is_not_known_yet_is_waited_for(place, monkeypatch):
    known, asked = socket.getaddrinfo, []

    def lookup(host, *more, **how):
        if host == "later.invalid" and asked.append(host) is None and len(asked) < 4:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known(place.address if host == "later.invalid" else host, *more, **how)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    later = place._replace(address="later.invalid")
    assert all_met(*beside(zero(place), comes(later, 1)))
    assert len(asked) == 4


def test_nobody_is_waited_for_for_ever(capsys, monkeypatch, place):
    monkeypatch.setattr(arriving, "SAYING", 0.5)
    place = place._replace(count=3)
    with pytest.raises(AbsentError, match=r"process 1 of 3 has not come to 127.0.0.1:\d+ within"):
        zero(place, 1)()
    assert capsys.readouterr().err.startswith("esrun: waiting: process 1 of 3 has not come")
    with pytest.raises(AbsentError, match=r"process 0 does not answer at 127.0.0.1:\d+ .*refused"):
        comes(place, 1, 1)()


def test_whoever_waits_in_vain_may_be_typed_again(typed, monkeypatch, tmp_path):
    monkeypatch.setattr(meeting, "PATIENCE", 0.5)
    for number in (0, 1):
        done = typed("task=sphere", f"runtime.hosts=127.0.0.1:{free_port()}/{number}/2")
        assert (done.returncode, done.stderr.count("\n")) == (75, 1), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_address_is_a_machine_s_own(place):
    for address, wrong in (("192.0.2.1", "assign"), ("no-such-host.invalid", "")):
        with pytest.raises(ConfigError, match=f"process 0's own machine and a free port.*{wrong}"):
            zero(place._replace(address=address))()
    with pytest.raises(ConfigError, match="must name a host"):
        comes(place._replace(address=f"{'a' * 64}.invalid"), 1)()


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


ELSEWHERE = "# @package _global_\nruntime: {hosts: '127.0.0.1:4711/0/2'}\n"


@pytest.mark.parametrize("words", [["runtime.hosts=127.0.0.1:4711/0/2"], ["experiment=mine"]])
def test_a_sweep_is_no_run_of_several_hosts(typed, tmp_path, words):
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text(ELSEWHERE)
    done = typed("-m", "--config-dir=conf", "task=sphere", "seed=0,1", *words)
    assert (done.returncode, "runtime.hosts is for one run" in done.stderr) == (2, True)
    assert not (tmp_path / "multirun").exists()


@pytest.mark.parametrize("signs", ["", "+", "++"])
def test_a_run_is_gone_on_with_by_several_hosts_however_that_is_typed(typed, signs):
    done = typed("resume", "run", f"{signs}runtime.hosts=here")
    assert (done.returncode, "ADDRESS:PORT/NUMBER/COUNT, got here" in done.stderr) == (2, True)


def test_an_address_with_colons_has_a_remedy_that_can_be_read(typed):
    done = typed("task=sphere", "runtime.hosts=[::1]:4711/0/2")
    assert done.returncode == 2
    assert done.stderr.endswith(""": write 'runtime.hosts="[::1]:4711/0/2"'\n""")


def test_a_module_of_the_user_s_own_is_told_from_another(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(imports, "_ALLOWED", ["ponds", "deep.inside", "missing", "missing.more"])
    (tmp_path / "deep").mkdir()
    found = []
    for content in ("raise ValueError", "raise ValueError", "raise KeyError"):
        for file in ("ponds.py", "deep/__init__.py", "deep/inside.py"):
            (tmp_path / file).write_text(content)
        found.append(imports.digests())
    assert found[0] == found[1]
    assert [found[0][x] == found[2][x] for x in imports.allowed()] == [False, False, True, True]
    assert found[0]["missing"] == found[0]["missing.more"] == "no file"
    assert same.everywhere()["--import ponds"] == found[2]["ponds"]


def test_packages_that_the_options_need_are_compared(both):
    config = checked(composed(["task=bbob"]).config)
    assert packages_of(config) == ["bbobax"]
    assert packages_of(checked(composed(["task=sphere"]).config)) == []
    have = [{"bbobax": "0.2.3", "mujoco": "3.1"}, {"bbobax": "0.2.4"}]
    told = beside(*(lambda x=x: x.everyone("versions", have[x.number]) for x in both))
    assert told == [have, have]
    same.refuse_other_versions([have[0], {"mujoco": "3.1"}, {}])
    line = "all hosts must have the same bbobax, got 0.2.3 and, of process 1, 0.2.4"
    with pytest.raises(ConfigError, match=line):
        same.refuse_other_versions(told[0])


def test_what_all_need_is_compared_before_jax_starts():
    assert {"esrun", "jax", "jaxlib", "numpy", "gymnax", "gymnasium"} <= {*same.everywhere()}


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
