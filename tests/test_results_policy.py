"""Trained policies read back: they act as they did in training, with JAX and without."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
from conftest import quickly
from safetensors.numpy import load_file

import esrun
from esrun import numpy_policy
from esrun.backend import keys as own_keys
from esrun.errors import ConfigError
from esrun.policies.layers import ACTIVATIONS
from esrun.results import networks
from esrun.runs.policy import describe, packed
from esrun.types import Moments

OLD = Path(__file__).parent / "data" / "run_of_031d504"
SMALL = ["strategy=openai_es", "strategy.population_size=4", "runtime.devices=1"]
TASKS = {
    "catch": ["task=catch", "policy=mlp", "policy.hidden=[6]"],
    "deep_sea": ["task=deep_sea", "policy=cnn", "policy.channels=[3]", "policy.hidden=[5]"],
    "umbrella_chain": ["task=umbrella_chain", "policy=rnn", "policy.hidden=[4,3]"],
    "frozen_lake": ["task=frozen_lake", "task.episode_length=12", "policy.activation=tanh"],
    "pendulum": ["task=pendulum", "task.episode_length=15", "task.action=squash",
                 "policy.normalize_input=true"],
    "point_robot": ["task=point_robot", "task.episode_length=15", "policy=rnn",
                    "policy.cell=lstm", "policy.hidden=[4]"],
    "wide": ["task=catch", "policy.hidden=[6]", "runtime.precision=float64"],
}  # fmt: skip
EXACT = ("catch", "deep_sea", "umbrella_chain", "frozen_lake", "wide")


def stored(run, path, seed=0, **more):
    """-> (parameters, normaliser) of a policy that nobody has trained, written to a file."""
    parts, random = run.program.parts(run.hyper), np.random.default_rng(seed)
    dtype = jnp.zeros(()).dtype
    params = parts.unravel(random.normal(size=parts.n).astype(dtype))
    moments = None
    if run.config.policy.normalize_input:
        shape = parts.task.input_shape
        moments = Moments(np.asarray(9, dtype), random.normal(size=shape).astype(dtype),
                          9 * random.uniform(0.5, 2, shape).astype(dtype))  # fmt: skip
    written = {kind: getattr(run.config, kind).model_dump() for kind in ("policy", "task")}
    path.write_bytes(packed(params, moments, describe(written, parts) | {"generation": 7} | more))
    return params, moments


def played(policy, run, key):
    """-> (return, observations) of an episode: a plain loop over gymnax's own interface."""
    task = run.config.task
    with jax.enable_x64(False):
        env, defaults = gymnax.make(task.env)
        params = defaults.replace(max_steps_in_episode=task.episode_length)
        reset_key, step_key = own_keys.fold_in(key, 0), own_keys.fold_in(key, 1)
        observation, state = env.reset_env(reset_key, params)
        total, carry, seen, step = np.float32(0), None, [], jax.jit(env.step_env)
        for t in range(task.episode_length):
            seen.append(np.asarray(observation))
            action, carry = policy(observation, carry)
            observation, state, reward, ended, _ = step(
                own_keys.fold_in(step_key, t), state, action, params
            )
            total = np.float32(total + np.float32(reward))
            if ended:
                break
    return total, seen


@pytest.mark.parametrize("name", quickly(TASKS, "pendulum", "wide"))
def test_a_loaded_policy_plays_as_the_trained_one_did(built, name, tmp_path):
    run = built(*TASKS[name], *SMALL)
    params, moments = stored(run, tmp_path / "p.safetensors")
    parts, episodes = run.program.parts(run.hyper), jax.random.split(jax.random.key(4), 3)
    evaluate = jax.jit(parts.task.evaluate, static_argnums=1)
    own = evaluate(episodes, parts.policy, jax.tree.map(lambda x: x[None], params), moments)
    jax.config.update("jax_enable_x64", False)
    policy = esrun.load(tmp_path / "p.safetensors")
    plain = numpy_policy.load(tmp_path / "p.safetensors")
    assert policy.generation == plain.generation == 7
    for key, by_esrun in zip(episodes, own.returns[0], strict=True):
        total, seen = played(policy, run, key)
        if name in EXACT:
            assert total == float(by_esrun)
        else:
            assert total == pytest.approx(float(by_esrun), rel=1e-4)
        carry = other = None
        for observation in seen:
            action, carry = policy(observation, carry)
            without_jax, other = plain(observation, other)
            np.testing.assert_allclose(without_jax, action, rtol=1e-5, atol=1e-5)
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
                jax.tree.leaves(other), jax.tree.leaves(carry),
            )  # fmt: skip


