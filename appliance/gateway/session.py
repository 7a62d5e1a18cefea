"""HTTP/1.1 with a container: one request at a time, each judged anew, until either side has had enough.

What arrives while a request is under way waits, at most `buffered_bytes` of it; then the container is not
read any more. Bodies go through piece by piece, each side read only as fast as the other takes it.

Longer than most files here, because the states (see `states`) and all that leads from one to the next are
read together. Where a request is sent is found in `reach`, what is written down of it in `settling`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from zope.interface import implementer

from appliance.gateway import refusals, trust
from appliance.gateway.channel import Channel
from appliance.gateway.deadlines import NEVER
from appliance.gateway.exchange import Exchange
from appliance.gateway.intake import Intake
from appliance.gateway.judging import judge, judge_connect
from appliance.gateway.origin import is_own
from appliance.gateway.reach import at_hand, reach
from appliance.gateway.refusals import Refusal
from appliance.gateway.relay import Cut, Relay
from appliance.gateway.settling import settle
from appliance.gateway.states import NEXT, IllegalTransition, State
from appliance.gateway.websocket import WebSocket, accept
from appliance.http1.head import RequestHead
from appliance.http1.refused import NeedMore, ProtocolFault, Refused
from appliance.http1.response import ResponseHead
from appliance.http1.target import TargetForm
from appliance.http1.writer import serialise_request
from appliance.names import Authority

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from appliance.gateway.connection import Connection
    from appliance.gateway.upstream import Upstream


@implementer(IHandshakeListener, IPushProducer)
class Session(TwistedProtocol):
    """See the module. `transport` is the container's TCP connection, or TLS on it."""

    transport: Any

    def __init__(self, connection: Connection, channel: Channel) -> None:
        self._connection = connection
        self._worker = connection.worker
        self._channel = channel
        self._state = State.HEAD
        self._intake: Intake
        self._exchange: Exchange | None = None
        self._opening: Deferred[None] | None = None
        self._reading = False
        self._draining = False
        self._input_ended = False
        self._secured = channel.server_name is None
        self._requests = 0

    # Events of the container's side.

    def connectionMade(self) -> None:
        """Await a head, or the end of the handshake before it."""
        self._intake = Intake(self.transport)
        self.transport.registerProducer(self, True)
        if self._secured:
            self._await(self._worker.limits.head_seconds)

    def handshakeCompleted(self) -> None:
        """The client took our leaf."""
        self._secured = True
        self._await(self._worker.limits.head_seconds)

    def dataReceived(self, data: bytes) -> None:
        """Bytes of the container."""
        state = self._state
        if state is State.HEAD:
            self._intake.add(data)
            self._read_heads()
        elif state is State.OPENING or state is State.EXCHANGE:
            exchange = self._exchange
            if exchange is not None and exchange.relay is not None and exchange.relay.sending:
                self._send_body(exchange, exchange.relay, data)
                return
            self._intake.add(data)
            if len(self._intake.waiting) > self._worker.limits.buffered_bytes:
                self._intake.hold()

    def pauseProducing(self) -> None:
        """The container does not read what was written: nothing more is made for it."""
        self._intake.blocked = True
        if self._exchange is not None and self._exchange.relay is not None:
            self._exchange.relay.pause_response()
        elif self._state is State.HEAD:
            self._intake.hold()

    def resumeProducing(self) -> None:
        """It has read on."""
        self._intake.blocked = False
        if self._exchange is not None and self._exchange.relay is not None:
            self._exchange.relay.resume_response()
        elif self._state is State.HEAD:
            self._intake.let_in()
            self._read_heads()

    def stopProducing(self) -> None:
        """The connection is gone; `connectionLost` does the rest."""

    def input_ended(self) -> bool:
        """The container has closed its direction of the connection. False when it can be owed no answer.

        RFC 9293 section 3.6 lets it go on listening. Most that close are gone altogether, which only writing
        to them would tell: they are waited for `half_closed_seconds`, not the usual times.
        """
        exchange, state = self._exchange, self._state
        if self._channel.server_name is not None or state is State.CLOSED:
            return False
        if exchange is not None and exchange.has_body and not self._has_whole_body(exchange):
            return False
        self._input_ended = True
        if state is State.CLOSING:
            self.transport.loseConnection()
        elif state is State.HEAD:
            self._read_heads()
        elif state is State.EXCHANGE:
            self._await(self._worker.limits.half_closed_seconds)
        return True

    def _has_whole_body(self, exchange: Exchange) -> bool:
        if exchange.relay is not None:
            return not exchange.relay.sending
        length = exchange.head.content_length
        return length is not None and length <= len(self._intake.waiting)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The container is gone: so is what it asked for."""
        if self._state is State.CLOSED:
            return
        self._go(State.CLOSED)
        if self._exchange is not None:
            self._settle(self._exchange, refusals.CLIENT_CLOSED)
        elif not self._secured:
            self._connection.record(refusals.handshake_failed(reason.value), str(self._channel.server_name))
        elif self._channel.standing is not None and not self._requests:
            self._connection.record(self._channel.standing, str(self._channel.server_name))

    def deadline_passed(self) -> None:
        """The state's time is up."""
        exchange = self._exchange
        if self._state is State.HEAD:
            if not self._secured:
                self.transport.abortConnection()
            elif self._intake.waiting:
                self._refuse_headless(refusals.HEAD_TIMEOUT)
            else:
                self._close()
        elif self._input_ended:
            self.end(refusals.CLIENT_CLOSED)
        elif self._state is State.EXCHANGE and exchange is not None:
            if self._intake.blocked:
                refusal = refusals.RESPONSE_NOT_READ
            elif exchange.relay is not None and exchange.relay.sending:
                refusal = refusals.BODY_TIMEOUT
            else:
                refusal = refusals.RESPONSE_TIMEOUT
            self._fail(exchange, refusal)
        else:
            self.transport.abortConnection()

    # Events of the worker.

    def policy_changed(self) -> None:
        """Re-check the request under way; the next one is judged anew anyhow."""
        exchange = self._exchange
        if exchange is not None and exchange.origin is not None:
            policy = self._worker.policy(self._channel.caller.endpoint.tenant)
            if not exchange.still_allowed(policy):
                self._fail(exchange, refusals.POLICY_CHANGED)

    def end(self, refusal: Refusal) -> None:
        """Shut both sides now."""
        if self._exchange is not None:
            self._settle(self._exchange, refusal)
        if self._state is not State.CLOSED:
            self._go(State.CLOSED)
        self.transport.abortConnection()

    def drain(self) -> None:
        """Close after the request under way, or now when there is none."""
        self._draining = True
        if self._state is State.HEAD and not self._intake.waiting and self._secured:
            self._close()

    # A request's way in.

    def _read_heads(self) -> None:
        """Take up the next request, and those behind it as long as each is answered at once."""
        if self._reading:
            return  # called from `_begin` below: the loop goes on by itself
        self._reading, intake = True, self._intake
        try:
            while self._state is State.HEAD and intake.waiting and not intake.blocked and self._read_head():
                pass
        finally:
            self._reading = False
        if self._input_ended and self._state is State.HEAD and not intake.blocked:
            self._close()

    def _read_head(self) -> bool:
        """Begin the next request; False when there is no whole head."""
        try:
            head = self._intake.take_head()
        except Refused as fault:
            self._refuse_headless(refusals.malformed(fault))
            return False
        if isinstance(head, NeedMore):
            if self._intake.begun:
                # From its first byte on a head has its own time, however slowly the rest comes.
                self._await(self._worker.limits.head_seconds)
            return False
        self._begin(head)
        return True

    def _begin(self, head: RequestHead) -> None:
        worker = self._worker
        self._requests += 1
        worker.requests += 1
        exchange = Exchange(worker.next_id(), head, worker.seconds())
        self._exchange = exchange
        exceeded = worker.budget.request(worker.charged(self._channel.caller.endpoint))
        if exceeded is not None:
            self._refuse(exchange, refusals.exceeded(exceeded))
        elif self._channel.standing is not None:
            self._refuse(exchange, self._channel.standing)
        elif is_own(self._channel, head):
            self._answer_own(exchange)
        elif head.form is TargetForm.AUTHORITY and self._channel.server_name is None:
            self._tunnel(exchange)
        else:
            refusal = judge(worker, self._channel, exchange)
            if refusal is not None:
                self._refuse(exchange, refusal)
            else:
                self._dispatch(exchange)

    def _dispatch(self, exchange: Exchange) -> None:
        """Send it at once where everything is known and connected, else find out first."""
        upstream = at_hand(self._worker, self._channel.caller, exchange)
        if upstream is None:
            self._open(exchange)
        else:
            self._send(exchange, upstream)

    def _open(self, exchange: Exchange) -> None:
        self._go(State.OPENING)
        self._connection.deadline = NEVER  # the resolver's and the dialler's own times hold
        self._opening = Deferred.fromCoroutine(self._reach(exchange))
        self._opening.addErrback(self._bug)

    async def _reach(self, exchange: Exchange) -> None:
        found = await reach(self._worker, self._channel.caller, exchange)
        self._opening = None
        if isinstance(found, Refusal):
            self._refuse(exchange, found)
        else:
            self._send(exchange, found)

    def _send(self, exchange: Exchange, upstream: Upstream) -> None:
        origin, policy, verdict = exchange.origin, exchange.policy, exchange.verdict
        assert origin is not None
        assert policy is not None
        assert verdict is not None
        head = exchange.head
        handshake = exchange.handshake
        extra, upgrade = ((), False) if handshake is None else (handshake.fields, True)
        authority = Authority(origin.host, origin.port)
        wire = serialise_request(head, authority, origin.scheme, extra, upgrade=upgrade)
        exceeded = exchange.charge_upstream(len(wire))
        if exceeded is not None:
            upstream.abort()
            self._refuse(exchange, refusals.exceeded(exceeded))
            return
        self._go(State.EXCHANGE)
        exchange.address = upstream.address
        relay = exchange.relay = Relay(
            exchange, self.transport, upstream, verdict.max_body, policy.caps.response_body_bytes
        )
        upstream.send(self, head.method, wire, upgrade=upgrade)
        if relay.sending:
            self._intake.let_in()
            relay.start_body()
            self._send_body(exchange, relay, self._intake.take_all())
        else:
            self._await(self._worker.limits.response_head_seconds)

    def _send_body(self, exchange: Exchange, relay: Relay, data: bytes) -> None:
        try:
            surplus = relay.request_data(data)
        except Cut as cut:
            self._fail(exchange, cut.refusal)
            return
        if surplus is None:
            self._await(self._worker.limits.request_idle_seconds)
        else:
            self._intake.add(surplus)
            self._await(self._worker.limits.response_head_seconds)

    # The answer's way back (see `upstream.Downstream`).

    def response(self, head: ResponseHead | None, pieces: list[bytes], *, done: bool) -> None:
        """Pass on what came, and settle when it was all."""
        exchange = self._exchange
        if exchange is None or exchange.relay is None:
            raise IllegalTransition("an answer without a request")
        relay = exchange.relay
        if self._draining:
            exchange.keep_alive = False
        if head is not None and head.switching:
            self._switch(exchange, relay, head, pieces)
            return
        try:
            wire = relay.response_data(head, pieces, done=done)
        except Cut as cut:
            self._fail(exchange, cut.refusal)
            return
        if done:
            self._answered(exchange, relay, wire)
            return
        self.transport.write(wire)
        if not relay.sending:
            self._await(self._worker.limits.response_idle_seconds)

    def response_broken(self, fault: ProtocolFault) -> None:
        """The server's answer is no HTTP that can be passed on."""
        if self._exchange is not None:
            self._fail(self._exchange, refusals.malformed(fault))

    def response_failed(self) -> None:
        """A mistake of ours while an answer was read."""
        self._connection.failed()

    def response_missing(self) -> None:
        """The server hung up: try once more where that can do no harm, else say so."""
        exchange = self._exchange
        if exchange is None or exchange.relay is None:
            return
        stale = exchange.relay.upstream.reused > 0 and exchange.status is None
        if stale and exchange.may_be_repeated:
            exchange.retried = True
            exchange.relay = None
            self._open(exchange)
        else:
            self._fail(exchange, refusals.UPSTREAM_CLOSED)

    def _switch(self, exchange: Exchange, relay: Relay, head: ResponseHead, received: list[bytes]) -> None:
        """The server agreed to another protocol: what follows is no HTTP any more."""
        if self._intake.waiting or self._input_ended or self._draining:
            answer: bytes | Refusal = refusals.DRAINED if self._draining else refusals.WEBSOCKET_EARLY
        else:
            answer = accept(self._worker, self._channel, exchange, head)
        if isinstance(answer, Refusal):
            self._fail(exchange, answer)
            return
        self._exchange = None
        self._go(State.CLOSED)
        relay.release()
        self._intake.blocked = False
        self._intake.let_in()
        self.transport.unregisterProducer()
        websocket = WebSocket(self._connection, self._channel, exchange, relay)
        self._connection.hand_over(websocket)
        websocket.open(self.transport, answer, received)

    def _answered(self, exchange: Exchange, relay: Relay, wire: bytes) -> None:
        """The last bytes of an answer: recorded first, then written (no answer completes unrecorded)."""
        if not relay.sending:
            relay.release()
            relay.upstream.rest()
            exchange.relay = None
        if not self._settle(exchange, None):
            self._go(State.CLOSED)
            self.transport.abortConnection()
            return
        self.transport.write(wire)
        self._go_on(keep_alive=exchange.keep_alive)

    def _go_on(self, *, keep_alive: bool) -> None:
        """An answer is written: on to the next request, or close."""
        limits = self._worker.limits
        age = self._worker.seconds() - self._connection.started
        if not keep_alive or self._draining or age > limits.connection_seconds:
            self._close()
            return
        self._go(State.HEAD)
        intake = self._intake
        if intake.blocked:
            intake.hold()
        else:
            intake.let_in()
        waiting = intake.waiting
        self._await(limits.head_seconds if waiting else limits.keep_alive_seconds)
        if waiting or self._input_ended:
            self._read_heads()

    # Refusals.

    def _refuse(self, exchange: Exchange, refusal: Refusal) -> None:
        """Answer with a refusal; nothing of an answer has been written yet."""
        exchange.status = refusal.status
        keep = exchange.keep_alive and not refusal.closes and not exchange.has_body and not self._draining
        page = refusals.page(refusal, exchange.id, close=not keep, head_only=exchange.head.method == "HEAD")
        exchange.to_client += len(page)
        if not self._settle(exchange, refusal) and refusal is not refusals.AUDIT_UNAVAILABLE:
            keep = False
            page = refusals.page(refusals.AUDIT_UNAVAILABLE, exchange.id, close=True)
        self.transport.write(page)
        self._go_on(keep_alive=keep)

    def _fail(self, exchange: Exchange, refusal: Refusal) -> None:
        """A request that was allowed ends early: a typed answer if none has begun, else a cut."""
        if exchange.status is None:
            self._refuse(exchange, refusal.closing())
            return
        self._settle(exchange, refusal)
        self._go(State.CLOSED)
        self.transport.abortConnection()

    def _refuse_headless(self, refusal: Refusal) -> None:
        """No request could be read: a record of the connection, a page, the end."""
        self._requests += 1
        name = self._channel.server_name
        self._connection.record(refusal, None if name is None else str(name), status=refusal.status)
        self.transport.write(refusals.page(refusal, self._worker.next_id(), close=True))
        self._close()

    def _settle(self, exchange: Exchange, refusal: Refusal | None) -> bool:
        """The request is over. False when its record could not be written."""
        self._exchange = None
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
        return settle(self._worker, self._channel, exchange, refusal)

    # Requests that the gateway answers itself.

    def _answer_own(self, exchange: Exchange) -> None:
        page = trust.page(exchange.head, self._worker, self._channel.caller)
        if page is None or exchange.has_body:
            self._refuse(exchange, refusals.OWN_ADDRESS)
            return
        exchange.status = 200
        exchange.to_client = len(page)
        if not self._settle(exchange, refusals.OWN_DOCUMENT):
            self.transport.abortConnection()
            return
        self.transport.write(page)
        self._go_on(keep_alive=exchange.keep_alive)

    def _tunnel(self, exchange: Exchange) -> None:
        """CONNECT: judged as a host; what is sent inside is judged by itself, and recorded by itself."""
        refusal = judge_connect(self._worker, self._channel, exchange.head)
        if refusal is not None:
            self._refuse(exchange, refusal)
            return
        assert exchange.head.authority is not None
        self._exchange = None
        self._go(State.CLOSED)
        self.transport.unregisterProducer()
        self.transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self._connection.open_tunnel(exchange.head.authority, self._intake.take_all())

    # Small steps.

    def _await(self, seconds: float) -> None:
        connection, limits = self._connection, self._worker.limits
        if self._input_ended:
            seconds = min(seconds, limits.half_closed_seconds)
        connection.deadline = min(
            self._worker.seconds() + seconds, connection.started + limits.connection_seconds
        )

    def _close(self) -> None:
        """Close in good order: what was written arrives, what still comes is thrown away for a while."""
        self._go(State.CLOSING)
        self._intake.take_all()
        self._intake.blocked = False
        self._intake.let_in()
        self.transport.unregisterProducer()
        self._connection.deadline = self._worker.seconds() + self._worker.limits.closing_seconds
        if self._channel.server_name is None and not self._input_ended:
            # Closing with unread bytes would make the kernel send RST, which can overtake our answer.
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()

    def _go(self, state: State) -> None:
        if state not in NEXT[self._state]:
            raise IllegalTransition(f"{self._state.value} to {state.value}")
        self._state = state

    def _bug(self, failure: Failure) -> None:
        if not isinstance(failure.value, CancelledError):
            self._connection.failed(failure)
