"""TLS connections to providers over sockets that workers dialled: new ones, and those that rest."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, Protocol

from OpenSSL import SSL
from twisted.internet.error import ConnectionClosed
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.protocol import ServerFactory

from appliance.broker.calls import refusals
from appliance.broker.calls.dials import CallRefused, Dials
from appliance.names import HostName
from appliance.outgoing.deadlines import Deadlines
from appliance.outgoing.pool import Key, Pool
from appliance.outgoing.upstream import Upstream
from appliance.tls.records import Records
from appliance.tls.stream import TLSStream
from appliance.tls.upstream import UpstreamTrust, explain

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress

    from appliance.policy.tenant import TenantPolicy


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of the broker's connections to providers: counts, and seconds of each step."""

    pooled_per_target: int = 16
    pooled_per_tenant: int = 64
    pooled: int = 256
    pooled_idle_seconds: float = 30.0
    handshake_seconds: float = 10.0


class Asker(Protocol):
    """For whom a connection is: over which worker, and for which tenant."""

    @property
    def worker(self) -> int:
        """Its number."""

    @property
    def tenant(self) -> str:
        """By whose policy it is judged."""


class Providers:
    """`reactor` takes over the workers' sockets; `tls` has the operator's trust store."""

    def __init__(
        self,
        reactor: Any,
        dials: Dials,
        tls: UpstreamTrust,
        deadlines: Deadlines,
        bounds: Bounds | None = None,
    ) -> None:
        self._reactor = reactor
        self._dials = dials
        self._tls = tls
        self._deadlines = deadlines
        self._bounds = bounds or Bounds()
        self._pool = Pool(self._bounds, deadlines)

    async def find(
        self, asker: Asker, host: HostName, port: int,
        *, account: str | None = None, policy: TenantPolicy | None = None,
    ) -> tuple[IPv4Address, ...]:  # fmt: skip
        """Addresses of the host as a worker judged them. Raises `CallRefused`.

        With an `account`, as one of its token hosts, and not as a host that its tenant may call.
        With the tenant's `policy` in force, as the worker has said under it before, while that holds.
        """
        return await self._dials.find(asker.worker, asker.tenant, host, port, account=account, policy=policy)

    async def connect(
        self,
        asker: Asker,
        host: HostName,
        port: int,
        addresses: Sequence[IPv4Address],
        *,
        fresh: bool = False,
        account: str | None = None,
        own: tuple[bytes, bytes] | None = None,
    ) -> Upstream:
        """A connection whose far end has proved to be `host`, at one of the addresses. Raises `CallRefused`.

        Unless `fresh` it may have rested since an earlier call of the same tenant. `account` as of `find`.
        `own` is a certificate and its key to be shown (PEM): such a connection is for one call alone.
        """
        key = Key(asker.tenant, True, host, port)
        resting = None if fresh or own is not None else self._pool.take(key, addresses)
        if resting is not None:
            return resting
        connected, address = await self._dials.dial(
            asker.worker, asker.tenant, host, port, addresses, account=account
        )
        return await self._secure(key, host, connected, address, own)

    def close(self) -> None:
        """End those that rest."""
        self._pool.close()

    def _tls_to(self, host: HostName, own: tuple[bytes, bytes] | None) -> SSL.Connection:
        if own is None:
            return self._tls.connection(host)
        try:
            return self._tls.connection_as(host, *own)
        except ValueError:
            raise CallRefused(refusals.OWN_CERTIFICATE_UNUSABLE) from None

    async def _secure(
        self, key: Key, host: HostName, connected: socket.socket, address: IPv4Address,
        own: tuple[bytes, bytes] | None,
    ) -> Upstream:  # fmt: skip
        try:
            connection = self._tls_to(host, own)
        except CallRefused:
            connected.close()
            raise
        upstream = Upstream(key, address, self._pool.put if own is None else Upstream.abort)
        upstream.watch(self._closed)
        self._deadlines.watch(upstream)
        upstream.deadline = self._deadlines.seconds() + self._bounds.handshake_seconds
        stream = TLSStream(connection, upstream, Records())
        try:
            with connected:  # the reactor works on its own duplicate
                connected.setblocking(False)
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._reactor.adoptStreamConnection(connected.fileno(), socket.AF_INET, _Given(stream))
        except OSError as error:  # the provider has reset it meanwhile
            self._closed(upstream)
            raise CallRefused(refusals.UPSTREAM_CLOSED) from error
        assert upstream.secured is not None
        try:
            await upstream.secured
        except ConnectTimeout as error:
            raise CallRefused(refusals.HANDSHAKE_TIMEOUT) from error
        except (SSL.Error, ConnectionClosed) as error:
            explanation = explain(error)
            raise CallRefused(
                refusals.failed(502, str(explanation.fault), f"{host}: {explanation.detail}.")
            ) from error
        if own is not None:
            self._tls.forget_key(connection)
        return upstream

    def _closed(self, upstream: Upstream) -> None:
        self._pool.remove(upstream)
        self._deadlines.forget(upstream)


class _Given(ServerFactory[TLSStream]):
    """Gives the one protocol that it was made with."""

    noisy = False

    def __init__(self, stream: TLSStream) -> None:
        self._stream = stream

    def buildProtocol(self, addr: IAddress | None) -> TLSStream:
        del addr
        return self._stream
