"""One request under way: what was judged, where it goes, and what is known of its result."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from appliance.audit.record import Interception, Outcome, RequestRecord
from appliance.gateway import refusals
from appliance.gateway.channel import Channel
from appliance.gateway.origin import Origin
from appliance.handover import WITHOUT_ACCOUNT
from appliance.http1.framing import BodyKind
from appliance.http1.head import RequestHead
from appliance.policy.tenant import TenantPolicy
from appliance.policy.verdict import RequestFacts, Verdict
from appliance.refusal import NO_RULE, Refusal

if TYPE_CHECKING:
    from appliance.audit.log import Claim
    from appliance.gateway.relay import Relay
    from appliance.limits.budget import Exceeded, Flow
    from appliance.websocket.handshake import Handshake

_RETRIABLE = frozenset({"GET", "HEAD", "OPTIONS"})


class Exchange:
    """Mutable, and owned by one session: filled in as the request goes its way."""

    __slots__ = (
        "address", "claim", "facts", "flow", "handshake", "head", "id", "keep_alive", "origin", "policy",
        "relay", "retried", "signals", "started", "status", "to_client", "to_upstream", "verdict",
    )  # fmt: skip

    def __init__(self, identity: str, head: RequestHead, started: float) -> None:
        self.id = identity
        self.head = head
        self.started = started
        self.keep_alive = head.keep_alive
        self.origin: Origin | None = None
        self.policy: TenantPolicy | None = None
        self.facts: RequestFacts | None = None
        self.verdict: Verdict | None = None
        self.handshake: Handshake | None = None
        self.claim: Claim | None = None
        self.flow: Flow | None = None
        self.address: IPv4Address | None = None
        self.relay: Relay | None = None
        self.retried = False
        self.signals: tuple[str, ...] = ()
        self.status: int | None = None
        self.to_upstream = 0
        self.to_client = 0

    @property
    def rule(self) -> str:
        """The rule that decided."""
        return NO_RULE if self.verdict is None else self.verdict.rule

    @property
    def account(self) -> str | None:
        """The integration account that carries the request, by the broker; None: it goes to the server."""
        return None if self.verdict is None else self.verdict.account

    @property
    def has_body(self) -> bool:
        """Whether content follows the request's head."""
        framing = self.head.framing
        return framing.kind is BodyKind.CHUNKED or framing.length > 0

    def has_whole_body(self, waiting: int) -> bool:
        """Whether no part of the body is still to come, when so many octets came behind the head."""
        if self.relay is not None:
            return not self.relay.sending
        length = self.head.content_length
        return length is not None and length <= waiting

    def late(self, *, unread: bool) -> Refusal:
        """What took too long; `unread` while the container takes nothing of the answer."""
        if unread:
            return refusals.RESPONSE_NOT_READ
        if self.relay is not None and self.relay.sending:
            return refusals.BODY_TIMEOUT
        return refusals.RESPONSE_TIMEOUT

    @property
    def may_be_repeated(self) -> bool:
        """RFC 9110 section 9.2.2: a lost idempotent request may be sent again (once, without content)."""
        return not self.retried and self.head.method in _RETRIABLE and not self.has_body

    def charge_upstream(self, count: int) -> Exceeded | None:
        """`count` bytes are about to go to the server; the limit that they would pass, if any."""
        self.to_upstream += count
        return None if self.flow is None else self.flow.sent(count)

    def charge_client(self, count: int) -> Exceeded | None:
        """`count` bytes are about to go to the container."""
        self.to_client += count
        return None if self.flow is None else self.flow.received(count)

    def adopt(self, policy: TenantPolicy) -> bool:
        """Whether `policy`, as it is now, would allow this too, by the same authority.

        If so it binds the request from here on: its limits, and once the answer is under way those caps that
        are lower. If not, nothing changes.

        An account decides whose secret goes along, so with another one, or with none, this would be another
        request. The upgrade needs no look: a verdict that allows has the one that was asked for.
        """
        account, facts, address = self.account, self.facts, self.address
        # With WITHOUT_ACCOUNT no policy was asked.
        if account != WITHOUT_ACCOUNT:
            if facts is None:
                return False
            verdict = policy.judge(facts)
            if not verdict.allowed or verdict.account != account:
                return False
            if address is not None and not policy.judge_address(facts.host, facts.port, address).allowed:
                return False
            self.verdict = verdict
        self.policy = policy
        if self.flow is not None:
            self.flow.replace_limits(policy.limits)
        if self.relay is not None and self.verdict is not None:
            self.relay.lower_caps(self.verdict.max_body, policy.caps.response_body_bytes)
        return True

    def record(
        self, channel: Channel, duration_ms: float, refusal: Refusal | None, detail: str | None = None
    ) -> RequestRecord:
        """What is written down; without a refusal the request was allowed and done (`detail` says how)."""
        endpoint = channel.caller.endpoint
        head, origin, verdict = self.head, self.origin, self.verdict
        if refusal is not None:
            outcome, reason, rule, detail = refusal.outcome, refusal.reason, refusal.rule, refusal.detail
        else:
            assert verdict is not None
            outcome, reason, rule = Outcome.ALLOWED, str(verdict.reason), verdict.rule
        return RequestRecord(
            request_id=self.id,
            tenant=endpoint.tenant,
            endpoint=endpoint.id,
            container=endpoint.container or None,
            run=endpoint.run or None,
            source=channel.caller.source,
            method=head.method,
            scheme=origin.scheme if origin else _scheme(channel, head),
            host=origin.name if origin else str(head.host),
            port=origin.port if origin else head.port or channel.port,
            path=head.path,
            query_keys=tuple([key for key, _ in head.pairs]) if head.pairs else (),
            signals=self.signals,
            outcome=outcome,
            reason=reason,
            rule=rule,
            detail=detail,
            status=self.status,
            upstream_address=None if self.address is None else _text(self.address),
            bytes_to_upstream=self.to_upstream,
            bytes_to_client=self.to_client,
            duration_ms=duration_ms,
            tls=channel.tls,
        )


_text = lru_cache(4096)(str)  # of an address: 2 us each time, and there are few


def _scheme(channel: Channel, head: RequestHead) -> str:
    return "https" if channel.tls is not Interception.NONE else head.scheme or "http"
