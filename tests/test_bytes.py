"""The language model of bytes: entropies, windows and streams by hand, networks in NumPy."""

import json
from collections import Counter
from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tree
from defaults import make_policy

import esrun
from esrun import numpy_policy
from esrun.results.readings import COLUMNS, HEIGHT, WIDTH, placed, text_frames
from esrun.tasks import normalizer, texts
from esrun.tasks.bytes import PROMPT, SAMPLE, Read, make_bytes
from esrun.types import Policy

pytestmark = pytest.mark.usefixtures("quick_to_compile")

READING = {"validation": 0.25, "streams": 3, "sequence_length": 5}
TASK = {"file": "text", **READING, "batch_size": 4, "episodes": 2}


SHORT = [
    "task=bytes", "task.file=text", "task.streams=5", "task.sequence_length=4", "task.batch_size=3",
    "policy=rnn", "policy.hidden=[3]", "strategy=eggroll", "strategy.population_size=6",
]  # fmt: skip


def written(folder, length=600, values=9):
    """-> a file of bytes, each of which depends on the one before."""
    random, content = np.random.default_rng(1), [0]
    for step in random.geometric(0.5, length - 1):
        content.append((3 * content[-1] + int(step)) % values)
    (folder / "text").write_bytes(bytes(65 + 20 * x for x in content[:length]))
    return folder / "text"


@pytest.fixture
def text(tmp_path):
    return texts.read(file=str(written(tmp_path)), **READING)


@pytest.fixture
def task(text):
    return make_bytes(**TASK, data=jax.tree.map(jnp.asarray, text))


# ---- the file ------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [600, 601, 602, 605, 607])
def test_every_byte_of_the_last_part_is_predicted_once_given_the_one_before(tmp_path, length):
    path = written(tmp_path, length)
    content = path.read_bytes()
    read = texts.read(file=str(path), **READING)
    begin = length - round(length / 4)
    assert bytes(read.train) == content[:begin]
    predicted = b"".join(bytes(x[1:]) for x in read.streams)
    assert content[begin:].startswith(predicted)
    assert length - begin - len(predicted) < 3  # what is left out
    assert b"".join(bytes(x[:-1]) for x in read.streams) == content[begin - 1 :][: len(predicted)]


def test_entropies_are_those_of_counts_that_begin_at_one(tmp_path, text):
    content = written(tmp_path).read_bytes()
    train, rest = content[:450], content[450:]
    single = Counter(train)
    ones = [-np.log2((single[x] + 1) / (450 + 256)) for x in rest]
    pairs, first = Counter(pairwise(train)), Counter(train[:-1])
    before = content[449:-1]
    twos = [
        -np.log2((pairs[a, b] + 1) / (first[a] + 256)) for a, b in zip(before, rest, strict=True)
    ]
    np.testing.assert_allclose(text.unigram, np.reshape(ones, (3, 50)).mean(1))
    np.testing.assert_allclose(text.bigram, np.reshape(twos, (3, 50)).mean(1))
    np.testing.assert_allclose(np.mean(text.bigram), np.mean(twos))


# ---- what a policy is scored by ------------------------------------------------------------------


def table(text):
    """-> a feed-forward policy whose weights are the logarithms of the training part's pairs."""
    count = np.ones((256, 256))
    np.add.at(count, (text.train[:-1], text.train[1:]), 1)
    policy = make_policy("linear", input_shape=(256,), output_size=256)
    return policy, {"linear": {"w": np.log(count / count.sum(1, keepdims=True))}}


def members_of(*params):
    return jax.tree.map(lambda *x: jnp.stack([jnp.asarray(y, float) for y in x]), *params)


def test_a_table_of_pairs_has_the_entropy_of_pairs(text, task):
    policy, params = table(text)
    flat = jax.tree.map(np.zeros_like, params)
    seen = task.validation.evaluate(jnp.arange(4), policy, members_of(params, flat), None)
    np.testing.assert_allclose(seen.returns[0, :3], -text.bigram, rtol=1e-5)
    np.testing.assert_allclose(seen.returns[1], -8, rtol=1e-6)  # all bytes alike
    for name in ("unigram", "bigram"):
        np.testing.assert_allclose(seen.measures[name][:, :3], [getattr(text, name)] * 2, rtol=1e-6)


