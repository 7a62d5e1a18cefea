"""A worker's connection to the broker: one call after the other, each attested by the line before it.

The worker has parsed the request and written it anew. It is parsed here again all the same: a worker reads
hostile octets, and one that was taken over may write what it likes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.logger import Logger

from appliance.broker.calls.peers import PeerLimits, Peers
from appliance.handover import MAX_LINE, Attestation, parse_attestation
from appliance.http1.body import BodyReader, body_reader
from appliance.http1.head import RequestHead, parse_request_head
from appliance.http1.limits import HeadLimits
from appliance.http1.refused import NeedMore, Refused
from appliance.peer import peer_credentials

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress
    from twisted.python.failure import Failure

LIMITS = HeadLimits(request_line=33 * 1024, head=98 * 1024, encoded_slash=True)
"""What the policy's evaluator decides about `%2F` was decided by the gateway, and is by `checks` again."""

CONNECTIONS = PeerLimits(of_process=1024, in_all=4096)
"""Each is a call, or rests between two; each may hold a head of `LIMITS` that never ends."""

_log = Logger()


class Handed(Protocol):
    """A call that has begun."""

    def start(self) -> None:
        """Everything but the body is there."""

    def body(self, pieces: list[bytes], *, done: bool) -> None:
        """More of the request's body."""

    def broken(self, fault: Refused) -> None:
        """The body is none; nothing more comes."""

    def abandoned(self) -> None:
        """The worker hung up."""


Begin = Callable[["CallConnection", Attestation, RequestHead], Handed]


class CallConnections(ServerFactory["CallConnection"]):
    """Accepts the gateway's workers, by the uid that the kernel tells. `begin` makes the calls."""

    noisy = False

    def __init__(self, uid: int, begin: Begin) -> None:
        self._uid = uid
        self._begin = begin
        self._peers: Peers[CallConnection] = Peers(CONNECTIONS)

    def buildProtocol(self, addr: IAddress | None) -> CallConnection:
        """A worker connects."""
        del addr
        return CallConnection(self._uid, self._begin, self._peers)

    def departed(self, endpoint: str) -> None:
        """The container of that endpoint left: its calls end, whatever the worker thinks of them."""
        for connection in self._peers.connections():
            if connection.endpoint == endpoint:
                connection.withdraw()

    def close(self) -> None:
        """The process ends: so do all calls, each with its record."""
        for connection in self._peers.connections():
            connection.withdraw()


class CallConnection(TwistedProtocol):
    """See the module. `transport` is the Unix socket."""

    transport: Any

    def __init__(self, uid: int, begin: Begin, peers: Peers[CallConnection] | None = None) -> None:
        self._uid = uid
        self._begin = begin
        self._peers = Peers(CONNECTIONS) if peers is None else peers
        self.endpoint: str | None = None
        """Whose call is under way here."""
        self._buffer = b""
        self._attestation: Attestation | None = None
        self._searched = 0
        self._call: Handed | None = None
        self._body: BodyReader | None = None
        self._received: Callable[[bytes], None] | None = None
        self._closing = False

    def connectionMade(self) -> None:
        """Only the gateway hands calls over."""
        peer = peer_credentials(self.transport.getHandle())
        if peer.uid != self._uid:
            _log.warn("a process that is no gateway worker wanted to make a call")
            self.transport.abortConnection()
        elif not self._peers.enter(self, peer.pid):
            self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """A line, a head, a body; between an answer and the next line nothing."""
        if self._closing:
            return
        if self._received is not None:
            self._received(data)
        elif self._body is not None:
            self._read_body(data)
        elif self._call is not None:
            # The worker has one exchange at a time here: what comes now is nobody's.
            self._violated("it spoke before its answer was complete")
        else:
            self._buffer += data
            self._read_call()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The worker is gone, or has given up the call."""
        del reason
        self._peers.leave(self)
        call, self._call, self._body, self._received = self._call, None, None, None
        if call is not None:
            call.abandoned()

    def finished(self, *, keep: bool) -> None:
        """The call's answer is written. Unless all of its request was read, the connection ends.

        A call may have stopped the reading; the next one would wait for ever.
        """
        self._call = self.endpoint = None
        self.transport.resumeProducing()
        if not keep or self._body is not None:
            self._body = None
            self._closing = True
            self.transport.loseConnection()

    def switched(self, received: Callable[[bytes], None]) -> None:
        """The call goes on as a WebSocket until the connection ends: what comes are frames."""
        self._received = received

    def withdraw(self) -> None:
        """End the connection, and the call that is under way as if its caller had gone."""
        call = self._call
        self.abort()
        if call is not None:
            call.abandoned()

    def abort(self) -> None:
        """End the connection at once: an answer that has begun is seen to be cut off."""
        self._call = self._body = self._received = None
        self._closing = True
        self.transport.abortConnection()

    def _read_call(self) -> None:
        if self._attestation is None:
            line, end, rest = self._buffer.partition(b"\n")
            if not end:
                if len(line) >= MAX_LINE:
                    self._violated("its word is too long")
                return
            try:
                self._attestation = parse_attestation(line)
            except ValueError:
                self._violated("its word cannot be read")
                return
            self._buffer, self._searched = rest, 0
        try:
            head = parse_request_head(self._buffer, LIMITS, searched=self._searched)
        except Refused as fault:
            self._violated(f"what it wrote is no request ({fault.reason})")
            return
        if isinstance(head, NeedMore):
            self._searched = head.searched
            return
        attestation, self._attestation = self._attestation, None
        rest, self._buffer, self._searched = self._buffer[head.head_bytes :], b"", 0
        reader = body_reader(head.framing)
        self._body = None if reader.done else reader
        self.endpoint = attestation.endpoint
        self._call = self._begin(self, attestation, head)
        self._call.start()
        if self._closing:
            return
        if self._body is not None:
            if rest:
                self._read_body(rest)
        elif rest:
            self._violated("it spoke behind its request")

    def _read_body(self, data: bytes) -> None:
        reader, call = self._body, self._call
        assert reader is not None
        assert call is not None
        try:
            pieces = reader.feed(data)
        except Refused as fault:
            self._body = None
            call.broken(fault)
            return
        if reader.done:
            self._body = None
        call.body(pieces, done=reader.done)
        if reader.done and reader.surplus and not self._closing:
            self._violated("it spoke behind its request")

    def _violated(self, why: str) -> None:
        _log.error("a worker broke the agreement: {why}", why=why)
        self.transport.abortConnection()
