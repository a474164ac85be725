"""A text as a policy has read it: what each byte cost, and how the policy would go on."""

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from esrun.results.canvas import wong
from esrun.tasks.bytes import PROMPT, Read

COLUMNS, TOP, BELOW = 64, 20, 16
"""Bytes in a line, and most lines of the text and of the sample."""
WIDTH, HEIGHT, FONT = 9, 16, 13
"""Pixels of a byte, and of the letters."""
DEAR = 8
"""Bits from which on a byte is quite red: what one costs to somebody who knows nothing."""
RED = np.array([213, 94, 0])
NEWLINE, OTHER = ord("\n"), "·"


def text_frames(seen: Read) -> tuple[Callable[[int], np.ndarray], list[str]]:
    """-> (number -> the picture, its caption) of the first stream: the last lines of what a sample
    goes on from, white where a byte was foreseen and red where it cost `DEAR` bits, then the
    sample."""

    def picture(number: int) -> np.ndarray:
        image = Image.new("RGB", (COLUMNS * WIDTH, (TOP + BELOW + 1) * HEIGHT), "white")
        text, bits, sample = (np.asarray(x[number]) for x in (seen.bytes, seen.bits, seen.sample))
        text, bits = text[1 : PROMPT + 1], bits[:PROMPT]
        last = max((row for _, row, _ in placed(text)), default=0)
        first = max(0, last + 1 - TOP)
        for i, row, column in placed(text):
            if row >= first:
                share = np.clip(np.nan_to_num(bits[i] / DEAR, nan=1.0), 0, 1)  # NaN: all wrong
                colour = tuple(int(x) for x in np.round(255 + share * (RED - 255)))
                _write(image, row - first, column, int(text[i]), "black", colour)
        for i, row, column in placed(sample):
            if row < BELOW:
                at = min(last + 1, TOP) + 1 + row
                _write(image, at, column, int(sample[i]), wong.BLUE, (255, 255, 255))
        return np.asarray(image)

    mean, first = -float(np.mean(seen.returns)), -float(seen.returns[0])
    of = f"{mean:.4g} bits a byte, {first:.4g} in the first stream (white 0, red {DEAR} or more)"
    return picture, [f"{of}, a sample goes on in blue"]


def placed(text: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Bytes [k] -> (number, row, column) of each, lines broken behind a newline and where they are
    full."""
    row = column = 0
    for i, byte in enumerate(text):
        yield i, row, column
        column += 1
        if byte == NEWLINE or column == COLUMNS:
            row, column = row + 1, 0


def _write(
    image: Image.Image, row: int, column: int, byte: int, ink: str, paper: tuple[int, ...]
) -> None:
    draw, x, y = ImageDraw.Draw(image), column * WIDTH, row * HEIGHT
    draw.rectangle((x, y, x + WIDTH - 1, y + HEIGHT - 1), paper)
    if byte != NEWLINE:
        letter = chr(byte) if 32 <= byte < 127 else OTHER
        font = ImageFont.load_default(FONT)
        draw.text((x + WIDTH / 2, y + HEIGHT - 4), letter, ink, font, anchor="ms")
