"""What would happen to a request, and why: the enforcing evaluator, asked in the order of the gateway."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from appliance.http1.refused import Refused
from appliance.http1.target import parse_absolute, query_pieces
from appliance.names import HostName
from appliance.policy.denials import WEBSOCKET
from appliance.policy.rules import denied
from appliance.policy.set import PolicySet
from appliance.policy.tenant import Consulted
from appliance.policy.verdict import Reason, RequestFacts, Verdict


@dataclass(frozen=True, slots=True)
class Step:
    """One check in the order of the gateway."""

    check: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Explanation:
    """The checks up to the first denial, the rules that were looked at, and the verdict that counts.

    `facts` is the request in canonical form; None when the URL could not be read.
    """

    steps: tuple[Step, ...]
    consulted: tuple[Consulted, ...]
    verdict: Verdict
    facts: RequestFacts | None


def explain(
    policies: PolicySet,
    tenant: str,
    method: str,
    url: str,
    *,
    content_type: str | None = None,
    content_length: int | None = None,
) -> Explanation:
    """Judge `method url` from a container of `tenant`. Never raises for a bad URL: that is a verdict, too.

    The addresses behind a name are not looked up, so they are judged only where the host is one. A ws or wss
    URL (RFC 6455 section 3) asks about opening a WebSocket without a subprotocol.
    """
    try:
        facts = _facts(method, url, content_type, content_length)
    except Refused as refused:
        verdict = denied(
            Reason.REQUEST_MALFORMED, "strict HTTP/1.1", f"{refused.reason}: {refused.detail}",
            "Write an absolute http or https URL in strict form.",
        )  # fmt: skip
        return Explanation((Step("syntax", verdict),), (), verdict, None)
    policy = policies.for_tenant(tenant)
    host, port = facts.host, facts.port
    checks: list[tuple[str, Callable[[], Verdict]]] = [("name", lambda: policy.judge_name(host))]
    if facts.scheme == "https":
        # Of a plain request there is neither a CONNECT nor a ClientHello to judge before it.
        checks.append(("host", lambda: policy.judge_host(facts.scheme, host, port)))
    if facts.scheme == "https" and policy.passthrough(host, port):
        checks.pop(0)  # the host's verdict says it all: nothing of the request is read
    else:
        checks.append(("request", lambda: policy.judge(facts)))
    if not isinstance(host, HostName):
        checks.append(("address", lambda: policy.judge_address(host, port, host)))
    steps: list[Step] = []
    for check, ask in checks:
        steps.append(Step(check, ask()))
        if not steps[-1].verdict.allowed:
            break
    deciding = steps[-1] if not steps[-1].verdict.allowed else _decisive(steps)
    return Explanation(tuple(steps), tuple(policy.consulted(facts)), deciding.verdict, facts)


def _decisive(steps: list[Step]) -> Step:
    """Of allowing steps, the one about the request; of a passthrough, the one about the host."""
    return next((step for step in steps if step.check == "request"), steps[0])


def _facts(method: str, url: str, content_type: str | None, content_length: int | None) -> RequestFacts:
    web_socket = re.match("ws(s?)://", url, re.IGNORECASE)
    if web_socket:
        url = f"http{web_socket[1]}://{url[web_socket.end() :]}"
    target = parse_absolute(url, encoded_slash=True)
    assert target.authority is not None
    assert target.scheme is not None
    query = "" if target.query is None else f"?{target.query}"
    return RequestFacts(
        method=method,
        scheme=target.scheme,
        host=target.authority.host,
        port=target.authority.port,
        path=target.path,
        query=target.pairs,
        pieces=query_pieces(target.query),
        content_type=content_type,
        content_length=content_length,
        uri_bytes=len(target.path) + len(query),
        upgrade=WEBSOCKET if web_socket else None,
    )
