"""Any game of Pgx (Koyamada et al. 2023, https://arxiv.org/abs/2303.17503) as a task: the policy is
player 0, and a step lasts until it is its turn again."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
import numpy as np

from esrun.backend.keys import fold_in, split
from esrun.tasks.environment import Environment, Step
from esrun.tasks.episodes import Rollout
from esrun.tasks.opponents import make_opponent
from esrun.tasks.packages import arguments, parameters, refuse_unknown, refusing
from esrun.tasks.rollout import make_rollout
from esrun.tasks.spaces import Box, Discrete, decoding, encoding
from esrun.types import Key, PyTree, Task

with jax.enable_x64(False):  # its modules make arrays when they are imported
    import pgx


class Game(NamedTuple):
    """Where a game stands when it is our turn, or over."""

    state: Any  # Pgx's
    carries: PyTree  # of the opponents, [players, ...] each
    before: jax.Array  # [] what we have won before our first move


def make_pgx(*, env: str, env_params: dict, opponent: str, **rollout: Unpack[Rollout]) -> Task:
    """The game `env` with Pgx's parameters but for `env_params`; all other players are opponents.

    Raises ValueError for a game or a parameter that there is not, and for an opponent that cannot
    play it.
    """
    game = opened(env, env_params)
    with jax.enable_x64(False), refusing(env, env_params, "pgx"):
        shown = jax.eval_shape(game.init, jax.random.key(0))
    seen, action = Box(shown.observation.shape), Discrete(shown.legal_action_mask.size)
    rival = make_opponent(opponent, encoding(seen), decoding(action, "clip"), action)
    several = game.num_players > 1

    def until_our_turn(key: Key, state: Any, carries: PyTree) -> tuple[Any, PyTree, jax.Array]:
        """-> (state, carries, what we have won meanwhile)."""

        def theirs(loop: tuple) -> jax.Array:
            _, state, _, _ = loop
            return ~state.terminated & ~state.truncated & (state.current_player != 0)

        def move(loop: tuple) -> tuple:
            i, state, carries, won = loop
            move_key, step_key = split(fold_in(key, i))
            player = state.current_player
            carry = jax.tree.map(lambda x: x[player], carries)
            seen, legal = state.observation, state.legal_action_mask
            action, carry = rival.act(move_key, carry, seen, legal)
            carries = jax.tree.map(lambda all, x: all.at[player].set(x), carries, carry)
            state = game.step(state, action, step_key)
            return i + 1, state, carries, won + state.rewards[0]

        if not several:
            return state, carries, jnp.zeros(())
        return jax.lax.while_loop(theirs, move, (0, state, carries, jnp.zeros(())))[1:]

    def told(state: Any, carries: PyTree, before: jax.Array, won: jax.Array) -> Step:
        over = state.terminated | state.truncated
        now = Game(state, carries, before)
        return Step(now, state.observation, won, over, state.legal_action_mask)

    def reset(key: Key) -> Step:
        first_key, key = split(key)
        each = jax.tree.map(lambda x: jnp.stack([x] * game.num_players), rival.carry())
        state, carries, won = until_our_turn(key, game.init(first_key), each)
        return told(state, carries, won, jnp.zeros(()))

    def step(key: Key, now: Game, action: jax.Array) -> Step:
        # a game that was over before our first move stays as it is, and is paid for now
        our_key, key = split(key)
        state = game.step(now.state, action, our_key)
        ours = now.before + state.rewards[0]
        state, carries, won = until_our_turn(key, state, now.carries)
        return told(state, carries, jnp.zeros(()), ours + won)

    environment = Environment(
        reset,
        step,
        seen,
        action,
        succeeded=(lambda ended, total: total > 0) if several else None,
        frame=cells if env.startswith("minatar-") else picture(),
    )
    return make_rollout(environment, **rollout)


def opened(env: str, env_params: dict) -> Any:
    """-> Pgx's environment."""
    refuse_unknown(env, pgx.available_envs(), "pgx")
    with jax.ensure_compile_time_eval(), jax.enable_x64(False):
        game: Any = pgx.make(env)  # pyright: ignore[reportArgumentType]
        given = parameters(env, env_params, arguments(type(game)))
        if not given:
            return game
        # the id of Go says its size, which the class itself does not know
        size = {"size": int(env.partition("x")[2])} if env.startswith("go_") else {}
        with refusing(env, env_params, "pgx"):
            return type(game)(**size | given)


def cells(now: Game) -> np.ndarray:
    """MinAtar's channels [h, w, c] -> the picture that Pgx makes of them: a cell has the colour of
    its highest channel."""
    from pgx.minatar import utils

    channels = np.asarray(now.state.observation)
    number = np.max(channels * (np.arange(channels.shape[-1]) + 1), axis=-1)
    palette: Any = utils.get_cmap(channels.shape[-1])
    colours = np.array([(0, 0, 0), *palette])
    pixels = np.round(255 * colours).astype(np.uint8)[number]
    return pixels.repeat(CELL, axis=0).repeat(CELL, axis=1)


CELL = 40
"""Pixels of a cell's side."""


def picture() -> Callable[[Game], np.ndarray] | None:
    """-> what draws a game: Pgx's own drawing, which is an SVG; None where nothing is there that
    makes pixels of it."""
    try:
        import resvg_py  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    import matplotlib
    from PIL import Image

    # letters of a package, so that machines without any draw the same; shogi's are the machine's
    fonts = [str(Path(matplotlib.get_data_path()) / "fonts" / "ttf")]

    def frame(now: Game) -> np.ndarray:
        state = jax.tree.map(jnp.asarray, now.state)  # as some of the drawings need it
        drawn = state.to_svg(color_theme="light", scale=1.0)
        pixels = resvg_py.svg_to_bytes(
            svg_string=drawn,
            background="white",
            dpi=96,
            font_dirs=fonts,
            font_family="DejaVu Sans",
            serif_family="DejaVu Serif",
            sans_serif_family="DejaVu Sans",
            monospace_family="DejaVu Sans Mono",
        )
        return np.asarray(Image.open(io.BytesIO(bytes(pixels))).convert("RGB"))

    return frame