def gru_by_hand(params, stream):
    """-> the mean bits of a stream's bytes but the first, under a GRU and a linear layer."""
    w_i, w_h, b = (params["gru"][name] for name in ("w_i", "w_h", "b"))
    k = len(w_h)
    h, bits = np.zeros(k), []
    for before, byte in pairwise(stream):
        z, r = (
            1 / (1 + np.exp(-(w_i[before] + h @ w_h + b)[i * k : (i + 1) * k])) for i in range(2)
        )
        a = np.tanh(w_i[before, 2 * k :] + (r * h) @ w_h[:, 2 * k :] + b[2 * k :])
        h = (1 - z) * h + z * a
        said = h @ params["linear"]["w"] + params["linear"]["b"]
        bits.append(np.log2(np.exp(said).sum()) - said[byte] / np.log(2))
    return np.mean(bits)


def windows_of(keys, train):
    """-> the windows [e, 4, 6] of episodes, drawn with the task's key scheme."""
    starts = [np.asarray(jax.random.randint(key, (4,), 0, len(train) - 5)) for key in keys]
    return np.stack([[train[i : i + 6] for i in own] for own in starts])


gru = partial(make_policy, "rnn", input_shape=(256,), output_size=256, hidden=[4])


def random_members(policy, count):
    params, random = policy.init(jax.random.key(0)), np.random.default_rng(2)
    return [jax.tree.map(lambda x: random.normal(size=x.shape), params) for _ in range(count)]


def test_returns_are_minus_the_mean_bits_of_a_network_in_numpy(keys, text, task):
    members = random_members(gru(), 2)
    seen = task.evaluate(keys(2), gru(), members_of(*members), None)
    windows = windows_of(keys(2), text.train)
    expected = [[-np.mean([gru_by_hand(x, w) for w in own]) for own in windows] for x in members]
    np.testing.assert_allclose(seen.returns, expected, rtol=1e-4)
    assert seen.steps.tolist() == [40, 40] == [task.steps] * 2
    held_out = task.validation.evaluate(jnp.arange(3), gru(), members_of(*members), None)
    expected = [[-gru_by_hand(x, stream) for stream in text.streams] for x in members]
    np.testing.assert_allclose(held_out.returns, expected, rtol=1e-4)


def test_windows_reach_from_the_first_byte_to_the_last_of_the_training_part(keys):
    data = texts.Text(jnp.arange(8).astype(jnp.uint8), *(jnp.zeros((2, 2)),) * 3)
    task = make_bytes(**TASK | {"batch_size": 64}, data=data)
    policy = make_policy("linear", input_shape=(256,), output_size=256)
    members = {"linear": {"w": 1000 * jnp.roll(jnp.eye(256), 1, 1)[None]}}  # one more comes next
    seen = task.evaluate(keys(1), policy, members, normalizer.fresh((256,)))
    np.testing.assert_allclose(seen.returns, 0, atol=1e-6)
    read = np.asarray(seen.inputs.first[0])
    assert (read[:7] > 0).all()  # 6 is read by the windows that end with 7 alone
    assert (read[7:] == 0).all()


def test_a_policy_that_looks_nothing_up_is_shown_the_vector(keys, text, task):
    policy, params = table(text)
    plain = Policy(policy.init, policy.initial_carry, lambda w, _, x: (x.reshape(256) @ w, ()))
    members = members_of(params)
    one = task.evaluate(keys(2), policy, members, None)
    other = task.evaluate(keys(2), plain, members["linear"]["w"], None)
    np.testing.assert_allclose(one.returns, other.returns, rtol=1e-5)


