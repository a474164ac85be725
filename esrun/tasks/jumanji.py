# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
"""Any jumanji environment (Bonnet et al. 2024, https://github.com/instadeepai/jumanji) as a task:
puzzles, packing, routing, for one agent or several."""

import functools
import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np

from esrun.tasks.environment import Environment, Step
from esrun.tasks.episodes import Rollout
from esrun.tasks.jumanji_specs import MASK, acting, observed
from esrun.tasks.packages import arguments, mixing_types, parameters, refuse_unknown, refusing
from esrun.tasks.rollout import make_rollout
from esrun.types import Task

with jax.enable_x64(False):  # it makes arrays when it is imported
    import huggingface_hub
    from jumanji import registration
    from jumanji.viewer import Viewer

DPI = 50
"""Of a film's pictures, which jumanji makes ten inches wide."""
EMPTY = inspect.Parameter.empty
SOLVED = ("Maze-", "RubiksCube-", "Sudoku-")
"""Environments that pay where they are solved, and only there."""


def make_jumanji(
    *, env: str, env_params: dict, observe: str | list[str], **rollout: Unpack[Rollout]
) -> Task:
    """The environment `env` with jumanji's arguments but for `env_params`. What is observed are
    the parts `observe` of its observation, all of them or those named.

    The rewards of several agents are added up, as jumanji's own wrapper does.
    """
    game = opened(env, json.dumps(env_params))
    shown = observed(game.observation_spec, env, observe)
    acted = acting(game)
    begin, advance = mixing_types(game.reset), mixing_types(game.step)

    def step_of(state: Any, now: Any) -> Step:
        mask = acted.mask(getattr(now.observation, MASK, None))
        return Step(state, shown.see(now.observation), jnp.sum(now.reward), now.last(), mask)

    def step(key, state, action):
        action = jnp.asarray(action, game.action_spec.dtype)
        return step_of(*advance(state, action))

    environment = Environment(
        lambda key: step_of(*begin(key)),
        step,
        shown.spaces,
        acted.space,
        shown.agents,
        succeeded=(lambda ended, total: total > 0) if env.startswith(SOLVED) else None,
        frame=make_frame(env, json.dumps(env_params)),
    )
    return make_rollout(environment, **rollout)


class Blind:
    """In the place of what draws, which in training there is nobody to see."""


PARTS = {"done_function", "observation", "reward_fn", "reward_function", "target_dynamics"}
"""Arguments of environments that no yaml can say, besides their generator and viewer."""


@functools.cache
def opened(env: str, env_params: str, blind: bool = True) -> Any:
    """-> jumanji's environment with its arguments but for `env_params`, in JSON, `generator` a
    mapping of that one's; `blind`: one that draws nothing. Raises ValueError for what there is not,
    and where levels would have to be downloaded."""
    refuse_unknown(env, registration.registered_environments(), "jumanji")
    given, viewer = json.loads(env_params), {"viewer": Blind()} if blind else {}
    with jax.ensure_compile_time_eval(), jax.enable_x64(False), offline(env):
        game = registration.make(env, **viewer)
        if not given:
            return game
        free = arguments(type(game))
        free = {key: x for key, x in free.items() if key not in PARTS | {"viewer"}}
        chosen = parameters(env, given, free)
        with refusing(env, given, "jumanji"):
            if "generator" in chosen:
                chosen["generator"] = generator(game, env, chosen["generator"])
            return registration.make(env, **viewer, **chosen)


def generator(game: Any, env: str, given: Any) -> Any:
    """-> the environment's own generator but for the arguments that are `given`."""
    own = getattr(game, "generator", getattr(game, "_generator", None))
    if not isinstance(given, dict):
        raise ValueError(f"task.env_params.generator must be a mapping, got {given!r}: write {{}}")
    names = inspect.signature(type(own)).parameters
    kept = {x: getattr(own, x, getattr(own, f"_{x}", names[x].default)) for x in names}
    # what is None follows from the others
    kept |= {x: None for x in names if names[x].default is None}
    chosen = parameters(f"the generator of {env}", given, kept)
    return type(own)(**{x: value for x, value in (kept | chosen).items() if value is not EMPTY})


@contextmanager
def offline(env: str) -> Iterator[None]:
    """Whatever is downloaded is downloaded before: raise ValueError where it is not there."""
    constants = huggingface_hub.constants
    own, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    except huggingface_hub.errors.LocalEntryNotFoundError as error:
        raise ValueError(
            f"task.env={env} needs levels that are not on this machine: write once "
            "`hf download InstaDeepAI/boxoban-levels unfiltered-train.npy`"
        ) from error
    finally:
        constants.HF_HUB_OFFLINE = own


def make_frame(env: str, env_params: str) -> Callable[[Any], np.ndarray]:
    """-> what draws a state as jumanji does, without a window."""

    def frame(state: Any) -> np.ndarray:
        import matplotlib.pyplot as plt
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        game = opened(env, env_params, blind=False)
        viewer: Any = next(x for x in vars(game).values() if isinstance(x, Viewer))
        drawn = []

        def display(figure: Any) -> None:
            if env.startswith("MMST-"):  # what it draws does not count when axes find their limits
                figure.axes[0].set(xlim=(0, 1), ylim=(0, 1))
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            drawn.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
            plt.close(figure)

        viewer._display = display
        before = plt.get_backend()
        plt.switch_backend("agg")
        try:
            with plt.rc_context():
                plt.rcdefaults()
                # else jumanji shows the figure, and there is nothing to show it on
                plt.rcParams.update({"figure.dpi": DPI, "interactive": True})
                # graphs are laid out number by number, ten times as fast with NumPy's arrays; other
                # drawings change arrays as only JAX's can be
                graph = hasattr(state, "adj_matrix")
                game.render(state if graph else jax.tree.map(jnp.asarray, state))
        finally:
            plt.switch_backend(before)
        return drawn[0]

    return frame
