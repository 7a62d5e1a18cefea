"""A WebSocket that a rule allowed, from the server's 101 to its end: frames both ways, read and written anew.

Each side is read only as fast as the other takes it. What passes is charged against limits and caps as the
body of any exchange is, and its frames against a limit of their own; idle time and age are those of tunnels;
a policy that changes judges again. Two records: when it is open and when it has ended, with the same
`request_id`.

Where it is ended here, the container is told in a Close frame whose reason is that of the record, if a frame
can be begun; else it is cut off. The server is cut off in any case.
"""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone

from appliance.audit.log import AuditUnavailable
from appliance.gateway import refusals
from appliance.gateway.relay import Relay
from appliance.gateway.settling import settle
from appliance.http1.refused import ProtocolFault, Refused, UpstreamInvalid
from appliance.http1.response import ResponseHead
from appliance.http1.writer import serialise_response_head
from appliance.outgoing.tap import Tap
from appliance.refusal import Refusal
from appliance.websocket.frames import Frames, close_frame
from appliance.websocket.handshake import verify_accepted

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from appliance.gateway.channel import Channel
    from appliance.gateway.connection import Connection
    from appliance.gateway.exchange import Exchange
    from appliance.gateway.worker import Worker
    from appliance.limits.budget import Exceeded

# RFC 6455 section 7.4.1; 1014 is in IANA's registry: a gateway's server failed.
GOING_AWAY, PROTOCOL_ERROR, POLICY, TOO_BIG, BAD_GATEWAY = 1001, 1002, 1008, 1009, 1014

OPENED = "A WebSocket was opened."


def accept(worker: Worker, channel: Channel, exchange: Exchange, head: ResponseHead) -> bytes | Refusal:
    """Judge a server's 101: what to write to the container, recorded as opened, or why not."""
    assert exchange.handshake is not None  # an `Upstream` takes a 101 only where one was asked for
    try:
        verify_accepted(head, exchange.handshake)
    except UpstreamInvalid as fault:
        return refusals.malformed(fault)
    answer = serialise_response_head(head, keep_alive=False)
    exceeded = exchange.charge_client(len(answer))
    if exceeded is not None:
        return refusals.exceeded(exceeded)
    exchange.status = head.status
    try:
        worker.audit.write(exchange.record(channel, worker.elapsed_ms(exchange.started), None, OPENED))
    except AuditUnavailable:
        exchange.status = None
        return refusals.AUDIT_UNAVAILABLE
    return answer


