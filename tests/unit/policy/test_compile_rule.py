"""What a rule leaves out means the narrow thing; what contradicts itself is refused."""

from __future__ import annotations

import pytest

from appliance.policy.problems import Severity
from tests.unit.policy.written import compiled, error_lines, problems_of, request

RULE = "profile: allowlist\nrules: [{name: a, hosts: [%s]%s}]"


def allowed(rule: str, url: str, method: str = "GET") -> bool:
    return compiled(RULE % ("a.example.com", rule)).judge(request(url, method)).allowed


@pytest.mark.parametrize(
    ("rule", "urls"),
    [
        ("", {"https://a.example.com/"}),
        (", ports: [80]", {"http://a.example.com/"}),
        (", ports: [80, 443]", {"http://a.example.com/", "https://a.example.com/"}),
        (", ports: [8080]", {"https://a.example.com:8080/"}),
        (", schemes: [http]", {"http://a.example.com/"}),
        (", schemes: [http, https]", {"http://a.example.com/", "https://a.example.com/"}),
        (", schemes: [http], ports: [8080]", {"http://a.example.com:8080/"}),
    ],
)
def test_ports_and_schemes_left_out(rule: str, urls: set[str]) -> None:
    every = [f"{s}://a.example.com{p}/" for s in ("http", "https") for p in ("", ":8080", ":22")]
    assert {url for url in every if allowed(rule, url)} == urls


def test_methods_query_and_body_left_out() -> None:
    url = "https://a.example.com/"
    assert allowed("", url, "HEAD")
    assert not allowed("", url, "OPTIONS")
    assert not allowed("", url, "POST")
    assert not allowed("", url + "?a=1")
    policy = compiled(RULE % ("a.example.com", ", methods: [POST]"))
    assert policy.judge(request(url, "POST")).max_body == 0
    body = request(url, "POST", content_type="text/plain", content_length=1)
    assert policy.judge(body).reason == "body-not-allowed"


@pytest.mark.parametrize(
    ("hosts", "rule", "message"),
    [
        (
            "'*.example.com'",
            ", methods: [GET, POST]",
            "*.example.com with POST: state-changing methods need exact",
        ),
        ("'*.com'", "", "covers names that anybody can register; write *.<a registered domain>.com"),
        ("'*.github.io'", "", "anybody can register"),
        ("a.example.com", ", tls: passthrough", "only the operator may let TLS through unread"),
        ("a.example.com", ", content_types: [text/plain]", "GET and HEAD carry no body"),
        ("a.example.com", ", methods: [PUT], max_body: 1KiB", "max_body without content_types"),
        ("a.example.com", ", effect: deny, max_body: 1KiB", "a deny rule has no max_body"),
        ("a.example.com", ", effect: deny, query: any", "a deny rule names query keys"),
        ("a.example.com", ", effect: deny, tls: passthrough", "a deny rule lets nothing through"),
        ("a.example.com", ", effect: deny, encoded_slash: true", "a deny rule lets nothing in"),
        ("a.example.com", ", effect: deny, upgrade: websocket", "a deny rule denies upgrades"),
        ("a.example.com", ", effect: deny, subprotocols: [chat]", "a deny rule denies upgrades"),
        ("a.example.com", ", upgrade: h2c", "upgrade"),
        ("a.example.com", ", subprotocols: [chat]", "subprotocols without upgrade"),
        ("a.example.com", ", upgrade: websocket, subprotocols: ['a b']", "is no WebSocket subprotocol"),
        ("a.example.com", ", upgrade: websocket, subprotocols: []", "subprotocols"),
        ("a.example.com", ", upgrade: websocket, methods: [GET, POST]", "a WebSocket is opened by GET"),
        ("a.example.com", ", upgrade: websocket, content_types: [text/a]", "GET and HEAD carry no body"),
        ("'*.example.com'", ", upgrade: websocket", "*.example.com with upgrade: what can send anything"),
    ],
)
def test_contradictions_are_refused_000_55(hosts: str, rule: str, message: str) -> None:
    lines = error_lines(problems_of(RULE % (hosts, rule)))
    assert len(lines) == 1, lines
    assert message in lines[0]
    assert lines[0].startswith("acme.yaml:2:")


def test_a_websocket_may_have_a_bound_of_its_own() -> None:
    assert not problems_of(RULE % ("a.example.com", ", upgrade: websocket, methods: [GET], max_body: 1KiB"))
    text = "caps: {request_body: 10B}\n" + RULE % ("a.example.com", ", upgrade: websocket, max_body: 1KiB")
    assert [problem.severity for problem in problems_of(text)] == [Severity.WARNING]


def test_a_wildcard_may_read() -> None:
    assert not problems_of(RULE % ("'*.example.com'", ", methods: [GET, HEAD, OPTIONS]"))


def test_rule_names_are_distinct() -> None:
    text = "rules:\n  - {name: a, hosts: [a.example.com]}\n  - {name: a, hosts: [b.example.com]}"
    (line,) = error_lines(problems_of(text))
    assert line.startswith("acme.yaml:3:6: rule name 'a' is taken by rules[0]")


def test_a_body_limit_above_the_cap_is_a_warning() -> None:
    rule = ", methods: [PUT], content_types: [text/plain], max_body: 1GiB"
    (problem,) = problems_of(RULE % ("a.example.com", rule))
    assert problem.severity is Severity.WARNING
    assert "above caps.request_body, 10MiB" in problem.message


def test_equal_parts_of_rules_are_one_object() -> None:
    policy = compiled("rules:\n" + "".join(
        f"- {{name: r{number}, hosts: [h{number}.example.com], paths: [/a/**], query: [k]}}\n" for number in (1, 2)
    ))  # fmt: skip
    one, other = (rule for _, rule in policy.layers[1].entries())
    for part in ("services", "methods", "paths", "query", "content_types"):
        assert getattr(one, part) is getattr(other, part), part
