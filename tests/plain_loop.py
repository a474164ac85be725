"""What a rollout is to be equal to: a package's own loop, step by step in Python."""

import jax
import numpy as np
from defaults import make_policy

from esrun.backend.keys import fold_in


def check_by_hand(task, begin, advance, act, keys, length):
    """Two linear policies in the episodes of the keys do as they do in a loop of

    begin: key -> (state, seen), advance: (key, state, action) -> (state, seen, reward, ended),
    act: (function from an input to an output, seen) -> action. -> their lengths [2, e].
    """
    sizes = {"input_shape": task.input_shape, "output_size": task.output_size}
    policy = make_policy("mlp", **sizes, hidden=[], init="normal")
    members = jax.vmap(policy.init)(keys(2, seed=7))
    outputs = jax.jit(lambda params, x: policy.apply(params, (), x)[0])
    evaluated = jax.jit(lambda keys: task.evaluate(keys, policy, members, None))(keys(3))
    resets, steps = fold_in(keys(3), 0), fold_in(keys(3), 1)
    for i in range(2):
        params = jax.tree.map(lambda x, i=i: x[i], members)
        for e in range(3):
            (state, seen), total, ended, t = begin(resets[e]), 0.0, False, 0
            while not ended and t < length:
                action = act(lambda x, params=params: outputs(params, x), seen)
                state, seen, reward, ended = advance(fold_in(steps[e], t), state, action)
                total, t = total + float(np.sum(reward)), t + 1
            np.testing.assert_allclose(evaluated.returns[i, e], total, rtol=1e-4, atol=1e-4)
            assert int(evaluated.measures["length"][i, e]) == t
    return evaluated.measures["length"]


def check_resumes(in_process, folder, *words):
    """Three generations at once, or two and one more, end in the same policy, which is filmed."""
    words = (*words, "strategy=openai_es", "strategy.population_size=4", "task.episodes=1")
    words = (*words, "eval.episodes=2", "checkpoint.every=1", "runtime.devices=1", "progress=off")
    assert in_process(*words, "generations=3", "hydra.run.dir=whole")[0] == 0
    assert in_process(*words, "generations=2", "hydra.run.dir=cut")[0] == 0
    assert in_process("resume", "cut", "generations=3")[0] == 0
    policies = [(folder / run / "policy.safetensors").read_bytes() for run in ("whole", "cut")]
    assert policies[0] == policies[1]
    assert in_process("render", "cut", "-o", "film.gif")[0] == 0
