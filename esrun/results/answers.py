"""Classification's picture: what a policy took the held-out pictures for, the wrong ones first, and
how often each class was taken for which."""

from collections.abc import Callable

import numpy as np

from esrun.results.canvas import DPI, canvas, pixels, wong
from esrun.tasks.classification import Classified
from esrun.tasks.datasets import Kind

ROWS, COLUMNS = 6, 8
"""Of the pictures that are shown."""
WIDTH, HEIGHT = 1200, 560
"""Pixels of the whole."""


def order(seen: Classified) -> np.ndarray:
    """-> the numbers of the pictures [k]: wrong answers first, the surest at the head, then right
    ones, the least sure at the head. An output that is not finite is no answer."""
    answers, sure = answered(seen)
    wrong = answers != seen.labels
    return np.lexsort((np.where(wrong, -sure, sure), ~wrong))


def answered(seen: Classified) -> tuple[np.ndarray, np.ndarray]:
    """-> (the class that each picture was taken for [k], the probability that the policy gave it
    [k])."""
    finite = np.nan_to_num(np.asarray(seen.outputs, float), nan=-np.inf)
    shifted = np.exp(finite - np.max(finite, axis=1, keepdims=True))
    return np.argmax(seen.outputs, axis=1), np.max(shifted, axis=1) / np.sum(shifted, axis=1)


def confusion(seen: Classified, classes: int) -> np.ndarray:
    """-> [classes, classes]: how many pictures of a class (row) were taken for which (column)."""
    table = np.zeros((classes, classes), int)
    np.add.at(table, (np.asarray(seen.labels), answered(seen)[0]), 1)
    return table


def classified_frames(
    seen: Classified, kind: Kind
) -> tuple[Callable[[int], np.ndarray], list[str]]:
    """-> (0 -> the picture, its caption)."""
    answers, sure = answered(seen)
    right = int(np.sum(answers == seen.labels))
    first = order(seen)[: ROWS * COLUMNS]
    table = confusion(seen, len(kind.names))

    def picture(_: int) -> np.ndarray:
        with canvas(WIDTH / DPI, HEIGHT / DPI, {"axes.grid": False}) as figure:
            left, right_half = figure.subfigures(1, 2, width_ratios=[1.15, 1])
            _draw_pictures(left, seen, first, answers, sure, kind)
            _draw_table(right_half, table, kind)
            return pixels(figure)

    count = len(answers)
    return picture, [f"accuracy {right / count:.4f}: {count - right} of {count} wrong"]


def _draw_pictures(
    figure, seen: Classified, which: np.ndarray, answers: np.ndarray, sure: np.ndarray, kind: Kind
) -> None:
    for axes, i in zip(figure.subplots(ROWS, COLUMNS).flat, which, strict=False):
        axes.imshow(np.squeeze(seen.pictures[i]), cmap="gray_r", vmin=0, vmax=kind.white)
        is_right = answers[i] == seen.labels[i]
        said = f"{kind.names[answers[i]]}, {sure[i]:.0%}"
        text = said if is_right else f"{said}\nis {kind.names[seen.labels[i]]}"
        axes.set_title(text, fontsize=7, color=wong.BLACK if is_right else wong.RED, pad=2)
    for axes in figure.axes:
        axes.set_axis_off()


def _draw_table(figure, table: np.ndarray, kind: Kind) -> None:
    axes = figure.add_subplot()
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(table):
        if count:
            dark = share[row, column] > 0.5
            axes.text(
                column, row, str(count), ha="center", va="center", fontsize=8,
                color=wong.WHITE if dark else wong.BLACK,
            )  # fmt: skip
    places = range(len(kind.names))
    turned = {"rotation": 45, "ha": "right"} if max(map(len, kind.names)) > 2 else {}
    axes.set_xticks(places, kind.names, **turned)
    axes.set_yticks(places, kind.names)
    axes.set(xlabel="taken for", ylabel="is")
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(length=0)
