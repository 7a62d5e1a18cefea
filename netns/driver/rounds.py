"""What is looked at again and again while netd runs."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

_log = Logger()


class Rounds:
    """Calls `look` every so many `seconds`, and never again while the call before is under way.

    `look` raises nothing: a failure ends the rounds, and is told.
    """

    def __init__(self, clock: Any, seconds: float, look: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._seconds = seconds
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(look()))
        self._loop.clock = clock

    def start(self) -> None:
        """Look from now on, the first time after one interval."""
        if not self._loop.running:
            self._loop.start(self._seconds, now=False).addErrback(
                lambda failure: _log.failure("no look is taken any more", failure=failure)
            )

    def stop(self) -> None:
        """Look no more."""
        if self._loop.running:
            self._loop.stop()
