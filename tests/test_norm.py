"""`policy.norm`: what stands before the activations, and the reference inputs of one of them."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import quickly
from defaults import ROLLOUT, make_policy
from jax.extend.core import jaxprs_in_params
from safetensors.numpy import load_file
from scripted import check_it_goes_on

import esrun
from esrun import numpy_policy
from esrun.config.check import checked
from esrun.config.compose import composed
from esrun.errors import ConfigError
from esrun.policies.layers import EPSILON
from esrun.runs import checkpoint
from esrun.runs.origin import begun
from esrun.runs.paths import RunFolder
from esrun.runs.policy import describe, packed, packed_mean
from esrun.tasks.environment import Environment, Step
from esrun.tasks.normalizer import normalize
from esrun.tasks.opponents import make_opponent
from esrun.tasks.references import all_referred, referred
from esrun.tasks.rollout import make_rollout
from esrun.tasks.spaces import Box, Discrete, decoding, encoding
from esrun.training.archive import parameters
from esrun.training.generation import asked, evaluated, keys_of
from esrun.training.program import TRAIN, stream
from esrun.training.stop import stop_at
from esrun.types import Moments

pytestmark = pytest.mark.usefixtures("quick_to_compile")

NORMS = ("layer", "virtual_batch")
MODULE = {"layer": "layer_norm", "virtual_batch": "virtual_batch_norm"}
K = 9
VECTOR = {"input_shape": (3,), "output_size": 2}
IMAGE = {"input_shape": (6, 5, 2), "output_size": 3}
MADE = {
    "mlp": {**VECTOR, "hidden": [5, 4], "activation": "tanh"},
    "cnn": {**IMAGE, "channels": [4, 3], "kernel": 2, "hidden": [7], "activation": "tanh"},
}
HIDDEN = {"mlp": ["linear", "linear_1"], "cnn": ["conv2_d", "conv2_d_1", "linear"]}


def made(option, norm, **changes):
    given = {**MADE[option], "init": "normal", "norm": norm, "norm_reference": K, **changes}
    return make_policy(option, **given)


def random_params(policy, seed=0):
    """-> parameters at random, those that begin at 0 or 1 too."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(policy.init, jax.random.key(0))
    return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), shapes)


def inputs_of(option, count, seed=1):
    shape = MADE[option]["input_shape"]
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)


def outputs(policy, params, references, inputs):
    given = params if references is None else referred(policy, params, references, None)
    return np.stack([policy.apply(given, (), x)[0] for x in inputs])


# ---- by hand -------------------------------------------------------------------------------------


def before(option, params, layer, x):
    """-> what comes out of a layer [k, ..., features], by NumPy's own sums."""
    w, b = params[layer]["w"], params[layer]["b"]
    if not layer.startswith("conv"):
        return x.reshape(len(x), -1) @ w + b
    rows, columns = x.shape[1] - 1, x.shape[2] - 1  # of kernels of 2 x 2
    return sum(
        np.einsum("khwi,io->khwo", x[:, i : i + rows, j : j + columns], w[i, j])
        for i in (0, 1)
        for j in (0, 1)
    ) + b  # fmt: skip


def by_hand(option, norm, params, references, inputs):
    """-> outputs: references and inputs go through the layers side by side, in float64."""
    params = jax.tree.map(lambda x: np.asarray(x, float), params)
    both = [np.asarray(references, float), np.asarray(inputs, float)]
    for number, layer in enumerate(HIDDEN[option]):
        both = [before(option, params, layer, x) for x in both]
        axes = tuple(range(both[0].ndim - 1))
        mean = [x.mean(-1, keepdims=True) for x in both]
        variance = [x.var(-1, keepdims=True) for x in both]
        if norm == "virtual_batch":
            mean, variance = [both[0].mean(axes)] * 2, [both[0].var(axes)] * 2
        own = params[MODULE[norm] + (f"_{number}" if number else "")]
        both = [
            np.tanh((x - m) / np.sqrt(v + EPSILON) * own["scale"] + own["offset"])
            for x, m, v in zip(both, mean, variance, strict=True)
        ]
    last = params["linear_2" if option == "mlp" else "linear_1"]
    return both[1].reshape(len(inputs), -1) @ last["w"] + last["b"]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("option", MADE)
