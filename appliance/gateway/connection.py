"""One accepted TCP connection of a container, from accept to close: who it is, and which stage it is in.

    Opening ──► Session ──CONNECT──► Opening ──► Session (inside TLS)
       │           │                    └──────► Passthrough
       │           └─────101──► WebSocket (plain or inside TLS, as the session was)
       └─TLS──► Session (inside TLS) or Passthrough

The stages decide; this class owns what outlives them: identity, the count against limits, the deadline, and
the ways in which the rest of the worker ends a connection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.logger import Logger
from zope.interface import implementer

from appliance.audit.log import AuditUnavailable
from appliance.audit.record import ConnectionRecord, Outcome
from appliance.gateway import refusals
from appliance.gateway.channel import Caller, Channel
from appliance.gateway.opening import Opening
from appliance.gateway.session import Session
from appliance.gateway.worker import Worker
from appliance.links import accepted_mark
from appliance.names import Authority, HostName
from appliance.outgoing.deadlines import NEVER
from appliance.refusal import NO_RULE, Refusal

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress
    from twisted.python.failure import Failure

    from appliance.gateway.websocket import WebSocket
    from appliance.tls.stream import TLSStream


_log = Logger()


class Stage(Protocol):
    """What a connection is doing now."""

    def dataReceived(self, data: bytes) -> None:
        """Bytes of the container."""

    def connectionLost(self, reason: Failure) -> None:
        """The connection is gone: record what is unrecorded, let go of everything."""

    def deadline_passed(self) -> None:
        """The stage's own deadline has passed."""

    def policy_changed(self) -> None:
        """End what the tenant's policy no longer allows."""

    def end(self, refusal: Refusal) -> None:
        """End at once, whatever is under way, for the reason given."""

    def drain(self) -> None:
        """End as soon as nothing is under way."""


