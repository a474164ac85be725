"""Rooms: the lengths of arrays that searches with different populations share a program for.

The smallest room holds the first search's members several times, the next one those that do not fit
into it, and so on. Padding costs sorts of all that there is room for and, on an accelerator, the
evaluation of members that are not there; another program costs seconds.
"""

from typing import NamedTuple

from esrun.backend import devices
from esrun.training.generation import Parts
from esrun.training.slices import WORTH_TWO, work

TIMES, TIMES_SHARED, TIMES_ON_ACCELERATORS = 32, 4, 2
"""How many times the fewest members of a room are its most: where a device works alone, which
computes no blocks of padding; where several share the blocks; where padding is evaluated too."""


class Room(NamedTuple):
    """Members of populations that share a program."""

    least: int
    most: int


def room_of(parts: Parts, first: int) -> Room:
    """-> the room for the members of the `parts`, where the first search has `first`."""
    least = first
    while True:
        if not devices.on_cpu():
            times = TIMES_ON_ACCELERATORS
        else:
            times = TIMES if work(parts, least) < WORTH_TWO else TIMES_SHARED
        room = Room(least, least * times)
        if parts.strategy.population_size <= room.most:
            return room
        least = room.most
