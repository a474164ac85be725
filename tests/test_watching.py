"""Watching a run's own process from here, without a cluster: what is there is in this process."""

import json

import pytest
from test_holder import begun

from esrun.backend.detached import GoneError
from esrun.errors import AbsentError, ConfigError
from esrun.runs import interrupts, watching
from esrun.runs.carried import Job
from esrun.runs.folder import Made
from esrun.runs.holder import Holder, Mirror

WORDS = ["task=sphere"]


class Ended:
    """A run that has ended, whose disk is another one."""

    again = False

    def __init__(self, content):
        """As of a Supervisor."""
        self.job_, self.asked, self.signals = Job(**json.loads(content)), [], []

    def job(self, question):
        about = {"shared": False, "again": self.again, "over": False}
        return json.dumps(self.job_._asdict() | about).encode()

    def listen(self, question):
        self.asked.append("listen")
        return json.dumps({"life": "1", "known": 1, "said": [[1, "done"]], "code": 0}).encode()

    def heard(self, question):
        self.asked.append("heard")
        return b"null"


class Cluster:
    """What is there, by its name; what is `away` does not answer."""

    def __init__(self):
        """Nothing is."""
        self.there, self.away = {}, 0

    def __call__(self, name):
        """-> one of them, as it is seen from here."""
        return Seen(self, name)

    def one(self, kind):
        return next((name for name, x in self.there.items() if isinstance(x, kind)), None)


class Seen:
    """One of a name, in the place of `Detached`."""

    def __init__(self, cluster, name):
        """`cluster`: a Cluster."""
        self._cluster, self._name = cluster, name

    def core(self, devices):
        return {}

    def find(self):
        return self._name in self._cluster.there

    def begin(self, kind, content, place):
        self._cluster.there.setdefault(self._name, kind(content))

    def ask(self, method, *contents, seconds):
        if self._cluster.away and method != "marks":
            self._cluster.away -= 1
            return None
        return self.answer(method, *contents)

    def answer(self, method, *contents):
        if not self.find():
            raise GoneError("it is gone")
        return getattr(self._cluster.there[self._name], method)(*contents)

    def end(self):
        self._cluster.there.pop(self._name, None)

    def leave(self):
        pass