def test_a_norm_is_its_formula_before_every_activation(option, norm):
    policy = made(option, norm)
    params, inputs, references = (
        random_params(policy),
        inputs_of(option, 4),
        inputs_of(option, K, 2),
    )
    given = references if norm == "virtual_batch" else None
    expected = by_hand(option, norm, params, references, inputs)
    found = outputs(policy, params, given, inputs)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("option", MADE)
def test_statistics_are_those_of_the_references_whatever_the_input(option):
    """Of two sets of them the features of the first layer come out with other means: 0 for its
    own."""
    policy = made(option, "virtual_batch")
    params, references = random_params(policy), inputs_of(option, K)
    first = referred(policy, params, references, None).statistics["virtual_batch_norm"]
    there = before(option, params, HIDDEN[option][0], references.astype(float))
    axes = tuple(range(there.ndim - 1))
    np.testing.assert_allclose(first["mean"], there.mean(axes), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(first["variance"], there.var(axes), rtol=1e-4, atol=1e-5)
    one, two = (referred(policy, params, inputs_of(option, K, x), None) for x in (1, 2))
    x = inputs_of(option, 1, 3)[0]
    assert np.abs(policy.apply(one, (), x)[0] - policy.apply(two, (), x)[0]).max() > 1e-3


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("option", MADE)
@pytest.mark.parametrize("init", quickly(["zeros", "normal"], "zeros"))
def test_constant_inputs_stay_finite(option, norm, init):
    """Neither features that are all the same nor references that do not differ are divided by 0."""
    policy = made(option, norm, init=init)
    params, shape = policy.init(jax.random.key(0)), MADE[option]["input_shape"]
    references = np.ones((K, *shape), np.float32) if norm == "virtual_batch" else None
    inputs = np.stack([np.full(shape, x, np.float32) for x in (0, 1, -3)])
    assert np.isfinite(outputs(policy, params, references, inputs)).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("option", MADE)
def test_first_weights_are_those_without_a_norm_and_each_feature_has_a_scale_and_an_offset(
    option, norm
):
    plain, own = (made(option, x).init(jax.random.key(3)) for x in (None, norm))
    for module, leaves in plain.items():
        jax.tree.map(np.testing.assert_array_equal, own[module], leaves)
    widths = [5, 4] if option == "mlp" else [4, 3, 7]
    added = {module: leaves for module, leaves in own.items() if module not in plain}
    assert [leaves["scale"].shape for leaves in added.values()] == [(x,) for x in widths]
    for leaves in added.values():
        np.testing.assert_array_equal(leaves["scale"], 1)
        np.testing.assert_array_equal(leaves["offset"], 0)


# ---- where reference inputs come from ------------------------------------------------------------


def counting(ends_at=5, **changes):
    """An environment that shows the number of the step."""

    def at(t):
        return Step(t, t[None].astype(float), jnp.zeros(()), t >= ends_at)

    step = lambda key, t, action: at(t + 1)  # noqa: E731
    environment = Environment(lambda key: at(jnp.int32(0)), step, Box((1,)), Box((1,)))
    return environment._replace(**changes)


def met(environment, count=2000, **rollout):
    task = make_rollout(environment, **ROLLOUT | rollout)
    return np.asarray(jax.jit(task.references, static_argnums=1)(jax.random.key(1), count))


@pytest.mark.parametrize("length", [20, 3])
def test_every_step_of_an_episode_is_as_likely_and_none_behind_its_end(length):
    seen = met(counting(), episode_length=length)
    steps = min(5, length)
    assert seen.shape == (2000, 1)
    share = np.bincount(seen[:, 0].astype(int), minlength=steps) / len(seen)
    np.testing.assert_allclose(share, 1 / steps, atol=0.05)  # five standard deviations


def test_at_random_every_legal_action_is_as_likely_and_no_other_is_taken():
    def at(action):
        mask = jnp.array([True, False, True, True])
        return Step(action, action, jnp.zeros(()), jnp.bool_(False), mask)

    reset = lambda key: at(jnp.int32(0))  # noqa: E731
    step = lambda key, state, action: at(action)  # noqa: E731
    seen = met(Environment(reset, step, Discrete(4), Discrete(4)), episode_length=200)
    share = seen.mean(0)  # one-hot
    np.testing.assert_allclose(share, [1 / 3, 0, 1 / 3, 1 / 3], atol=0.06)


def test_several_agents_are_all_looked_at():
    def at(t):
        return Step(t, jnp.stack([t, t + 100])[:, None], jnp.zeros(()), jnp.bool_(False))

    several = counting(reset=lambda key: at(jnp.zeros(())), agents=2)
    several = several._replace(step=lambda key, t, action: at(t + 1 + 0 * action.sum()))
    seen = met(several, episode_length=4)[:, 0]
    assert set(seen) == {0, 1, 2, 3, 100, 101, 102, 103}
    assert np.mean(seen >= 100) == pytest.approx(0.5, abs=0.06)


def test_references_of_sine_are_its_sequences(built):
    run = built("task=sine", "task.jitter=0", "policy.norm=virtual_batch", "policy.hidden=[3]")
    found = np.asarray(run.program.init(run.hyper, np.uint32(0)).references)
    length = run.config.task.sequence_length
    assert found.shape == (128, length - 1)
    # of a sine at even distances h two neighbours add up to 2 cos h times the one between them
    between = 2 * np.cos(1 / length) * found[:, 1:-1]
    np.testing.assert_allclose(found[:, :-2] + found[:, 2:], between, atol=1e-5)
    assert np.ptp(found[:, 0]) > 1.5


# ---- in training ---------------------------------------------------------------------------------

CARTPOLE = ["task=cartpole", "task.episodes=2", "task.episode_length=30", "policy.hidden=[5]",
            "policy.norm=virtual_batch", "policy.norm_reference=37", "policy.normalize_input=true",
            "eval.episodes=6", "runtime.devices=1"]  # fmt: skip
OPENAI = ["strategy=openai_es", "strategy.population_size=8"]


def inside_loops(jaxpr, inside=False):
    """-> (shape of a value, whether it is made or read in a loop's body), of all."""
    for equation in jaxpr.eqns:
        yield from ((v.aval.shape, inside) for v in (*equation.invars, *equation.outvars))
        deeper = inside or equation.primitive.name in ("while", "scan")
        for inner in jaxprs_in_params(equation.params):
            yield from inside_loops(inner, deeper)


@pytest.mark.parametrize("strategy", ["openai_es", "eggroll"])
def test_references_are_looked_at_once_and_not_in_every_step(built, strategy):
    run = built(*CARTPOLE, f"strategy={strategy}", "strategy.population_size=8")
    parts, state = run.program.parts(run.hyper), run.program.init(run.hyper, np.uint32(0))

    def fitness(state):
        drawn = keys_of(parts, stream(jnp.uint32(0), TRAIN), state.generation)
        return evaluated(parts, drawn, state, jnp.arange(8)).fitness

    sizes = [*inside_loops(jax.make_jaxpr(fitness)(state).jaxpr)]
    assert any(37 in shape for shape, inside in sizes if not inside)
    assert not any(37 in shape for shape, inside in sizes if inside)


def test_a_low_rank_perturbation_does_as_its_sum_does(built):
    words = ["task=sine", "policy.hidden=[6,5]", "policy.norm=virtual_batch", "runtime.devices=1"]
    run = built(*words, "strategy=eggroll", "strategy.population_size=8", "strategy.sigma=0.3")
    parts, state = run.program.parts(run.hyper), run.program.init(run.hyper, np.uint32(0))

    @jax.jit
    def both(state):
        drawn = keys_of(parts, stream(jnp.uint32(0), TRAIN), state.generation)
        solutions = asked(parts, drawn, state, jnp.arange(8))
        dense = jax.vmap(parts.unravel)(parameters(state, parts.strategy, solutions))
        dense = all_referred(parts.policy, dense, state.references, None)
        seen = parts.task.evaluate(drawn.episodes, parts.policy, dense, None)
        low_rank = evaluated(parts, drawn, state, jnp.arange(8), solutions).fitness
        return low_rank, seen.returns.mean(1)

    low_rank, whole = both(state)
    assert np.ptp(whole) > 0.01
    np.testing.assert_allclose(low_rank, whole, rtol=1e-3)


def test_references_are_drawn_from_the_seed_and_stay(built):
    run = built(*CARTPOLE, *OPENAI)
    one, again, other = (run.program.init(run.hyper, np.uint32(x)) for x in (0, 0, 1))
    np.testing.assert_array_equal(one.references, again.references)
    assert not np.array_equal(one.references, other.references)
    assert len(np.unique(np.asarray(one.references), axis=0)) == 37
    after, *_ = run.program.advance(run.hyper, np.uint32(0), one, stop_at(run.config, 2))
    np.testing.assert_array_equal(after.references, again.references)


def test_groups_of_episodes_have_the_same_bits(built):
    seen = []
    for at_once in ("auto", 1):
        run = built(*CARTPOLE, *OPENAI, f"task.episodes_at_once={at_once}")
        state = run.program.init(run.hyper, np.uint32(0))
        state, *_ = run.program.advance(run.hyper, np.uint32(0), state, stop_at(run.config, 2))
        seen.append(np.asarray(state.strategy.mean))
    np.testing.assert_array_equal(*seen)


# ---- what a run leaves ---------------------------------------------------------------------------


def stored(run, path, seed=0, **changes):
    """-> the state of a run that nobody has trained, its policy written to a file."""
    parts, rng = run.program.parts(run.hyper), np.random.default_rng(seed)
    state = run.program.init(run.hyper, np.uint32(seed))
    mean = jnp.asarray(rng.normal(size=parts.n), state.strategy.mean.dtype)
    if state.normalizer is not None:
        shape = parts.task.input_shape
        moments = 9.0, rng.normal(size=shape), 9 * rng.uniform(0.5, 2, shape)
        state = state._replace(normalizer=Moments(*(jnp.asarray(x, float) for x in moments)))
    state = state._replace(strategy=state.strategy._replace(mean=mean), **changes)
    written = {kind: getattr(run.config, kind).model_dump() for kind in ("policy", "task")}
    path.write_bytes(packed_mean(state, parts, describe(written, parts)))
    return state


FILES = {
    "mlp": [*CARTPOLE, "policy.hidden=[5,4]"],
    "cnn": ["task=breakout", "task.episode_length=9", "policy=cnn", "policy.channels=[3,2]",
            "policy.kernel=2", "policy.stride=2", "policy.hidden=[4]", "policy.norm_reference=6"],
    "wide": [*CARTPOLE, "runtime.precision=float64"],
}  # fmt: skip


CASES = [(name, norm) for name in FILES for norm in NORMS]


@pytest.mark.parametrize("case", quickly(CASES, *CASES[1:3]))
def test_a_policy_is_what_it_was_in_its_file(built, case, tmp_path):
    name, norm = case
    run = built(*FILES[name], *OPENAI, f"policy.norm={norm}")
    state = stored(run, tmp_path / "p.safetensors")
    parts = run.program.parts(run.hyper)
    params, moments = parts.unravel(state.strategy.mean), state.normalizer
    own = referred(parts.policy, params, state.references, moments)
    inputs = np.random.default_rng(4).normal(size=(5, *parts.task.input_shape))
    seen = [x if moments is None else normalize(moments, jnp.asarray(x, float)) for x in inputs]
    expected = [parts.policy.apply(own, (), jnp.asarray(x, float))[0] for x in seen]
    jax.config.update("jax_enable_x64", False)
    plain = numpy_policy.load(tmp_path / "p.safetensors")
    policy = esrun.load(tmp_path / "p.safetensors")
    if norm == "virtual_batch":
        np.testing.assert_array_equal(plain.references, state.references)
    for x, output in zip(inputs, expected, strict=True):
        said = []
        plain._decoded = lambda output, mask, said=said: said.append(output)
        plain(x)
        np.testing.assert_allclose(said[0], output, rtol=1e-4, atol=1e-4)
        assert int(policy(x)[0]) == int(np.argmax(output))
    if name != "wide":
        mapped = jax.jit(jax.vmap(policy))(inputs.astype(np.float32))[0]
        np.testing.assert_array_equal(mapped, np.argmax(expected, axis=1))


def test_a_run_goes_on_to_the_same_bits_and_is_evaluated_as_in_training(typed, tmp_path):
    words = [*CARTPOLE, *OPENAI, "archive.top_k=2", "eval.every=1"]
    check_it_goes_on(typed, tmp_path, words)
    whole, held = tmp_path / "whole", json.loads((tmp_path / "whole/summary.json").read_text())
    files = [whole / name for name in ("policy.safetensors", "members_best.safetensors")]
    first, members = map(load_file, files)
    assert first["references"].shape == members["references"].shape == (37, 4)
    np.testing.assert_array_equal(first["references"], members["references"])
    done = typed("eval", "whole", "--episodes", "6", "--seed", "0", "--json")
    (told,) = json.loads(done.stdout)
    assert told["mean"] == held["eval"]["mean"]
    told = json.loads(typed("eval", "whole", "--members", "--json").stdout)
    assert [one["policy"] for one in told] == ["member 1", "member 2"]
    more = typed("eval", "whole", "--ensemble", "3")
    assert more.returncode == 0, more.stderr


def test_a_film_shows_the_episodes_that_were_scored(built, tmp_path):
    from esrun.results.evaluation import Evaluator
    from esrun.results.policy import read
    from esrun.results.subjects import _subject

    run = built(*CARTPOLE, *OPENAI)
    stored(run, tmp_path / "p.safetensors")
    evaluator = Evaluator(run.config)
    subject = _subject(read(tmp_path / "p.safetensors", "policy"), evaluator, tmp_path, "p")
    seen = evaluator.watching(6)(subject, 5)
    assert np.mean(seen.returns) == evaluator.figures(subject, 5)["mean"]


def test_references_are_in_a_checkpoint_and_one_without_them_is_of_another_run(built, tmp_path):
    run, plain = (built(*CARTPOLE, *OPENAI, f"policy.norm={x}") for x in ("virtual_batch", "layer"))
    states = [x.program.init(x.hyper, np.uint32(0)) for x in (run, plain)]
    saved = [
        checkpoint.save(tmp_path / f"{i}", checkpoint.Checkpoint(x, {"generation": 0}), 1)
        for i, x in enumerate(states)
    ]
    back = checkpoint.load(saved[0], states[0]).state
    np.testing.assert_array_equal(back.references, states[0].references)
    assert checkpoint.load(saved[1], states[1]).state.references is None
    assert not [name for name in load_file(saved[1]) if name.startswith("references")]
    with pytest.raises(checkpoint.DamagedError, match="another state"):
        checkpoint.load(saved[1], states[0])


def test_a_file_that_says_nothing_of_a_norm_has_none(built, tmp_path):
    """Those of earlier versions do not."""
    run = built("task=cartpole", "policy.hidden=[3]", *OPENAI)
    parts = run.program.parts(run.hyper)
    written = {kind: getattr(run.config, kind).model_dump() for kind in ("policy", "task")}
    for key in ("norm", "norm_reference"):
        del written["policy"][key]
    params = parts.unravel(np.arange(parts.n, dtype=np.float32))
    (tmp_path / "p.safetensors").write_bytes(packed(params, None, describe(written, parts)))
    loaded = (x.load(tmp_path / "p.safetensors") for x in (esrun, numpy_policy))
    assert len({int(policy(np.ones(4))[0]) for policy in loaded}) == 1


def cut(tensors):
    return {**tensors, "references": tensors["references"][:-1]}


def without(tensors):
    return {name: x for name, x in tensors.items() if name != "references"}


@pytest.mark.parametrize("change", [cut, without])
def test_a_file_without_its_references_is_one_line(built, tmp_path, change):
    path = tmp_path / "p.safetensors"
    run = built(*CARTPOLE, *OPENAI)
    state = stored(run, path)
    parts = run.program.parts(run.hyper)
    written = {kind: getattr(run.config, kind).model_dump() for kind in ("policy", "task")}
    left = change({"references": state.references}).get("references")
    params = parts.unravel(np.asarray(state.strategy.mean))
    path.write_bytes(packed(params, state.normalizer, describe(written, parts), left))
    with pytest.raises(ConfigError, match="other parameters than its architecture"):
        esrun.load(path)
    with pytest.raises(ValueError, match="other reference inputs"):
        numpy_policy.load(path)


def test_a_stored_policy_plays_against_others(built, tmp_path):
    path = tmp_path / "p.safetensors"
    run = built(*CARTPOLE, *OPENAI)
    stored(run, path)
    coded = encoding(Box((4,))), decoding(Discrete(2), "clip")
    opponent = make_opponent(str(path), *coded, Discrete(2))
    act = jax.jit(lambda x: opponent.act(jax.random.key(0), opponent.carry(), x, None)[0])
    policy = esrun.load(path)
    inputs = np.random.default_rng(2).normal(size=(20, 4)).astype(np.float32)
    theirs = [int(act(x)) for x in inputs]
    assert theirs == [int(policy(x)[0]) for x in inputs]
    assert set(theirs) == {0, 1}


# ---- beginning at another policy -----------------------------------------------------------------


def first_state(run, folder):
    return begun(run, RunFolder(folder), SimpleNamespace(start=None)).start.state


def test_a_search_begins_with_the_references_of_its_first_policy(built, tmp_path):
    path = tmp_path / "p.safetensors"
    there = stored(built(*CARTPOLE, *OPENAI), path, seed=5)
    state = first_state(built(*CARTPOLE, *OPENAI, f"policy.start='{path}'"), tmp_path)
    np.testing.assert_array_equal(state.references, there.references)
    np.testing.assert_array_equal(state.strategy.mean, there.strategy.mean)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["policy.norm=layer"], "params/layer_norm/offset is missing there and [5] here"),
        (["policy.norm=null"], "params/virtual_batch_norm/offset is [5] there and missing here"),
        (["policy.norm_reference=38"], "references is [37, 4] there and [38, 4] here"),
    ],
)
def test_a_policy_with_another_norm_is_no_beginning(built, tmp_path, words, line):
    path = tmp_path / "p.safetensors"
    stored(built(*CARTPOLE, *OPENAI), path)
    with pytest.raises(ConfigError) as refused:
        first_state(built(*CARTPOLE, *OPENAI, f"policy.start='{path}'", *words), tmp_path)
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["policy.norm=layer", "policy.hidden=[]"],
         "policy.norm=layer needs a layer in policy.hidden, got none: write policy.norm=null"),
        (["policy.norm=layer", "policy.hidden=[4,1]"], "in a layer of width 1"),
        (["task=breakout", "policy=cnn", "policy.norm=layer", "policy.channels=[1]"],
         "larger widths in policy.channels or policy.hidden, or policy.norm=virtual_batch"),
        (["policy.norm=batch"], "policy.norm must be"),
        (["policy.norm_reference=1"], "policy.norm_reference must be greater than or equal to 2"),
        (["policy=linear", "policy.norm=layer"], "policy.norm is not a key of policy=linear"),
        (["task=sphere", "policy=mlp", "policy.norm=virtual_batch"],
         "a black-box function needs policy=vector"),
    ],
)  # fmt: skip
def test_what_cannot_be_normalised_is_one_line(words, line):
    with pytest.raises(ConfigError) as refused:
        checked(composed(["task=cartpole", *words]).config)
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_convolution_alone_may_be_normalised():
    words = ["task=breakout", "policy=cnn", "policy.norm=layer", "policy.hidden=[]"]
    assert checked(composed(words).config).policy.norm == "layer"


def test_a_task_that_gives_no_references_is_one_line(built):
    words = ["task=gymnasium", "task.env=CartPole-v1", "policy.norm_reference=4"]
    with pytest.raises(ConfigError, match="a task that gives reference inputs") as refused:
        built(*words, "policy.norm=virtual_batch")
    assert "\n" not in str(refused.value)
    assert built(*words, "policy.norm=layer").config.policy.norm == "layer"