@implementer(IHalfCloseableProtocol)
class Connection(TwistedProtocol):
    """See the module. Made by `Connections`, one for each accepted connection."""

    caller: Caller
    transport: Any

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.deadline = NEVER
        self.started = worker.seconds()
        self._stage: Stage | None = None
        self._admitted = self._joined = self._has_place = False  # what `_leave` gives back

    def connectionMade(self) -> None:
        """Learn who and whereto from the kernel, and begin."""
        self._safely(self._identify)

    def _identify(self) -> None:
        handle = self.transport.getHandle()
        try:
            source, source_port = handle.getpeername()[:2]
            destination, port = handle.getsockname()[:2]
            mark = accepted_mark(handle)
        except OSError:  # reset before it was accepted
            self.transport.abortConnection()
            return
        endpoint = self.worker.endpoints.on_link(IPv4Address(source), mark)
        if endpoint is None:
            self._turn_away_stranger(f"{source}:{source_port}", f"{destination}:{port}")
            return
        self.caller = Caller(endpoint, source_port, IPv4Address(destination), port)
        try:
            self._begin()
        except Exception:  # raised again: `failed` shuts the connection; whatever it was, it is on record
            if self._stage is None:  # a stage would write that record itself
                self.record(refusals.INTERNAL)
            raise

    def _begin(self) -> None:
        endpoint = self.caller.endpoint
        refusal = self.worker.admit(endpoint)
        if refusal is not None:
            self._turn_away(refusal)
            return
        self._admitted = True
        self.transport.setTcpNoDelay(True)
        self.worker.turns.pace(self.transport, endpoint.tenant)
        self._stage = Opening(self, None)
        self.deadline = self.started + self.worker.limits.first_bytes_seconds
        self._join()

    def dataReceived(self, data: bytes) -> None:
        """Hand over to the stage. A bug of ours closes both sides (habit 2: fail closed)."""
        stage = self._stage
        if stage is None:
            return
        try:
            stage.dataReceived(data)
        except Exception:  # noqa: BLE001 - no await below: nothing here is cancelled
            self.failed()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Let the stage settle, then leave the worker."""
        stage, self._stage = self._stage, None
        try:
            if stage is not None:
                stage.connectionLost(reason)
        finally:
            self._leave()

    def _join(self) -> None:
        self._joined = True
        self.worker.joined(self)

    def _leave(self) -> None:
        """Give back what was counted, each once, however far the connection came."""
        joined, admitted, has_place = self._joined, self._admitted, self._has_place
        self._joined = self._admitted = self._has_place = False
        if admitted:
            endpoint = self.caller.endpoint
            self.worker.budget.disconnect(endpoint.id, endpoint.tenant)
        if has_place:
            self.worker.places.give_back(self.caller.endpoint)
        if joined:  # last: it may tell others that nobody is left
            self.worker.left(self)

    def readConnectionLost(self) -> None:
        """The container has said all that it will say; perhaps it still listens (`printf … | nc`)."""
        self._safely(self._input_ended)

    def writeConnectionLost(self) -> None:
        """Our own doing, see `close`."""

    def _input_ended(self) -> None:
        stage = self._stage
        if stage is None or isinstance(stage, Closing):
            self.transport.loseConnection()  # when all is written
        elif not (isinstance(stage, Session) and stage.input_ended()):
            # TLS ends by close_notify (RFC 8446 section 6.1), a tunnel at both ends: it is gone.
            self.transport.connectionLost(connectionDone)

    # What the stages ask for.

    def open_session(self, channel: Channel, received: bytes) -> None:
        """Read HTTP requests from here on, beginning with `received`."""
        session = Session(self, channel)
        self._stage = session
        session.makeConnection(self.transport)  # type: ignore[no-untyped-call]  # Twisted
        session.dataReceived(received)

    def open_secured_session(self, channel: Channel, name: HostName, received: bytes) -> None:
        """Complete TLS as `name` with the client whose ClientHello is in `received`, then read requests."""
        session = Session(self, channel)
        secured = self.worker.secured(name, session)
        self._stage = Secured(secured, session)
        self.deadline = self.worker.seconds() + self.worker.limits.handshake_seconds
        secured.makeConnection(self.transport)  # type: ignore[no-untyped-call]  # Twisted
        self._stage.dataReceived(received)

    def hand_over(self, stage: WebSocket) -> None:
        """A session's requests are over; its bytes, inside the same TLS where there is TLS, are `stage`'s."""
        if isinstance(self._stage, Secured):
            self._stage.hand_over(stage)
        else:
            self._stage = stage

    def open_tunnel(self, authority: Authority, received: bytes) -> None:
        """CONNECT was answered: what follows must be TLS for `authority`."""
        opening = Opening(self, authority)
        self._stage = opening
        self.deadline = self.worker.seconds() + self.worker.limits.first_bytes_seconds
        if received:
            opening.dataReceived(received)

    def become(self, stage: Stage) -> None:
        """Go on as `stage`."""
        self._stage = stage

    def record(
        self, refusal: Refusal, host: str | None = None, *, status: int | None = None, count: int = 1
    ) -> None:
        """Record a connection that ends without a request, or so many. Never raises: it ends anyway."""
        endpoint = self.caller.endpoint
        caller = self.caller
        if refusal.outcome is Outcome.DENIED:
            self.worker.budget.denied(endpoint.id)
        try:
            self.worker.telling.write(
                ConnectionRecord(
                    connection_id=self.worker.next_id(),
                    tenant=endpoint.tenant,
                    endpoint=endpoint.id,
                    container=endpoint.container or None,
                    run=endpoint.run or None,
                    source=caller.source,
                    destination=f"{caller.destination}:{caller.destination_port}",
                    host=host,
                    outcome=refusal.outcome,
                    reason=refusal.reason,
                    rule=refusal.rule,
                    detail=refusal.detail,
                    status=status,
                    count=count,
                    duration_ms=self.worker.elapsed_ms(self.started),
                )
            )
        except AuditUnavailable:
            _log.warn("a refused connection could not be recorded")

    def close(self) -> None:
        """Close in good order after what was written; what still comes is thrown away for a while."""
        self._stage = Closing(self)
        self.deadline = self.worker.seconds() + self.worker.limits.closing_seconds
        # Closing with unread bytes would make the kernel send RST, which can overtake what was written.
        self.transport.loseWriteConnection()

    def failed(self, failure: Failure | None = None) -> None:
        """A bug of ours (`failure`, or the exception at hand): both sides are shut, the stage records it."""
        _log.failure("connection closed after an internal failure", failure=failure)
        stage = self._stage
        if stage is not None:
            try:
                stage.end(refusals.INTERNAL)
            except Exception:  # noqa: BLE001 - the last line of defence; the transport is aborted below
                _log.failure("and so did closing it")
        self.transport.abortConnection()

    # What the worker asks for.

    def deadline_passed(self) -> None:
        """The stage's deadline has passed."""
        stage = self._stage
        if stage is not None:
            self._safely(stage.deadline_passed)

    def policy_changed(self) -> None:
        """The tenant's policy is another one."""
        stage = self._stage
        if stage is not None:
            self._safely(stage.policy_changed)

    def end(self, refusal: Refusal) -> None:
        """End at once. Never raises: others are to be ended after this one."""
        try:
            if self._stage is not None:
                self._stage.end(refusal)
        except Exception:  # noqa: BLE001 - no await below
            _log.failure("a connection was not ended in good order")
        finally:
            self.transport.abortConnection()

    def drain(self) -> None:
        """End when nothing is under way."""
        if self._stage is not None:
            self._stage.drain()

    def _safely(self, act: Callable[[], None]) -> None:
        """Whatever a mistake of ours does, the sweep and the other connections go on."""
        try:
            act()
        except Exception:  # noqa: BLE001 - no await below
            self.failed()

    def _turn_away(self, refusal: Refusal) -> None:
        """Refuse before a byte is read.

        Of a flood, `told.per_second` are recorded, and told why where there is a place; the others are reset.
        """
        worker, endpoint = self.worker, self.caller.endpoint
        untold = worker.budget.refused(endpoint.id, endpoint.tenant, worker.limits.told.per_second)
        if untold is None:
            self.transport.abortConnection()
            return
        if untold:
            detail = f"{refusal.detail} Before it {untold} more connections were reset without a record."
            refusal = replace(refusal, detail=detail)
        self.record(refusal, status=refusal.status, count=untold + 1)
        self._has_place = worker.places.take(endpoint)
        if not self._has_place:
            self.transport.abortConnection()
            return
        worker.turns.pace(self.transport, endpoint.tenant)
        self._join()
        self.transport.write(refusal.page(worker.next_id()))
        self.close()

    def _turn_away_stranger(self, source: str, destination: str) -> None:
        """No endpoint holds the source address: no tenant, no answer."""
        try:
            self.worker.audit.write(
                ConnectionRecord(
                    connection_id=self.worker.next_id(),
                    tenant=None, endpoint=None, container=None, run=None,
                    source=source, destination=destination,
                    outcome=refusals.SOURCE_UNKNOWN.outcome, reason=refusals.SOURCE_UNKNOWN.reason,
                    rule=NO_RULE, detail=refusals.SOURCE_UNKNOWN.detail, duration_ms=0.0,
                )
            )  # fmt: skip
        except AuditUnavailable:
            _log.warn("a connection from an unknown source could not be recorded")
        self.transport.abortConnection()


