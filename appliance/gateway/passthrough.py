"""TLS that the operator lets through unread: judged by name and address, then spliced by the kernel."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionClosed, ConnectionLost
from twisted.internet.interfaces import IPullProducer
from twisted.internet.protocol import Protocol as TwistedProtocol
from zope.interface import implementer

from appliance.audit.log import AuditUnavailable
from appliance.audit.record import Interception, Outcome, RequestRecord
from appliance.gateway import refusals
from appliance.gateway.dial import DialFailed, install
from appliance.gateway.routes import NoRoute
from appliance.gateway.tunnel import Tunnel
from appliance.limits.budget import Exceeded, Flow
from appliance.names import Authority, HostName
from appliance.outgoing.deadlines import NEVER
from appliance.policy.tenant import TenantPolicy
from appliance.policy.verdict import Reason
from appliance.refusal import Refusal

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from appliance.audit.log import Claim
    from appliance.gateway.connection import Connection


class Passthrough:
    """A stage (see `connection.Stage`) that dials, then lets a `Tunnel` run; one record in all."""

    reason = Reason.ALLOWED_BY_PASSTHROUGH

    def __init__(self, connection: Connection, name: HostName, port: int, hello: bytes) -> None:
        self._connection = connection
        self._worker = connection.worker
        self._id = connection.worker.next_id()
        self._name = name
        self._port = port
        self._hello = hello
        self._claim: Claim | None = None
        self._settled = False
        self._opening: Deferred[None] | None = None
        self._tunnel: Tunnel | None = None
        self._upstream: Any = None
        self._address: IPv4Address | None = None
        self._flow: Flow | None = None
        self._charged = (0, 0)
        self._passed: Refusal | None = None

    def start(self) -> None:
        """Take the connection over and begin to dial."""
        self._connection.become(self)
        self._connection.deadline = NEVER  # the resolver's and the dialler's own times hold
        self._connection.transport.pauseProducing()
        if not self._allowed(self._policy()):
            # Whether the destination is the name's own may have been asked under another policy.
            self._refuse(refusals.POLICY_CHANGED)
            return
        try:
            self._claim = self._worker.audit.claim()
        except AuditUnavailable:
            self._refuse(refusals.AUDIT_UNAVAILABLE)
            return
        exceeded = self._begin_flow()
        if exceeded is not None:
            self._refuse(refusals.exceeded(exceeded))
            return
        self._opening = Deferred.fromCoroutine(self._open())
        self._opening.addErrback(self._bug)

    def _begin_flow(self) -> Exceeded | None:
        """A tunnel counts as one request, one flow and one dial."""
        budget, payer = self._worker.budget, self._worker.charged(self._connection.caller.endpoint)
        destination = str(Authority(self._name, self._port))
        exceeded = budget.request(payer)
        if exceeded is not None:
            return exceeded
        flow = budget.flow(payer, destination)
        if isinstance(flow, Exceeded):
            return flow
        self._flow = flow
        return budget.dial(payer, destination) or flow.sent(len(self._hello))

    async def _open(self) -> None:
        try:
            upstream = self._upstream = await self._reach()
            if not self._allowed(self._policy()):
                self._refuse(refusals.POLICY_CHANGED)
                return
            upstream.pauseProducing()
            upstream.write(self._hello)
            self._touched()
            await flushed(upstream)
            await flushed(self._connection.transport)
        except (NoRoute, DialFailed) as answer:
            self._refuse(answer.refusal)
            return
        except ConnectionClosed:
            self._refuse(refusals.UPSTREAM_CLOSED)
            return
        if not self._allowed(self._policy()):
            self._refuse(refusals.POLICY_CHANGED)
            return
        self._opening = None
        self._tunnel = Tunnel(
            self._worker.reactor,
            self._connection.transport.getHandle(),
            upstream.getHandle(),
            self._finished,
            self._touched,
        )
        self._tunnel.start()

    async def _reach(self) -> Any:
        """A transport to the server, on which only we write. Raises `NoRoute`, `DialFailed`."""
        worker, caller = self._worker, self._connection.caller
        destination, asker = caller.destination, caller.endpoint.id
        addresses = await worker.routes.find(self._policy(), self._name, self._port, endpoint=asker)
        if destination in addresses:
            addresses = (destination, *[other for other in addresses if other != destination])
        upstream, self._address = await worker.dialler.connect(addresses, self._port)
        install(upstream, TwistedProtocol())
        return upstream

    def dataReceived(self, data: bytes) -> None:
        """Only what was read before reading stopped."""
        self._hello += data

    def connectionLost(self, reason: Failure) -> None:
        """The connection is gone."""
        del reason
        self.end(refusals.CLIENT_CLOSED)

    def deadline_passed(self) -> None:
        """Nothing moved for too long, or the tunnel is too old."""
        age = self._worker.seconds() - self._connection.started
        self.end(
            refusals.TUNNEL_TOO_OLD if age >= self._policy().limits.tunnel_seconds else refusals.TUNNEL_IDLE
        )
        self._connection.transport.abortConnection()

    def policy_changed(self) -> None:
        """The operator may have taken the exception back, or lowered limits."""
        policy = self._policy()
        if not self._allowed(policy):
            self.end(refusals.POLICY_CHANGED)
            self._connection.transport.abortConnection()
        elif self._flow is not None:
            self._flow.replace_limits(policy.limits)

    def end(self, refusal: Refusal) -> None:
        """Stop at once."""
        self._settle(refusal)
        self._let_go()

    def drain(self) -> None:
        """A tunnel has no end of its own that we could see: it may run until draining is over."""

    def _policy(self) -> TenantPolicy:
        return self._worker.policy(self._connection.caller.endpoint.tenant)

    def _allowed(self, policy: TenantPolicy) -> bool:
        return (
            policy.judge_host("https", self._name, self._port).allowed
            and policy.passthrough(self._name, self._port)
            and (self._address is None or policy.judge_address(self._name, self._port, self._address).allowed)
        )

    def _idle_seconds(self) -> float:
        return self._worker.limits.tunnel_idle_seconds

    def _touched(self) -> None:
        worker, connection = self._worker, self._connection
        connection.deadline = min(
            worker.seconds() + self._idle_seconds(),
            connection.started + self._policy().limits.tunnel_seconds,
        )
        if self._tunnel is not None:
            self._charge(self._tunnel.moved)

    def _charge(self, moved: tuple[int, int]) -> None:
        """Charge what went through since the last time; over a limit the tunnel is cut.

        We are called by the tunnel in the middle of moving bytes: it is ended from the reactor's next turn.
        """
        flow, before = self._flow, self._charged
        if flow is None or self._passed is not None:
            return
        self._charged = moved
        exceeded = flow.sent(moved[0] - before[0]) or flow.received(moved[1] - before[1])
        if exceeded is not None:
            self._passed = refusals.exceeded(exceeded)
            self._worker.reactor.callLater(0, self._cut, self._passed)

    def _cut(self, refusal: Refusal) -> None:
        if not self._settled:
            self.end(refusal)
            self._connection.transport.abortConnection()

    def _finished(self, clean: bool) -> None:  # noqa: FBT001 - the tunnel's callback
        self._settle(None if clean else refusals.TUNNEL_BROKEN)
        close = "loseConnection" if clean else "abortConnection"
        for transport in (self._upstream, self._connection.transport):
            getattr(transport, close)()
        self._upstream = None

    def _refuse(self, refusal: Refusal) -> None:
        self._opening = None
        self._settle(refusal)
        self._let_go()
        self._connection.transport.write(refusal.alert_record())
        self._connection.transport.resumeProducing()
        self._connection.close()

    def _let_go(self) -> None:
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
        if self._tunnel is not None:
            self._tunnel.abort()
        if self._upstream is not None:
            self._upstream.abortConnection()
            self._upstream = None

    def _settle(self, refusal: Refusal | None) -> None:
        if self._settled:
            return
        self._settled = True
        if self._flow is not None:
            self._flow.close()
        if refusal is not None and refusal.outcome is Outcome.DENIED:
            self._worker.budget.denied(self._connection.caller.endpoint.id)
        caller = self._connection.caller
        endpoint = caller.endpoint
        sent, received = (0, 0) if self._tunnel is None else self._tunnel.moved
        record = RequestRecord(
            request_id=self._id,
            tenant=endpoint.tenant,
            endpoint=endpoint.id,
            container=endpoint.container or None,
            run=endpoint.run or None,
            source=caller.source,
            method="CONNECT",
            scheme="https",
            host=self._name.text,
            port=self._port,
            path="",
            outcome=Outcome.ALLOWED if refusal is None else refusal.outcome,
            reason=str(self.reason) if refusal is None else refusal.reason,
            rule=None if refusal is None else refusal.rule,
            detail=None if refusal is None else refusal.detail,
            status=None,
            upstream_address=None if self._address is None else str(self._address),
            bytes_to_upstream=sent + (len(self._hello) if self._tunnel is not None else 0),
            bytes_to_client=received,
            duration_ms=self._worker.elapsed_ms(self._connection.started),
            tls=Interception.PASSTHROUGH,
        )
        try:
            if self._claim is not None:
                self._claim.write(record)
            else:
                self._worker.audit.write(record)
        except AuditUnavailable:
            self._connection.transport.abortConnection()

    def _bug(self, failure: Failure) -> None:
        if not isinstance(failure.value, CancelledError):
            self._connection.failed(failure)


def flushed(transport: Any) -> Deferred[None]:
    """Fires when a TCP transport has handed everything written to it to the kernel."""
    watch = _Flush(transport)
    transport.registerProducer(watch, False)
    transport.startWriting()
    return watch.done


@implementer(IPullProducer)
class _Flush:
    """A producer of nothing: Twisted asks it at once, and again when the buffer is empty."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._asked = False
        self.done: Deferred[None] = Deferred(lambda _: transport.unregisterProducer())

    def resumeProducing(self) -> None:
        """Asked for more."""
        if not self._asked:
            self._asked = True
            return
        self._transport.unregisterProducer()
        if not self.done.called:
            self.done.callback(None)

    def stopProducing(self) -> None:
        """The connection is gone."""
        if not self.done.called:
            self.done.errback(ConnectionLost())