def test_a_loaded_policy_may_be_mapped_over_a_batch(built, tmp_path):
    run = built(*TASKS["pendulum"], *SMALL)
    stored(run, tmp_path / "p.safetensors")
    policy = esrun.load(tmp_path / "p.safetensors")
    batch = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    actions, _ = jax.jit(jax.vmap(policy))(batch)
    one_by_one = [policy(observation)[0] for observation in batch]
    np.testing.assert_allclose(actions, one_by_one, rtol=1e-6)


def test_an_input_of_another_shape_is_refused_in_one_line(built, tmp_path):
    run = built(*TASKS["pendulum"], *SMALL)
    stored(run, tmp_path / "p.safetensors")
    for load in (esrun.load, numpy_policy.load):
        with pytest.raises(ValueError, match=r"input of the shape \[3\], got one of \[5, 3\]"):
            load(tmp_path / "p.safetensors")(np.zeros((5, 3)))


POLICIES = {
    **{f"rnn {cell}": ["task=cartpole", "policy=rnn", f"policy.cell={cell}", "policy.hidden=[5,3]",
                       "policy.activation=tanh"] for cell in ("gru", "lstm", "vanilla")},
    "cnn": ["task=breakout", "policy=cnn", "policy.channels=[3,2]", "policy.kernel=2",
            "policy.stride=2", "policy.hidden=[4]", "policy.activation=gelu"],
    "padded cnn": ["task=breakout", "policy=cnn", "policy.channels=[3,2]", "policy.kernel=4",
                   "policy.stride=3", "policy.padding=same", "policy.hidden=[4]"],
    "pooled cnn": ["task=breakout", "policy=cnn", "policy.channels=[3,2]", "policy.pool=3",
                   "policy.padding=same", "policy.hidden=[]"],
    "globally pooled cnn": ["task=breakout", "policy=cnn", "policy.channels=[3,2]",
                            "policy.global_pool=max", "policy.hidden=[4]"],
    "no bias": ["task=breakout", "policy=cnn", "policy.bias=false", "policy.activation=silu"],
    "linear": ["task=sine", "policy.hidden=[]"],
    "linear by name": ["task=cartpole", "policy=linear", "policy.init=normal"],
    "vector": ["task=sphere", "policy=vector"],
}  # fmt: skip


@pytest.mark.parametrize("name", POLICIES)
def test_every_architecture_is_the_same_without_jax(built, name, tmp_path):
    run = built(*POLICIES[name], *SMALL)
    params, _ = stored(run, tmp_path / "p.safetensors")
    parts, random = run.program.parts(run.hyper), np.random.default_rng(1)
    plain = numpy_policy.load(tmp_path / "p.safetensors")
    carry, other = parts.policy.initial_carry(), None
    for _ in range(6):
        x = random.normal(size=parts.task.input_shape).astype(np.float32)
        output, carry = parts.policy.apply(params, carry, x)
        raw, other = plain._network(plain._options, plain.params, x, other)
        np.testing.assert_allclose(raw, output, rtol=1e-5, atol=1e-5)
        assert raw.dtype == np.float32


def test_every_activation_is_the_same_without_jax():
    assert networks.ACTIVATIONS.keys() == ACTIVATIONS.keys()
    x = np.concatenate([np.linspace(-6, 6, 101), [-300, -90, 90, 300]]).astype(np.float32)
    with np.errstate(over="raise", invalid="raise"):
        for name, activation in networks.ACTIVATIONS.items():
            np.testing.assert_allclose(activation(x), ACTIVATIONS[name](x), atol=1e-6, rtol=1e-5)


def test_a_folder_of_an_earlier_version_is_loaded():
    policy, plain = esrun.load(OLD), numpy_policy.load(OLD)
    x = load_file(OLD / "policy.safetensors")
    np.testing.assert_array_equal(policy(np.zeros(0))[0], x["params/~/x"])
    np.testing.assert_array_equal(plain(np.zeros(0))[0], x["params/~/x"])


def test_what_an_earlier_version_did_not_say_of_actions_is_not_guessed(built, tmp_path):
    run = built(*TASKS["catch"], *SMALL)
    stored(run, tmp_path / "p.safetensors")
    changed(tmp_path / "p.safetensors", lambda about: about.pop("interface"))
    assert esrun.load(tmp_path / "p.safetensors")(np.zeros((10, 5)))[0].shape == ()
    with pytest.raises(ValueError, match=r"use esrun\.load"):
        numpy_policy.load(tmp_path / "p.safetensors")


