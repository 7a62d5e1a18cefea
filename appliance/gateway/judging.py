"""What becomes of a request before anything is done for it: origin, verdict, room for its record, limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.audit.log import AuditUnavailable
from appliance.gateway import refusals
from appliance.gateway.base_url import provider_request
from appliance.gateway.channel import WELL_KNOWN
from appliance.gateway.origin import Origin, is_own, origin_of
from appliance.handover import WITHOUT_ACCOUNT
from appliance.http1.head import RequestHead
from appliance.http1.refused import Refused
from appliance.http1.target import DEFAULT_PORTS, query_pieces
from appliance.limits.budget import Exceeded
from appliance.limits.signals import signals
from appliance.names import BROKER_NAME, GATEWAY_NAME, INTEGRATIONS_NAME, OWN_NAMES
from appliance.policy.denials import WEBSOCKET
from appliance.policy.verdict import Outcome, Reason, RequestFacts, Verdict
from appliance.refusal import NO_RULE, Refusal
from appliance.websocket.handshake import asked, offered

HANDLE, REFERENCE = b"hb_cred_", b"agentsecrets://"
"""How what stands for a secret begins. It is worth nothing elsewhere: who sends it there is mistaken."""
_MARKS = (HANDLE.decode(), REFERENCE.decode())
CERTIFICATE = WELL_KNOWN + "certificate"
_BROKER = Origin("http", BROKER_NAME, 80)
_ENROLMENT = Verdict(
    Outcome.ALLOW, Reason.ALLOWED_BY_APPLIANCE, NO_RULE, "A workload asks for its certificate.",
    max_body=8 * 1024, account=WITHOUT_ACCOUNT,
)  # fmt: skip

if TYPE_CHECKING:
    from appliance.gateway.channel import Channel
    from appliance.gateway.exchange import Exchange
    from appliance.gateway.worker import Worker


def judge(worker: Worker, channel: Channel, exchange: Exchange) -> Refusal | None:
    """The refusal of a request, or None; then `exchange` holds all that its way upstream needs."""
    head = exchange.head
    if asks_for_certificate(head) and is_own(channel, head):
        return _judge_enrolment(worker, channel, exchange)
    origin = origin_of(channel, head)
    if isinstance(origin, Refusal):
        return origin
    exchange.origin = origin
    endpoint = channel.caller.endpoint
    policy = exchange.policy
    if policy is None:
        policy = exchange.policy = worker.policy(endpoint.tenant)
    if origin.host == INTEGRATIONS_NAME:
        meant = provider_request(policy, head)
        if isinstance(meant, Refusal):
            return meant
        head, origin = exchange.head, exchange.origin = meant
    facts = exchange.facts = facts_of(head, origin)
    verdict = exchange.verdict = policy.judge(facts)
    if not verdict.allowed:
        return refusals.from_verdict(verdict)
    if verdict.account is None and _for_the_broker(head):
        return refusals.NOT_FOR_THIS_HOST
    exchange.signals = signals(head.path, head.query)
    if exchange.signals:
        worker.budget.tally(endpoint.id, endpoint.tenant).signals += 1
    if head.upgrade is not None:
        refusal = _judge_upgrade(exchange, head)
        if refusal is not None:
            return refusal
    return _hold(worker, channel, exchange, origin)


def asks_for_certificate(head: RequestHead) -> bool:
    """Whether a request for the gateway itself wants the workload's certificate, which the broker signs."""
    return head.method == "POST" and head.path == CERTIFICATE and head.query is None


def _judge_enrolment(worker: Worker, channel: Channel, exchange: Exchange) -> Refusal | None:
    """No policy is asked whether a workload gets a certificate: that is the broker's to say."""
    exchange.origin = _BROKER
    exchange.verdict = _ENROLMENT
    return _hold(worker, channel, exchange, _BROKER)


def _hold(worker: Worker, channel: Channel, exchange: Exchange, origin: Origin) -> Refusal | None:
    """Room for the record, and a place among the tenant's flows."""
    try:
        exchange.claim = worker.audit.claim()
    except AuditUnavailable:
        return refusals.AUDIT_UNAVAILABLE
    payer = worker.charged(channel.caller.endpoint, exchange.policy)
    flow = worker.budget.flow(payer, origin.destination)
    if isinstance(flow, Exceeded):
        return refusals.exceeded(flow)
    exchange.flow = flow
    return None


def _for_the_broker(head: RequestHead) -> bool:
    """Whether a handle or a reference is on its way to somebody who is not to see it."""
    octets, query = head.section.octets, head.query
    return (
        HANDLE in octets
        or REFERENCE in octets
        or (query is not None and any(value.startswith(_MARKS) for _, value in head.pairs))
    )


def _judge_upgrade(exchange: Exchange, head: RequestHead) -> Refusal | None:
    """Only what the verdict names, and only by the strict handshake of the protocol (attacks E12, E13)."""
    assert exchange.verdict is not None
    if head.upgrade != WEBSOCKET or exchange.verdict.upgrade != head.upgrade:
        return refusals.UPGRADE
    try:
        exchange.handshake = asked(head)
    except Refused as fault:
        return refusals.malformed(fault)
    return None


def judge_connect(worker: Worker, channel: Channel, head: RequestHead) -> Refusal | None:
    """The refusal of a CONNECT, or None. Its host is judged; what is sent inside is judged by itself."""
    authority = head.authority
    assert authority is not None
    if authority.host == GATEWAY_NAME:
        return refusals.OWN_ADDRESS
    if authority.host in OWN_NAMES and authority.port == DEFAULT_PORTS["https"]:
        return None if worker.audit.ready else refusals.AUDIT_UNAVAILABLE
    policy = worker.policy(channel.caller.endpoint.tenant)
    verdict = policy.judge_host(None, authority.host, authority.port)
    if not verdict.allowed:
        return refusals.from_verdict(verdict)
    return None if worker.audit.ready else refusals.AUDIT_UNAVAILABLE


def facts_of(head: RequestHead, origin: Origin) -> RequestFacts:
    """What policy is asked about."""
    return RequestFacts(
        head.method,
        origin.scheme,
        origin.host,
        origin.port,
        head.path,
        head.pairs,
        head.content_type,
        head.content_length,
        head.chunked,
        head.uri_bytes,
        head.head_bytes,
        head.upgrade,
        () if head.upgrade is None else offered(head),
        query_pieces(head.query),
    )
