"""Asking the configured name servers: each query on a socket, id and casing of its own (RFC 5452)."""

from __future__ import annotations

import secrets
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError  # noqa: A004 - what addTimeout raises
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from appliance.resolver.exchange import Foreign, Query, Retry, read_reply, too_large, write_query
from appliance.resolver.outcome import Unusable, UpstreamResult
from appliance.resolver.reply import MAX_REPLY

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress
    from twisted.python.failure import Failure

    from appliance.names import HostName
    from appliance.settings import NameServer

TRY_TIME = 2.0
MAX_TRIES = 3
MAX_FOREIGN = 16
"""Datagrams that are no reply to the query, after which somebody is taken to be guessing (RFC 5452 §9.2)."""

_LENGTH = struct.Struct(">H")


class UpstreamClient:
    """Asks `servers` in turn, beginning with the one that answered last. `reactor` makes the sockets."""

    def __init__(
        self,
        reactor: Any,
        servers: tuple[NameServer, ...],
        random_bits: Callable[[int], int] = secrets.randbits,
        try_time: float = TRY_TIME,
    ) -> None:
        self._reactor = reactor
        self._servers = servers
        self._random_bits = random_bits
        self._try_time = try_time
        self._first = 0
        self.queries = 0
        self.foreign = 0

    async def query(self, name: HostName) -> UpstreamResult:
        """What the servers say about the A records of `name`. Raises nothing but cancellation."""
        result: UpstreamResult = Unusable("upstream-failed", "there is no name server to ask")
        start = self._first
        tries = min(MAX_TRIES, max(2, len(self._servers))) if self._servers else 0
        for step in range(tries):
            index = (start + step) % len(self._servers)
            result = await self._ask(self._servers[index], name)
            if not isinstance(result, Unusable):
                self._first = index
            if not isinstance(result, Unusable) or result.final:
                return result
        return result

    async def _ask(self, server: NameServer, name: HostName) -> UpstreamResult:
        try:
            result = await self._over_udp(server, write_query(name, self._random_bits))
            if isinstance(result, Retry):
                result = await self._over_tcp(server, write_query(name, self._random_bits))
        except TimeoutError:
            return Unusable("upstream-timeout", f"name server {server.address} did not answer")
        except CancelledError:
            raise
        except OSError as error:
            return Unusable("upstream-unreachable", f"name server {server.address}: {error.strerror}")
        except Exception as error:  # noqa: BLE001 - Twisted's connection errors have no common base
            return Unusable("upstream-unreachable", f"name server {server.address}: {type(error).__name__}")
        return result

    async def _over_udp(self, server: NameServer, query: Query) -> UpstreamResult | Retry:
        self.queries += 1
        exchange = _Datagrams(query, (str(server.address), server.port))
        try:
            exchange.start(self._reactor)
            return await exchange.result.addTimeout(self._try_time, self._reactor)
        finally:
            self.foreign += exchange.foreign
            exchange.stop(self._reactor)

    async def _over_tcp(self, server: NameServer, query: Query) -> UpstreamResult:
        self.queries += 1
        factory = _StreamFactory(query)
        endpoint = TCP4ClientEndpoint(self._reactor, str(server.address), server.port, timeout=self._try_time)
        stream: Any = await endpoint.connect(factory)
        try:
            result: UpstreamResult = await stream.result.addTimeout(self._try_time, self._reactor)
            return result
        finally:
            stream.close()


@implementer(IReadDescriptor)
class _Datagrams:
    """One query over UDP: `result` fires with the first reply that is one.

    A socket of our own, because `listenUDP` writes two lines to the log for each: a container could fill it.
    """

    def __init__(self, query: Query, server: tuple[str, int]) -> None:
        self._query = query
        self._server = server
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.foreign = 0
        self.result: Deferred[UpstreamResult | Retry] = Deferred()

    def start(self, reactor: Any) -> None:
        """Send the query and wait. Raises `OSError` when it cannot be sent."""
        # Not bound: the kernel takes an unpredictable port for each query as it sends.
        self._socket.sendto(self._query.wire, self._server)
        reactor.addReader(self)

    def stop(self, reactor: Any) -> None:
        """Close the socket."""
        reactor.removeReader(self)
        self._socket.close()

    def fileno(self) -> int:
        """The socket's descriptor, -1 once closed."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """The name of this reader in the log."""
        return "upstream-udp"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor gave the socket up: the time for a reply will run out."""
        del reason

    def doRead(self) -> None:
        """Look at what has come, until something is a reply."""
        while not self.result.called:
            try:
                datagram, sender = self._socket.recvfrom(MAX_REPLY + 1)
            except BlockingIOError:
                return
            except OSError as error:
                self._finish(
                    Unusable("upstream-unreachable", f"name server {self._server[0]}: {error.strerror}")
                )
                return
            self._received(datagram, sender)

    def _received(self, datagram: bytes, sender: tuple[str, int]) -> None:
        # RFC 5452 §9.1: the reply comes from where the query went, to the port it left from.
        if sender != self._server:
            reply: UpstreamResult | Retry | Foreign = Foreign("another sender")
        else:
            reply = read_reply(self._query, datagram, over_tcp=False)
        if isinstance(reply, Foreign):
            self.foreign += 1
            if self.foreign < MAX_FOREIGN:
                return
            reply = Retry("somebody is guessing")
        self._finish(reply)

    def _finish(self, reply: UpstreamResult | Retry) -> None:
        if not self.result.called:
            self.result.callback(reply)


class _Stream(Protocol):
    """One query over TCP (RFC 7766 §8: each message after its length in two octets)."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._buffer = bytearray()
        self.result: Deferred[UpstreamResult] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(_LENGTH.pack(len(self._query.wire)) + self._query.wire)

    def dataReceived(self, data: bytes) -> None:
        if self.result.called:
            return
        self._buffer += data
        if len(self._buffer) < _LENGTH.size:
            return
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > MAX_REPLY:
            self._finish(too_large())
            return
        if len(self._buffer) < _LENGTH.size + length:
            return
        reply = read_reply(
            self._query, bytes(self._buffer[_LENGTH.size : _LENGTH.size + length]), over_tcp=True
        )
        if isinstance(reply, Foreign | Retry):
            reply = Unusable("upstream-failed", f"the name server's answer over TCP: {reply.why}")
        self._finish(reply)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # Twisted's default argument
        del reason
        self._finish(Unusable("upstream-failed", "the name server closed the connection without an answer"))

    def close(self) -> None:
        """Drop the connection at once."""
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]  # a TCP transport has it

    def _finish(self, reply: UpstreamResult) -> None:
        if not self.result.called:
            self.result.callback(reply)


class _StreamFactory(Factory):
    noisy = False

    def __init__(self, query: Query) -> None:
        self._query = query

    def buildProtocol(self, addr: IAddress | None) -> _Stream:
        del addr
        return _Stream(self._query)
