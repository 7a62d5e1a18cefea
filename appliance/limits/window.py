"""Sliding-window counters over plain integers: no float, no drift, constant time and room.

Time is cut into windows of one length. A counter is three cells: the number of its current window, what was
counted in it, and in the one before. What counts now is the current count and of the previous one the part
that the last `length` nanoseconds still reach, as if it had come evenly spread. So over any window at most
the limit is admitted when use is even, and never more than the limit within one cut of time.

Whoever reads cells while their one writer moves them to the next window sees too much for a moment, never too
little: the writer sets the window's number first and the current count to 0 last.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

SECOND = 1_000_000_000
"""Nanoseconds."""

CELLS = 3
_CURRENT, _PREVIOUS = 1, 2


class Cells(Protocol):
    """Numbered integers from 0 to 2**64 - 1: a list, or memory that processes share."""

    def __getitem__(self, at: int, /) -> int: ...

    def __setitem__(self, at: int, value: int, /) -> None: ...


Place = tuple[Cells, int]
"""Cells, and where in them those of somebody begin; a counter is `at` cells further on."""


def add(cells: Cells, at: int, now: int, length: int, amount: int) -> None:
    """Count `amount` at time `now` (nanoseconds) in windows of `length` nanoseconds."""
    number = now // length
    known = cells[at]
    if known != number:
        count = cells[at + _CURRENT]
        cells[at] = number
        cells[at + _PREVIOUS] = count if known == number - 1 else 0
        cells[at + _CURRENT] = 0
    cells[at + _CURRENT] += amount


def counted(cells: Cells, at: int, number: int) -> tuple[int, int]:
    """(in window `number`, in the one before it)."""
    known = cells[at]
    if known == number:
        return cells[at + _CURRENT], cells[at + _PREVIOUS]
    if known == number - 1:
        return 0, cells[at + _CURRENT]
    return 0, 0


def used(places: Iterable[Place], at: int, now: int, length: int) -> int:
    """What was counted in the last `length` nanoseconds in all places together, rounded up."""
    current, previous = _sum(places, at, now // length)
    return current + -(-previous * (length - now % length) // length) if previous else current


def at_most(places: Iterable[Place], at: int, now: int, length: int) -> int:
    """What `used` cannot exceed: this window and all of the one before it."""
    current, previous = _sum(places, at, now // length)
    return current + previous


def wait(places: Iterable[Place], at: int, now: int, length: int, limit: int) -> int:
    """Nanoseconds until one more fits into `limit`, if nothing else comes; 0 when it fits now."""
    current, previous = _sum(places, at, now // length)
    room = limit - 1 - current
    if room >= previous:
        return 0
    passed = now % length
    if room >= 0:
        return max(0, _faded(previous, room, length) - passed)
    # Not in this window: in the next, in which what is current now fades.
    return length - passed + _faded(current, limit - 1, length)


def idle(cells: Cells, at: int, now: int, length: int) -> bool:
    """Whether the counter holds nothing that can still count."""
    return counted(cells, at, now // length) == (0, 0)


def _sum(places: Iterable[Place], at: int, number: int) -> tuple[int, int]:
    # `counted` of each, written out: calls were half of what they took.
    current = previous = 0
    for cells, base in places:
        here = base + at
        known = cells[here]
        if known == number:
            current += cells[here + _CURRENT]
            previous += cells[here + _PREVIOUS]
        elif known == number - 1:
            previous += cells[here + _CURRENT]
    return current, previous


def _faded(count: int, room: int, length: int) -> int:
    """How far into a window the rest of the `count` of the window before it is at most `room`."""
    return 0 if count <= room else length - room * length // count
