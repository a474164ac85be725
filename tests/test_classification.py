"""Classification: returns by hand, minibatches that all members share, three parts, every verb."""

import functools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import quickly
from safetensors.numpy import load_file

from esrun import load, numpy_policy
from esrun.results.answers import confusion, order
from esrun.results.evaluation import Evaluator
from esrun.results.subjects import of_run
from esrun.results.where import config_of, run_folder
from esrun.tasks import datasets, normalizer
from esrun.tasks.classification import Classified, make_classification, minibatch
from esrun.tasks.datasets import Data, Examples, read
from esrun.types import Policy

pytestmark = pytest.mark.usefixtures("quick_to_compile")

SPLIT = {"validation": 0.2, "test": 0.2, "split_seed": 0}
DIGITS = read(dataset="digits", file=None, **SPLIT)
OPTIONS = {
    "dataset": "digits",
    "file": None,
    **SPLIT,
    "batch_size": 32,
    "fitness": "cross_entropy",
    "episodes": 2,
}
LINEAR = Policy(
    lambda key: None, lambda: (), lambda w, carry, x: (jnp.ravel(x) @ w.reshape(64, 10), carry)
)
TRAINED = ["task=digits", "policy.hidden=[4]", "strategy=openai_es", "strategy.population_size=8"]
SHORT = [*TRAINED, "task.batch_size=16", "generations=3"]


def made(**changes):
    data = jax.tree.map(jnp.asarray, DIGITS)
    return make_classification(**OPTIONS | {"data": data} | changes)


def drawn(key, size):
    """-> a minibatch, as NumPy's arrays."""
    return jax.tree.map(np.asarray, minibatch(key, jax.tree.map(jnp.asarray, DIGITS.train), size))


def weights(count):
    return np.random.default_rng(0).normal(size=(count, 640)).astype(np.float32)


def by_hand(examples, w):
    """-> (cross-entropy, right) of each picture in float64."""
    x = np.asarray(examples.pictures, np.float64).reshape(-1, 64) / 16
    said = x @ w.reshape(64, 10).astype(np.float64)
    labels = np.asarray(examples.labels)
    exponent = np.exp(said - said.max(1, keepdims=True))
    own = said[np.arange(len(said)), labels] - said.max(1)
    return np.log(exponent.sum(1)) - own, said.argmax(1) == labels


@pytest.mark.parametrize("fitness", ["cross_entropy", "accuracy"])
def test_returns_are_those_of_minibatches_that_all_members_see(keys, fitness):
    w = weights(3)
    seen = made(fitness=fitness).evaluate(keys(2), LINEAR, jnp.asarray(w), None)
    for e, key in enumerate(keys(2)):
        batch = drawn(key, 32)
        for m in range(3):
            loss, right = by_hand(batch, w[m])
            np.testing.assert_allclose(seen.measures["cross_entropy"][m, e], loss.mean(), rtol=1e-5)
            np.testing.assert_allclose(seen.measures["accuracy"][m, e], right.mean(), rtol=1e-6)
            told = -loss.mean() if fitness == "cross_entropy" else right.mean()
            np.testing.assert_allclose(seen.returns[m, e], told, rtol=1e-5)
    assert seen.steps.tolist() == [64] * 3


def test_a_minibatch_is_of_the_training_part_and_another_one_for_each_key(keys):
    known = {x.tobytes() for x in DIGITS.train.pictures}
    batches = [drawn(key, 32).pictures for key in keys(2)]
    assert {x.tobytes() for batch in batches for x in batch} <= known
    assert not np.array_equal(*batches)


def test_without_a_size_a_minibatch_is_the_whole_training_part(keys):
    whole = made(batch_size=None, episodes=1)
    seen = whole.evaluate(keys(1), LINEAR, jnp.asarray(weights(1)), None)
    loss, _ = by_hand(DIGITS.train, weights(1)[0])
    np.testing.assert_allclose(seen.returns[0, 0], -loss.mean(), rtol=1e-5)
    assert whole.steps == 1077


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_held_out_part_is_scored_picture_by_picture(part):
    w, examples = weights(2), getattr(DIGITS, part)
    held_out = getattr(made(), part)
    assert held_out.size == 360
    numbers = jnp.arange(358, 363)  # three of them are padding
    seen = held_out.evaluate(numbers, LINEAR, jnp.asarray(w), None)
    for m in range(2):
        loss, right = by_hand(Examples(*(x[358:] for x in examples)), w[m])
        np.testing.assert_allclose(seen.returns[m, :2], -loss, rtol=1e-4)
        np.testing.assert_array_equal(seen.measures["accuracy"][m, :2], right)


