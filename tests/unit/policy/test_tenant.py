"""The evaluator: who wins, what is denied by absence, and that its three questions agree."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from appliance.policy.tenant import TenantPolicy
from appliance.policy.verdict import Reason
from tests.unit.policy.written import compiled, host, request

READ_ONLY = compiled("profile: read-only-web")
NOTHING_LISTED = compiled("profile: allowlist")
LISTED = compiled("""
    profile: allowlist
    rules:
      - {name: index, hosts: [pypi.example.com], paths: ["/simple/**"]}
      - name: api
        hosts: [api.example.com]
        methods: [GET, POST]
        paths: ["/v1/*/items"]
        query: [page, size]
        content_types: [application/json]
        max_body: 1KiB
      - {name: mirror, hosts: ["*.mirror.example.com"], schemes: [http, https], ports: [8080], query: any}
      - {name: not that one, effect: deny, hosts: [bad.mirror.example.com]}
      - {name: no secrets, effect: deny, hosts: ["*.mirror.example.com"], paths: ["/private/**"]}
    """)


def reason(policy: TenantPolicy, url: str, method: str = "GET", **more: object) -> Reason:
    return policy.judge(request(url, method, **more)).reason


# ── profiles ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("url", ["https://ok.example.com/a?b=c", "http://ok.example.com/"])
def test_reading_from_public_names_is_the_default(url: str, method: str) -> None:
    verdict = READ_ONLY.judge(request(url, method))
    assert verdict.allowed
    assert verdict.reason is Reason.ALLOWED_BY_PROFILE
    assert verdict.rule == "profile read-only-web"
    assert verdict.max_body == 0


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_changing_methods_need_a_rule_e7(method: str) -> None:
    assert reason(READ_ONLY, "https://ok.example.com/", method) is Reason.METHOD_NOT_ALLOWED


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("get", Reason.METHOD_UNKNOWN), ("GET ", Reason.METHOD_UNKNOWN), ("BREW", Reason.METHOD_UNKNOWN),
        ("", Reason.METHOD_UNKNOWN), ("PROPFIND", Reason.METHOD_UNKNOWN),
        ("TRACE", Reason.METHOD_NOT_ALLOWED), ("CONNECT", Reason.METHOD_NOT_ALLOWED),
    ],
)  # fmt: skip
def test_other_methods_are_never_allowed_e7(method: str, expected: Reason) -> None:
    assert reason(READ_ONLY, "https://ok.example.com/", method) is expected


@pytest.mark.parametrize("more", [{"content_length": 1}, {"chunked": True}])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_reading_carries_no_body_e7(method: str, more: dict[str, object]) -> None:
    assert reason(READ_ONLY, "https://ok.example.com/", method, **more) is Reason.BODY_NOT_ALLOWED


def test_a_length_of_zero_is_no_body() -> None:
    assert READ_ONLY.judge(request("https://ok.example.com/", content_length=0)).allowed


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://ok.example.com:22/", Reason.PORT_NOT_ALLOWED),
        ("https://ok.example.com:8443/", Reason.PORT_NOT_ALLOWED),
        ("http://ok.example.com:8080/", Reason.PORT_NOT_ALLOWED),
        ("http://ok.example.com:443/", Reason.SCHEME_NOT_ALLOWED),
        ("https://ok.example.com:80/", Reason.SCHEME_NOT_ALLOWED),
    ],
)
def test_only_web_ports_by_default_a4_d2(url: str, expected: Reason) -> None:
    facts = request(url)
    assert READ_ONLY.judge(facts).reason is expected
    assert READ_ONLY.judge_host(facts.scheme, facts.host, facts.port).reason is expected


@pytest.mark.parametrize(
    "literal",
    ["1.1.1.1", "8.8.8.8", "127.0.0.1", "169.254.169.254", "10.0.1.5", "[::1]", "[2606:4700::1111]"],
)
def test_a_literal_address_is_no_host_a1_d1(literal: str) -> None:
    facts = request(f"https://{literal}/")
    assert READ_ONLY.judge(facts).reason is Reason.HOST_IS_ADDRESS
    assert READ_ONLY.judge_host(None, facts.host, 443).reason is Reason.HOST_IS_ADDRESS
    assert READ_ONLY.judge_name(facts.host).reason is Reason.HOST_IS_ADDRESS
    assert not READ_ONLY.judge_address(facts.host, 443, facts.host).allowed


@pytest.mark.parametrize(
    "name",
    [
        "localhost", "kubernetes", "metadata.google.internal", "host.docker.internal", "printer.local",
        "a.localhost", "x.onion", "1.0.0.127.in-addr.arpa", "router.home.arpa", "srv.corp", "a.test", "a.invalid",
    ],
)  # fmt: skip
def test_names_outside_the_public_dns_a18_c13_g6(name: str) -> None:
    assert READ_ONLY.judge_name(host(name)).reason is Reason.NAME_NOT_PUBLIC
    assert READ_ONLY.judge_host("https", host(name), 443).reason is Reason.NAME_NOT_PUBLIC
    assert reason(READ_ONLY, f"https://{name}/") is Reason.NAME_NOT_PUBLIC


@pytest.mark.parametrize("name", ["dns.google", "cloudflare-dns.com", "mozilla.cloudflare-dns.com"])
def test_dns_over_https_services_b8(name: str) -> None:
    assert READ_ONLY.judge_name(host(name)).reason is Reason.HOST_IS_RESOLVER
    assert reason(READ_ONLY, f"https://{name}/resolve?name=a") is Reason.HOST_IS_RESOLVER
    listed = compiled(f"rules: [{{name: doh, hosts: [{name}], query: any}}]")
    assert listed.judge(request(f"https://{name}/resolve?name=a")).allowed


def test_dns_over_https_on_any_host_b8() -> None:
    for path in (
        "/dns-query?dns=AAAB",
        "/dns-query/?dns=AAAB",
        "/x/dns-query;a?dns=AAAB",
        "/dns-query%3Ba=b",
    ):
        assert reason(READ_ONLY, f"https://ok.example.com{path}") is Reason.PATH_NOT_ALLOWED
    for path in ("/dns-queries", "/dns-query/how-it-works"):
        assert reason(READ_ONLY, f"https://ok.example.com{path}") is Reason.ALLOWED_BY_PROFILE


def test_an_encoded_slash_needs_a_rule_e10() -> None:
    url = "https://npm.example.com/@scope%2Fname"
    assert reason(READ_ONLY, url) is Reason.PATH_NOT_ALLOWED
    plain = compiled("profile: allowlist\nrules: [{name: npm, hosts: [npm.example.com]}]")
    assert reason(plain, url) is Reason.PATH_NOT_ALLOWED
    named = compiled(
        "profile: allowlist\nrules: [{name: npm, hosts: [npm.example.com], encoded_slash: true}]"
    )
    assert named.judge(request(url)).allowed


def test_an_empty_allowlist_allows_nothing_g1() -> None:
    facts = request("https://ok.example.com/")
    for verdict in (
        NOTHING_LISTED.judge(facts),
        NOTHING_LISTED.judge_host(None, facts.host, 443),
        NOTHING_LISTED.judge_name(facts.host),
    ):
        assert verdict.reason is Reason.HOST_NOT_LISTED
        assert verdict.rule == "profile allowlist"


def test_a_tenant_without_policy_has_nothing_g1() -> None:
    absent = TenantPolicy("ghost")
    facts = request("https://ok.example.com/")
    verdicts = [
        absent.judge(facts),
        absent.judge_host("https", facts.host, 443),
        absent.judge_name(facts.host),
        absent.judge_address(facts.host, 443, ip_address("1.1.1.1")),
    ]
    assert {v.reason for v in verdicts} == {Reason.NO_POLICY}
    assert not absent.passthrough(facts.host, 443)


# ── rules ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("method", "url", "more", "expected"),
    [
        ("GET", "https://pypi.example.com/simple/", {}, Reason.ALLOWED_BY_RULE),
        ("HEAD", "https://pypi.example.com/simple/a/b", {}, Reason.ALLOWED_BY_RULE),
        ("GET", "https://pypi.example.com/simple", {}, Reason.PATH_NOT_ALLOWED),
        ("GET", "https://pypi.example.com/SIMPLE/", {}, Reason.PATH_NOT_ALLOWED),
        ("GET", "https://pypi.example.com/simple/?a=b", {}, Reason.QUERY_NOT_ALLOWED),
        ("GET", "http://pypi.example.com/simple/", {}, Reason.PORT_NOT_ALLOWED),
        ("GET", "http://pypi.example.com:443/simple/", {}, Reason.SCHEME_NOT_ALLOWED),
        ("POST", "https://pypi.example.com/simple/", {}, Reason.METHOD_NOT_ALLOWED),
        ("GET", "https://a.pypi.example.com/simple/", {}, Reason.HOST_NOT_LISTED),
        ("GET", "https://evil-pypi.example.com/simple/", {}, Reason.HOST_NOT_LISTED),
        ("GET", "https://pypi.example.com.evil.com/simple/", {}, Reason.HOST_NOT_LISTED),
        ("GET", "https://api.example.com/v1/a/items?page=1&size=2", {}, Reason.ALLOWED_BY_RULE),
        ("GET", "https://api.example.com/v1/a/items?page=1&sizes=2", {}, Reason.QUERY_NOT_ALLOWED),
        ("GET", "https://api.example.com/v1/a/items?Page=1", {}, Reason.QUERY_NOT_ALLOWED),
        ("GET", "https://api.example.com/v1/a/b/items", {}, Reason.PATH_NOT_ALLOWED),
        ("POST", "https://api.example.com/v1/a/items", {}, Reason.ALLOWED_BY_RULE),
        (
            "POST", "https://api.example.com/v1/a/items",
            {"content_type": "application/json; charset=utf-8", "content_length": 1024}, Reason.ALLOWED_BY_RULE,
        ),
        (
            "POST", "https://api.example.com/v1/a/items",
            {"content_type": "application/json", "content_length": 1025}, Reason.BODY_TOO_LARGE,
        ),
        ("POST", "https://api.example.com/v1/a/items", {"content_length": 5}, Reason.CONTENT_TYPE_NOT_ALLOWED),
        (
            "POST", "https://api.example.com/v1/a/items",
            {"content_type": "application/json; x", "content_length": 5}, Reason.CONTENT_TYPE_NOT_ALLOWED,
        ),
        (
            "POST", "https://api.example.com/v1/a/items",
            {"content_type": "text/plain", "chunked": True}, Reason.CONTENT_TYPE_NOT_ALLOWED,
        ),
        ("GET", "http://a.mirror.example.com:8080/x?any=1", {}, Reason.ALLOWED_BY_RULE),
        ("GET", "https://a.b.mirror.example.com:8080/x", {}, Reason.ALLOWED_BY_RULE),
        ("GET", "https://mirror.example.com:8080/x", {}, Reason.HOST_NOT_LISTED),
        ("GET", "https://bad.mirror.example.com:8080/x", {}, Reason.HOST_DENIED_BY_RULE),
        ("GET", "https://a.mirror.example.com:8080/private/x", {}, Reason.REQUEST_DENIED_BY_RULE),
    ],
)  # fmt: skip
def test_a_rule_allows_what_it_says_and_no_more_c9(
    method: str, url: str, more: dict[str, object], expected: Reason
) -> None:
    verdict = LISTED.judge(request(url, method, **more))
    assert verdict.reason is expected
    assert verdict.allowed == (expected is Reason.ALLOWED_BY_RULE)
    assert verdict.detail
    assert verdict.allowed or verdict.mend


def test_a_verdict_names_its_rule_by_file_and_line() -> None:
    assert LISTED.judge(request("https://pypi.example.com/simple/")).rule == "acme.yaml:4 rules[0] 'index'"
    assert LISTED.judge(request("https://pypi.example.com/other")).rule == "acme.yaml:4 rules[0] 'index'"


def test_an_allowed_body_has_a_limit_for_the_stream() -> None:
    facts = request(
        "https://api.example.com/v1/a/items", "POST", content_type="application/json", chunked=True
    )
    assert LISTED.judge(facts).max_body == 1024
    capped = compiled("""
        caps: {request_body: 10B}
        rules: [{name: up, hosts: [a.example.com], methods: [PUT], content_types: [text/plain]}]
        """)
    put = request("https://a.example.com/", "PUT", content_type="text/plain", chunked=True)
    assert capped.judge(put).max_body == 10
    put = request("https://a.example.com/", "PUT", content_type="text/plain", content_length=11)
    assert capped.judge(put).reason is Reason.BODY_TOO_LARGE


def test_caps_hold_for_every_rule_f1() -> None:
    policy = compiled("""
        caps: {uri: 100B, headers: 200B}
        rules: [{name: a, hosts: [a.example.com]}]
        """)
    for url in ("https://a.example.com/", "https://other.example.com/"):
        assert policy.judge(request(url, uri_bytes=100, header_bytes=200)).allowed
        assert reason(policy, url, uri_bytes=101) is Reason.URI_TOO_LONG
        assert reason(policy, url, header_bytes=201) is Reason.HEADERS_TOO_LARGE


def test_a_rule_adds_to_read_only_web_and_a_deny_rule_takes_away() -> None:
    policy = compiled("""
        rules:
          - {name: hook, hosts: [hooks.example.com], methods: [POST], paths: [/in]}
          - {name: never, effect: deny, hosts: ["*.ads.example.com", ads.example.com]}
        """)
    assert policy.judge(request("https://hooks.example.com/in", "POST")).allowed
    assert policy.judge(request("https://hooks.example.com/elsewhere")).allowed
    assert reason(policy, "https://hooks.example.com/out", "POST") is Reason.PATH_NOT_ALLOWED
    assert reason(policy, "https://x.ads.example.com/") is Reason.HOST_DENIED_BY_RULE
    assert policy.judge_name(host("x.ads.example.com")).reason is Reason.HOST_DENIED_BY_RULE


def test_a_named_policy_counts_like_own_rules() -> None:
    policy = compiled(
        "profile: allowlist\nuse: [pypi]",
        named={"pypi": "rules: [{name: index, hosts: [pypi.example.com]}]"},
    )
    verdict = policy.judge(request("https://pypi.example.com/"))
    assert verdict.allowed
    assert verdict.rule == "policies/pypi.yaml:1 rules[0] 'index'"
