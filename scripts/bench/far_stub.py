"""A worker that sleeps where one of esrun's would evaluate: no JAX, the same questions and answers.

It stands alone: Ray's processes import it by its name.
"""

import json
import os
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import save

ECHOED = 300
"""Bytes of an echo, about those of an answer."""


class Stub:
    """What is asked of a worker (see `esrun.training.worker`)."""

    def __init__(self, environment: dict[str, str]):
        self.order, self.number = {}, 0

    def prepare(self, order: bytes) -> bytes:
        """`order`, as JSON: a `folder` in which stubs find their numbers, `seconds` a block by
        number, `members` of a block, and who `dies` in which generation, if somebody does."""
        self.order = json.loads(order)
        self.number = claimed(Path(self.order["folder"]))
        return b"{}"

    def work(self, question: bytes, *contents: bytes) -> bytes:
        """Sleep as long as the blocks take -> what they told."""
        asked = json.loads(question)
        each = self.order["seconds"][self.number % len(self.order["seconds"])]
        seconds = each * len(asked["blocks"])
        if self.order["dies"] == [self.number, asked["generation"]]:
            time.sleep(seconds / 2)
            os._exit(1)
        time.sleep(seconds)
        return answer(len(asked["blocks"]), self.order["members"], seconds)

    def echo(self, seconds: float, content: bytes) -> bytes:
        """Sleep -> some bytes."""
        time.sleep(seconds)
        return bytes(ECHOED)


def answer(blocks: int, members: int, seconds: float) -> bytes:
    """-> a message as a worker's, of blocks of so many members."""
    told = {"fitness": np.zeros((blocks, members), np.float32)}
    return save(told, {"about": json.dumps({"seconds": seconds, "row": ""})})


def claimed(folder: Path) -> int:
    """-> the least number that nobody has taken yet."""
    number = 0
    while True:
        try:
            os.close(os.open(folder / str(number), os.O_CREAT | os.O_EXCL))
            return number
        except FileExistsError:
            number += 1
