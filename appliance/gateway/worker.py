"""What the connections of one worker share, and the events that reach all of them."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTCP
from twisted.logger import Logger

from appliance.audit.log import AuditLog
from appliance.endpoints import Endpoint, EndpointTable
from appliance.gateway import refusals
from appliance.gateway.dial import Dialler, Direct, UpstreamTLS, Way, install
from appliance.gateway.handing_over import Broker, attestation
from appliance.gateway.limits import DEFAULT_LIMITS, Limits
from appliance.gateway.outbox import Outbox
from appliance.gateway.places import Places
from appliance.gateway.routes import NoRoute, Resolver, Routes
from appliance.gateway.turns import Turns
from appliance.limits.budget import Budget, Payer
from appliance.limits.ledger import Ledger
from appliance.limits.store import LedgerUnavailable
from appliance.names import HostName
from appliance.outgoing.deadlines import Deadlines
from appliance.outgoing.pool import Key, Pool
from appliance.outgoing.upstream import Upstream
from appliance.policy.set import PolicySet
from appliance.policy.tenant import TenantPolicy
from appliance.refusal import Refusal
from appliance.telling import Telling
from appliance.tls.leaf import LeafCache
from appliance.tls.stream import TLSStream

if TYPE_CHECKING:
    from appliance.gateway.channel import Caller
    from appliance.gateway.connection import Connection
    from appliance.gateway.exchange import Exchange
    from appliance.gateway.session import Session


_log = Logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """Everything outside the worker that it speaks to. `policies` gives the set in force now.

    `ledger` gives the counts of a tenant's limits; the default keeps them in this process alone.
    """

    reactor: Any
    endpoints: EndpointTable
    policies: Callable[[], PolicySet]
    resolver: Resolver
    audit: AuditLog
    leaves: LeafCache
    upstream_tls: UpstreamTLS
    root_pem: Callable[[], bytes]
    broker: Broker | None = None
    connector: IReactorTCP | None = None
    way: Callable[[Any, Limits], Way] = Direct
    ledger: Callable[[str], Ledger] = lambda _tenant: Ledger()
    nanoseconds: Callable[[], int] = time.monotonic_ns


class Worker:
    """See the module."""

    def __init__(self, neighbours: Neighbours, limits: Limits = DEFAULT_LIMITS) -> None:
        self.reactor = neighbours.reactor
        self.seconds: Callable[[], float] = neighbours.reactor.seconds
        self.endpoints = neighbours.endpoints
        self.audit = neighbours.audit
        self.limits = limits
        self.budget = Budget(neighbours.ledger, neighbours.nanoseconds)
        self.places = Places(limits.turned_away)
        self.deadlines = Deadlines(neighbours.reactor)
        self.telling = Telling(self.audit, self.deadlines, neighbours.nanoseconds, limits.told)
        self.outbox = Outbox(self.audit, neighbours.reactor)
        self.turns = Turns(neighbours.reactor, limits.turn_seconds)
        self.pool = Pool(limits, self.deadlines)
        self.routes = Routes(neighbours.resolver, neighbours.reactor)
        connector = neighbours.connector or neighbours.reactor
        way = neighbours.way(connector, limits)
        self.dialler = Dialler(connector, neighbours.upstream_tls, limits, way)
        self.requests = 0
        self._broker = neighbours.broker
        self._policies = neighbours.policies
        self._leaves = neighbours.leaves
        self._root_pem = neighbours.root_pem
        self._connections: set[Connection] = set()
        self._tenants: Counter[str] = Counter()  # how many of them each has
        self._drained: Deferred[None] | None = None
        self._id_prefix = secrets.token_hex(6)
        self._ids = 0

    # What connections ask for.

    def policy(self, tenant: str) -> TenantPolicy:
        """The tenant's policy in force now."""
        return self._policies().for_tenant(tenant)

    def charged(self, endpoint: Endpoint, policy: TenantPolicy | None = None) -> Payer:
        """Who pays for what the endpoint does, under the limits of `policy` (default: the one in force)."""
        policy = policy or self.policy(endpoint.tenant)
        return Payer(endpoint.id, endpoint.tenant, policy.limits)

    def admit(self, endpoint: Endpoint) -> Refusal | None:
        """Count one more connection of the endpoint, or say why not."""
        if self._full_for(endpoint.tenant):
            return refusals.TOO_MANY_CONNECTIONS
        try:
            exceeded = self.budget.connect(self.charged(endpoint))
        except LedgerUnavailable as error:
            _log.error("{error}", error=str(error))
            return refusals.LIMITS_UNAVAILABLE
        return None if exceeded is None else refusals.exceeded(exceeded)

    def _full_for(self, tenant: str) -> bool:
        """The last quarter is for tenants that have less than their share; one share is for whoever comes."""
        open_now, bound = len(self._connections), self.limits.connections
        if open_now < bound - bound // 4:
            return False
        sharing = len(self._tenants) + (tenant not in self._tenants) + 1
        return open_now >= bound or self._tenants[tenant] >= bound // sharing

    @property
    def root_pem(self) -> bytes:
        """The trust anchor that containers install."""
        return self._root_pem()

    def next_id(self) -> str:
        """An identity for a request or connection, unique over workers and restarts."""
        self._ids += 1
        return f"{self._id_prefix}-{self._ids:x}"

    def elapsed_ms(self, since: float) -> float:
        """Milliseconds since a reading of the clock."""
        return (self.seconds() - since) * 1000

    def secured(self, name: HostName, session: Session) -> TLSStream:
        """`session` inside server-side TLS as `name`. Raises `LeafUnavailable`."""
        return TLSStream(self._leaves.connection(name), session, server=True)

    async def dial(self, key: Key, addresses: Sequence[IPv4Address]) -> Upstream:
        """A new connection to the origin of `key` at one of the judged addresses. Raises `DialFailed`."""
        transport, address = await self.dialler.connect(addresses, key.port)
        self.turns.pace(transport, key.tenant)
        upstream = Upstream(key, address, self.pool.put)
        self._watch(upstream)
        if key.secure:
            assert isinstance(key.host, HostName)
            upstream.deadline = self.seconds() + self.limits.handshake_seconds
            await self.dialler.secure(transport, key.host, upstream)
        else:
            install(transport, upstream)
        return upstream

    async def dial_broker(self, tenant: str) -> Upstream:
        """A new connection to the broker for calls of `tenant`. Raises `NoRoute`."""
        if self._broker is None:
            raise NoRoute(refusals.BROKER_UNAVAILABLE)
        return await self._broker.connect(tenant, self.pool.put, self._watch)

    async def reach_broker(self) -> Any:
        """A transport for a workload's own TLS with the broker. Raises `NoRoute`."""
        if self._broker is None:
            raise NoRoute(refusals.BROKER_UNAVAILABLE)
        return await self._broker.tunnel()

    @property
    def number(self) -> int:
        """Which worker this is, as the broker knows it."""
        return 0 if self._broker is None else self._broker.number

    def attestation(self, caller: Caller, exchange: Exchange) -> bytes:
        """What the broker is told before a request that it carries."""
        assert self._broker is not None
        return attestation(caller, exchange, self._broker.number)

    def _watch(self, upstream: Upstream) -> None:
        upstream.watch(self._upstream_closed)
        self.deadlines.watch(upstream)

    def _upstream_closed(self, upstream: Upstream) -> None:
        self.pool.remove(upstream)
        self.deadlines.forget(upstream)

    # Connections coming and going.

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    def joined(self, connection: Connection) -> None:
        """A connection is open."""
        self._connections.add(connection)
        self._tenants[connection.caller.endpoint.tenant] += 1
        self.deadlines.watch(connection)

    def left(self, connection: Connection) -> None:
        """A connection has ended."""
        tenant = connection.caller.endpoint.tenant
        self._connections.discard(connection)
        self._tenants[tenant] -= 1
        if not self._tenants[tenant]:
            del self._tenants[tenant]
        self.deadlines.forget(connection)
        if self._drained is not None and not self._connections and not self._drained.called:
            self._drained.callback(None)

    # Events that reach all connections.

    def policy_changed(self) -> None:
        """Another policy set is in force: what is under way is judged by it."""
        for connection in list(self._connections):
            connection.policy_changed()

    def endpoint_removed(self, endpoint: Endpoint) -> None:
        """A container left: whatever speaks from its address from now on is another one."""
        for connection in list(self._connections):
            if connection.caller.endpoint.id == endpoint.id:
                connection.end(refusals.ENDPOINT_REMOVED)
        self.telling.forget(endpoint.id)
        self.budget.forget(endpoint.id)

    def drain(self) -> Deferred[None]:
        """End every connection after what it has under way; fires when the last is gone."""
        drained = self._drained = Deferred()
        self.pool.close()
        for connection in list(self._connections):
            connection.drain()
        if not self._connections and not drained.called:
            drained.callback(None)
        return drained

    def end_all(self) -> None:
        """Draining took too long."""
        for connection in list(self._connections):
            connection.end(refusals.DRAINED)
        self.pool.close()
