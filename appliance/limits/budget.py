"""May this connection, this request, these bytes be had now? Asked by a worker, answered from its ledgers.

All scopes are asked before any is charged, so what is refused uses up nothing. Bytes are charged as they
pass: a flow is cut at the piece that goes over, so a limit is passed by at most one piece a flow.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from appliance.limits.ledger import ROW, Account, Counter, Ledger, Row, length_of
from appliance.limits.window import CELLS, SECOND, add, used, wait
from appliance.policy.limits import ScopeLimits, TenantLimits


class Scope(StrEnum):
    """Whose limit it is."""

    CONTAINER = "container"
    TENANT = "tenant"
    DESTINATION = "destination"


class Measure(StrEnum):
    """What is limited, as `limits:` of a policy names it."""

    CONNECTIONS = "connections"
    NEW_CONNECTIONS = "new_connections_per_second"
    REQUESTS = "requests_per_second"
    BYTES_OUT = "bytes_out"
    BYTES_IN = "bytes_in"
    FRAMES = "frames_per_second"


_COUNTERS = {
    Measure.NEW_CONNECTIONS: Counter.NEW_CONNECTIONS,
    Measure.REQUESTS: Counter.REQUESTS,
    Measure.BYTES_OUT: Counter.BYTES_OUT,
    Measure.BYTES_IN: Counter.BYTES_IN,
}
_REQUESTS, _BYTES_OUT, _BYTES_IN = map(int, (Counter.REQUESTS, Counter.BYTES_OUT, Counter.BYTES_IN))
LATELY = 32
"""Destinations of one tenant that are remembered by name, to be shown; counted are all."""
_FOR_A_CONNECTION = (Measure.CONNECTIONS, Measure.NEW_CONNECTIONS)
_FOR_A_REQUEST = (Measure.REQUESTS, Measure.BYTES_OUT, Measure.BYTES_IN)
_FOR_A_FLOW = (Measure.CONNECTIONS, *_FOR_A_REQUEST)


@dataclass(frozen=True, slots=True)
class Exceeded:
    """The limit that is reached; `retry_after` in whole seconds, at least 1."""

    scope: Scope
    measure: Measure
    limit: int
    retry_after: int

    @property
    def reason(self) -> str:
        """A stable code, for example `requests-per-second-exceeded`."""
        return f"{self.measure.replace('_', '-')}-exceeded"

    @property
    def path(self) -> str:
        """Where a policy sets the limit."""
        if self.measure is Measure.FRAMES:
            return f"limits.{self.measure}"
        return f"limits.{self.scope}.{self.measure}"


@dataclass(frozen=True, slots=True)
class Fill:
    """How full one limit is. `of` is the container's endpoint or the destination, empty for a tenant."""

    scope: Scope
    of: str
    measure: Measure
    used: int
    limit: int


@dataclass(frozen=True, slots=True)
class Payer:
    """Who is charged: one endpoint (by id) of one tenant, under limits in force now."""

    endpoint: str
    tenant: str
    limits: TenantLimits


COUNTS = ("requests", "denied", "throttled", "bytes_out", "bytes_in", "signals")
"""The counts of a `Tally`, by their names."""


class Tally:
    """What one endpoint has had since this worker knows it."""

    __slots__ = (
        "account", "bytes_in", "bytes_out", "denied", "frames", "requests", "signals", "tenant", "throttled",
        "told", "untold",
    )  # fmt: skip

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.told, self.frames = [0] * CELLS, [0] * CELLS
        self.account = Account(Row([0] * ROW, 0))
        self.requests = self.denied = self.throttled = self.bytes_out = self.bytes_in = self.signals = 0
        self.untold = 0


_Charged = tuple[Scope, Account, ScopeLimits]


class _Paying(NamedTuple):
    """What is looked up for a payer once, and again when its limits are other ones."""

    limits: TenantLimits
    charged: tuple[_Charged, ...]
    tally: Tally


class Flow:
    """One exchange, or one tunnel, under way to a destination. `close` it once."""

    __slots__ = ("_charged", "_clock", "_closed", "_length", "_tally")

    def __init__(
        self, charged: tuple[_Charged, ...], tally: Tally, clock: Callable[[], int], length: int
    ) -> None:
        self._charged = charged
        self._tally = tally
        self._clock = clock
        self._length = length
        self._closed = False

    def sent(self, count: int) -> Exceeded | None:
        """`count` bytes go to the server: charged, and the limit that they pass, if any."""
        self._tally.bytes_out += count
        now, length, passed = self._clock(), self._length, None
        for charged in self._charged:
            if not charged[1].charge(_BYTES_OUT, now, length, count, charged[2]) and passed is None:
                passed = self._passed(charged, Measure.BYTES_OUT, charged[2].bytes_out, now)
        return passed

    def received(self, count: int) -> Exceeded | None:
        """`count` bytes come from the server."""
        self._tally.bytes_in += count
        now, length, passed = self._clock(), self._length, None
        for charged in self._charged:
            if not charged[1].charge(_BYTES_IN, now, length, count, charged[2]) and passed is None:
                passed = self._passed(charged, Measure.BYTES_IN, charged[2].bytes_in, now)
        return passed

    def replace_limits(self, limits: TenantLimits) -> None:
        """`limits` are those of its payer from here on; what was charged before counts under them."""
        self._charged = tuple(
            [(scope, account, getattr(limits, scope)) for scope, account, _ in self._charged]
        )
        self._length = limits.window_seconds * SECOND

    def close(self) -> None:
        """It is over."""
        if not self._closed:
            self._closed = True
            self._charged[-1][1].own.closed()

    def _passed(self, charged: _Charged, measure: Measure, limit: int, now: int) -> Exceeded | None:
        scope, account, _ = charged
        counter, length = _COUNTERS[measure], self._length
        if account.used(counter, now, length) <= limit:
            return None
        return _exceeded(scope, measure, limit, account.wait(counter, now, length, limit))