def test_inputs_are_normalised_and_summed_up(keys, text, task):
    moments = normalizer.fresh((256,))._replace(mean=jnp.full(256, 0.25))
    policy, params = table(text)
    seen = task.evaluate(keys(2), policy, members_of(params), moments)
    w, windows = params["linear"]["w"], windows_of(keys(2), text.train)
    said = w[windows[..., :-1]] - 0.25 * w.sum(0)
    right = np.take_along_axis(said, windows[..., 1:, None].astype(int), -1)[..., 0]
    bits = (np.log(np.exp(said).sum(-1)) - right) / np.log(2)
    np.testing.assert_allclose(seen.returns, [-bits.mean((1, 2))], rtol=1e-4)
    first = np.bincount(windows[..., :-1].ravel(), minlength=256) - 40 * 0.25
    np.testing.assert_allclose(seen.inputs.first[0], first, atol=1e-4)
    assert seen.inputs.count.tolist() == [40]


# ---- pictures ------------------------------------------------------------------------------------


def test_what_is_watched_is_what_is_scored_and_a_sample_that_goes_on(text, task):
    policy, (params,) = gru(), random_members(gru(), 1)
    member = jax.tree.map(lambda x: jnp.asarray(x, float), params)
    seen = task.watch(jnp.arange(3), policy, member, None, jnp.arange(2))
    scored = task.validation.evaluate(jnp.arange(3), policy, members_of(params), None)
    np.testing.assert_allclose(seen.returns, scored.returns[0, :2], rtol=1e-5)
    np.testing.assert_allclose(-seen.bits.mean(1), seen.returns, rtol=1e-5)
    np.testing.assert_array_equal(seen.bytes, text.streams[:2])
    assert len({bytes(x) for x in np.asarray(seen.sample)}) == 2  # another one for each stream
    again = task.watch(jnp.arange(3), policy, member, None, jnp.arange(2))
    np.testing.assert_array_equal(seen.sample, again.sample)


def test_a_sample_begins_behind_the_last_byte_of_the_prompt():
    count = PROMPT + 40
    stream = jnp.arange(count + 1).astype(jnp.uint8)[None]
    data = texts.Text(stream[0], jnp.repeat(stream, 2, 0), jnp.zeros(2), jnp.zeros(2))
    task = make_bytes(**TASK, data=data)
    w = 1000 * jnp.roll(jnp.eye(256), 1, 1)  # the next byte is the one before, and one
    policy = make_policy("linear", input_shape=(256,), output_size=256)
    seen = task.watch(jnp.arange(2), policy, {"linear": {"w": w}}, None, jnp.arange(1))
    np.testing.assert_array_equal(seen.sample[0], (PROMPT + 1 + np.arange(SAMPLE)) % 256)
    np.testing.assert_allclose(seen.bits, 0, atol=1e-6)


def test_the_interface_is_a_byte_in_and_logits_out(task):
    np.testing.assert_array_equal(task.interface.encode(jnp.uint8(7)), np.eye(256)[7])
    np.testing.assert_array_equal(task.interface.decode(np.arange(256.0)), np.arange(256))


def test_letters_lie_in_lines_that_end_where_the_text_has_it_or_there_is_no_room():
    text = np.frombuffer(b"ab\n\n" + b"c" * (COLUMNS + 1), np.uint8)
    places = [place for _, *place in placed(text)]
    assert places[:4] == [[0, 0], [0, 1], [0, 2], [1, 0]]
    assert places[4:] == [[2, i] for i in range(COLUMNS)] + [[3, 0]]


def test_a_byte_is_the_redder_the_more_it_cost():
    count, bits = 60, np.linspace(0, 12, 60)[None]
    text = np.full((1, count + 1), ord(" "), np.uint8)
    picture, (caption,) = text_frames(Read(text, bits, text[:, :0], np.array([-3.25])))
    pixels = picture(0).astype(int)
    cells = np.array([pixels[row * HEIGHT, column * WIDTH] for _, row, column in placed(text[0])])
    blue = cells[:count, 2]
    assert blue[0] == 255
    assert (np.diff(blue[bits[0] < 8]) < 0).all()
    assert set(blue[bits[0] >= 8]) == {0}
    assert "3.25 bits a byte" in caption