def test_the_normalizer_sees_the_minibatch_once_for_each_member(keys):
    moments = normalizer.fresh((8, 8, 1))
    seen = made().evaluate(keys(2), LINEAR, jnp.asarray(weights(3)), moments)
    batches = [drawn(key, 32).pictures / 16 for key in keys(2)]
    assert seen.inputs.count.tolist() == [64.0] * 3
    for m in range(3):
        np.testing.assert_allclose(seen.inputs.first[m], np.concatenate(batches).sum(0), rtol=1e-4)


def test_a_constant_answer_gets_the_share_of_its_class(keys):
    constant = Policy(lambda key: None, lambda: (), lambda w, carry, x: (w, carry))
    answers = jnp.asarray(np.eye(10), float)
    seen = made().validation.evaluate(jnp.arange(360), constant, answers, None)
    share = np.bincount(DIGITS.validation.labels) / 360
    np.testing.assert_allclose(np.mean(seen.measures["accuracy"], 1), share, rtol=1e-6)


@pytest.fixture
def trained(in_process, tmp_path):
    def run(*words, name="run"):
        code, *said = in_process(*SHORT, *words, f"hydra.run.dir={name}")
        assert code == 0, said
        return tmp_path / name, said

    return run


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text())


def parameters(folder):
    """-> the bytes of each tensor of the policy."""
    return {name: x.tobytes() for name, x in load_file(folder / "policy.safetensors").items()}


def test_a_run_is_scored_by_validation_and_at_the_end_by_test(trained, in_process):
    folder, (said, _) = trained()
    summary = summary_of(folder)
    assert summary["eval"]["episodes"] == summary["test"]["episodes"] == 360
    policy = numpy_policy.load(folder)
    for part in ("validation", "test"):
        examples = getattr(DIGITS, part)
        answers = [policy(x)[0] for x in examples.pictures]
        told = summary["eval" if part == "validation" else "test"]["accuracy"]
        assert np.mean(answers == examples.labels) == pytest.approx(told)
        flags = ["--test"] if part == "test" else []
        _, rows, _ = in_process("eval", "run", "--json", *flags)
        (row,) = json.loads(rows)
        assert (row["part"], row["accuracy"]) == (part, pytest.approx(told))
    assert " test " in said
    jax_policy = load(folder)
    assert jax_policy(DIGITS.test.pictures[0])[0] == answers[0]
    _, rows, _ = in_process("eval", "run", "--json", "--best")
    assert json.loads(rows)[0]["part"] == "test"  # validation has chosen it


def test_training_never_sees_the_other_parts(trained, monkeypatch):
    """Other pictures there, and the parameters are the same to the bit."""
    folder, _ = trained()
    hostile = Examples(255 - DIGITS.test.pictures, 9 - DIGITS.test.labels)
    changed = Data(DIGITS.train, hostile, hostile)
    monkeypatch.setattr("esrun.tasks.datasets.read", lambda **_: changed)
    other, _ = trained(name="other")
    assert parameters(other) == parameters(folder)
    assert summary_of(other)["eval"] != summary_of(folder)["eval"]


@pytest.mark.parametrize("verb", quickly(["resume", "eval", "render"], "resume"))
def test_other_data_are_refused_wherever_a_run_reads_them_again(
    trained, in_process, monkeypatch, verb
):
    folder, _ = trained()
    more = (verb, "run", *(["generations=5"] if verb == "resume" else []))
    changed = DIGITS._replace(test=DIGITS.validation)
    with monkeypatch.context() as patched:
        patched.setattr("esrun.tasks.datasets.read", lambda **_: changed)
        code, _, complaint = in_process(*more)
    assert code == 2
    assert "the data must be those that run began with" in complaint
    assert complaint.count("\n") == 1
    assert in_process(*more)[0] == 0
    assert summary_of(folder)["generations"] == (5 if verb == "resume" else 3)


