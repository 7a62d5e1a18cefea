"""Policies and requests as a test writes them."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import dedent
from typing import Any

from appliance.http1.target import parse_absolute, query_pieces
from appliance.names import parse_host
from appliance.policy.compile import OperatorLayer, compile_named, compile_operator, compile_tenant
from appliance.policy.problems import Problem, errors
from appliance.policy.rules import RuleIndex
from appliance.policy.tenant import TenantPolicy
from appliance.policy.verdict import RequestFacts
from appliance.yamldoc import Document, loads


def document(text: str, file: str = "acme.yaml") -> Document:
    return loads(dedent(text).encode(), file)


def operator_layer(text: str | None) -> OperatorLayer:
    if text is None:
        return OperatorLayer()
    layer, problems = compile_operator(document(text, "operator.yaml"))
    assert layer is not None, problems
    return layer


def compiled(text: str, operator: str | None = None, named: Mapping[str, str] | None = None) -> TenantPolicy:
    """The policy of tenant acme; the documents must be free of errors."""
    above = operator_layer(operator)
    shared = {name: compile_named(document(body, f"{name}.yaml"))[0] for name, body in (named or {}).items()}
    layer, problems = compile_tenant(document(text), "acme", above, shared)
    assert layer is not None, [str(p) for p in problems]
    return TenantPolicy(
        "acme",
        "1",
        layer.caps,
        profile=layer.profile,
        operator=RuleIndex(above.entries),
        own=RuleIndex(layer.entries),
        exceptions=above.exceptions_of("acme"),
        passthrough=above.passthrough_of("acme"),
        limits=layer.limits,
        denied_addresses=above.denied_addresses,
    )


def problems_of(text: str, operator: str | None = None) -> list[Problem]:
    """Errors and warnings of a tenant's document."""
    return compile_tenant(document(text), "acme", operator_layer(operator), {})[1]


def operator_problems(text: str) -> list[Problem]:
    return compile_operator(document(text, "operator.yaml"))[1]


def error_lines(problems: list[Problem]) -> list[str]:
    return [str(p) for p in errors(problems)]


def request(url: str, method: str = "GET", **more: Any) -> RequestFacts:
    """Facts of a request for an absolute URL."""
    target = parse_absolute(url, encoded_slash=True)
    assert target.authority is not None
    assert target.scheme is not None
    return RequestFacts(
        method=method,
        scheme=target.scheme,
        host=target.authority.host,
        port=target.authority.port,
        path=target.path,
        query=target.pairs,
        pieces=query_pieces(target.query),
        **more,
    )


host = parse_host
