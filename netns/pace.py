"""When to act on events: soon, not for each of a burst, and never so often that acting is all we do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

SETTLE = 0.02
"""Seconds from an event to the act: one change comes as several events."""
SHARE = 4
"""Times as long as an act took we rest after it: quick repairs take a fifth of one thread at most."""
LONGEST = 0.4
"""Seconds of rest at most, on a slow machine or when somebody undoes our work: repairs come in a second."""

_log = Logger()


class Pace:
    """Calls `act` after `ask`, one at a time. `act` answers whether it found something to do."""

    def __init__(self, clock: IReactorTime, act: Callable[[], Awaitable[bool]]) -> None:
        self._clock = clock
        self._act = act
        self._due: IDelayedCall | None = None
        self._acting = False
        self._again = False
        self._streak = 0
        self._not_before = 0.0
        self._stopped = False

    def ask(self) -> None:
        """Something may have changed."""
        if self._acting:
            self._again = True
        elif self._due is None and not self._stopped:
            rest = self._not_before - self._clock.seconds()
            self._due = self._clock.callLater(max(SETTLE, rest), self._begin)

    def stop(self) -> None:
        """Act no more."""
        self._stopped = True
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _begin(self) -> None:
        self._due = None
        self._acting, self._again = True, False
        Deferred.fromCoroutine(self._run()).addErrback(
            lambda failure: _log.failure("acting on an event failed", failure=failure)
        )

    async def _run(self) -> None:
        began = self._clock.seconds()
        found = True
        try:
            found = await self._act()
        finally:
            self._streak = self._streak + 1 if found else 0
            ended = self._clock.seconds()
            backoff = SETTLE * 2 ** min(self._streak, 10)
            self._not_before = ended + min(LONGEST, max(SHARE * (ended - began), backoff))
            self._acting = False
            if self._again:
                self.ask()