def test_a_job_of_a_sweep_is_refused_on_other_data_than_its_siblings(
    in_process, tmp_path, monkeypatch
):
    words = (*SHORT, "-m", "seed=0,1", "hydra.sweep.dir=sweep")
    assert in_process(*words)[0] == 0
    for again in (words, ("resume", "sweep")):
        shutil.rmtree(tmp_path / "sweep" / "1")
        changed = DIGITS._replace(test=DIGITS.validation)
        with monkeypatch.context() as patched:
            patched.setattr("esrun.tasks.datasets.read", read_of(changed))
            code, _, complaint = in_process(*again)
        assert code == 2
        assert "the data must be those that sweep/0 began with" in complaint
        assert complaint.count("\n") == 1
        assert not (tmp_path / "sweep" / "1").exists()
        assert in_process(*again)[0] == 0
    code, *said = in_process(*words, "task.split_seed=1")  # another task reads what it likes
    assert code == 0, said


def read_of(data):
    """-> a reader that asks for what the real one does."""

    @functools.wraps(datasets.read)
    def read(**_):
        return data

    return read


def test_data_that_have_been_moved_are_named_again(in_process, tmp_path):
    from test_datasets import write_npz

    words = ["task=mnist", "task.file=data.npz", "task.validation=0.25", *SHORT[1:]]
    write_npz(tmp_path, "mnist")
    assert in_process(*words, "hydra.run.dir=run")[0] == 0
    assert in_process(*words, "hydra.run.dir=stayed", "generations=5")[0] == 0
    (tmp_path / "there").mkdir()
    (tmp_path / "data.npz").rename(tmp_path / "there" / "other.npz")
    code, _, complaint = in_process("resume", "run", "generations=5")
    assert (code, "it is not there: write task.file=PATH" in complaint) == (2, True)
    now = "task.file=there/other.npz"
    for command in (["resume", "run", "generations=5"], ["eval", "run"], ["render", "run"]):
        code, *said = in_process(*command, now)
        assert code == 0, said
    assert parameters(tmp_path / "run") == parameters(tmp_path / "stayed")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["config"]["task"]["file"] == "data.npz"  # what the run is stays what it was
    write_npz(tmp_path, "cifar10")
    code, _, complaint = in_process("eval", "run", "task.file=data.npz")
    assert (code, "holds no mnist" in complaint) == (2, True)


def test_what_fails_on_the_test_part_loses_nothing(in_process, tmp_path, monkeypatch):
    def fails(built, outcome):
        raise RuntimeError("no room")

    with monkeypatch.context() as patched:
        patched.setattr("esrun.runs.ending.tested", fails)
        code, _, complaint = in_process(*SHORT, "hydra.run.dir=run")
    summary = summary_of(tmp_path / "run")
    assert (code, summary["status"]) == (1, "failed")
    assert summary["eval"]["episodes"] == 360
    assert summary["stop_reason"] == "the test part could not be scored: RuntimeError: no room"
    assert "esrun resume run scores it again" in complaint
    before = parameters(tmp_path / "run")
    assert in_process("resume", "run")[0] == 0
    assert summary_of(tmp_path / "run")["test"]["episodes"] == 360
    assert parameters(tmp_path / "run") == before


@pytest.mark.parametrize("flags", [["--seed", "3"], ["--episodes", "9"]])
def test_there_are_no_other_held_out_examples(trained, in_process, flags):
    trained()
    code, _, complaint = in_process("eval", "run", *flags)
    assert code == 2
    assert f"leave out {flags[0]}" in complaint
    assert in_process("render", "run", *flags)[0::2] == (2, complaint)


def test_a_policy_is_loaded_where_its_data_are_not(in_process, tmp_path):
    from test_datasets import write_npz

    where = write_npz(tmp_path, "mnist")
    words = ["task=mnist", f"task.file={where}", "task.validation=0.25", *SHORT[1:]]
    code, *said = in_process(*words, "hydra.run.dir=run")
    assert code == 0, said
    where.unlink()
    policy = load(tmp_path / "run")
    assert 0 <= int(policy(np.zeros((28, 28), np.uint8))[0]) < 10
    assert jax.vmap(policy)(np.zeros((3, 28, 28), np.uint8))[0].shape == (3,)
    for wrong in (np.zeros((3, 28, 28)), np.zeros((1, 28, 28)), np.zeros(784), "picture", None):
        for one in (policy, numpy_policy.load(tmp_path / "run")):
            with pytest.raises(ValueError, match=r"numbers of the shape \[28, 28, 1\]") as error:
                one(wrong)
            assert "\n" not in str(error.value)
    code, _, complaint = in_process("eval", "run")
    assert (code, "it is not there" in complaint) == (2, True)


