"""One question upstream for all who want the same thing at the same time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

T = TypeVar("T")


class Flights(Generic[T]):
    """Shared work by (tenant, subject). Cancelling one who waits leaves the work to the others."""

    log = Logger()

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, object], list[Deferred[T]]] = {}

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
        if isinstance(result, Failure) and not waiting:
            self.log.failure("work that nobody waited for failed", failure=result)
        for waiter in tuple(waiting):
            if waiter.called:  # cancelled by what an earlier one set off
                continue
            if isinstance(result, Failure):
                waiter.errback(result)
            else:
                waiter.callback(result)