class Told(interrupts.Interrupts):
    """Who has heard a signal, or none."""

    def __init__(self, name=None):
        """Of a name."""
        super().__init__()
        self.name = name


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    found = Cluster()
    monkeypatch.setattr(watching, "Detached", found)
    monkeypatch.setattr(watching, "Supervisor", Ended)
    monkeypatch.setattr(watching.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(interrupts, "own", Told())
    monkeypatch.setattr(watching, "AWAY", 0.0)
    (tmp_path / "run").mkdir()
    return found


@pytest.fixture
def drive(cluster, tmp_path):
    """-> (words, folder) -> the exit code."""

    def drive(words=WORDS, folder=tmp_path / "run"):
        return watching.driven(words, [], Made(folder), 1)

    return drive


@pytest.fixture
def files(cluster, drive, tmp_path, monkeypatch):
    """Files that the run has made elsewhere -> one of them, as it is to be here."""
    send = Mirror.send
    elsewhere = begun(tmp_path / "elsewhere")
    monkeypatch.setattr(Mirror, "send", lambda mirror: send(Mirror(elsewhere, mirror._ask)))
    return tmp_path / "run" / "metrics.jsonl"


def begins(cluster, drive, monkeypatch):
    """Have somebody begin it who is killed before the files are here."""
    with monkeypatch.context() as patch:
        patch.setattr(Mirror, "fetch", lambda mirror: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            drive()
    assert cluster.one(Ended)


def test_the_files_come_before_anything_is_given_up(cluster, drive, files, monkeypatch):
    def heard(self, question):
        assert cluster.one(Holder)
        assert files.read_bytes() == b"one\n" * 100
        return b"null"

    monkeypatch.setattr(Ended, "heard", heard)
    assert drive() == 0
    assert not cluster.there
    assert not [*files.parent.glob("*.partial")]


def test_one_whose_first_place_is_lost_before_it_is_there_has_the_files(
    cluster, drive, files, monkeypatch
):
    monkeypatch.setattr(Ended, "again", True)
    cluster.away = 3
    assert drive() == 0
    assert files.read_bytes() == b"one\n" * 100


def test_files_that_cannot_come_are_kept(cluster, drive, files, monkeypatch):
    def full(mirror):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Mirror, "fetch", full)
        with pytest.raises(AbsentError, match="run: No space left on device; they are on"):
            drive()
    assert cluster.one(Holder)
    assert cluster.there[cluster.one(Ended)].asked == ["listen"]
    assert drive() == 0
    assert files.read_bytes() == b"one\n" * 100


def test_files_do_not_come_where_somebody_works(cluster, drive, files, monkeypatch):
    monkeypatch.setattr(watching, "TURN", 0.0)
    with (
        watching.FileLock(files.parent / ".lock"),
        pytest.raises(AbsentError, match="another process works there"),
    ):
        drive()
    assert not files.exists()
    assert cluster.one(Holder)


def test_one_that_goes_while_it_is_watched_is_one_line(cluster, drive, files, monkeypatch):
    def fetch(mirror):
        raise GoneError("it has ended")

    monkeypatch.setattr(Mirror, "fetch", fetch)
    with pytest.raises(AbsentError, match="what the run had on the cluster is gone"):
        drive()


def test_an_end_that_others_have_taken_back_is_an_end(cluster, drive, files, monkeypatch):
    def heard(self, question):
        raise GoneError("it has ended")

    monkeypatch.setattr(Ended, "heard", heard)
    assert drive() == 0


def test_who_is_told_to_end_before_it_answers_ends_what_is_its_own(cluster, drive, monkeypatch):
    monkeypatch.setattr(interrupts, "own", Told("SIGINT"))
    cluster.away = 1
    assert drive() == 75
    assert not cluster.there


def test_what_somebody_else_has_begun_is_not_ended_unheard(cluster, drive, files, monkeypatch):
    begins(cluster, drive, monkeypatch)
    before = dict(cluster.there)
    monkeypatch.setattr(interrupts, "own", Told("SIGINT"))
    cluster.away = 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watching, "AWAY", 1000.0)
        with pytest.raises(ConfigError, match="is in use on the cluster"):
            drive(["task=ackley"])
    cluster.away = 3
    assert drive(["task=ackley"]) == 75
    assert cluster.there == before


def test_one_that_stays_away_is_ended_with_its_files_here(cluster, drive, files, monkeypatch):
    told = Told()
    monkeypatch.setattr(interrupts, "own", told)

    def listen(self, question):
        cluster.away, told.name = 2, "SIGTERM"
        return json.dumps({"life": "1", "known": 0, "said": [], "code": None}).encode()

    monkeypatch.setattr(Ended, "listen", listen)
    monkeypatch.setattr(Ended, "signal", lambda self, question: b"null", raising=False)
    assert drive() == 75
    assert files.read_bytes() == b"one\n" * 100
    assert not cluster.there


def test_a_folder_of_two_names_is_one(cluster, drive, files, tmp_path, monkeypatch):
    begins(cluster, drive, monkeypatch)
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with pytest.raises(ConfigError, match="is in use on the cluster"):
        drive(["task=ackley"], tmp_path / "link")


def test_one_that_is_over_makes_room(cluster, drive, files, monkeypatch):
    begins(cluster, drive, monkeypatch)
    name = cluster.one(Ended)
    cluster.there[name].job = lambda question: b'{"over": true}'
    monkeypatch.setattr(watching.time, "sleep", lambda seconds: cluster.there.pop(name, None))
    assert drive(["task=ackley"]) == 0
