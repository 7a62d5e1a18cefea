"""A request that was allowed, on its way to a server and back: the session's states OPENING and EXCHANGE.

It asks the session for everything that concerns the container's side, and hears the answer from the upstream
connection (see `upstream.Downstream`). The request's record and what is held for it are the session's to end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred

from appliance.gateway import refusals
from appliance.gateway.reach import at_hand, reach
from appliance.gateway.relay import Cut, Relay
from appliance.gateway.states import EXCHANGE, OPENING, IllegalTransition
from appliance.gateway.websocket import WebSocket, accept
from appliance.handover import HANDED_OVER_SECONDS
from appliance.http1.refused import ProtocolFault
from appliance.http1.response import ResponseHead
from appliance.http1.writer import serialise_request
from appliance.outgoing.deadlines import NEVER
from appliance.refusal import Refusal

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from appliance.gateway.channel import Channel
    from appliance.gateway.connection import Connection
    from appliance.gateway.exchange import Exchange
    from appliance.gateway.session import Session
    from appliance.outgoing.upstream import Upstream


class Forwarding:
    """Made for one judged request; `start` it once. `stop` when the session has settled the request."""

    __slots__ = (
        "_channel", "_connection", "_exchange", "_opening", "_session", "_stopped", "_transport", "_worker",
    )  # fmt: skip

    def __init__(
        self, session: Session, connection: Connection, channel: Channel, exchange: Exchange, transport: Any
    ) -> None:
        self._session = session
        self._connection = connection
        self._worker = connection.worker
        self._channel = channel
        self._exchange = exchange
        self._transport = transport
        self._opening: Deferred[None] | None = None
        self._stopped = False

    def start(self) -> None:
        """Send it at once where everything is known and connected, else find out first."""
        upstream = at_hand(self._worker, self._channel.caller, self._exchange)
        if upstream is None:
            self._open()
        else:
            self._send(upstream)

    def stop(self) -> None:
        """Nothing more is wanted, or told."""
        self._stopped = True
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()

    def _open(self) -> None:
        self._session.enter(OPENING)
        self._connection.deadline = NEVER  # the resolver's and the dialler's own times hold
        self._opening = Deferred.fromCoroutine(self._reach())
        self._opening.addErrback(self._bug)

    async def _reach(self) -> None:
        found = await reach(self._worker, self._channel.caller, self._exchange)
        self._opening = None
        if isinstance(found, Refusal):
            self._session.refuse(self._exchange, found)
        else:
            self._send(found)

    def _send(self, upstream: Upstream) -> None:
        session, exchange = self._session, self._exchange
        origin, policy, verdict = exchange.origin, exchange.policy, exchange.verdict
        assert origin is not None
        assert policy is not None
        assert verdict is not None
        head, handshake = exchange.head, exchange.handshake
        extra, upgrade = ((), False) if handshake is None else (handshake.fields, True)
        wire = serialise_request(head, origin.host_field, extra, upgrade=upgrade)
        exceeded = exchange.charge_upstream(len(wire))
        refusal = None if exceeded is None else refusals.exceeded(exceeded)
        if exchange.account is not None:
            try:
                wire = self._worker.attestation(self._channel.caller, exchange) + wire
            except ValueError:
                refusal = refusals.WITHHELD_TOO_LARGE
        if refusal is not None:
            upstream.abort()
            session.refuse(exchange, refusal)
            return
        session.enter(EXCHANGE)
        exchange.address = upstream.address
        relay = exchange.relay = Relay(
            exchange, self._transport, upstream, verdict.max_body, policy.caps.response_body_bytes
        )
        upstream.send(self, head.method, wire, upgrade=upgrade)
        if relay.sending:
            session.intake.let_in()
            relay.start_body()
            self.body(session.intake.take_all())
        else:
            session.wait(self._answer_seconds(self._worker.limits.response_head_seconds))

    def _answer_seconds(self, usual: float) -> float:
        """For the next octet of the answer. Of a request that was handed over the broker says first."""
        return usual if self._exchange.account is None else HANDED_OVER_SECONDS

    @property
    def sending(self) -> bool:
        """Whether more of the request's body is to come."""
        relay = self._exchange.relay
        return relay is not None and relay.sending

    def body(self, data: bytes) -> None:
        """More of it."""
        session, relay = self._session, self._exchange.relay
        assert relay is not None
        try:
            surplus = relay.request_data(data)
        except Cut as cut:
            session.fail(self._exchange, cut.refusal)
            return
        if surplus is None:
            session.wait(self._worker.limits.request_idle_seconds)
        else:
            session.intake.add(surplus)
            session.wait(self._answer_seconds(self._worker.limits.response_head_seconds))

    def response(self, head: ResponseHead | None, pieces: list[bytes], *, done: bool) -> None:
        """Pass on what came of the answer."""
        session, exchange = self._session, self._exchange
        relay = exchange.relay
        if relay is None or self._stopped:
            raise IllegalTransition("an answer without a request")
        if session.draining:
            exchange.keep_alive = False
        if head is not None and head.switching:
            self._switch(relay, head, pieces)
            return
        try:
            wire = relay.response_data(head, pieces, done=done)
        except Cut as cut:
            session.fail(exchange, cut.refusal)
            return
        if done:
            if not relay.sending:
                relay.release()
                relay.upstream.rest()
                exchange.relay = None
            session.answered(exchange, wire)
            return
        self._transport.write(wire)
        if not relay.sending:
            session.wait(self._answer_seconds(self._worker.limits.response_idle_seconds))

    def _switch(self, relay: Relay, head: ResponseHead, received: list[bytes]) -> None:
        """The server agreed to another protocol: what follows is no HTTP any more."""
        session, exchange = self._session, self._exchange
        if session.draining:
            answer: bytes | Refusal = refusals.DRAINED
        elif session.intake.waiting or session.half_closed:
            answer = refusals.WEBSOCKET_EARLY
        else:
            answer = accept(self._worker, self._channel, exchange, head)
        if isinstance(answer, Refusal):
            session.fail(exchange, answer)
            return
        relay.release()
        session.leave()
        websocket = WebSocket(self._connection, self._channel, exchange, relay)
        self._connection.hand_over(websocket)
        websocket.open(self._transport, answer, received)

    def response_broken(self, fault: ProtocolFault) -> None:
        """The server's answer is no HTTP that can be passed on."""
        if not self._stopped:
            self._session.fail(self._exchange, refusals.malformed(fault))

    def response_failed(self) -> None:
        """A mistake of ours while an answer was read."""
        self._connection.failed()

    def response_missing(self) -> None:
        """The server hung up: try once more where that can do no harm, else say so."""
        exchange = self._exchange
        relay = exchange.relay
        if relay is None or self._stopped:
            return
        stale = relay.upstream.reused > 0 and exchange.status is None
        if stale and exchange.may_be_repeated:
            exchange.retried = True
            exchange.relay = None
            self._open()
        else:
            self._session.fail(exchange, refusals.UPSTREAM_CLOSED)

    def _bug(self, failure: Failure) -> None:
        if not isinstance(failure.value, CancelledError):
            self._connection.failed(failure)
