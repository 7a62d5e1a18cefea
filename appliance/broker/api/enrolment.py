"""A workload asks for its certificate over its own link: the gateway says which link, the broker signs.

`POST` with a PEM signing request → the chain (`application/pem-certificate-chain`, RFC 8555 section 9.1) and
`X-Egress-Renew-After`: seconds until the next should be asked for, in the same way. A request comes from the
gateway like a call, with no account. Where the operator's settings name an external CA, that signs in the
broker's place (`external_enrolment`), for as long as somebody waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from appliance.audit.log import AuditLog, AuditUnavailable
from appliance.audit.record import LifecycleRecord, Outcome
from appliance.broker.api import refusals
from appliance.broker.api.pace import Pace
from appliance.broker.calls import checks
from appliance.broker.calls.refusals import AUDIT_UNAVAILABLE, INTERNAL
from appliance.broker.calls.secrets import InThread
from appliance.broker.identity.certificates import MAX_REQUEST, Issued, WorkloadCertificates
from appliance.broker.identity.external_ca import ExternalCaError, TrustMaterial
from appliance.broker.identity.external_enrolment import ExternalEnrolment, Recorded
from appliance.broker.identity.workloads import Attestation as Attested
from appliance.broker.identity.workloads import EnrolmentRefused, serial_text
from appliance.http1.framing import BodyKind
from appliance.http1.refused import Refused
from appliance.refusal import Refusal

if TYPE_CHECKING:
    from appliance.broker.calls.connection import CallConnection
    from appliance.endpoints import Endpoint, EndpointTable
    from appliance.handover import Attestation
    from appliance.http1.head import RequestHead

PATH = "/.well-known/egress/certificate"
AT_ONCE = 6
"""Certificates of one endpoint: for a start, a restart of what runs there, and some mistakes."""
EACH = 60.0
"""Seconds, for one more."""

_log = Logger()


@dataclass(slots=True, kw_only=True)
class Enrolments:
    """What enrolments share. `is_open` once it is known which endpoints are live (see `departures`)."""

    certificates: WorkloadCertificates
    endpoints: EndpointTable
    audit: AuditLog
    in_thread: InThread
    pace: Pace
    now: Callable[[], datetime]
    external: ExternalEnrolment | None = None
    is_open: bool = False

    def begin(self, connection: CallConnection, attestation: Attestation, head: RequestHead) -> Enrolment:
        """See `calls.connection.Begin`."""
        return Enrolment(self, connection, attestation, head)

    def open(self) -> None:
        """From now on."""
        self.is_open = True

    def departed(self, endpoint: Endpoint) -> None:
        """Its id never comes again."""
        self.pace.forget(endpoint.id)


class Enrolment:
    """One request for a certificate; see `calls.connection.Handed`."""

    def __init__(
        self, shared: Enrolments, connection: CallConnection, attestation: Attestation, head: RequestHead
    ) -> None:
        self._shared = shared
        self._connection = connection
        self._attestation = attestation
        self._head = head
        self._body = b""
        self._body_done = head.framing.kind is not BodyKind.CHUNKED and not head.framing.length
        self._over = False
        self._asking: Deferred[TrustMaterial] | None = None

    def start(self) -> None:
        """Refuse what can be refused before the body."""
        refusal = self._first_refusal()
        if refusal is not None:
            self._refuse(refusal)
        elif self._body_done:
            self._refuse(refusals.of_enrolment(EnrolmentRefused("csr_invalid", "there is no request in it")))

    def body(self, pieces: list[bytes], *, done: bool) -> None:
        """More of the signing request."""
        self._body_done = done
        if self._over:
            return
        self._body += b"".join(pieces)
        if len(self._body) > MAX_REQUEST:
            self._refuse(refusals.body_too_large(MAX_REQUEST))
        elif done:
            running = Deferred.fromCoroutine(self._issue())
            running.addErrback(self._bug)

    def broken(self, fault: Refused) -> None:
        """The body is none."""
        self._body_done = True
        self._refuse(refusals.malformed(fault))

    def abandoned(self) -> None:
        """The container is gone; what was issued to it counts no longer than its link."""
        self._over = True
        if self._asking is not None:
            self._asking.cancel()

    def _first_refusal(self) -> Refusal | None:
        shared, attestation, head = self._shared, self._attestation, self._head
        if (head.method, head.path, head.query) != ("POST", PATH, None):
            return refusals.NOT_FOUND
        endpoint = shared.endpoints.get(attestation.endpoint)
        stranger = checks.container(attestation, endpoint)
        if stranger is not None:
            return stranger
        self._attestation = checks.as_netd_says(attestation, endpoint)
        if not shared.is_open:
            return refusals.NOT_READY
        wait = shared.pace.take(attestation.endpoint)
        return refusals.too_often(wait) if wait else None

    async def _issue(self) -> None:
        shared, attestation = self._shared, self._attestation
        try:
            claim = shared.audit.claim()
        except AuditUnavailable:
            self._refuse(AUDIT_UNAVAILABLE)
            return
        try:
            link = Attested(attestation.endpoint, attestation.tenant, attestation.container)
            issued = await self._signed(link)
            claim.write(self._record("certificate-issued", serial_text(issued.certificate)))
        except EnrolmentRefused as error:
            claim.write(self._refused(Outcome.DENIED, error.code, error.detail))
            self._refuse(refusals.of_enrolment(error))
        except ExternalCaError as error:
            claim.write(self._refused(Outcome.FAILED, error.code, error.detail))
            self._refuse(refusals.of_external_ca(error))
        except CancelledError:
            gone = "the container went while the external CA was asked"
            claim.write(self._refused(Outcome.FAILED, "client-closed", gone))
        except SQLAlchemyError:
            self._refuse(refusals.STORE_UNAVAILABLE)
        except AuditUnavailable:
            self._refuse(AUDIT_UNAVAILABLE)
        else:
            self._answer(issued)
        finally:
            claim.release()

    async def _signed(self, link: Attested) -> Issued | Recorded:
        """Raises `EnrolmentRefused`, `ExternalCaError`; `CancelledError` when nobody waits any more."""
        shared = self._shared
        issued: Issued | Recorded
        if shared.external is None:
            issued = await shared.in_thread(shared.certificates.issue, self._body, link)
            return issued
        self._asking = Deferred.fromCoroutine(shared.external.ask(self._body, link))
        try:
            material = await self._asking
        finally:
            self._asking = None
        issued = await shared.in_thread(shared.external.record, material, link)
        return issued

    def _record(self, event: str, subject: str) -> LifecycleRecord:
        whose = self._attestation.container or self._attestation.endpoint
        return LifecycleRecord(
            event=event,
            subject=subject,
            tenant=self._attestation.tenant,
            outcome=Outcome.ALLOWED,
            detail=f"for {whose}",
        )

    def _refused(self, outcome: Outcome, reason: str, detail: str) -> LifecycleRecord:
        record = self._record("certificate-refused", self._attestation.endpoint)
        return replace(record, outcome=outcome, reason=reason, detail=detail)

    def _answer(self, issued: Issued | Recorded) -> None:
        if self._over:
            return
        self._over = True
        body = issued.pem.encode("ascii")
        left = int((issued.renew_after - self._shared.now()).total_seconds())
        lines = (
            "HTTP/1.1 200 OK",
            "Content-Type: application/pem-certificate-chain",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            f"X-Egress-Renew-After: {max(left, 1)}",
            "X-Content-Type-Options: nosniff",
        )
        self._connection.transport.write(("\r\n".join(lines) + "\r\n\r\n").encode("ascii") + body)
        self._connection.finished(keep=True)

    def _refuse(self, refusal: Refusal) -> None:
        if self._over:
            return
        self._over = True
        keep = self._body_done
        self._connection.transport.write(refusal.page(self._attestation.request_id, close=not keep))
        self._connection.finished(keep=keep)

    def _bug(self, failure: Any) -> None:
        _log.error("a certificate was not issued by a mistake of ours: {kind}", kind=failure.type.__name__)
        self._refuse(INTERNAL)
