"""One sweep for every deadline of a worker, instead of a reactor timer for each step of each request.

A step sets `deadline` on its object, a float store; once a second the sweep calls `deadline_passed` on
those whose time is up. Deadlines are therefore late by at most `SWEEP_SECONDS`.
"""

from __future__ import annotations

from math import inf
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

SWEEP_SECONDS = 1.0
NEVER = inf

_log = Logger()


class Timed(Protocol):
    """Something with at most one deadline at a time, in the clock's seconds."""

    deadline: float

    def deadline_passed(self) -> None:
        """Act on the deadline; it has been set to `NEVER` before the call."""


class Deadlines:
    """The set of objects swept. Objects register once and leave when they end."""

    def __init__(self, clock: IReactorTime) -> None:
        self._watched: set[Timed] = set()
        self._loop = LoopingCall(self._sweep)
        self._loop.clock = clock
        self.seconds = clock.seconds

    def start(self) -> None:
        """Begin to sweep."""
        self._loop.start(SWEEP_SECONDS, now=False)

    def stop(self) -> None:
        """Stop sweeping."""
        if self._loop.running:
            self._loop.stop()

    def watch(self, timed: Timed) -> None:
        """Sweep `timed` from now on."""
        self._watched.add(timed)

    def forget(self, timed: Timed) -> None:
        """Sweep `timed` no more."""
        self._watched.discard(timed)

    def _sweep(self) -> None:
        now = self.seconds()
        for timed in [timed for timed in self._watched if timed.deadline <= now]:
            timed.deadline = NEVER
            try:
                timed.deadline_passed()
            except Exception:  # noqa: BLE001 - raised out of here it would end the sweep for all, for good
                _log.failure("a deadline passed, and nothing came of it")
