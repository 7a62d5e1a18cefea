"""One call to a provider, from the worker's word to the end of the answer.

    checks → claim of a record → decrypt → inject → pinned connection → request → scrubbed answer → record

What fails before `decrypt` leaves every secret as it is; what fails later ends with all of them dropped. No
redirect is followed: the answer goes back as it is. A call's order and all of its ends are here in one file,
which is long for it: what must be dropped depends on how far it came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from appliance.audit.log import AuditUnavailable, Claim
from appliance.broker.calls import checks, refusals, websocket
from appliance.broker.calls.answer import Answer
from appliance.broker.calls.authority import Collision, Kind, in_form, presented
from appliance.broker.calls.checks import Allowed, Check
from appliance.broker.calls.dials import CallRefused
from appliance.broker.calls.recording import call_record
from appliance.broker.calls.request_body import RequestBody
from appliance.broker.calls.websocket import WebSocket
from appliance.broker.credentials.outgoing import CredentialError, Outgoing, applied
from appliance.broker.records import scrubbed
from appliance.broker.scrub.faults import ScrubFault
from appliance.handover import ANSWER_SECONDS
from appliance.http1.fields import as_lines, travels_in_request
from appliance.http1.refused import Refused
from appliance.http1.target import query_pieces
from appliance.http1.writer import framing_field, host_text
from appliance.names import Authority, HostName
from appliance.outgoing.deadlines import NEVER
from appliance.refusal import Refusal
from appliance.websocket.handshake import asked, verify_accepted

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from appliance.audit.record import CallRecord
    from appliance.broker.calls.answer import Scrubbing
    from appliance.broker.calls.connection import CallConnection
    from appliance.broker.calls.means import Means, Revealed
    from appliance.handover import Attestation
    from appliance.http1.head import RequestHead
    from appliance.http1.response import ResponseHead
    from appliance.outgoing.upstream import Upstream
    from appliance.policy.bound import CompiledAccount
    from appliance.policy.limits import TenantLimits
    from appliance.websocket.handshake import Handshake

_log = Logger()


class Call:
    """See the module. Made when a head is there; `start` it once."""

    def __init__(
        self, means: Means, connection: CallConnection, attestation: Attestation, head: RequestHead
    ) -> None:
        self._means = means
        self._connection = connection
        self._attestation = checks.as_netd_says(attestation, means.endpoints.get(attestation.endpoint))
        self._head = head
        self._began = means.deadlines.seconds()
        self._running: Deferred[None] | None = None
        self._checks: list[Check] = []
        self._allowed: Allowed | None = None
        self._presented: str | None = None
        self._claim: Claim | None = None
        self._secret: str | None = None
        self._revealed: Revealed | None = None
        self._upstream: Upstream | None = None
        self._answer: Answer | None = None
        self._scrubbing: Scrubbing | None = None
        self._handshake: Handshake | None = None
        self._websocket: WebSocket | None = None
        self._body = RequestBody(head, attestation.tenant, means.keeping, connection.transport)
        self._policy = means.policy(attestation.tenant)
        self._over = False
        self.deadline = NEVER
        means.deadlines.watch(self)

    # What the worker's connection tells.

    def start(self) -> None:
        """Decide, and do it."""
        self._wait()
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(self._bug)

    def body(self, pieces: list[bytes], *, done: bool) -> None:
        """More of the request's body: to the provider, or kept until it is asked for."""
        if self._over:
            self._body.done = done
            return
        self._wait()
        try:
            self._body.arrived(pieces, done=done)
        except CallRefused as refused:
            self._end(refused.refusal)

    def broken(self, fault: Refused) -> None:
        """The body is none, and nothing tells where the next call would begin."""
        self._end(refusals.denied(fault.status, fault.reason, fault.detail, "Send a well-formed body."))

    def abandoned(self) -> None:
        """The container, or the worker, is gone."""
        if self._websocket is not None:
            self._websocket.gone()
        else:
            self._settle(refusals.ABANDONED)

    def withdraw(self, refusal: Refusal) -> None:
        """See `under_way.Withdrawable`."""
        if self._websocket is not None:
            self._websocket.withdraw(refusal)
        else:
            self._end(refusal)

    @property
    def attestation(self) -> Attestation:
        """See `under_way.Withdrawable`."""
        return self._attestation

    @property
    def account(self) -> CompiledAccount | None:
        """See `under_way.Withdrawable`."""
        return None if self._allowed is None else self._allowed.account

    # The call.

    async def _run(self) -> None:
        refusal = None
        try:
            await self._carry()
        except CallRefused as refused:
            refusal = refused.refusal
        except CredentialError as error:
            refusal = refusals.of_credential(error.code, error.detail)
        except ScrubFault as fault:
            refusal = refusals.not_scrubbed(fault.code)
        except Refused as fault:
            refusal = refusals.denied(
                fault.status, fault.reason, fault.detail, "Ask as RFC 6455 section 4 says."
            )
        except AuditUnavailable:
            refusal = refusals.AUDIT_UNAVAILABLE
        self._running = None
        if refusal is not None:
            self._end(refusal)

    async def _carry(self) -> None:
        means, attestation, head = self._means, self._attestation, self._head
        allowed = self._allowed = self._first_checks()
        self._body.verdict = allowed.verdict
        if head.upgrade is not None:
            self._handshake = self._asked(head)
        self._claim = means.audit.claim()
        body = await self._body.if_needed(allowed.group)
        self._passed(Check.POLICY, checks.body_fits(allowed.group, head.method, body))
        host = head.host
        assert isinstance(host, HostName)
        policy = means.policy(attestation.tenant)
        addresses = await means.providers.find(attestation, host, attestation.port, policy=policy)
        self._passed(Check.NETWORK, checks.addresses_allowed(self._policy, host, attestation.port, addresses))
        self._passed(checks.last(self._attestation), self._container())
        allowed = self._still(host, addresses, body)
        revealed = await self._reveal(allowed, body)
        outgoing = self._outgoing(host, body)
        injection = await means.inject(attestation, allowed, revealed, outgoing)
        scrubbing = means.scrubbing(injection.live)
        upstream = await means.providers.connect(
            attestation, host, attestation.port, addresses, fresh=self._handshake is not None,
            own=injection.client_certificate,
        )  # fmt: skip
        try:
            self._still(host, addresses, body)
        except CallRefused:
            upstream.abort()
            raise
        self._send(upstream, applied(outgoing, injection), scrubbing, body)

    def _asked(self, head: RequestHead) -> Handshake:
        """What a WebSocket is opened by, and a place for it. Raises `Refused`, `CallRefused`."""
        handshake = asked(head)
        if not self._means.websockets.take(self._attestation.tenant):
            raise CallRefused(refusals.WEBSOCKETS_FULL)
        return handshake

    def _container(self) -> Refusal | None:
        attestation = self._attestation
        if self._means.ended(attestation.endpoint):
            return refusals.EXECUTION_ENDED
        return checks.container(attestation, self._means.endpoints.get(attestation.endpoint))

    def _still(self, host: HostName, addresses: tuple[IPv4Address, ...], body: bytes | None) -> Allowed:
        """What was judged holds now, though this call has waited meanwhile. Raises `CallRefused`."""
        earlier, attestation = self._allowed, self._attestation
        assert earlier is not None
        if self._over:
            raise CallRefused(refusals.ABANDONED)
        gone = self._container()
        if gone is not None:
            raise CallRefused(gone)
        policy = self._means.policy(attestation.tenant)
        if policy is self._policy:
            return earlier
        account = checks.binding(attestation, policy)
        now = account if isinstance(account, Refusal) else checks.policy_allows(
            attestation, self._head, account, policy
        )  # fmt: skip
        if isinstance(now, Refusal):
            raise CallRefused(now)
        if not checks.same_place(earlier, now):
            raise CallRefused(refusals.POLICY_CHANGED)
        for refusal in (
            checks.body_fits(now.group, self._head.method, body),
            checks.addresses_allowed(policy, host, attestation.port, addresses),
        ):
            if refusal is not None:
                raise CallRefused(refusal)
        self._policy, self._allowed, self._body.verdict = policy, now, now.verdict
        return now

    def _first_checks(self) -> Allowed:
        """Intent, binding, and of policy what the head alone tells. Raises `CallRefused`."""
        attestation, head = self._attestation, self._head
        self._passed(Check.INTENT, checks.intent(attestation, head))
        account = checks.binding(attestation, self._policy)
        if isinstance(account, Refusal):
            raise CallRefused(account)
        self._checks.append(Check.BINDING)
        allowed = checks.policy_allows(attestation, head, account, self._policy)
        if isinstance(allowed, Refusal):
            raise CallRefused(allowed)
        return allowed

    def _passed(self, check: Check, refusal: Refusal | None) -> None:
        if refusal is not None:
            raise CallRefused(refusal)
        self._checks.append(check)

    async def _reveal(self, allowed: Allowed, body: bytes | None) -> Revealed:
        """The secret, by what the request brought in the slot. Raises `CallRefused`."""
        attestation, head, account = self._attestation, self._head, allowed.account
        secrets = self._means.secrets
        try:
            found = presented(
                allowed.group.slot, account.reference_scheme, head.headers,
                attestation.withheld.split(), head.pairs,
                pieces=query_pieces(head.query),
            )  # fmt: skip
            self._presented = found.kind.value
            if body is not None and self._body.is_form:
                in_form(allowed.group.slot, body)
            if found.kind is Kind.TOKEN and not await secrets.is_session(attestation, account, found.value):
                raise Collision("the slot")  # noqa: TRY301 - both kinds end alike
        except Collision as collision:
            self._presented = "collision"
            self._means.kill(attestation, "authority-collision", f"a call brought its own: {collision.where}")
            raise CallRefused(refusals.collision(collision.where)) from None
        if found.kind is Kind.HANDLE:
            revealed = secrets.of_handle(attestation, account, found.value)
            if revealed is None:
                raise CallRefused(refusals.HANDLE_DEAD)
        elif found.kind is Kind.REFERENCE and found.value not in {account.secret, account.name}:
            raise CallRefused(refusals.REFERENCE_UNKNOWN)
        else:
            revealed = await secrets.of_account(attestation, account)
        self._secret = account.secret
        if self._over:
            revealed.close()
            raise CallRefused(refusals.ABANDONED)
        self._revealed = revealed
        return revealed

    def _outgoing(self, host: HostName, body: bytes | None) -> Outgoing:
        head, port = self._head, self._attestation.port
        nominated = head.nominated
        fields = tuple([field for field in head.headers if travels_in_request(field[0].lower(), nominated)])
        if self._handshake is not None:
            fields = websocket.request_fields(fields, self._handshake)
        authority = host_text(Authority(host, port), "https").encode("ascii")
        return Outgoing(
            head.method, "https", host.text, port, head.path, head.query or "",
            ((b"Host", authority), *fields), body,
        )  # fmt: skip

    def _send(self, upstream: Upstream, outgoing: Outgoing, scrubbing: Scrubbing, body: bytes | None) -> None:
        head, transport = self._head, self._connection.transport
        self._upstream, self._scrubbing = upstream, scrubbing
        answer = self._answer = Answer(transport, upstream, scrubbing, self, self._attestation.request_id)
        lines = as_lines(outgoing.headers)
        line = f"{outgoing.method} {outgoing.target} HTTP/1.1\r\n".encode("ascii")
        upgrade = self._handshake is not None
        last = websocket.UPGRADE if upgrade else framing_field(head.framing)
        upstream.send(answer, head.method, b"%b%b%b\r\n" % (line, lines, last), upgrade=upgrade)
        self._forget_secret()
        self._body.send(upstream, body)

    # Its end.

    def answer_goes_on(self) -> None:
        """See `answer.Asker`."""
        self._wait()

    def answered(self) -> None:
        """See `answer.Asker`."""
        kept = self._body.done
        self._settle(None, upstream_may_rest=kept)
        self._connection.finished(keep=kept)

    def answer_failed(self, refusal: Refusal) -> None:
        """See `answer.Asker`."""
        self._end(refusal)

    # What a WebSocket is opened by, and asks.

    def switched(self, head: ResponseHead, scrubbing: Scrubbing, received: list[bytes]) -> None:
        """See `answer.Asker`."""
        handshake, answer, upstream, allowed = self._handshake, self._answer, self._upstream, self._allowed
        assert handshake is not None  # an `Upstream` takes a 101 only where one was asked for
        assert answer is not None
        assert upstream is not None
        assert allowed is not None
        verify_accepted(head, handshake)
        wire = websocket.switching(head, handshake, scrubbing, self._attestation.request_id.encode("ascii"))
        opened = WebSocket(
            self, self._connection, upstream, scrubbing.websocket(), self._means.deadlines,
            max_sent=allowed.verdict.max_body,
        )  # fmt: skip
        try:
            self._means.audit.write(self._record(None, websocket.OPENED, head.status))
        except AuditUnavailable:
            self._end(refusals.AUDIT_UNAVAILABLE)
            return
        answer.begun, answer.status = True, head.status
        self.deadline = NEVER
        self._websocket = opened
        opened.open(wire, received)

    def objection(self) -> Refusal | None:
        """See `websocket.Opener`."""
        host, upstream = self._head.host, self._upstream
        assert isinstance(host, HostName)
        assert upstream is not None
        assert upstream.address is not None
        try:
            self._still(host, (upstream.address,), b"")
        except CallRefused as refused:
            return refused.refusal
        return None

    @property
    def limits(self) -> TenantLimits:
        """See `websocket.Opener`."""
        return self._policy.limits

    def websocket_ended(self, refusal: Refusal | None, detail: str) -> None:
        """See `websocket.Opener`."""
        self._settle(refusal, detail=detail)

    def deadline_passed(self) -> None:
        """The provider says nothing, or nothing came of the call before it was asked."""
        self._end(refusals.CALL_TIMEOUT if self._upstream is None else refusals.UPSTREAM_TIMEOUT)

    def _wait(self) -> None:
        self.deadline = self._means.deadlines.seconds() + ANSWER_SECONDS

    def _end(self, refusal: Refusal) -> None:
        """A refusal: as an answer where none has begun, else as a cut."""
        if self._over:
            return
        begun = self._answer is not None and self._answer.begun
        if not self._settle(refusal):
            refusal = refusals.AUDIT_UNAVAILABLE
        if begun:
            self._connection.abort()
            return
        keep = self._body.done
        self._connection.transport.write(
            refusal.page(self._attestation.request_id, close=not keep, head_only=self._head.method == "HEAD")
        )
        self._connection.finished(keep=keep)

    def _settle(
        self, refusal: Refusal | None, *, upstream_may_rest: bool = False, detail: str | None = None
    ) -> bool:
        """Nothing is held any more, one record is written. False when it could not be."""
        if self._over:
            return True
        self._over = True
        self._body.let_go()
        if self._handshake is not None:
            self._means.websockets.leave(self._attestation.tenant)
        self._means.deadlines.forget(self)
        self._forget_secret()
        running, self._running = self._running, None
        if running is not None:
            running.cancel()  # whatever it waits for: no secret is decrypted for a call that is over
        if self._answer is not None:
            self._answer.stop()
        upstream = self._upstream
        if upstream is not None:
            if upstream_may_rest and not upstream.lost:
                upstream.rest()
            else:
                upstream.abort()
        claim = self._claim
        try:
            (self._means.audit if claim is None else claim).write(self._record(refusal, detail))
        except AuditUnavailable:
            return False
        finally:
            self._scrubbing = None
            if claim is not None:
                claim.release()  # for a record that could not be made
        return True

    def _forget_secret(self) -> None:
        revealed, self._revealed = self._revealed, None
        if revealed is not None:
            revealed.close()

    def _bug(self, failure: Any) -> None:
        if failure.check(CancelledError):
            return
        # Never the failure itself: what it was doing may have had the secret in its hands.
        _log.error("a call failed by a mistake of ours: {kind}", kind=failure.type.__name__)
        self._end(refusals.INTERNAL)

    def _record(
        self, refusal: Refusal | None, detail: str | None = None, status: int | None = None
    ) -> CallRecord:
        record = call_record(
            self._attestation,
            self._head,
            self._allowed,
            refusal,
            secret=self._secret,
            presented=self._presented,
            checks=tuple([check.value for check in self._checks]),
            status=status or self._status(refusal),
            upstream_address=None if self._upstream is None else str(self._upstream.address),
            duration_ms=(self._means.deadlines.seconds() - self._began) * 1000,
            generation=self._policy.generation,
            detail=detail,
        )
        # What looks like a credential is found by the log itself (`records.ScrubbedLog`), in one search less.
        return record if self._scrubbing is None else scrubbed(record, self._scrubbing.without_live)

    def _status(self, refusal: Refusal | None) -> int | None:
        if self._answer is not None and self._answer.begun:
            return self._answer.status
        return None if refusal is None else refusal.status