class Budget:
    """The accounts of one worker. `ledger` gives a tenant's, and is asked once for each tenant."""

    def __init__(self, ledger: Callable[[str], Ledger], nanoseconds: Callable[[], int]) -> None:
        self._open_ledger = ledger
        self._clock = nanoseconds
        self._ledgers: dict[str, Ledger] = {}
        self._tallies: dict[str, Tally] = {}
        self._paying: dict[str, _Paying] = {}
        self._departed: dict[str, Tally] = {}
        self._lately: dict[str, OrderedDict[str, None]] = {}

    def connect(self, payer: Payer) -> Exceeded | None:
        """One more connection of the payer, or the limit against it. Raises what `ledger` raises."""
        now = self._clock()
        charged = self._pays(payer).charged
        passed = self._first(charged, _FOR_A_CONNECTION, now, payer)
        if passed is not None:
            return self._throttled(payer, passed)
        for _, account, _ in charged:
            account.own.opened()
            account.add(Counter.NEW_CONNECTIONS, now, SECOND)
        return None

    def disconnect(self, endpoint: str, tenant: str) -> None:
        """An admitted connection has ended."""
        self._ledger(tenant).tenant.own.closed()
        tally = self._tallies.get(endpoint)
        if tally is not None:
            tally.account.own.closed()

    def request(self, payer: Payer) -> Exceeded | None:
        """One more request, whatever will be decided about it."""
        now = self._clock()
        limits, charged, tally = self._pays(payer)
        length = limits.window_seconds * SECOND
        tally.requests += 1
        for _, account, bounds in charged:
            if not account.has_room(now, length, bounds):
                passed = self._first(charged, _FOR_A_REQUEST, now, payer)
                if passed is not None:
                    return self._throttled(payer, passed)
                break
        for _, account, _ in charged:
            add(account.own.cells, account.own.at + _REQUESTS, now, SECOND, 1)
        return None

    def flow(self, payer: Payer, destination: str) -> Flow | Exceeded:
        """An admitted request goes on to `destination` (`host:port`)."""
        now = self._clock()
        length = payer.limits.window_seconds * SECOND
        account = self._ledger(payer.tenant).destination(destination, now, length)
        bounds = payer.limits.destination
        here: _Charged = (Scope.DESTINATION, account, bounds)
        if account.open >= bounds.connections or not account.has_room(now, length, bounds):
            passed = self._first((here,), _FOR_A_FLOW, now, payer)
            if passed is not None:
                return self._throttled(payer, passed)
        own = account.own
        own.opened()
        add(own.cells, own.at + _REQUESTS, now, SECOND, 1)
        self._remember(payer.tenant, destination)
        paying = self._pays(payer)
        return Flow((*paying.charged, here), paying.tally, self._clock, length)

    def dial(self, payer: Payer, destination: str) -> Exceeded | None:
        """A new connection to `destination` is needed."""
        now = self._clock()
        length = payer.limits.window_seconds * SECOND
        account = self._ledger(payer.tenant).destination(destination, now, length)
        here: _Charged = (Scope.DESTINATION, account, payer.limits.destination)
        passed = self._first((here,), (Measure.NEW_CONNECTIONS,), now, payer)
        if passed is not None:
            return self._throttled(payer, passed)
        account.add(Counter.NEW_CONNECTIONS, now, SECOND)
        return None

    def frames(self, payer: Payer, count: int) -> Exceeded | None:
        """`count` frames of the payer's WebSockets are about to go on; the limit that they pass, if any."""
        now, limit = self._clock(), payer.limits.frames_per_second
        cells = self.tally(payer.endpoint, payer.tenant).frames
        add(cells, 0, now, SECOND, count)
        if used([(cells, 0)], 0, now, SECOND) <= limit:
            return None
        late = wait([(cells, 0)], 0, now, SECOND, limit)
        return self._throttled(payer, _exceeded(Scope.CONTAINER, Measure.FRAMES, limit, late))

    def denied(self, endpoint: str) -> None:
        """A request or connection of the endpoint was refused."""
        found = self._tallies.get(endpoint)
        if found is not None:
            found.denied += 1

    def refused(self, endpoint: str, tenant: str, told_per_second: int) -> int | None:
        """One more connection of the endpoint is refused, whether or not it was asked about here.

        None when it is one of a flood, and is not told why; else how many were not told before it.
        """
        found, now = self.tally(endpoint, tenant), self._clock()
        # Only who is told counts: else the first second of a flood would be all that is ever heard of it.
        if used([(found.told, 0)], 0, now, SECOND) >= told_per_second:
            found.untold += 1
            return None
        add(found.told, 0, now, SECOND, 1)
        untold, found.untold = found.untold, 0
        return untold

    def forget(self, endpoint: str) -> None:
        """The endpoint has left; what it had is still its tenant's."""
        self._paying.pop(endpoint, None)
        gone = self._tallies.pop(endpoint, None)
        if gone is None:
            return
        whole = self._departed.setdefault(gone.tenant, Tally(gone.tenant))
        for name in COUNTS:
            setattr(whole, name, getattr(whole, name) + getattr(gone, name))

    def tally(self, endpoint: str, tenant: str) -> Tally:
        """What the endpoint has had so far."""
        found = self._tallies.get(endpoint)
        if found is None:
            found = self._tallies[endpoint] = Tally(tenant)
        return found

    @property
    def tallies(self) -> dict[str, Tally]:
        """By endpoint id."""
        return dict(self._tallies)

    @property
    def departed(self) -> dict[str, Tally]:
        """By tenant: the sum of its endpoints that have left."""
        return dict(self._departed)

    def rate(self, tally: Tally) -> int:
        """Requests of an endpoint in the last second."""
        return tally.account.used(Counter.REQUESTS, self._clock(), SECOND)

    def fills_of_container(self, endpoint: str, limits: TenantLimits) -> Iterator[Fill]:
        """How full the limits of one container are; nothing is charged."""
        tally = self._tallies.get(endpoint)
        if tally is None:
            return
        yield from self._fills(Scope.CONTAINER, endpoint, tally.account, limits.container, limits)
        frames = used([(tally.frames, 0)], 0, self._clock(), SECOND)
        yield Fill(Scope.CONTAINER, endpoint, Measure.FRAMES, frames, limits.frames_per_second)

    def fills_of_tenant(self, tenant: str, limits: TenantLimits) -> Iterator[Fill]:
        """The same of a tenant, in all workers, and of it at the destinations where it was lately."""
        ledger = self._ledger(tenant)
        yield from self._fills(Scope.TENANT, "", ledger.tenant, limits.tenant, limits)
        for destination in reversed(self._lately.get(tenant, ())):
            account = ledger.known(destination)
            if account is not None:
                yield from self._fills(Scope.DESTINATION, destination, account, limits.destination, limits)

    def _fills(
        self, scope: Scope, of: str, account: Account, bounds: ScopeLimits, limits: TenantLimits
    ) -> Iterator[Fill]:
        now, window = self._clock(), limits.window_seconds * SECOND
        yield Fill(scope, of, Measure.CONNECTIONS, account.open, bounds.connections)
        for measure, counter in _COUNTERS.items():
            count = account.used(counter, now, length_of(counter, window))
            yield Fill(scope, of, measure, count, getattr(bounds, measure))

    def _remember(self, tenant: str, destination: str) -> None:
        lately = self._lately.setdefault(tenant, OrderedDict())
        if destination in lately and next(reversed(lately)) == destination:
            return
        lately[destination] = None
        lately.move_to_end(destination)
        if len(lately) > LATELY:
            lately.popitem(last=False)

    def _pays(self, payer: Payer) -> _Paying:
        known = self._paying.get(payer.endpoint)
        if known is not None and known.limits is payer.limits:
            return known
        limits, tally = payer.limits, self.tally(payer.endpoint, payer.tenant)
        charged = (
            (Scope.CONTAINER, tally.account, limits.container),
            (Scope.TENANT, self._ledger(payer.tenant).tenant, limits.tenant),
        )
        paying = self._paying[payer.endpoint] = _Paying(limits, charged, tally)
        return paying

    def _ledger(self, tenant: str) -> Ledger:
        found = self._ledgers.get(tenant)
        if found is None:
            found = self._ledgers[tenant] = self._open_ledger(tenant)
        return found

    def _throttled(self, payer: Payer, passed: Exceeded) -> Exceeded:
        self.tally(payer.endpoint, payer.tenant).throttled += 1
        return passed

    @staticmethod
    def _first(
        charged: Iterable[_Charged], measures: tuple[Measure, ...], now: int, payer: Payer
    ) -> Exceeded | None:
        window = payer.limits.window_seconds * SECOND
        for scope, account, limits in charged:
            for measure in measures:
                limit: int = getattr(limits, measure)
                if measure is Measure.CONNECTIONS:
                    if account.open >= limit:
                        return _exceeded(scope, measure, limit, SECOND)
                    continue
                counter = _COUNTERS[measure]
                late = account.wait(counter, now, length_of(counter, window), limit)
                if late:
                    return _exceeded(scope, measure, limit, late)
        return None


def _exceeded(scope: Scope, measure: Measure, limit: int, wait: int) -> Exceeded:
    return Exceeded(scope, measure, limit, max(1, -(-wait // SECOND)))
