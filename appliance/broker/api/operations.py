"""From a request inside TLS to what is done for it: who asks, whether it may, and the answer.

A request counts for the workload that its certificate names, over the link that the certificate was issued
to, as long as netd knows that link: three words that must agree, of the client's key, the gateway and netd.
Where the operator has a list of addresses, the link's must be on it as well.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError
from twisted.internet.defer import Deferred

from appliance.audit.log import AuditUnavailable
from appliance.audit.record import LifecycleRecord, Outcome
from appliance.broker.api import refusals
from appliance.broker.api.pace import Pace, times
from appliance.broker.api.telling import Telling
from appliance.broker.calls import checks
from appliance.broker.calls.dials import CallRefused
from appliance.broker.calls.refusals import ADDRESS_DENIED, AUDIT_UNAVAILABLE, EXECUTION_ENDED
from appliance.broker.calls.secrets import InThread
from appliance.broker.denied import Denied
from appliance.broker.dpop.challenge import challenge_fields, nonce_fields
from appliance.broker.dpop.presented import Scheme, read_presented
from appliance.broker.dpop.target import TargetUri
from appliance.broker.dpop.verifier import ProofRequest
from appliance.broker.identities import Identities
from appliance.broker.identity.address_check import AddressAllowlist, check_address
from appliance.broker.identity.verification import CertificateRefusal, WorkloadIdentity
from appliance.broker.sessions import Authorised, Presenter
from appliance.names import BROKER_NAME

if TYPE_CHECKING:
    from appliance.broker.api.conversation import Asked, Conversation
    from appliance.broker.api.routes import Route
    from appliance.endpoints import EndpointTable
    from appliance.handover import Attestation

AT_ONCE = 200
EACH = 0.01
"""Seconds: 100 requests a second of one workload, after some at once."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request of a workload that has access now."""

    asked: Asked
    identity: WorkloadIdentity
    conversation: Conversation
    fields: list[tuple[str, str]] = field(default_factory=list)
    """What goes with a refusal, as an answer has it too: a fresh nonce (RFC 9449 section 8.2)."""

    @property
    def attestation(self) -> Attestation:
        """The link it came over."""
        return self.asked.attestation

    @property
    def presenter(self) -> Presenter:
        """Who presents a token with it."""
        return Presenter(self.identity.id, self.identity.thumbprint)

    @property
    def proof_request(self) -> ProofRequest:
        """What a DPoP proof with it must say."""
        head = self.asked.head
        return ProofRequest(head.method, TargetUri.parse(f"https://{BROKER_NAME}{head.path}"))


Operation = Callable[[Admitted], Awaitable[None]]
"""Ends with a word to the conversation, or raises what `_answer` knows."""


