"""Connects to an address that was judged: by literal, checked again against what the kernel says.

There is no second resolution here and no way to give a name: Twisted connects an IPv4 literal as it stands.
Where the uplink has a proxy, that is asked for the same literal (`appliance.gateway.uplink_proxy`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, Protocol

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IAddress, IConnector, IReactorTCP
from twisted.internet.protocol import ClientFactory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol

from appliance.gateway import refusals
from appliance.gateway.limits import Limits
from appliance.names import HostName
from appliance.refusal import Refusal
from appliance.tls.records import Records
from appliance.tls.sessions import Resumable, Sessions
from appliance.tls.stream import TLSStream
from appliance.tls.upstream import explain

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from appliance.outgoing.upstream import Upstream


class UpstreamTLS(Protocol):
    """Client side of TLS: verifies chain and host name, or the handshake fails."""

    def connection(self, name: HostName, resumable: Resumable | None = None) -> SSL.Connection:
        """A client connection over memory BIOs that ends unless the peer proves to be `name`."""

    def resumable(self, connection: SSL.Connection) -> Resumable | None:
        """The session of one that is at its end, where it may be resumed."""


class DialFailed(Exception):
    """No connection that may be used. Unless `final`, another address of the host may do better."""

    def __init__(self, refusal: Refusal, *, final: bool = True) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal
        self.final = final


class Way(Protocol):
    """How a connection to a judged address comes about."""

    async def open(self, address: IPv4Address, port: int) -> Any:
        """A transport whose far end is that address and port. Raises `DialFailed`."""


class Direct:
    """The way without a proxy."""

    def __init__(self, connector: IReactorTCP, limits: Limits) -> None:
        self._connector = connector
        self._limits = limits

    async def open(self, address: IPv4Address, port: int) -> Any:
        """See `Way`."""
        try:
            return await connected(self._connector, address, port, self._limits.connect_seconds)
        except ConnectTimeout as error:
            raise DialFailed(refusals.CONNECT_TIMEOUT, final=False) from error
        except ConnectError as error:
            raise DialFailed(refusals.UNREACHABLE, final=False) from error


class Dialler:
    """Opens upstream connections by `way`. `connector` is the reactor."""

    def __init__(self, connector: IReactorTCP, tls: UpstreamTLS, limits: Limits, way: Way) -> None:
        self._connector = connector
        self._tls = tls
        self._limits = limits
        self._way = way
        self._sessions = Sessions()

    async def connect(self, addresses: Sequence[IPv4Address], port: int) -> tuple[Any, IPv4Address]:
        """A transport to the first of the judged addresses that accepts. Raises `DialFailed`."""
        refusal = refusals.UNREACHABLE
        for address in addresses[: self._limits.addresses_tried]:
            try:
                return await self._way.open(address, port), address
            except DialFailed as failed:
                if failed.final:
                    raise
                if failed.refusal is not refusals.UNREACHABLE:
                    refusal = failed.refusal
        raise DialFailed(refusal)

    async def secure(self, transport: Any, name: HostName, upstream: Upstream) -> None:
        """Put `upstream` on the connection inside TLS; returns when the peer has proved to be `name`.

        Raises `DialFailed`.
        """
        assert upstream.secured is not None
        connection = self._tls.connection(name, self._sessions.take(upstream.key))
        install(transport, CountingTLS(connection, upstream, self._ended))
        try:
            await upstream.secured
        except ConnectTimeout as error:
            raise DialFailed(refusals.CONNECT_TIMEOUT) from error
        except (SSL.Error, ConnectionClosed) as error:
            explanation = explain(error)
            raise DialFailed(refusals.not_verified(name, explanation.fault, explanation.detail)) from error

    def _ended(self, connection: SSL.Connection, upstream: Upstream) -> None:
        """What it has proved is of use to the same tenant's next one to the origin (attack E20)."""
        resumable = self._tls.resumable(connection)
        if resumable is not None:
            self._sessions.keep(upstream.key, resumable)


class CountingTLS(TLSStream):
    """TLS to a server: counts records, for one that has begun may be an answer, and leaves its session."""

    def __init__(
        self,
        connection: SSL.Connection,
        upstream: Upstream,
        ended: Callable[[SSL.Connection, Upstream], None],
    ) -> None:
        super().__init__(connection, upstream, Records())
        self._upstream = upstream
        self._ended = ended

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `TLSStream`. Of one with which nothing was wrong the session is kept."""
        try:
            if self.sound:
                self._ended(self.connection, self._upstream)
        finally:
            super().connectionLost(reason)


async def connected(connector: IReactorTCP, address: IPv4Address, port: int, seconds: float) -> Any:
    """A TCP transport to `address`. Raises `ConnectError`, and `DialFailed` when it is to anything else."""
    attempt = _Attempt()
    attempt.connector = connector.connectTCP(str(address), port, attempt, timeout=seconds)
    transport = await attempt.connected
    # Use what was judged: the kernel's word, not ours, on whom we are connected to.
    try:
        peer = transport.getHandle().getpeername()[0]
    except OSError as error:  # accepted and reset at once
        transport.abortConnection()
        raise ConnectError(error.errno, error.strerror) from error  # type: ignore[no-untyped-call]  # Twisted
    if peer != str(address):
        transport.abortConnection()
        raise DialFailed(refusals.INTERNAL)
    return transport


def install(transport: Any, protocol: TwistedProtocol) -> None:
    """Give a connected transport another protocol, as Twisted's own `startTLS` does."""
    transport.protocol = protocol
    protocol.makeConnection(transport)  # type: ignore[no-untyped-call]  # Twisted


class _Arrival(TwistedProtocol):
    """Stands on a new connection for the moment until its real protocol is installed."""

    def __init__(self, arrived: Callable[[Any], None]) -> None:
        self._arrived = arrived

    def connectionMade(self) -> None:
        self._arrived(self.transport)


class _Attempt(ClientFactory):
    """One try to connect; `connected` fires with the transport, and cancelling it stops the try."""

    noisy = False
    connector: IConnector

    def __init__(self) -> None:
        self.connected: Deferred[Any] = Deferred(self._give_up)

    def _give_up(self, connected: Deferred[Any]) -> None:
        # First, for `disconnect` reports a failure to connect, after which the next address would be tried.
        connected.errback(CancelledError())
        self.connector.disconnect()

    def buildProtocol(self, addr: IAddress | None) -> _Arrival:
        del addr
        return _Arrival(self._arrived)

    def _arrived(self, transport: Any) -> None:
        if self.connected.called:
            transport.abortConnection()
        else:
            self.connected.callback(transport)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        del connector
        if not self.connected.called:
            self.connected.errback(reason)