# ---- whole runs ----------------------------------------------------------------------------------


def test_a_run_goes_on_is_scored_again_shown_and_loaded(in_process, tmp_path):
    path = written(tmp_path)
    code, *said = in_process(*SHORT, "generations=3", "hydra.run.dir=run", "runtime.devices=1")
    assert code == 0, said
    code, *said = in_process("resume", "run", "generations=5", "runtime.devices=2")
    assert code == 0, said
    code, *said = in_process(*SHORT, "generations=5", "hydra.run.dir=other", "runtime.devices=2")
    assert code == 0, said
    files = ["policy.safetensors", "policy_best.safetensors"]
    run, other = ([(tmp_path / name / x).read_bytes() for x in files] for name in ("run", "other"))
    assert run == other

    scored = json.loads((tmp_path / "run" / "summary.json").read_text())["eval"]
    read = texts.read(file=str(path), validation=0.1, streams=5, sequence_length=4)
    assert scored["episodes"] == 5
    for name in ("unigram", "bigram"):
        assert scored[name] == pytest.approx(np.mean(getattr(read, name)), rel=1e-6)
    code, said, _ = in_process("eval", "run", "--json")
    (row,) = json.loads(said)
    assert {key: row[key] for key in scored} == scored
    code, said, _ = in_process("eval", "run", "--best")
    assert (code, "and these are of it too" in said) == (0, True)
    assert "others (seed" not in said
    by_hand = {"gru": {}, "linear": {}}
    policies = esrun.load(tmp_path / "run"), numpy_policy.load(tmp_path / "run")
    for name, x in policies[1].params.items():
        module, leaf = name.split("/")
        by_hand[module][leaf] = x
    expected = [gru_by_hand(by_hand, stream) for stream in read.streams]
    assert scored["mean"] == pytest.approx(-np.mean(expected), rel=1e-4)
    carries: list = [None, None]
    for byte in read.streams[0][:6]:
        logits = []
        for i, policy in enumerate(policies):
            output, carries[i] = policy(byte, carries[i])
            logits.append(output)
        np.testing.assert_allclose(*logits, rtol=1e-4, atol=1e-5)
    assert logits[0].shape == (256,)
    for wrong in (b"R", "R", 300, -1, 1.5, None, np.array([1, 2])):
        for policy in policies:
            with pytest.raises(ValueError, match="a whole number from 0 to 255, got") as error:
                policy(wrong)
            assert "\n" not in str(error.value)

    code, *said = in_process("render", "run")
    assert code == 0, said
    assert (tmp_path / "run" / "render.png").stat().st_size > 1000

    path.write_bytes(path.read_bytes()[::-1])
    before = tree(tmp_path)
    code, _, complaint = in_process("resume", "run", "generations=7")
    assert code == 2
    assert "put the same files back" in complaint
    assert len(complaint.splitlines()) == 1
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("task.file=nowhere", "got nowhere: it is not there"),
        ("task.file=folder", "folder is a folder, not a plain file"),
        ("task.file=empty", "task.file must be longer"),
        ("task.file=short", "task.file must be longer"),
        ("task.file=null", "task.file must be a string"),
        ("task.file=", "task.file must"),
        ("task.streams=1", "task.streams must be"),
        ("task.validation=1.0", "task.validation must be"),
        ("task.sequence_length=540", "got text with 540: write task.sequence_length=539"),
        ("task.streams=61", "got text with 60: write task.streams=60"),
        ("task.validation=0.001", "write task.streams=2, a larger task.validation"),
        ("policy=cnn", "policy=cnn needs"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_leaves_nothing(in_process, tmp_path, word, line):
    written(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "short").write_bytes(b"to be")
    before = tree(tmp_path)
    code, _, complaint = in_process(*SHORT[:-1], word, "hydra.run.dir=run")
    assert code == 2
    assert line in complaint
    assert len(complaint.splitlines()) == 1
    assert tree(tmp_path) == before