@dataclass(slots=True, kw_only=True)
class Operations:
    """`is_over` tells which endpoints' executions were ended for a collision.

    `addresses` is the operator's list of those from which workloads may come; None: he has none. `table` has
    an operation for the name in each route; see `conversation.Answering`.
    """

    identities: Identities
    endpoints: EndpointTable
    telling: Telling
    in_thread: InThread
    pace: Pace
    now: Callable[[], datetime]
    is_over: Callable[[str], bool]
    table: Mapping[str, Operation]
    addresses: AddressAllowlist | None = None

    def begin(self, asked: Asked, route: Route, conversation: Conversation) -> Deferred[None]:
        """Answer it."""
        return Deferred.fromCoroutine(self._answer(asked, route, conversation))

    def handshake_failed(self, attestation: Attestation, reason: str, detail: str) -> None:
        """A client that is nobody to us; on record, as `telling` lets it."""
        self._record_refusal(attestation, reason, detail)

    async def _answer(self, asked: Asked, route: Route, conversation: Conversation) -> None:
        admitted: Admitted | None = None
        try:
            admitted = await self._admit(asked, conversation)
            await self.table[route.operation](admitted)
        except Denied as denied:
            fields = challenge_fields(denied, _scheme(asked), self.identities.algorithms)
            if denied.status < 500:
                self._record_refusal(asked.attestation, denied.reason, denied.detail)
            conversation.refuse(refusals.of_denied(denied), _texts(fields))
        except CallRefused as refused:
            if refused.refusal.status == 401 or refused.refusal is ADDRESS_DENIED:
                self._record_refusal(asked.attestation, refused.refusal.reason, refused.refusal.detail)
            conversation.refuse(refused.refusal, tuple(admitted.fields) if admitted else ())
        except SQLAlchemyError:
            conversation.refuse(refusals.STORE_UNAVAILABLE)
        except AuditUnavailable:
            conversation.refuse(AUDIT_UNAVAILABLE)

    async def _admit(self, asked: Asked, conversation: Conversation) -> Admitted:
        attestation = asked.attestation
        wait = self.pace.take(attestation.endpoint, times(asked.body))
        if wait:
            raise CallRefused(refusals.too_often(wait))
        found = await self.in_thread(self.identities.gate.admit, asked.chain, self.now())
        if isinstance(found, CertificateRefusal):
            raise CallRefused(refusals.of_certificate(found))
        if (found.endpoint, found.id.tenant) != (attestation.endpoint, attestation.tenant):
            raise CallRefused(refusals.LINK_MISMATCH)
        stranger = checks.container(attestation, self.endpoints.get(attestation.endpoint))
        if stranger is not None:
            raise CallRefused(stranger)
        address = IPv4Address(attestation.source.rpartition(":")[0])  # netd's own, by the check above
        if check_address(found, address, self.addresses) is not None:
            raise CallRefused(ADDRESS_DENIED)
        if self.is_over(attestation.endpoint):
            raise CallRefused(EXECUTION_ENDED)
        return Admitted(asked, found, conversation)

    def _record_refusal(self, attestation: Attestation, reason: str, detail: str) -> None:
        endpoint = self.endpoints.get(attestation.endpoint)
        attestation = checks.as_netd_says(attestation, endpoint)
        record = LifecycleRecord(
            event="workload-refused",
            subject=attestation.container or attestation.endpoint,
            tenant=attestation.tenant,
            outcome=Outcome.DENIED,
            reason=reason,
            detail=detail,
        )
        # Those that netd does not know have one share: a worker that was taken over names any.
        self.telling.write("" if endpoint is None else endpoint.id, record)


async def authorised(
    admitted: Admitted, identities: Identities, in_thread: InThread, now: datetime
) -> Authorised:
    """The session that the request presents, which must be one of the workload itself. Raises `Denied`."""
    presented = read_presented(admitted.asked.head.headers)
    found: Authorised = await in_thread(
        identities.sessions.authorise, presented, admitted.presenter, admitted.proof_request, now
    )
    if found.nonce is not None:
        admitted.fields.extend(_texts(nonce_fields(found.nonce)))
    return found


def json_reply(status: int, members: Mapping[str, Any], nonce: str | None = None) -> bytes:
    """A whole answer, which nobody keeps."""
    body = json.dumps(members, separators=(",", ":")).encode("ascii") + b"\n"
    return _head(status, f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n", nonce) + body


def empty_reply(nonce: str | None = None) -> bytes:
    """Done, and nothing to say."""
    return _head(204, "", nonce)


def _head(status: int, fields: str, nonce: str | None) -> bytes:
    phrase = {200: "OK", 201: "Created", 204: "No Content"}[status]
    more = "" if nonce is None else f"DPoP-Nonce: {nonce}\r\n"
    return (
        f"HTTP/1.1 {status} {phrase}\r\n{fields}{more}Cache-Control: no-store\r\n"
        "X-Content-Type-Options: nosniff\r\n\r\n"
    ).encode("ascii")


def _scheme(asked: Asked) -> Scheme | None:
    try:
        return read_presented(asked.head.headers).scheme
    except Denied:
        return None


def _texts(fields: list[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    """A page has its own Cache-Control."""
    kept = (field for field in fields if field[0] != b"Cache-Control")
    return tuple((name.decode("ascii"), value.decode("ascii")) for name, value in kept)
