"""From a judged request to a connection that may carry it: one at hand, or one found and dialled.

Nothing of the request is sent here. Addresses are those that were judged for the very policy that judged the
request; in transparent use the one that the container chose must be among those of the name (attack D5).
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from twisted.internet.task import deferLater

from appliance.gateway import handing_over, refusals
from appliance.gateway.dial import DialFailed
from appliance.gateway.routes import NoRoute
from appliance.names import HostName
from appliance.outgoing.pool import Key
from appliance.refusal import Refusal

if TYPE_CHECKING:
    from appliance.gateway.channel import Caller
    from appliance.gateway.exchange import Exchange
    from appliance.gateway.origin import Origin
    from appliance.gateway.worker import Worker
    from appliance.outgoing.upstream import Upstream
    from appliance.policy.tenant import TenantPolicy


def at_hand(worker: Worker, caller: Caller, exchange: Exchange) -> Upstream | None:
    """A connection that rests, where addresses are known and nothing is to be asked first."""
    origin, policy = exchange.origin, exchange.policy
    assert origin is not None
    assert policy is not None
    if exchange.account is not None:
        return worker.pool.take(handing_over.key(policy.tenant), handing_over.NOWHERE)
    addresses = worker.routes.kept(policy, origin.host, origin.port)
    if addresses and (not origin.pin or caller.destination in addresses):
        return worker.pool.take(_key(caller, origin), addresses)
    return None


async def reach(worker: Worker, caller: Caller, exchange: Exchange) -> Upstream | Refusal:
    """A connection, resting or new, or why there is none. A request that is `retried` gets a new one."""
    origin, policy = exchange.origin, exchange.policy
    assert origin is not None
    assert policy is not None
    key = _key(caller, origin)
    if exchange.account is not None:
        return await _to_broker(worker, policy)
    try:
        addresses = await _addresses(worker, caller, origin, policy)
        upstream = None
        if not exchange.retried:
            if worker.pool.delivering(key):
                await deferLater(worker.reactor, 0)
            upstream = worker.pool.take(key, addresses)
        if upstream is None:
            exceeded = worker.budget.dial(worker.charged(caller.endpoint), origin.destination)
            if exceeded is not None:
                return refusals.exceeded(exceeded)
            upstream = await worker.dial(key, addresses)
    except (NoRoute, DialFailed) as answer:
        return answer.refusal
    # The policy may have changed meanwhile: what was judged then is worth nothing now, the address included.
    exchange.address = upstream.address
    if not exchange.adopt(worker.policy(policy.tenant)):
        upstream.abort()
        return refusals.POLICY_CHANGED
    return upstream


async def _to_broker(worker: Worker, policy: TenantPolicy) -> Upstream | Refusal:
    """A connection to the broker, which finds and dials the provider's address itself."""
    key = handing_over.key(policy.tenant)
    try:
        return worker.pool.take(key, handing_over.NOWHERE) or await worker.dial_broker(policy.tenant)
    except NoRoute as answer:
        return answer.refusal


async def _addresses(
    worker: Worker, caller: Caller, origin: Origin, policy: TenantPolicy
) -> tuple[IPv4Address, ...]:
    """Judged addresses of the origin, the one that the container chose itself first. Raises `NoRoute`."""
    routes, destination, asker = worker.routes, caller.destination, caller.endpoint.id
    addresses = routes.kept(policy, origin.host, origin.port)
    if not addresses:
        addresses = await routes.find(policy, origin.host, origin.port, endpoint=asker)
    if destination in addresses:
        return destination, *[other for other in addresses if other != destination]
    if origin.pin and not (
        isinstance(origin.host, HostName)
        and await routes.is_pinned(policy, origin.host, origin.port, destination, endpoint=asker)
    ):
        raise NoRoute(refusals.not_pinned(origin.host, destination))
    return addresses


def _key(caller: Caller, origin: Origin) -> Key:
    return Key(caller.endpoint.tenant, origin.scheme == "https", origin.host, origin.port)
