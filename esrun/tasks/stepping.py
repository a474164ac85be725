"""A process that steps gymnasium's environments, started by `esrun.backend.workers`.

It knows nothing of JAX or of policies: seeds and actions come in, observations, rewards and ends go
out, as plain bytes. `python -m esrun.tasks.stepping FD`.
"""

import json
import os
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from esrun.backend.workers import questions

RESET, STEP, SEEN, FAILED = b"r", b"s", b"o", b"e"
"""What a message is, its first byte; the second one is the number of a set of environments."""


def made(order: dict[str, Any], **more: Any) -> gymnasium.Env:
    """-> an environment: `order` has `env`, `params` and `length`; where `env` names a module,
    which gymnasium imports, also the folder `beside` which that may lie."""
    if (beside := order.get("beside")) and beside not in sys.path:
        sys.path.insert(0, beside)
    given = {**order["params"], **more}
    entry = "" if ":" in order["env"] else gymnasium.spec(order["env"]).entry_point
    if isinstance(entry, str) and entry.startswith("gymnasium.envs.mujoco"):
        import mujoco

        # it would write a file MUJOCO_LOG.TXT where the user stands, of a robot's deprecated words
        mujoco.set_mju_user_warning(lambda text: None)  # pyright: ignore[reportAttributeAccessIssue]
    return gymnasium.make(
        order["env"], max_episode_steps=order["length"], disable_env_checker=True, **given
    )


def leaves(space: gymnasium.Space, value: Any = None) -> Iterator[tuple[gymnasium.Space, Any]]:
    """-> the parts of an observation with their spaces, in the order of JAX's trees."""
    if isinstance(space, spaces.Dict):
        for key in sorted(space.spaces):
            yield from leaves(space[key], None if value is None else value[key])
    elif isinstance(space, spaces.Tuple):
        for i, part in enumerate(space.spaces):
            yield from leaves(part, None if value is None else value[i])
    else:
        yield space, value


def layout(space: gymnasium.Space) -> list[tuple[np.dtype, tuple[int, ...]]]:
    """-> type and shape of each part of an observation, or of an action, as it travels."""
    kinds = []
    for part, _ in leaves(space):
        is_box = isinstance(part, spaces.Box)
        kinds.append((np.dtype(part.dtype if is_box else np.int64), tuple(part.shape or ())))
    return kinds


def packed(kinds: list, rows: list[list[np.ndarray]]) -> bytes:
    """-> the parts of several observations, part behind part."""
    columns = zip(*rows, strict=True)
    return b"".join(
        np.asarray(column, kind).tobytes() for (kind, _), column in zip(kinds, columns, strict=True)
    )


def unpacked(kinds: list, count: int, content: bytes) -> list[np.ndarray]:
    """-> the parts of `count` observations, [count, ...] each."""
    found, at = [], 0
    for kind, shape in kinds:
        size = count * int(np.prod(shape, dtype=int))
        found.append(np.frombuffer(content, kind, size, at).reshape(count, *shape))
        at += size * kind.itemsize
    return found


def as_sent(space: gymnasium.Space, action: np.ndarray) -> Any:
    """-> an action as its environment wants it; a code counts from the space's own start."""
    return np.asarray(action, space.dtype) + getattr(space, "start", 0)


class Stepper:
    """Sets of environments by number; each set is stepped at once."""

    def __init__(self, order: dict[str, Any]):
        """No environment is made before it is needed."""
        self._order, self._sets, self._rows = order, {}, {}
        first = made(order)
        self._free, self._seen, self._acts = [first], first.observation_space, first.action_space
        self._kinds, self._act_kind = layout(self._seen), layout(self._acts)

    def reset(self, number: int, seeds: np.ndarray) -> bytes:
        """-> the first observations, an environment a seed."""
        own = self._sets.setdefault(number, [])
        while len(own) < len(seeds):
            own.append(self._free.pop() if self._free else made(self._order))
        self._rows[number] = [
            self._parts(env.reset(seed=int(seed))[0]) for env, seed in zip(own, seeds, strict=False)
        ]
        return packed(self._kinds, self._rows[number])

    def step(self, number: int, content: bytes) -> bytes:
        """-> rewards, ends and observations; an environment that is not alive stays as it is."""
        rows = self._rows[number]
        count = len(rows)
        alive = np.frombuffer(content, bool, count)
        (actions,) = unpacked(self._act_kind, count, content[count:])
        rewards, ends = np.zeros(count), np.zeros((count, 2), bool)
        for i in np.flatnonzero(alive):
            action = as_sent(self._acts, actions[i])
            seen, rewards[i], *ends[i], _ = self._sets[number][i].step(action)
            rows[i] = self._parts(seen)
        return rewards.tobytes() + ends.tobytes() + packed(self._kinds, rows)

    def _parts(self, observation: Any) -> list[np.ndarray]:
        parts = []
        for space, x in leaves(self._seen, observation):
            part = np.asarray(x)
            if part.shape != (space.shape or ()):
                raise ValueError(
                    f"it observes an array of shape {part.shape}, and its space is {space}"
                )
            coded = isinstance(space, (spaces.Discrete, spaces.MultiDiscrete))
            parts.append(part - getattr(space, "start", 0) if coded else part)
        return parts


def serve(connection: Connection) -> None:
    """Answer until nobody asks any more."""
    asked = questions(connection)
    stepper = Stepper(json.loads(next(asked)))
    for message in asked:
        what, number = message[:1], message[1:2]
        if what == RESET:
            answer = stepper.reset(number[0], np.frombuffer(message, np.uint64, offset=2))
        else:
            answer = stepper.step(number[0], message[2:])
        connection.send_bytes(SEEN + number + answer)


def main() -> None:
    """Serve the socket whose number is the argument; what environments print is no answer."""
    os.dup2(2, 1)
    connection = Connection(int(sys.argv[1]))
    try:
        serve(connection)
    except (StopIteration, ConnectionError):
        return
    except BaseException as error:
        text = f"{type(error).__name__}: {error}"
        connection.send_bytes(FAILED + b"\0" + text.encode(errors="replace"))


if __name__ == "__main__":
    main()
