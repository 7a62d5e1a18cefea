"""Whose bytes are read in a turn of the reactor: no tenant has more than a share of it while others wait.

Limits count requests and bytes, but what bytes cost is for the sender to choose: records, chunks and frames
of one octet each make 64 KiB the work of a tenth of a second, on as many connections as a tenant may have,
before anybody else is heard. So a tenant whose share of a turn is used up is read in the next one; its bytes
wait in the kernel, where they push back on their sender. And what cost much is read in smaller pieces.
"""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime

LEAST_READ, FIRST_READ, MOST_READ = 2 * 1024, 8 * 1024, 64 * 1024
"""Octets of one read: smaller at once where it costs much, larger by a `STEP` where it costs little."""
STEP = 4 * 1024


class _Share:
    """What one tenant has had of a turn. `round`: until all of its connections have been read once."""

    __slots__ = ("__weakref__", "called", "late", "postponed", "round", "turn", "used", "waiting")

    def __init__(self) -> None:
        self.turn = -1  # the number of that turn
        self.used = 0.0
        self.round = 0
        self.late = False  # the turn before ended with connections not read
        self.postponed = False  # this one does
        self.waiting: deque[Callable[[], None]] = deque()  # what is to be done in turns without being read
        self.called = False  # `Turns._go_on` is to be called

    def begin(self, turn: int) -> None:
        """In another turn the whole share is there again."""
        self.turn = turn
        self.used = 0.0
        self.late, self.postponed = self.postponed, False
        if not self.late:
            self.round += 1


class _PacedRead:
    """Stands in for a transport's `doRead`; the reactor asks again where it did nothing."""

    __slots__ = ("_round", "_share", "_transport", "_turns")

    def __init__(self, turns: Turns, share: _Share, transport: Any) -> None:
        self._turns = turns
        self._share = share
        self._transport = weakref.ref(transport)  # which holds us
        self._round = -1

    def __call__(self) -> Any:
        transport, share = self._transport(), self._share
        if transport is None:
            return None
        turns = self._turns
        # Numbers are compared at a read: a timed call at the end of each turn took 1.9 of its 5.8 us.
        if share.turn != (turn := turns.reactor.turns):
            share.begin(turn)
        if share.late and self._round == share.round:
            return None  # has been read; others of the tenant have not
        if share.used >= turns.share_seconds:
            share.postponed = True
            return None
        self._round = share.round
        began = turns.clock()
        try:
            return type(transport).doRead(transport)
        finally:
            spent = turns.clock() - began
            share.used += spent
            size = transport.bufferSize
            if spent > turns.share_seconds / 2:
                transport.bufferSize = max(LEAST_READ, size // 4)
            elif size < MOST_READ and spent < turns.share_seconds / 8:
                transport.bufferSize = min(MOST_READ, size + STEP)


class Turns:
    """`share_seconds` is what a tenant has of one turn; it can be passed by one read."""

    def __init__(
        self, reactor: IReactorTime, share_seconds: float, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.share_seconds = share_seconds
        self.clock = clock
        self._has_turns = hasattr(reactor, "turns")  # work is put off only to such a reactor's turns
        self.reactor: Any = reactor if self._has_turns else _EachRead()
        # A tenant that nobody reads for has none.
        self._shares: weakref.WeakValueDictionary[str, _Share] = weakref.WeakValueDictionary()

    def pace(self, transport: Any, tenant: str) -> None:
        """Read a connected transport in the turns of its tenant from now on."""
        share = self._shares.get(tenant)
        if share is None:
            share = self._shares[tenant] = _Share()
        transport.bufferSize = FIRST_READ
        transport.doRead = _PacedRead(self, share, transport)

    def later(self, tenant: str, act: Callable[[], None]) -> None:
        """Do something of a tenant that is paced in its share of the next turns. `act` must not raise."""
        share = self._shares.get(tenant)
        if share is None or not self._has_turns:
            act()
            return
        share.waiting.append(act)
        self._call(share)

    def _call(self, share: _Share) -> None:
        if not share.called:
            share.called = True
            self.reactor.callLater(0, self._go_on, share)

    def _go_on(self, share: _Share) -> None:
        share.called = False
        share.begin(self.reactor.turns + 1)  # timed calls come before the next turn's events
        while share.waiting and share.used < self.share_seconds:
            began = self.clock()
            share.waiting.popleft()()
            share.used += self.clock() - began
        if share.waiting:
            self._call(share)


class _EachRead:
    """In place of a reactor that does not count its turns (Twisted's own): each read is in one of its own."""

    def __init__(self) -> None:
        self._turns = 0

    @property
    def turns(self) -> int:
        self._turns += 1
        return self._turns
