"""Where a name may be connected to: the resolver's addresses, every one judged, kept for their TTL.

One resolution serves a name until its TTL ends (the resolver bounds it); what is kept is bound to the very
policy object that judged it, so a policy that changed judges again.

The resolver is asked once for all requests that wait for the same, and for few names of a tenant at a time:
it reads no more of us when too much is unanswered, and who has names that nobody answers has many.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from appliance.gateway import refusals
from appliance.names import Host, HostName
from appliance.policy.tenant import TenantPolicy
from appliance.refusal import Refusal
from appliance.resolver.client import Resolved, Unresolved
from appliance.resolver.flights import Flights

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

CAPACITY = 4096
ASKED_PER_TENANT = 32
"""Questions to the resolver that a tenant may have under way from one worker."""

T = TypeVar("T")


class Resolver(Protocol):
    """What the gateway asks of the resolver (see `appliance.resolver.client`)."""

    async def resolve(
        self, tenant: str, name: HostName, account: str | None = None, *, endpoint: str | None = None
    ) -> Resolved:
        """Addresses that the tenant may be connected to under this name. Raises `Unresolved`.

        With an `account`: that the broker may, where the account's secret is exchanged. With an `endpoint`
        what goes upstream counts as its question.
        """

    async def pinned(
        self, tenant: str, name: HostName, address: IPv4Address, *, endpoint: str | None = None
    ) -> bool:
        """Whether the address was in a judged set of the name. Raises `Unresolved`. `endpoint`: as above."""


class NoRoute(Exception):
    """The host has no address that may be connected to."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class _Route:
    policy: TenantPolicy
    expires: float
    addresses: tuple[IPv4Address, ...]


class Routes:
    """Judged addresses by tenant, host and port; the least recently found one is forgotten first."""

    def __init__(self, resolver: Resolver, clock: IReactorTime) -> None:
        self._resolver = resolver
        self._seconds = clock.seconds
        self._kept: OrderedDict[tuple[str, str | None, Host, int], _Route] = OrderedDict()
        self._asked: Flights[Any] = Flights(clock)

    def kept(
        self, policy: TenantPolicy, host: Host, port: int, account: str | None = None
    ) -> tuple[IPv4Address, ...]:
        """Addresses already resolved and judged under this policy, or nothing. `account`: see `Resolver`."""
        route = self._kept.get((policy.tenant, account, host, port))
        if route is None or route.policy is not policy or route.expires <= self._seconds():
            return ()
        return route.addresses

    def holds(self, policy: TenantPolicy, host: Host, port: int, account: str | None = None) -> float:
        """Seconds for which `kept` says what it says now; 0 where that is nothing."""
        if not self.kept(policy, host, port, account):
            return 0.0
        return self._kept[policy.tenant, account, host, port].expires - self._seconds()

    async def find(
        self,
        policy: TenantPolicy,
        host: Host,
        port: int,
        account: str | None = None,
        *,
        endpoint: str | None = None,
    ) -> tuple[IPv4Address, ...]:
        """Addresses to connect to, never empty. Raises `NoRoute`. `endpoint`: whose question it is.

        One address that may not be connected to condemns the whole set (attack B7).
        """
        addresses, ttl = await self._resolved(policy.tenant, host, account, endpoint)
        for address in addresses:
            verdict = policy.judge_address(host, port, address)
            if not verdict.allowed:
                raise NoRoute(refusals.from_verdict(verdict))
        key = (policy.tenant, account, host, port)
        self._kept[key] = _Route(policy, self._seconds() + ttl, addresses)
        self._kept.move_to_end(key)
        if len(self._kept) > CAPACITY:
            self._kept.popitem(last=False)
        return addresses

    async def is_pinned(
        self,
        policy: TenantPolicy,
        host: HostName,
        port: int,
        address: IPv4Address,
        *,
        endpoint: str | None = None,
    ) -> bool:
        """Whether a container may be connecting to `address` because it resolved `host`. Raises `NoRoute`.

        The resolver counts what it asks upstream for it as a question of the `endpoint`.
        """
        if address in self.kept(policy, host, port):
            return True
        tenant = policy.tenant
        try:
            return await self._ask(
                tenant,
                (host, address),
                endpoint,
                lambda: self._resolver.pinned(tenant, host, address, endpoint=endpoint),
            )
        except Unresolved as answer:
            raise NoRoute(_refusal(answer)) from answer

    async def _resolved(
        self, tenant: str, host: Host, account: str | None, endpoint: str | None
    ) -> tuple[tuple[IPv4Address, ...], float]:
        if isinstance(host, IPv4Address):
            return (host,), 60.0
        if not isinstance(host, HostName):
            raise NoRoute(refusals.IPV6)
        try:
            resolved = await self._ask(
                tenant,
                (host, account),
                endpoint,
                lambda: self._resolver.resolve(tenant, host, account, endpoint=endpoint),
            )
        except Unresolved as answer:
            raise NoRoute(_refusal(answer)) from answer
        if not resolved.addresses:
            raise NoRoute(refusals.unresolved(Unresolved("no-address", f"{host} has no IPv4 address")))
        return resolved.addresses, float(resolved.ttl)

    async def _ask(
        self, tenant: str, subject: object, endpoint: str | None, ask: Callable[[], Coroutine[Any, Any, T]]
    ) -> T:
        """The answer, for all who wait for it. Raises `Unresolved`.

        It counts as a question of the first who asked. Where that one may not ask, the others ask
        anew, each endpoint for itself and within what its tenant may have under way.
        """
        key = (tenant, subject)
        leads = key not in self._asked
        try:
            return await self._join(key, ask)
        except Unresolved as answer:
            if leads or not answer.concerns_asker:
                raise
        return await self._join((tenant, (subject, endpoint)), ask)

    async def _join(self, key: tuple[str, object], ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        tenant, _ = key
        if key not in self._asked and self._asked.under_way(tenant) >= ASKED_PER_TENANT:
            raise Unresolved("resolver-busy", "too many names of the tenant are being resolved at once")
        answer: T
        answer, _ = await self._asked.join(key, ask)
        return answer


def _refusal(answer: Unresolved) -> Refusal:
    refusal = refusals.unresolved(answer)
    if answer.over_rate:  # RFC 6585 section 4
        return replace(refusal, status=429, mend="Wait 1 s, and use fewer new names.", retry_after=1)
    return refusal
