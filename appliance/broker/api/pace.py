"""How often one workload, or caller, may ask for the same thing: some at once, and then one in a while."""

from __future__ import annotations

import math
from collections.abc import Callable

COUNTED_ONCE = 8 * 1024
"""Octets of a body: one of a megabyte, which takes the one thread 50 ms to read, counts for many."""

KEPT = 16384
"""Keys above which those are dropped that have waited long enough to count as new."""


class Pace:
    """For each key `burst` at once, and one more each `seconds`. `clock` tells seconds."""

    def __init__(self, burst: int, seconds: float, clock: Callable[[], float]) -> None:
        self._burst = burst
        self._seconds = seconds
        self._clock = clock
        self._full_at: dict[str, float] = {}
        self._most = KEPT

    def take(self, key: str, counted: int = 1) -> int:
        """0 where it may; else how many seconds to wait, which cost nothing more.

        It counts as so many; never more than the burst.
        """
        now = self._clock()
        full_at = max(self._full_at.get(key, now), now) + counted * self._seconds
        late = full_at - now - self._burst * self._seconds
        if late > 0:
            return math.ceil(late)
        if len(self._full_at) >= self._most:
            self._full_at = {one: at for one, at in self._full_at.items() if at > now}
            self._most = max(KEPT, 2 * len(self._full_at))
        self._full_at[key] = full_at
        return 0

    def forget(self, key: str) -> None:
        """The key is gone for good."""
        self._full_at.pop(key, None)


def times(body: bytes) -> int:
    """As how many requests one with this body counts."""
    return 1 + len(body) // COUNTED_ONCE