class Closing:
    """Nothing more is wanted of the container; its end or the deadline is awaited."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def dataReceived(self, data: bytes) -> None:
        """Thrown away."""

    def connectionLost(self, reason: Failure) -> None:
        """As wished."""

    def deadline_passed(self) -> None:
        """Waited long enough."""
        self._connection.transport.abortConnection()

    def policy_changed(self) -> None:
        """Nothing is under way."""

    def end(self, refusal: Refusal) -> None:
        """Nothing is under way."""

    def drain(self) -> None:
        """It ends by itself."""


class Secured:
    """A session inside TLS: bytes and the end go through TLS, all else to the session."""

    def __init__(self, tls: TLSStream, session: Session) -> None:
        self._tls = tls
        self.dataReceived: Callable[[bytes], None] = tls.dataReceived
        self.connectionLost: Callable[[Failure], None] = tls.connectionLost
        self._speak_for(session)

    def hand_over(self, stage: WebSocket) -> None:
        """The session's place inside TLS is another's."""
        self._tls.inside = stage
        self._speak_for(stage)

    def _speak_for(self, inside: Session | WebSocket) -> None:
        self.deadline_passed = inside.deadline_passed
        self.policy_changed = inside.policy_changed
        self.end = inside.end
        self.drain = inside.drain


class Connections(ServerFactory["Connection"]):
    """Accepts for a worker."""

    noisy = False

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def buildProtocol(self, addr: IAddress | None) -> Connection:
        """One protocol a connection."""
        del addr
        return Connection(self._worker)
