"""Questions over TCP (RFC 7766): each message after its length in two octets.

Bounds, for any container may connect: connections of an endpoint, questions of a connection, time between
questions. All of them end the connection, which RFC 7766 §6.2.3 lets a server do at any time.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from ipaddress import IPv4Address as Ipv4
from typing import TYPE_CHECKING

from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger

from appliance.links import accepted_mark
from appliance.resolver.answering import Answering, Asker
from appliance.resolver.message import MAX_QUESTION

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
    from twisted.python.failure import Failure

    from appliance.endpoints import Endpoint, EndpointTable

IDLE_TIME = 10.0
CONNECTIONS_PER_ENDPOINT = 8
QUESTIONS_PER_CONNECTION = 64
_LENGTH = struct.Struct(">H")


class TcpQuestions(Protocol):
    """One connection. Answers go out as they are ready, in any order (RFC 7766 §6.2.1.1)."""

    log = Logger()

    def __init__(self, owner: TcpQuestionsFactory) -> None:
        self._owner = owner
        self._buffer = bytearray()
        self._questions = 0
        self._pending: set[Deferred[None]] = set()
        self._asker: Asker | None = None
        self._idle: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Find out who this is; nobody of ours, or one connection too many, is dropped at once."""
        assert self.transport is not None
        peer, asked = self.transport.getPeer(), self.transport.getHost()
        assert isinstance(peer, IPv4Address)
        assert isinstance(asked, IPv4Address)
        try:
            endpoint = self._owner.admit(Ipv4(peer.host), accepted_mark(self.transport.getHandle()))  # type: ignore[attr-defined]  # a TCP transport has it
        except OSError:  # reset before it was accepted
            endpoint = None
        if endpoint is None:
            self.drop()
            return
        self._asker = Asker(endpoint, f"{peer.host}:{peer.port}", Ipv4(asked.host), "tcp")
        self._owner.opened[endpoint.id].add(self)
        self._idle = self._owner.clock.callLater(IDLE_TIME, self.drop)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Give up what nobody will read."""
        del reason
        if self._idle is not None and self._idle.active():
            self._idle.cancel()
        if self._asker is not None:
            self._owner.closed(self._asker.endpoint, self)
        for answering in tuple(self._pending):
            answering.cancel()

    def dataReceived(self, data: bytes) -> None:
        """Take whole messages off the stream."""
        if self._asker is None or self._questions >= QUESTIONS_PER_CONNECTION:
            return
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > MAX_QUESTION:
                # No question is that long, and where the next one begins no longer matters.
                self.drop()
                return
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            wire = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            self._stay_awake()
            self._ask(wire, self._asker)
            if self._questions >= QUESTIONS_PER_CONNECTION:
                self._buffer.clear()
                self._close_when_answered()
                return

    def _stay_awake(self) -> None:
        if self._idle is not None and self._idle.active():
            self._idle.reset(IDLE_TIME)

    def _ask(self, wire: bytes, asker: Asker) -> None:
        self._questions += 1
        answering: Deferred[None] = Deferred.fromCoroutine(self._answer(wire, asker))
        self._pending.add(answering)
        answering.addErrback(self._failed)
        answering.addBoth(self._answered, answering)

    async def _answer(self, wire: bytes, asker: Asker) -> None:
        answer = await self._owner.answering.answer(wire, asker)
        if answer is not None and self.transport is not None:
            self.transport.write(_LENGTH.pack(len(answer)) + answer)

    def _failed(self, failure: Failure) -> None:
        if not isinstance(failure.value, CancelledError):
            self.log.failure("a question over TCP failed", failure=failure)

    def _answered(self, result: object, answering: Deferred[None]) -> None:
        del result
        self._pending.discard(answering)
        self._close_when_answered()

    def _close_when_answered(self) -> None:
        if self._questions >= QUESTIONS_PER_CONNECTION and not self._pending and self.transport is not None:
            self.transport.loseConnection()

    def drop(self) -> None:
        """End the connection without waiting for the peer to read what was sent."""
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]  # a TCP transport has it


class TcpQuestionsFactory(Factory):
    """Accepts connections from live endpoints, a bounded number from each."""

    noisy = False

    def __init__(self, endpoints: EndpointTable, answering: Answering, clock: IReactorTime) -> None:
        self._endpoints = endpoints
        self.answering = answering
        self.clock = clock
        self.opened: defaultdict[str, set[TcpQuestions]] = defaultdict(set)

    def buildProtocol(self, addr: IAddress | None) -> TcpQuestions:
        """One connection, one protocol."""
        del addr
        return TcpQuestions(self)

    def admit(self, source: Ipv4, mark: int) -> Endpoint | None:
        """The endpoint that connects from `source` by the link of `mark`, if it may have one more."""
        endpoint = self._endpoints.on_link(source, mark)
        if endpoint is None or len(self.opened.get(endpoint.id, ())) >= CONNECTIONS_PER_ENDPOINT:
            self.answering.counts["dropped"] += 1
            return None
        return endpoint

    def closed(self, endpoint: Endpoint, connection: TcpQuestions) -> None:
        """Forget a connection."""
        self.opened[endpoint.id].discard(connection)
        if not self.opened[endpoint.id]:
            del self.opened[endpoint.id]

    def drop_endpoint(self, endpoint: Endpoint) -> None:
        """Close the connections of an endpoint that went away."""
        for connection in tuple(self.opened.get(endpoint.id, ())):
            connection.drop()