# ---- files that anybody may have written ---------------------------------------------------------


def changed(path, change):
    """Have the metadata of a policy's file say something else."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    table = json.loads(content[8 : 8 + length])
    about = json.loads(table["__metadata__"]["esrun"])
    change(about)
    table["__metadata__"]["esrun"] = json.dumps(about)
    head = json.dumps(table).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + content[8 + length :])


HOSTILE = {
    "another format": lambda about: about.update(format="esrun policy 99"),
    "no task": lambda about: about.pop("task"),
    "no policy": lambda about: about.update(policy=None),
    "an unknown policy": lambda about: about["policy"].update(name="os.system"),
    "an unknown task": lambda about: about["task"].update(name="../../evil"),
    "an unknown environment": lambda about: about["task"].update(env="rm -rf"),
    "a network that is too wide": lambda about: about["policy"].update(hidden=[10**12]),
    "no network": lambda about: about["policy"].update(hidden="x"),
    "a negative width": lambda about: about["policy"].update(hidden=[-6]),
    "another network": lambda about: about["policy"].update(hidden=[7]),
    "a network without end": lambda about: about["policy"].update(hidden=[1] * 10**5),
    "an unknown activation": lambda about: about["policy"].update(activation="__import__"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_file_that_says_anything_is_one_line(built, kind, tmp_path):
    path = tmp_path / "p.safetensors"
    stored(built(*TASKS["catch"], *SMALL), path)
    changed(path, HOSTILE[kind])
    with pytest.raises(ConfigError) as refused:
        esrun.load(path)
    assert str(path.name) in str(refused.value)
    assert "\n" not in str(refused.value)
    if kind in ("an unknown task", "an unknown environment"):  # they are no matter of the network
        assert numpy_policy.load(path)(np.zeros((10, 5)))[0] in range(3)
    else:
        with pytest.raises(ValueError, match="cannot be used"):
            numpy_policy.load(path)


@pytest.mark.parametrize("content", [b"", b"x" * 100, (2**60).to_bytes(8, "little") + b"{}"])
def test_a_file_that_is_no_policy_is_one_line(content, tmp_path):
    (tmp_path / "p.safetensors").write_bytes(content)
    for load in (esrun.load, numpy_policy.load):
        with pytest.raises(ValueError, match="cannot be"):
            load(tmp_path / "p.safetensors")


def test_a_policy_is_read_through_no_link(built, tmp_path):
    stored(built(*TASKS["catch"], *SMALL), tmp_path / "real")
    (tmp_path / "p.safetensors").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigError, match="is a link"):
        esrun.load(tmp_path / "p.safetensors")
    with pytest.raises(OSError, match="is a link"):
        numpy_policy.load(tmp_path / "p.safetensors")


def test_what_is_no_run_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"has no run\.json"):
        esrun.load(tmp_path)
    with pytest.raises(ConfigError, match="is not there"):
        esrun.load(tmp_path / "p.safetensors")
    (tmp_path / "run.json").touch()
    with pytest.raises(ConfigError, match="no policy_best"):
        esrun.load(tmp_path, best=True)


# ---- what is imported ----------------------------------------------------------------------------


def test_without_jax_numpy_and_safetensors_are_enough(wheel, built, tmp_path):
    run = built(*TASKS["umbrella_chain"], *SMALL)
    stored(run, tmp_path / "policy.safetensors")
    bare = tmp_path / "site"
    bare.mkdir()
    shutil.copytree(wheel / "esrun", bare / "esrun")
    for package in (np, safetensors):
        there = Path(package.__file__).parent
        for place in (there, there.with_name(f"{there.name}.libs")):
            if place.exists():
                (bare / place.name).symlink_to(place)
    code = (
        "from esrun import numpy_policy\n"
        f"policy = numpy_policy.load({str(tmp_path)!r})\n"
        "import numpy as np\n"
        "action, carry = policy(np.zeros(3))\n"
        "print(action, len(carry))\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-P", "-c", code], capture_output=True, text=True, check=False,
        env={key: x for key, x in os.environ.items() if key != "PYTHONPATH"}
        | {"PYTHONPATH": str(bare)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    action, layers = done.stdout.split()
    assert (int(action) in (0, 1), layers) == (True, "2")


@pytest.mark.commands
def test_importing_esrun_imports_nothing_heavy():
    code = (
        "import sys, esrun\n"
        "assert esrun.numpy_policy.load\n"
        "assert not {'jax', 'pydantic', 'hydra', 'haiku', 'gymnax'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