def test_a_task_without_data_has_no_test_part(in_process):
    words = ["task=cartpole", "task.episode_length=9", *TRAINED[1:], "generations=1"]
    assert in_process(*words, "eval.episodes=2", "hydra.run.dir=run")[0] == 0
    code, _, complaint = in_process("eval", "run", "--test")
    assert (code, "has no test part" in complaint) == (2, True)


def test_the_picture_is_of_what_eval_scores(trained, in_process, tmp_path):
    folder, _ = trained()
    assert in_process("render", "run")[:2] == (0, "run/render.png\n")
    assert in_process("render", "run", "-o", "x.gif")[0] == 0
    assert (folder / "render.png").read_bytes().startswith(b"\x89PNG")
    own = config_of(run_folder(folder), None)
    evaluator = Evaluator(own)
    seen = evaluator.watching(1)(of_run(run_folder(folder), evaluator, best=False), 0)
    table = confusion(seen, 10)
    assert table.sum() == 360
    assert np.trace(table) / 360 == pytest.approx(summary_of(folder)["eval"]["accuracy"])
    assert np.mean(seen.returns) == pytest.approx(summary_of(folder)["eval"]["mean"], rel=1e-5)


def test_wrong_answers_come_first_the_surest_at_their_head():
    said = np.log([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.45, 0.55], [0.7, 0.3]])
    seen = Classified(np.zeros((5, 8, 8, 1)), np.array([0, 0, 0, 1, 0]), said, np.zeros(5))
    assert order(seen).tolist() == [2, 1, 3, 4, 0]
    assert confusion(seen, 2).tolist() == [[2, 2], [0, 1]]


def test_an_output_that_is_no_number_is_drawn_too(trained):
    seen = Classified(
        np.zeros((2, 8, 8, 1)), np.array([0, 1]), np.array([[np.nan, 1.0], [-np.inf, np.inf]]),
        np.zeros(2),
    )  # fmt: skip
    with np.errstate(all="ignore"):
        assert sorted(order(seen).tolist()) == [0, 1]


REFUSED = {
    "a file for the digits": (["task=digits", "task.file=x"], "task.file must be null"),
    "no file": (["task=mnist"], "task.file"),
    "null for a file": (["task=mnist", "task.file=null"], "write task.file=PATH"),
    "no such file": (["task=mnist", "task.file=nowhere"], "it is not there"),
    "a test share": (["task=mnist", "task.file=.", "task.test=0.2"],
                     "got 0.2: write task.test=null"),
    "nothing left": (["task=digits", "task.test=0.8"], "leave some for training"),
    "several whole batches": (
        ["task=digits", "task.batch_size=null", "task.episodes=2"], "task.episodes must be 1"),
    "no share": (["task=digits", "task.validation=1.5"], "task.validation"),
    "too few of a class": (["task=digits", "task.validation=0.001"], "cannot be split"),
    "too few to test": (["task=digits", "task.test=0.001"], "the digits cannot be split"),
    "no name": (["task=mnist", 'task.file=""'], "task.file must be a text"),
    "an empty folder": (["task=mnist", "task.file=."], "holds no mnist"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_task_is_refused_in_one_line(in_process, tmp_path, case):
    words, why = REFUSED[case]
    code, _, complaint = in_process(*words, "generations=1", "hydra.run.dir=run")
    assert code == 2
    assert why in complaint
    assert complaint.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("devices", quickly([1, 2], 2))
def test_bits_do_not_depend_on_devices_or_chunks(trained, devices):
    words = ["policy.normalize_input=true", f"runtime.devices={devices}"]
    folder, _ = trained(*words)
    other, _ = trained(*words[:1], "runtime.devices=1", name="other")
    assert parameters(folder) == parameters(other)
    assert summary_of(folder)["eval"] == summary_of(other)["eval"]


def test_the_mean_policy_learns(in_process, tmp_path):
    words = [*TRAINED[:2], "policy.hidden=[]", "strategy=openai_es", "task.batch_size=64"]
    words += ["strategy.population_size=64", "generations=60", "hydra.run.dir=run"]
    assert in_process(*words)[0] == 0
    assert summary_of(tmp_path / "run")["test"]["accuracy"] > 0.6
