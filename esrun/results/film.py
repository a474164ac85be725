"""Films of policies: what each does in its episodes, panels side by side, a caption over each."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from esrun.config.schema.environments import CLASSIC
from esrun.config.schema.run import Config
from esrun.errors import printable
from esrun.results.evaluation import Subject
from esrun.runs.folder import shown
from esrun.runs.paths import RunFolder
from esrun.types import PyTree, Task

MOST_FRAMES = 500
"""Of a panel; longer episodes show every second, third, ... step."""
COLUMNS, WIDE = 4, 1600
"""Panels in a row, and pixels of the row."""
PANEL = 420
"""Most pixels of a film's width among others."""
FONT, LINE, EDGE = 14, 18, 8
"""Pixels of the captions' letters and lines, and around a panel."""
SMOOTH_MS, OTHER_MS, STILL_MS = 50, 100, 1500
"""Milliseconds of a step, as gymnax's own films have it, the first one where things move; and of a
picture in which nothing does."""
PHYSICS = ("brax", "gymnasium", "playground")
"""Packages whose environments are bodies in motion."""


class Panel(NamedTuple):
    """One film among those side by side."""

    title: list[str]
    captions: list[str]
    """A line for each frame; what belongs to the return or the step."""
    picture: Callable[[int], np.ndarray]
    """Number of the frame -> [height, width, 3] uint8."""
    milliseconds: int
    width: int = PANEL
    """Most pixels of its width."""


def title_of(config: Config) -> str:
    """-> what a task is called over its pictures."""
    task = config.task
    if hasattr(task, "env"):
        return task.env
    name = getattr(task, "function", getattr(task, "dataset", task.name))
    name = f"{task.name} f{name}" if isinstance(name, int) else str(name)
    dimension = getattr(task, "dimension", None)
    return name if dimension is None else f"{name}, {dimension} dimension{'s' * (dimension > 1)}"


def about(subject: Subject) -> str:
    """-> which policy it is."""
    if subject.generation is None:
        return f"{subject.name} policy"
    which = f"generation {subject.generation}"
    return f"{which} (best)" if subject.name == "best" else which


def panel(
    folder: RunFolder, config: Config, task: Task, subject: Subject, seed: int, seen: PyTree
) -> Panel:
    """-> the film of a policy's first held-out episodes of a seed, one after the other; `seen` is
    what happened in them (see `Task.watch`)."""
    title = [f"{title_of(config)}, {about(subject)}", shown(folder.path)]
    if config.task.name == "classification":
        from esrun.results.answers import WIDTH, classified_frames
        from esrun.tasks.datasets import KINDS

        picture, captions = classified_frames(seen, KINDS[config.task.dataset])
        title[1] += ", validation part"
        return Panel(title, captions, picture, STILL_MS, WIDTH)
    if config.task.name == "bytes":
        from esrun.results.readings import COLUMNS as LETTERS
        from esrun.results.readings import WIDTH, text_frames

        picture, captions = text_frames(seen)
        title[1] += ", last part of the file"
        return Panel(title, captions, picture, STILL_MS, LETTERS * WIDTH)
    if config.task.name == "sine":
        from esrun.results.predictions import sine_frames

        picture, captions = sine_frames(seen)
        milliseconds = STILL_MS
    else:
        picture, captions = _episodes(config, task, seen)
        smooth = config.task.name in PHYSICS or getattr(config.task, "env", None) in CLASSIC
        milliseconds = SMOOTH_MS if smooth else OTHER_MS
    title[1] += f", seed {seed}"
    return Panel(title, captions, picture, milliseconds)


def _episodes(
    config: Config, task: Task, seen: Any
) -> tuple[Callable[[int], np.ndarray], list[str]]:
    """-> (number -> picture, captions) of an environment's episodes, one after the other."""
    from esrun.results.frames import drawing

    draw, frames, captions = drawing(config.task, task), [], []
    for i, (steps, total) in enumerate(zip(seen.steps, seen.returns, strict=True)):
        rows = min(int(steps), len(seen.totals) - 1)
        states, observations, totals = jax.tree.map(
            lambda x, i=i, rows=rows: x[: rows + 1, i],
            (seen.states, seen.observations, seen.totals),
        )
        episode = seen._replace(states=states, observations=observations, totals=totals)
        frame = draw(episode)
        stride = math.ceil((rows + 1) / MOST_FRAMES)
        for t in sorted({*range(0, rows + 1, stride), rows}):
            frames.append((frame, t))
            captions.append(
                f"episode {i}: return {total:.6g}, step {t}/{steps}, so far {totals[t]:.6g}"
            )
    return (lambda number: frames[number][0](frames[number][1])), captions


def composed(panels: list[Panel], columns: int = COLUMNS) -> Iterator[np.ndarray]:
    """-> the frames, all of one size; a panel that ends earlier stays at its last picture."""
    columns = min(columns, len(panels))
    width = min(max(one.width for one in panels), WIDE // columns)
    font = ImageFont.load_default(FONT)
    titles = [[_fitting(x, font, width) for x in one.title] for one in panels]
    shapes = [one.picture(0).shape for one in panels]
    heights = [round(width * height / w) for height, w, _ in shapes]
    broken = max(len(_split(x, font, width)) for one in panels for x in one.captions)
    top, high = LINE * (len(titles[0]) + broken) + EDGE, max(heights)
    rows = math.ceil(len(panels) / columns)
    size = columns * (width + EDGE) + EDGE, rows * (high + top + EDGE)
    shown_last: dict[int, tuple[int, Image.Image]] = {}
    for t in range(max(len(one.captions) for one in panels)):
        whole = Image.new("RGB", size, "white")
        draw = ImageDraw.Draw(whole)
        for i, one in enumerate(panels):
            x, y = EDGE + (i % columns) * (width + EDGE), (i // columns) * (high + top + EDGE)
            number = min(t, len(one.captions) - 1)
            if shown_last.get(i, (-1,))[0] != number:
                picture = Image.fromarray(one.picture(number))
                shown_last[i] = number, picture.resize((width, heights[i]))
            for line, text in enumerate([*titles[i], *_split(one.captions[number], font, width)]):
                draw.text((x, y + EDGE // 2 + line * LINE), text, "black", font)
            whole.paste(shown_last[i][1], (x, y + top))
        yield np.asarray(whole)


def _fitting(text: str, font: Any, width: int) -> str:
    """-> the text, its beginning left out where it is too long."""
    text = printable(text)
    if font.getlength(text) <= width:
        return text
    while font.getlength(f"...{text}") > width:
        text = text[1:]
    return f"...{text}"


def _split(text: str, font: Any, width: int) -> list[str]:
    """-> the text in two lines at most, broken at a comma."""
    whole, rest = text, []
    while font.getlength(text) > width and ", " in text:
        text, _, last = text.rpartition(", ")
        rest.insert(0, last)
    return [text, ", ".join(rest)] if rest else [whole]