class WebSocket(TwistedProtocol):
    """A stage (see `connection.Stage`), and the protocol inside TLS where there is TLS."""

    transport: Any

    def __init__(self, connection: Connection, channel: Channel, exchange: Exchange, relay: Relay) -> None:
        self._connection = connection
        self._worker = connection.worker
        self._channel = channel
        self._exchange = exchange
        self._relay = relay
        self._opened = self._worker.seconds()
        self._from_client = Frames(new_mask=partial(secrets.token_bytes, 4))
        self._from_server = Frames(blame=UpstreamInvalid)
        self._draining = False
        self._ended = False

    def open(self, transport: Any, answer: bytes, received: list[bytes]) -> None:
        """Begin on the container's transport with the 101; `received` came from the server behind its own."""
        self.transport = transport
        upstream = self._relay.upstream
        transport.registerProducer(Tap(upstream.transport), True)
        upstream.transport.registerProducer(Tap(transport), True)
        upstream.answers_to(self)
        transport.write(answer)
        self._moved()
        if received:
            self.response(None, received, done=False)

    # Events of the container's side.

    def dataReceived(self, data: bytes) -> None:
        """Frames of the container."""
        if self._ended or self._over:
            return
        exchange, relay, before = self._exchange, self._relay, self._from_client.count
        try:
            wire = self._from_client.feed(data)
        except Refused as fault:
            self._refuse(refusals.malformed(fault), PROTOCOL_ERROR)
            return
        if self._from_client.payload > relay.max_request:
            self._refuse(refusals.body_too_large(relay.max_request, exchange.rule), TOO_BIG)
            return
        exceeded = exchange.charge_upstream(len(wire)) or self._charge(self._from_client.count - before)
        if exceeded is not None:
            self._refuse(refusals.exceeded(exceeded), POLICY)
            return
        relay.upstream.write(wire)
        self._moved()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The container is gone, in good order when it has said so."""
        del reason
        if not self._ended:
            self._ended = True
            self._settle(None if self._from_client.ended else refusals.CLIENT_CLOSED)

    def deadline_passed(self) -> None:
        """Nothing moved for too long, the WebSocket is too old, or one that is over is not let go."""
        if self._ended:
            self.transport.abortConnection()
        elif self._over:
            self._finish()
        else:
            age = self._worker.seconds() - self._opened
            old = age >= self._policy_seconds()
            self._refuse(refusals.TUNNEL_TOO_OLD if old else refusals.TUNNEL_IDLE, GOING_AWAY)

    # Events of the worker.

    def policy_changed(self) -> None:
        """The rule may be gone, or may leave less."""
        policy = self._worker.policy(self._channel.caller.endpoint.tenant)
        if self._ended:
            return
        if not self._exchange.adopt(policy):
            self._refuse(refusals.POLICY_CHANGED, POLICY)

    def end(self, refusal: Refusal) -> None:
        """Shut both sides now."""
        if not self._ended:
            self._ended = True
            self._settle(refusal)
        self.transport.abortConnection()

    def drain(self) -> None:
        """End between two messages."""
        self._draining = True
        if not self._ended and not self._over:
            self._moved()

    # Events of the server's side (see `upstream.Downstream`).

    def response(self, head: ResponseHead | None, pieces: list[bytes], *, done: bool) -> None:
        """Frames of the server, or its end."""
        del head
        if self._ended:
            return
        if done:
            self.response_missing()
            return
        if self._over:
            return
        exchange, relay, before = self._exchange, self._relay, self._from_server.count
        try:
            wire = self._from_server.feed(b"".join(pieces))
        except UpstreamInvalid as fault:
            self.response_broken(fault)
            return
        if self._from_server.payload > relay.max_response:
            self._refuse(refusals.RESPONSE_TOO_LARGE, TOO_BIG)
            return
        exceeded = exchange.charge_client(len(wire)) or self._charge(self._from_server.count - before)
        if exceeded is not None:
            self._refuse(refusals.exceeded(exceeded), POLICY)
            return
        self.transport.write(wire)
        self._moved()

    def response_broken(self, fault: ProtocolFault) -> None:
        """The server sent no frames."""
        self._refuse(refusals.malformed(fault), BAD_GATEWAY)

    def response_failed(self) -> None:
        """A mistake of ours."""
        self._connection.failed()

    def response_missing(self) -> None:
        """The server is gone, in good order when it has said so."""
        if self._from_server.ended:
            self._finish()
        else:
            self._refuse(refusals.TUNNEL_BROKEN, BAD_GATEWAY)

    def _charge(self, frames: int) -> Exceeded | None:
        """Frames that go on: each costs the same however small it is."""
        return self._worker.budget.frames(self._worker.charged(self._channel.caller.endpoint), frames)

    # Endings.

    @property
    def _over(self) -> bool:
        """Whether both have said Close: only the connections are left to be closed, whatever still comes."""
        return self._from_client.ended and self._from_server.ended

    def _moved(self) -> None:
        """Something went through, or may have changed what is awaited."""
        worker, now = self._worker, self._worker.seconds()
        if self._over:
            self._connection.deadline = now + worker.limits.closing_seconds
            return
        self._connection.deadline = min(
            now + worker.limits.tunnel_idle_seconds, self._opened + self._policy_seconds()
        )
        if self._draining and self._from_client.between_messages and self._from_server.between_messages:
            self._refuse(refusals.DRAINED, GOING_AWAY)

    def _policy_seconds(self) -> int:
        return self._worker.policy(self._channel.caller.endpoint.tenant).limits.tunnel_seconds

    def _finish(self) -> None:
        """Both are done with it."""
        self._ended = True
        self._settle(None)
        self._close()

    def _refuse(self, refusal: Refusal, code: int) -> None:
        """End it for a reason, and tell the container."""
        if self._ended:
            return
        self._ended = True
        told = b""
        if self._from_server.between_frames and not self._from_server.ended:
            told = close_frame(code, refusal.reason)
            self._exchange.charge_client(len(told))
        self._settle(refusal)
        if told:
            self.transport.write(told)
            self._close()
        else:
            self.transport.abortConnection()

    def _settle(self, refusal: Refusal | None) -> None:
        code = self._from_client.close_code or self._from_server.close_code
        detail = f"The WebSocket ended with code {code}." if code else "The WebSocket ended without a code."
        settle(self._worker, self._channel, self._exchange, refusal, detail)

    def _close(self) -> None:
        """Close in good order: what was written arrives, what still comes is thrown away for a while."""
        self.transport.unregisterProducer()
        self._connection.deadline = self._worker.seconds() + self._worker.limits.closing_seconds
        if self._channel.server_name is None:
            # Closing with unread bytes would make the kernel send RST, which can overtake the Close frame.
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()
