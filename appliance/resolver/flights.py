"""One question upstream for all who want the same thing at the same time.

What they do once it is answered is their own and may be dear: a handshake, a record. So not all go on in one
turn of the reactor, in which nobody else is heard: of a tenant a few do, the others in the turns after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

RESUMED_PER_TURN = 8
"""Of one tenant's waiters, whatever they waited for."""

T = TypeVar("T")


class _Landed(Generic[T]):
    """Results that a tenant's waiters have yet to be told, and how many may be in this turn."""

    def __init__(self) -> None:
        self.results: deque[tuple[T | Failure, list[Deferred[T]]]] = deque()
        self.left = RESUMED_PER_TURN


class Flights(Generic[T]):
    """Shared work by (tenant, subject). Cancelling one who waits leaves the work to the others."""

    log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: dict[tuple[str, object], list[Deferred[T]]] = {}
        self._landed: dict[str, _Landed[T]] = {}

    def under_way(self, tenant: str) -> int:
        """How many pieces of work the tenant has under way."""
        return sum(1 for owner, _ in self._waiting if owner == tenant)

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, key: tuple[str, object]) -> bool:
        return key in self._waiting

    async def join(
        self, key: tuple[str, object], start: Callable[[], Coroutine[Any, Any, T]]
    ) -> tuple[T, bool]:
        """The result of the work under `key`, and whether this call began it with `start`."""
        leads = key not in self._waiting
        waiting = self._waiting.setdefault(key, [])
        waiter: Deferred[T] = Deferred(waiting.remove)
        waiting.append(waiter)
        if leads:
            Deferred.fromCoroutine(start()).addBoth(self._land, key)
        return await waiter, leads

    def _land(self, result: T | Failure, key: tuple[str, object]) -> None:
        waiting = self._waiting.pop(key)
        if not waiting:
            if isinstance(result, Failure):
                self.log.failure("work that nobody waited for failed", failure=result)
            return
        tenant, _ = key
        landed = self._landed.get(tenant)
        if landed is None:
            landed = self._landed[tenant] = _Landed()
            self._clock.callLater(0, self._next_turn, tenant)
        landed.results.append((result, waiting))
        self._resume(landed)

    def _next_turn(self, tenant: str) -> None:
        landed = self._landed[tenant]
        if not landed.results:
            del self._landed[tenant]
            return
        landed.left = RESUMED_PER_TURN
        self._clock.callLater(0, self._next_turn, tenant)
        self._resume(landed)

    def _resume(self, landed: _Landed[T]) -> None:
        """Tell as many as may go on in this turn, in the order in which they came."""
        while landed.results and landed.left:
            result, waiting = landed.results[0]
            if not waiting:  # all told, or cancelled
                landed.results.popleft()
                continue
            landed.left -= 1
            waiter = waiting.pop(0)
            if isinstance(result, Failure):
                waiter.errback(result)
            else:
                waiter.callback(result)
