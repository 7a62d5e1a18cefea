"""From the bytes of a container's question to the bytes of its answer, with a record of what was decided."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Literal

import dns.edns
import dns.rcode
import dns.rdatatype
from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from appliance.audit.log import AuditLog, AuditUnavailable, Claim
from appliance.audit.record import Outcome
from appliance.endpoints import Endpoint
from appliance.names import OWN_NAMES, InvalidName
from appliance.resolver.exchange import to_host_name
from appliance.resolver.judgement import (
    AUDIT_DOWN,
    declined_invalid,
    declined_type,
    failed,
    judge_name,
)
from appliance.resolver.message import (
    MAX_TCP,
    ExtendedError,
    Question,
    Unreadable,
    dotted,
    read_question,
    refuse_unread,
    write_answer,
)
from appliance.resolver.outcome import Answered, Declined, LookupResult
from appliance.resolver.rate import LIMITED, LIMITED_FIRST, OVER_RATE, Admission, QuestionRate
from appliance.resolver.records import is_recorded, record_of, write_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from appliance.audit.record import DnsRecord
    from appliance.policy.set import PolicySet
    from appliance.resolver.lookup import Lookup
    from appliance.telling import Telling

LOCAL_TTL = 5
_EMPTY_TYPES = frozenset({dns.rdatatype.AAAA, dns.rdatatype.HTTPS, dns.rdatatype.SVCB})
"""Answered with nothing: no IPv6 here, and no keys for an encrypted ClientHello (attack B6)."""

_OUR_FAULT = failed("internal-error", "the resolver failed; see its log", dns.edns.EDECode.OTHER)
_GONE = failed("client-closed", "the asker closed before it was answered", dns.edns.EDECode.OTHER)
_NO_ADDRESS = Answered((), 0)


def _too_many(asker: str, limit: str, rule: str | None) -> Declined:
    detail = f"{asker} faster than {limit}"
    return Declined(Outcome.DENIED, OVER_RATE, rule, detail, dns.rcode.REFUSED, None)


_OF_CONTAINER = _too_many("the container asks", "resolver.queries_per_second", None)
_OF_TENANT = _too_many(
    "the tenant's containers ask", "limits.queries_per_second", "limits.queries_per_second"
)
_TOO_MANY = {
    Admission.LIMITED: _OF_CONTAINER,
    Admission.LIMITED_FIRST: _OF_CONTAINER,
    Admission.TENANT_LIMITED: _OF_TENANT,
    Admission.TENANT_LIMITED_FIRST: _OF_TENANT,
}


@dataclass(frozen=True, slots=True)
class Asker:
    """Where a question came from: the endpoint, its address and port, and the address that it asked."""

    endpoint: Endpoint
    source: str
    destination: IPv4Address
    transport: Literal["udp", "tcp"]


class Answering:
    """Answers questions of containers. Nothing that a container sends makes it raise."""

    log = Logger()

    def __init__(
        self,
        lookup: Lookup,
        policies: Callable[[], PolicySet],
        audit: AuditLog,
        clock: IReactorTime,
        *,
        per_second: int,
        telling: Telling,
    ) -> None:
        self._lookup = lookup
        self._policies = policies
        self._audit = audit
        self._clock = clock
        self._telling = telling
        self.rate = QuestionRate(per_second)
        self.counts: Counter[str] = Counter()

    async def answer(self, wire: bytes, asker: Asker) -> bytes | None:
        """The answer to send back, or None for silence. Raises nothing but cancellation."""
        began = self._clock.seconds()
        self.counts["questions"] += 1
        # Before a byte is read: reading costs far more than asking.
        admission = self._admission(asker.endpoint, began)
        if admission in LIMITED:
            with suppress(AuditUnavailable):  # nothing is allowed, and the next that is read says so
                self._telling.add(self._record_of(None, asker, _TOO_MANY[admission], began))
            return self._refuse_unread(wire, asker, began)
        read = read_question(wire)
        try:
            claim = self._audit.claim()
        except AuditUnavailable:
            return self._write(read, asker, AUDIT_DOWN)
        departed = False

        def departs() -> None:
            nonlocal departed
            departed = True

        try:
            if admission in LIMITED_FIRST:
                self._record(claim, read, asker, _TOO_MANY[admission], began)
                return self._refuse_unread(wire, asker, began)
            if isinstance(read, Unreadable):
                self._record(claim, read, asker, _unreadable(read), began)
                return read.answer
            result = await self._decide(read, asker, departs)
            self._record(claim, read, asker, result, began)
        except CancelledError:
            # The asker is gone, the question may have gone upstream all the same.
            self._record(claim, read, asker, replace(_GONE, fresh=departed), began)
            raise
        except AuditUnavailable:
            return self._write(read, asker, AUDIT_DOWN)
        except Exception:  # noqa: BLE001 - our own bug must not end the service: no answer is given
            self.log.failure("a question could not be answered")
            return self._write(read, asker, _OUR_FAULT)
        finally:
            claim.release()
        return self._write(read, asker, result)

    def admit(self, endpoint: Endpoint) -> Declined | None:
        """Count a question that a worker asks upstream for the endpoint. Why not, when it is over a rate."""
        admission = self._admission(endpoint, self._clock.seconds())
        if admission is Admission.ADMITTED:
            return None
        self.counts["limited"] += 1
        return _TOO_MANY[admission]

    def _admission(self, endpoint: Endpoint, now: float) -> Admission:
        limit = self._policies().for_tenant(endpoint.tenant).limits.queries_per_second
        return self.rate.admit(endpoint.id, now, endpoint.tenant, limit)

    def _refuse_unread(self, wire: bytes, asker: Asker, now: float) -> bytes | None:
        """REFUSED at once, as long as that is not a flood of its own: silence costs a client five seconds."""
        self.counts["limited"] += 1
        if not self.rate.tells(asker.endpoint.id, now):
            self.counts["limited_silently"] += 1
            return None
        return refuse_unread(wire)

    async def _decide(self, question: Question, asker: Asker, departs: Callable[[], None]) -> LookupResult:
        try:
            name = to_host_name(question.name)
        except InvalidName as error:
            return declined_invalid(error)
        wants_address = question.type == dns.rdatatype.A
        if not wants_address and question.type not in _EMPTY_TYPES:
            return declined_type(question.type_text)
        if name in OWN_NAMES:
            return Answered((asker.destination,), LOCAL_TTL) if wants_address else _NO_ADDRESS
        if wants_address:
            return await self._lookup.resolve(asker.endpoint.tenant, name, departs=departs)
        return judge_name(self._policies().for_tenant(asker.endpoint.tenant), name) or _NO_ADDRESS

    def _write(self, read: Question | Unreadable, asker: Asker, result: LookupResult) -> bytes | None:
        if isinstance(read, Unreadable):
            return read.answer
        size = read.max_udp if asker.transport == "udp" else MAX_TCP
        if isinstance(result, Answered):
            return write_answer(
                read, dns.rcode.NOERROR, max_size=size, addresses=result.addresses, ttl=result.ttl
            )
        self.counts[result.outcome.value] += 1
        error = None
        if result.error is not None:
            error = ExtendedError(result.error, f"{result.reason}: {result.detail}")
        return write_answer(read, result.rcode, max_size=size, error=error)

    def _record(
        self, claim: Claim, read: Question | Unreadable, asker: Asker, result: LookupResult, began: float
    ) -> None:
        if is_recorded(result):
            record = self._record_of(read, asker, result, began)
            write_record(record, claim, self._telling, fresh=result.fresh)

    def _record_of(
        self, read: Question | Unreadable | None, asker: Asker, result: LookupResult, began: float
    ) -> DnsRecord:
        return record_of(
            result,
            asker.endpoint,
            tenant=asker.endpoint.tenant,
            source=asker.source,
            destination=str(asker.destination),
            transport=asker.transport,
            name=_shown_name(read),
            kind=read.type_text if isinstance(read, Question) else "",
            seconds=self._clock.seconds() - began,
        )


def _shown_name(read: Question | Unreadable | None) -> str:
    """The asked name as text that is safe to print, whatever its labels hold."""
    if not isinstance(read, Question):
        return ""
    return ascii(dotted(read.name).decode("latin-1"))[1:-1]


def _unreadable(read: Unreadable) -> Declined:
    detail = "the message holds no question that may be asked here"
    return Declined(Outcome.DENIED, "question-malformed", None, detail, read.rcode, None)
