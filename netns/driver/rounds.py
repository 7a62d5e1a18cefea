"""What is looked at again and again while netd runs."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

_log = Logger()


class Rounds:
    """Calls `look` every so many `seconds`; while a look takes longer, the next one of the rounds waits.

    A look that fails is told and ends nothing.
    """

    def __init__(self, clock: Any, seconds: float, look: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._seconds = seconds
        self._look_once = look
        self._loop = LoopingCall(self.look_now)
        self._loop.clock = clock

    def start(self) -> None:
        """Look from now on, the first time after one interval."""
        if not self._loop.running:
            self._loop.start(self._seconds, now=False)

    def stop(self) -> None:
        """Look no more."""
        if self._loop.running:
            self._loop.stop()

    def look_now(self) -> Deferred[None]:
        """One look beside the rounds; fires when it is over, and never fails."""
        return Deferred.fromCoroutine(self._guarded())

    async def _guarded(self) -> None:
        try:
            await self._look_once()
        except Exception:  # noqa: BLE001 - a mistake of ours does not end the looks
            _log.failure("a look failed; the next one will be taken")
