"""Trained policies without JAX: NumPy and safetensors are all that is imported.

`load(RUN)` gives the same as `esrun.load(RUN)`: `action, carry = policy(observation, carry=None)`,
for the architectures linear, mlp, cnn, rnn and vector. `pip install --no-deps esrun` with NumPy and
safetensors is enough, on a robot or in a web service.
"""

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load as parse

from esrun import files
from esrun.header import LARGEST, read_header
from esrun.results.codings import (
    DECODINGS,
    ENCODINGS,
    decoded,
    encoded,
    refuse_shape,
    refuse_unfit,
)
from esrun.results.networks import ACTIVATIONS, NETWORKS, NORMS, OF_MANY

Array = np.ndarray


class NumpyPolicy:
    """A trained policy that can be called: `action, carry = policy(observation, carry)`."""

    def __init__(self, tensors: dict[str, Array], about: dict[str, Any]):
        """`tensors` and metadata of a policy's file. Raises ValueError for what is no policy."""
        self.params = {
            name.removeprefix("params/"): x
            for name, x in tensors.items()
            if name.startswith("params/")
        }
        self.normalizer = {
            name: tensors[f"normalizer/{name}"]
            for name in ("count", "mean", "m2")
            if f"normalizer/{name}" in tensors
        }
        self.generation = about.get("generation")
        self._options, self._shape = about["policy"], tuple(about["input_shape"])
        self._interface = _interface_of(about)
        self._dtype = next(iter(self.params.values())).dtype
        name = self._options["name"]
        if name not in NETWORKS:
            raise ValueError(
                f"numpy_policy knows {', '.join(NETWORKS)}, got {name}: use esrun.load"
            )
        self._network, wanted = NETWORKS[name]
        if self._options.get("activation", "identity") not in ACTIVATIONS:
            raise ValueError(f"it names an unknown activation: {self._options['activation']}")
        if self._options.get("norm") not in NORMS:
            raise ValueError(f"it names an unknown normalisation: {self._options['norm']}")
        given = {name: x.shape for name, x in self.params.items()}
        if given != dict(wanted(self._options, self._shape, about["output_size"])):
            raise ValueError("it holds other parameters than its architecture has")
        self.references, self._given = tensors.get("references"), self.params
        if self._options.get("norm") == "virtual_batch":
            self._refer()

    def _refer(self) -> None:
        """Let the reference inputs tell what all others are normalised by."""
        shape = (self._options["norm_reference"], *self._shape)
        if self.references is None or self.references.shape != shape:
            raise ValueError("it holds other reference inputs than its architecture has")
        x = self._normalized(self.references) if self.normalizer else self.references
        self._given = dict(self.params)
        OF_MANY[self._options["name"]](self._options, self._given, x)

    def __call__(self, observation: Any, carry: Any = None, mask: Any = None) -> tuple[Any, Any]:
        """One step: an observation, as the environment gives it, and the carry of the step before
        -> (action, carry). A carry of None begins an episode. Where `mask` is false, an action is
        illegal and never taken. Raises ValueError for what is no observation."""
        x = self._encoded(observation)
        if self.normalizer:
            x = self._normalized(x)
        output, carry = self._network(self._options, self._given, x, carry)
        return self._decoded(output, mask), carry

    def _encoded(self, observation: Any) -> Array:
        coding = self._interface["observation"]
        refuse_unfit(coding, observation)
        x = encoded(coding, observation).astype(self._dtype)
        refuse_shape(x.shape, self._shape)
        return x

    def _normalized(self, x: Array) -> Array:
        """`esrun.tasks.normalizer.normalize`."""
        seen = self.normalizer
        variance = seen["m2"] / np.maximum(seen["count"], 1)
        std = np.sqrt(np.where(variance > 1e-12, variance, 1)).astype(self._dtype)
        return np.clip((x - seen["mean"]) / std, -10, 10)

    def _decoded(self, output: Array, mask: Any) -> Any:
        return decoded(self._interface["action"], output, mask)


def load(run: str | Path, best: bool = False) -> NumpyPolicy:
    """-> the policy that a run has trained; with `best` the one whose held-out mean was best.

    `run` is a run folder or a file such as RUN/policies/50.safetensors. Raises ValueError of one
    line for what is no policy, and FileNotFoundError where there is none.
    """
    path = Path(run)
    if path.suffix != ".safetensors":
        path /= "policy_best.safetensors" if best else "policy.safetensors"
    content = files.read(path, LARGEST)
    try:
        return NumpyPolicy(parse(content), read_header(content, "policy"))
    except FileNotFoundError:
        raise
    except Exception as error:  # a file may say anything
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{path} cannot be used: {reason}") from error


def _interface_of(about: dict[str, Any]) -> dict[str, dict]:
    if about["task"]["name"] == "gymnax" and "interface" not in about:
        raise ValueError(
            "an earlier version wrote it, and did not say how outputs become actions: use "
            "esrun.load"
        )
    plain = {"observation": {"kind": "float"}, "action": {"kind": "output"}}
    interface = about.get("interface", plain)
    kinds = interface["observation"]["kind"], interface["action"]["kind"]
    if not (kinds[0] in ENCODINGS and kinds[1] in DECODINGS):
        raise ValueError(f"its observations or actions are coded in an unknown way: {kinds}")
    return interface
