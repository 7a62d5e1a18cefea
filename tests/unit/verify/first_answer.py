"""What the gateway's own code says to the first request of an attempt: parsed, placed, judged; nothing is sent."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator
from ipaddress import IPv4Address

from appliance.endpoints import Endpoint
from appliance.gateway import refusals
from appliance.gateway.channel import Caller, Channel
from appliance.gateway.intake import GATE
from appliance.gateway.judging import facts_of
from appliance.gateway.opening import judge_hello
from appliance.gateway.origin import is_own, origin_of
from appliance.http1.body import body_reader
from appliance.http1.head import RequestHead, parse_request_head
from appliance.http1.refused import NeedMore, Refused
from appliance.http1.target import TargetForm
from appliance.names import GATEWAY_NAME, Authority, HostName
from appliance.policy.tenant import TenantPolicy
from appliance.refusal import Refusal
from appliance.tls.clienthello import InvalidHello, NotTLS, peek
from appliance.verify.case import Case
from appliance.websocket.handshake import asked
from tests.lab.policies import LISTER, POLICIES, READER
from tests.unit.policy.written import compiled

PROXY = "10.9.0.1"
ENDPOINT = Endpoint("endpoint", "network", "acme", IPv4Address("10.9.0.2"), "t-1", 1, "container")
TENANTS = {"reader": compiled(POLICIES[READER]), "lister": compiled(POLICIES[LISTER])}
ALLOWED = "allowed"


def attempts(case: Case) -> list[dict]:
    """The attempts in a case's stimulus; none when it has another."""
    if callable(case.stimulus) or len(case.stimulus) < 4:
        return []
    return json.loads(zlib.decompress(base64.b64decode(case.stimulus[3])))


def _tail(refusal: Refusal) -> str:
    return f"{refusal.status} {refusal.reason}" + (" close" if refusal.closes else "")


def answer(attempt: dict, policy: TenantPolicy) -> str:
    """`403 method-not-allowed`, with ` close` where that is sure; `alert 112`; or `allowed`."""
    data = b"".join(base64.b64decode(piece) for piece in attempt["send"])
    destination, port = attempt["to"] or (PROXY, 3128)
    try:
        address = IPv4Address(destination)
    except ValueError:
        address = IPv4Address("10.0.1.5")  # a number that the C library reads
    caller = Caller(ENDPOINT, 40000, address, port)
    tunnel = Authority.parse(attempt["connect"]) if attempt["connect"] else None
    if attempt["server_name"] is None and (data[:1] == b"\x16" or tunnel is not None):
        return _opening(data, tunnel, port, policy)
    if attempt["server_name"] is None:
        return _plain(data, Channel(caller, port), policy)
    name = HostName.parse(attempt["server_name"])
    inside = tunnel.port if tunnel else port
    verdict = policy.judge_host("https", name, inside)
    standing = None if verdict.allowed else refusals.from_verdict(verdict).closing()
    channel = Channel(caller, inside, name, tunnel is not None, standing)
    return _plain(data, channel, policy)


def _opening(data: bytes, tunnel: Authority | None, port: int, policy: TenantPolicy) -> str:
    if data[:1] != b"\x16":
        return "closed" if data else ALLOWED
    try:
        hello = peek(data)
    except (NotTLS, InvalidHello):
        return f"alert {refusals.TLS_INVALID.alert}"
    assert not isinstance(hello, NeedMore)
    decision = judge_hello(hello, tunnel, port, policy)
    return f"alert {decision.alert}" if isinstance(decision, Refusal) else ALLOWED


def _plain(data: bytes, channel: Channel, policy: TenantPolicy) -> str:
    try:
        head = parse_request_head(data, GATE)
    except Refused as fault:
        return _tail(refusals.malformed(fault))
    assert isinstance(head, RequestHead), "the request has no end: the attempt would wait for the deadline"
    if channel.standing is not None:
        return _tail(channel.standing)
    if is_own(channel, head):
        document = head.method == "GET" and head.query is None and head.path.endswith("/ca.pem")
        return ALLOWED if document else "403 own-address"
    if head.form is TargetForm.AUTHORITY and channel.server_name is None:
        if head.authority.host == GATEWAY_NAME:
            return "403 own-address"
        return _verdict(policy.judge_host(None, head.authority.host, head.authority.port))
    origin = origin_of(channel, head)
    if isinstance(origin, Refusal):
        return _tail(origin)
    verdict = policy.judge(facts_of(head, origin))
    told = _verdict(verdict)
    if verdict.allowed and verdict.upgrade:
        return _handshake(head, data[head.head_bytes :])
    if told is not ALLOWED and (head.chunked or head.content_length):
        return f"{told} close"
    if head.chunked and told is ALLOWED:
        try:
            body_reader(head.framing).feed(data[head.head_bytes :])
        except Refused as fault:
            return _tail(refusals.malformed(fault))
    return told


def _handshake(head: RequestHead, behind: bytes) -> str:
    try:
        asked(head)
    except Refused as fault:
        return _tail(refusals.malformed(fault))
    return _tail(refusals.WEBSOCKET_EARLY) if behind else ALLOWED


def _verdict(verdict) -> str:
    return ALLOWED if verdict.allowed else _tail(refusals.from_verdict(verdict))


def disagreements(cases: list[Case]) -> Iterator[str]:
    """Attempts whose first expected answer is not what the gateway's code says."""
    for case in cases:
        for attempt in attempts(case) if case.expect else ():
            line = f"{attempt['name']} {attempt['way']}: "
            (expected,) = [text[len(line) :] for text in case.expect if text.startswith(line)] or [""]
            told = answer(attempt, TENANTS[case.tenant])
            if told is ALLOWED:
                # What comes of it is known only when names are resolved and bytes are sent.
                # (What OpenSSL says, such as alert 70, is not asked here.)
                certain = ("400 ", "421 ", "alert 112", "alert 50")
                if expected.startswith(certain) or "not-allowed" in expected.partition(",")[0]:
                    yield f"{case.id}: {line}{expected} / {told}"
            elif (
                attempt["trust"] != "nothing"
                and not expected.startswith(told)
                and not _unread(attempt, expected, told)
            ):
                yield f"{case.id}: {line}{expected} / {told}"


def _unread(attempt: dict, expected: str, told: str) -> bool:
    """The answer to HEAD has no body, so no reason in it."""
    return "HEAD" in attempt["methods"] and expected.split(maxsplit=1)[0] == told.split(maxsplit=1)[0]
