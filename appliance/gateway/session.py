"""HTTP/1.1 with a container: one request at a time, each judged anew, until either side has had enough.

What arrives while a request is under way waits, at most `buffered_bytes` of it; then the container is not
read any more. Bodies go through piece by piece, each side read only as fast as the other takes it.

Here is the life of the connection: its states (see `states`), what the container says, what it is told and
when it has to go. A request that was allowed is sent and answered by `forwarding`; what is on record of any
request is written by `settling`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from zope.interface import implementer

from appliance.gateway import refusals, trust
from appliance.gateway.channel import Channel
from appliance.gateway.exchange import Exchange
from appliance.gateway.forwarding import Forwarding
from appliance.gateway.intake import Intake
from appliance.gateway.judging import asks_for_certificate, judge, judge_connect
from appliance.gateway.origin import is_own
from appliance.gateway.settling import settle
from appliance.gateway.states import CLOSED, CLOSING, EXCHANGE, HEAD, OPENING, State, after
from appliance.http1.head import RequestHead
from appliance.http1.refused import NeedMore, Refused
from appliance.http1.target import TargetForm
from appliance.refusal import Refusal

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from appliance.gateway.connection import Connection


@implementer(IHandshakeListener, IPushProducer)
class Session(TwistedProtocol):
    """See the module. `transport` is the container's TCP connection, or TLS on it.

    `half_closed`: the container has said all that it will say, and may still listen.
    """

    transport: Any

    def __init__(self, connection: Connection, channel: Channel) -> None:
        self._connection = connection
        self._worker = connection.worker
        self._channel = channel
        self.intake: Intake
        self.draining = False
        self.half_closed = False
        self._state = HEAD
        self._exchange: Exchange | None = None
        self._forwarding: Forwarding | None = None
        self._reading = False
        self._secured = channel.server_name is None
        self._requests = 0

    # Events of the container's side.

    def connectionMade(self) -> None:
        """Await a head, or the end of the handshake before it."""
        self.intake = Intake(self.transport)
        self.transport.registerProducer(self, True)
        if self._secured:
            self.wait(self._worker.limits.head_seconds)

    def handshakeCompleted(self) -> None:
        """The client took our leaf."""
        self._secured = True
        self.wait(self._worker.limits.head_seconds)

    def dataReceived(self, data: bytes) -> None:
        """Bytes of the container."""
        state = self._state
        if state is HEAD:
            self.intake.add(data)
            self._read_heads()
        elif state is OPENING or state is EXCHANGE:
            forwarding = self._forwarding
            if forwarding is not None and forwarding.sending:
                forwarding.body(data)
                return
            self.intake.add(data)
            if len(self.intake.waiting) > self._worker.limits.buffered_bytes:
                self.intake.hold()

    def pauseProducing(self) -> None:
        """The container does not read what was written: nothing more is made for it."""
        self.intake.blocked = True
        if self._exchange is not None and self._exchange.relay is not None:
            self._exchange.relay.pause_response()
        elif self._state is HEAD:
            self.intake.hold()

    def resumeProducing(self) -> None:
        """It has read on."""
        self.intake.blocked = False
        if self._exchange is not None and self._exchange.relay is not None:
            self._exchange.relay.resume_response()
        elif self._state is HEAD:
            self.intake.let_in()
            self._read_heads()

    def stopProducing(self) -> None:
        """The connection is gone; `connectionLost` does the rest."""

    def input_ended(self) -> bool:
        """The container has closed its direction of the connection. False when it can be owed no answer.

        RFC 9293 section 3.6 lets it go on listening. Most that close are gone altogether, which only writing
        to them would tell: they are waited for `half_closed_seconds`, not the usual times.
        """
        exchange, state = self._exchange, self._state
        if self._channel.server_name is not None or state is CLOSED:
            return False
        if (
            exchange is not None
            and exchange.has_body
            and not exchange.has_whole_body(len(self.intake.waiting))
        ):
            return False
        self.half_closed = True
        if state is CLOSING:
            self.transport.loseConnection()
        elif state is HEAD:
            self._read_heads()
        elif state is EXCHANGE:
            self.wait(self._worker.limits.half_closed_seconds)
        return True

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The container is gone: so is what it asked for."""
        if self._state is CLOSED:
            return
        self.enter(CLOSED)
        if self._exchange is not None:
            self._settle(self._exchange, refusals.CLIENT_CLOSED)
        elif not self._secured:
            self._connection.record(refusals.handshake_failed(reason.value), str(self._channel.server_name))
        elif self._channel.standing is not None and not self._requests:
            self._connection.record(self._channel.standing, str(self._channel.server_name))

    def deadline_passed(self) -> None:
        """The state's time is up."""
        exchange = self._exchange
        if self._state is HEAD:
            if not self._secured:
                self.transport.abortConnection()
            elif self.intake.waiting:
                self._refuse_headless(refusals.HEAD_TIMEOUT)
            else:
                self._close()
        elif self.half_closed:
            self.end(refusals.CLIENT_CLOSED)
        elif self._state is EXCHANGE and exchange is not None:
            self.fail(exchange, exchange.late(unread=self.intake.blocked))
        elif self._state is EXCHANGE:
            self._cut()  # its answer waits for its record
        else:
            self.transport.abortConnection()

    # Events of the worker.

    def policy_changed(self) -> None:
        """Judge the request under way again; the next one is judged anew anyhow."""
        exchange = self._exchange
        if exchange is not None and exchange.origin is not None:
            policy = self._worker.policy(self._channel.caller.endpoint.tenant)
            if not exchange.adopt(policy):
                self.fail(exchange, refusals.POLICY_CHANGED)

    def end(self, refusal: Refusal) -> None:
        """Shut both sides now."""
        if self._exchange is not None:
            self._settle(self._exchange, refusal)
        if self._state is not CLOSED:
            self.enter(CLOSED)
        self.transport.abortConnection()

    def drain(self) -> None:
        """Close after the request under way, or now when there is none."""
        self.draining = True
        if self._state is HEAD and not self.intake.waiting and self._secured:
            self._close()

    # A request's way in.

    def _read_heads(self) -> None:
        """Take up the next request, and those behind it as long as each is answered at once."""
        if self._reading:
            return  # called from `_begin` below: the loop goes on by itself
        self._reading, intake = True, self.intake
        try:
            while self._state is HEAD and intake.waiting and not intake.blocked and self._read_head():
                pass
        finally:
            self._reading = False
        if self.half_closed and self._state is HEAD and not intake.blocked:
            self._close()

    def _read_head(self) -> bool:
        """Begin the next request; False when there is no whole head."""
        try:
            head = self.intake.take_head()
        except Refused as fault:
            self._refuse_headless(refusals.malformed(fault))
            return False
        if isinstance(head, NeedMore):
            if self.intake.begun:
                # From its first byte on a head has its own time, however slowly the rest comes.
                self.wait(self._worker.limits.head_seconds)
            return False
        self._begin(head)
        return True

    def _begin(self, head: RequestHead) -> None:
        worker = self._worker
        self._requests += 1
        worker.requests += 1
        exchange = Exchange(worker.next_id(), head, worker.seconds())
        self._exchange = exchange
        endpoint = self._channel.caller.endpoint
        exchange.policy = policy = worker.policy(endpoint.tenant)
        exceeded = worker.budget.request(worker.charged(endpoint, policy))
        if exceeded is not None:
            self.refuse(exchange, refusals.exceeded(exceeded))
        elif self._channel.standing is not None:
            self.refuse(exchange, self._channel.standing)
        elif is_own(self._channel, head) and not asks_for_certificate(head):
            self._answer_own(exchange)
        elif head.form is TargetForm.AUTHORITY and self._channel.server_name is None:
            self._tunnel(exchange)
        else:
            refusal = judge(worker, self._channel, exchange)
            if refusal is not None:
                self.refuse(exchange, refusal)
            else:
                self._forwarding = Forwarding(self, self._connection, self._channel, exchange, self.transport)
                self._forwarding.start()

    # What the request under way asks for (see `forwarding`).

    def enter(self, state: State) -> None:
        """The next state."""
        self._state = after(self._state, state)

    def wait(self, seconds: float) -> None:
        """For the next event, at most so long."""
        connection, limits = self._connection, self._worker.limits
        if self.half_closed:
            seconds = min(seconds, limits.half_closed_seconds)
        connection.deadline = min(
            self._worker.seconds() + seconds, connection.started + limits.connection_seconds
        )

    def answered(self, exchange: Exchange, wire: bytes) -> None:
        """The last bytes of an answer: recorded first, then written (no answer completes unrecorded)."""
        if self._settle(exchange, None, held=True):
            self._worker.outbox.put(self, wire, keep_alive=exchange.keep_alive)
        else:
            self._cut()

    def recorded(self, wire: bytes, *, written: bool, keep_alive: bool) -> None:
        """The record of the answer that `wire` ends is written, or lost. Never raises: others come after."""
        if self._state is CLOSED:
            return
        try:
            if not written:
                self._cut()
                return
            self.transport.write(wire)
            if self._await_next(keep_alive=keep_alive):
                self._worker.turns.later(self._channel.caller.endpoint.tenant, self._take_up)
        except Exception:  # noqa: BLE001 - no await below; a bug of ours shuts both sides
            self._connection.failed()

    def _take_up(self) -> None:
        """Requests that came behind one whose answer waited for its record."""
        try:
            if self._state is HEAD:
                self._read_heads()
        except Exception:  # noqa: BLE001 - as above
            self._connection.failed()

    def leave(self) -> None:
        """What follows on the connection is another stage's, and so is what became of the request."""
        self._exchange = self._forwarding = None
        self.enter(CLOSED)
        self.intake.blocked = False
        self.intake.let_in()
        self.transport.unregisterProducer()

    def refuse(self, exchange: Exchange, refusal: Refusal) -> None:
        """Answer with a refusal; nothing of an answer has been written yet."""
        exchange.status = refusal.status
        keep = exchange.keep_alive and not refusal.closes and not exchange.has_body and not self.draining
        page = refusal.page(exchange.id, close=not keep, head_only=exchange.head.method == "HEAD")
        exchange.to_client += len(page)
        if not self._settle(exchange, refusal) and refusal is not refusals.AUDIT_UNAVAILABLE:
            keep = False
            page = refusals.AUDIT_UNAVAILABLE.page(exchange.id, close=True)
        self.transport.write(page)
        self._go_on(keep_alive=keep)

    def fail(self, exchange: Exchange, refusal: Refusal) -> None:
        """A request that was allowed ends early: a typed answer if none has begun, else a cut."""
        if exchange.status is None:
            self.refuse(exchange, refusal.closing())
            return
        self._settle(exchange, refusal)
        self._cut()

    # The end of a request.

    def _await_next(self, *, keep_alive: bool) -> bool:
        """An answer is written: on to the next request, or close. Whether heads are to be looked at now."""
        limits = self._worker.limits
        age = self._worker.seconds() - self._connection.started
        if not keep_alive or self.draining or age > limits.connection_seconds:
            self._close()
            return False
        self.enter(HEAD)
        intake = self.intake
        if intake.blocked:
            intake.hold()
        else:
            intake.let_in()
        waiting = bool(intake.waiting)
        self.wait(limits.head_seconds if waiting else limits.keep_alive_seconds)
        return waiting or self.half_closed

    def _go_on(self, *, keep_alive: bool) -> None:
        if self._await_next(keep_alive=keep_alive):
            self._read_heads()

    def _cut(self) -> None:
        self.enter(CLOSED)
        self.transport.abortConnection()

    def _refuse_headless(self, refusal: Refusal) -> None:
        """No request could be read: a record of the connection, a page, the end."""
        self._requests += 1
        name = self._channel.server_name
        self._connection.record(refusal, None if name is None else str(name), status=refusal.status)
        self.transport.write(refusal.page(self._worker.next_id(), close=True))
        self._close()

    def _settle(self, exchange: Exchange, refusal: Refusal | None, *, held: bool = False) -> bool:
        """The request is over. False when its record could not be written."""
        forwarding = self._forwarding
        self._exchange = self._forwarding = None
        if forwarding is not None:
            forwarding.stop()
        return settle(self._worker, self._channel, exchange, refusal, held=held)

    # Requests that the gateway answers itself.

    def _answer_own(self, exchange: Exchange) -> None:
        page = trust.page(exchange.head, self._worker, self._channel.caller)
        if page is None or exchange.has_body:
            self.refuse(exchange, refusals.OWN_ADDRESS)
            return
        exchange.status = 200
        exchange.to_client = len(page)
        if not self._settle(exchange, refusals.OWN_DOCUMENT):
            self._cut()
            return
        self.transport.write(page)
        self._go_on(keep_alive=exchange.keep_alive)

    def _tunnel(self, exchange: Exchange) -> None:
        """CONNECT: judged as a host; what is sent inside is judged by itself, and recorded by itself."""
        refusal = judge_connect(self._worker, self._channel, exchange.head)
        if refusal is not None:
            self.refuse(exchange, refusal)
            return
        assert exchange.head.authority is not None
        self.leave()
        self.transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self._connection.open_tunnel(exchange.head.authority, self.intake.take_all())

    def _close(self) -> None:
        """Close in good order: what was written arrives, what still comes is thrown away for a while."""
        self.enter(CLOSING)
        self.intake.take_all()
        self.intake.blocked = False
        self.intake.let_in()
        self.transport.unregisterProducer()
        self._connection.deadline = self._worker.seconds() + self._worker.limits.closing_seconds
        if self._channel.server_name is None and not self.half_closed:
            # Closing with unread bytes would make the kernel send RST, which can overtake our answer.
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()
