"""Requests of integration accounts go to the broker: over its Unix socket, with our word on whose they are.

To the gateway the broker is a server like another, but for the line before each head (`appliance.handover`).
What it answers is the provider's answer, searched for secrets, or a refusal of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Factory, Protocol

from appliance.gateway import refusals
from appliance.gateway.routes import NoRoute
from appliance.handover import WITHOUT_ACCOUNT, Attestation
from appliance.http1.fields import travels_in_request
from appliance.http1.target import DEFAULT_PORTS
from appliance.names import BROKER_NAME
from appliance.outgoing.pool import Key
from appliance.outgoing.upstream import Upstream

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress

    from appliance.gateway.channel import Caller
    from appliance.gateway.exchange import Exchange
    from appliance.gateway.limits import Limits

NOWHERE = (None,)
"""Its connections have no address."""

_OWN_FIELDS = frozenset(
    {b"host", b"content-length", b"connection", b"expect", b"keep-alive", b"transfer-encoding"}
)


class Broker:
    """The broker's sockets: of calls at `path`, of workloads at `workloads`; for worker `number`.

    `made` hears of every new connection for calls.
    """

    def __init__(self, reactor: Any, path: str, number: int, limits: Limits, *, workloads: str = "") -> None:
        seconds = int(limits.connect_seconds)
        self._calls = UNIXClientEndpoint(reactor, path, timeout=seconds)  # type: ignore[no-untyped-call]  # Twisted
        self._workloads = UNIXClientEndpoint(reactor, workloads, timeout=seconds)  # type: ignore[no-untyped-call]  # Twisted
        self.number = number

    async def tunnel(self) -> Any:
        """A transport for a workload's own TLS with the broker. Raises `NoRoute`."""
        silent = Protocol()
        try:
            await self._workloads.connect(_Given(silent))  # type: ignore[no-untyped-call]  # Twisted
        except ConnectError as error:
            raise NoRoute(refusals.BROKER_UNAVAILABLE) from error
        return silent.transport

    async def connect(
        self, tenant: str, idle: Callable[[Upstream], None], made: Callable[[Upstream], None]
    ) -> Upstream:
        """A new connection for calls of `tenant`. Raises `NoRoute`."""
        upstream = Upstream(key(tenant), None, idle)
        try:
            await self._calls.connect(_Given(upstream))  # type: ignore[no-untyped-call]  # Twisted
        except ConnectError as error:
            raise NoRoute(refusals.BROKER_UNAVAILABLE) from error
        made(upstream)  # one that was never connected is never lost, and would be kept for good
        return upstream


def key(tenant: str) -> Key:
    """What connections to the broker are kept under."""
    return Key(tenant, False, BROKER_NAME, 0)


def attestation(caller: Caller, exchange: Exchange, number: int) -> bytes:
    """Our word on whose the request is. Raises `ValueError` when it would be longer than the broker reads."""
    endpoint, head, origin = caller.endpoint, exchange.head, exchange.origin
    verdict, policy = exchange.verdict, exchange.policy
    assert origin is not None
    assert verdict is not None
    assert verdict.account is not None
    assert policy is not None
    names = {name.lower() for name, _ in head.headers} - _OWN_FIELDS
    withheld = [name for name in names if not travels_in_request(name, head.nominated)]
    return Attestation(
        request_id=exchange.id,
        tenant=endpoint.tenant,
        endpoint=endpoint.id,
        container=endpoint.container,
        run=endpoint.run,
        source=caller.source,
        worker=number,
        account=verdict.account,
        generation=policy.generation,
        port=origin.port,
        withheld=b" ".join(sorted(withheld)).decode("ascii"),
    ).line()


def tunnel_attestation(caller: Caller, request_id: str, generation: str, number: int) -> bytes:
    """Our word on whose the TLS is that follows. Raises `ValueError` as `attestation` does."""
    endpoint = caller.endpoint
    return Attestation(
        request_id=request_id,
        tenant=endpoint.tenant,
        endpoint=endpoint.id,
        container=endpoint.container,
        run=endpoint.run,
        source=caller.source,
        worker=number,
        account=WITHOUT_ACCOUNT,
        generation=generation,
        port=DEFAULT_PORTS["https"],
        withheld="",
    ).line()


class _Given(Factory):
    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        del addr
        return self._protocol
