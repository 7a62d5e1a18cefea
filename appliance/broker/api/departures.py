"""Containers that left hold no certificate that counts: those that leave now, and those that left unseen.

What is over takes no room: rows of it are removed every so often, whether anybody asks for anything or not.

Before the first certificate is issued, the database is told which endpoints there still are: while no broker
ran, some may have gone.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

if TYPE_CHECKING:
    from appliance.broker.calls.secrets import InThread
    from appliance.broker.identity.workloads import Workloads
    from appliance.endpoints import Endpoint, EndpointFeed

LOOK_SECONDS = 0.5
PRUNE_SECONDS = 300.0
_log = Logger()


class Departures:
    """`known` is called once: when it is settled which endpoints are live. `prune` removes what is over."""

    def __init__(
        self,
        clock: Any,
        feed: EndpointFeed,
        workloads: Workloads,
        in_thread: InThread,
        *,
        now: Callable[[], datetime],
        known: Callable[[], None],
        prune: Callable[[datetime], object],
    ) -> None:
        self._feed = feed
        self._workloads = workloads
        self._in_thread = in_thread
        self._now = now
        self._known = known
        self._prune_table = prune
        self._looking = LoopingCall(self._look)
        self._pruning = LoopingCall(self._prune)
        self._looking.clock = self._pruning.clock = clock

    def start(self) -> None:
        """Look until netd has said who there is, and the database was told."""
        self._looking.start(LOOK_SECONDS)
        self._pruning.start(PRUNE_SECONDS)

    def stop(self) -> None:
        """No more."""
        for loop in (self._looking, self._pruning):
            if loop.running:
                loop.stop()

    def departed(self, endpoint: Endpoint) -> None:
        """A link is gone. Where the database does not answer, `checks.container` still refuses."""
        Deferred.fromCoroutine(self._depart(endpoint.id))

    async def _depart(self, endpoint: str) -> None:
        await self._tried(self._workloads.depart, endpoint, self._now())

    async def _look_now(self) -> None:
        if not self._feed.ready:
            return
        live = [endpoint.id for endpoint in self._feed.table]
        if await self._tried(self._workloads.keep_only, live, self._now()) and self._looking.running:
            self._looking.stop()
            self._known()

    def _look(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._look_now())

    def _prune(self) -> Deferred[bool]:
        return Deferred.fromCoroutine(self._tried(self._prune_table, self._now()))

    async def _tried(self, function: Callable[..., object], *arguments: object) -> bool:
        try:
            await self._in_thread(function, *arguments)
        except Exception as error:  # noqa: BLE001 - it is tried again, or refused elsewhere
            _log.error("the tables of workloads were not changed: {kind}", kind=type(error).__name__)
            return False
        return True
