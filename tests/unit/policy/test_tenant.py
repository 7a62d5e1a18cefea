"""The evaluator: who wins, what is denied by absence, and that its three questions agree."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.policy.compile_rule import Origin, compile_rules
from appliance.policy.documents import OperatorRule, Rule
from appliance.policy.rules import RuleIndex
from appliance.policy.tenant import PrivateException, Profile, TenantPolicy
from appliance.policy.verdict import Reason, RequestFacts
from appliance.yamldoc import Document
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
    assert reason(READ_ONLY, "https://ok.example.com/dns-query?dns=AAAB") is Reason.PATH_NOT_ALLOWED


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


def test_an_upgrade_is_denied_e12_e13() -> None:
    assert reason(READ_ONLY, "https://ok.example.com/", upgrade="websocket") is Reason.UPGRADE_NOT_ALLOWED
    api = "https://api.example.com/v1/a/items"
    assert reason(LISTED, api) is Reason.ALLOWED_BY_RULE
    assert reason(LISTED, api, upgrade="websocket") is Reason.UPGRADE_NOT_ALLOWED


SOCKETS = """
    profile: %s
    rules:
      - name: live
        hosts: [live.example.com]
        paths: [/feed]
        query: [room]
        upgrade: websocket
        subprotocols: [chat, superchat]
        max_body: 1KiB
    """
FEED = "https://live.example.com/feed"


@pytest.mark.parametrize("profile", Profile)
def test_a_rule_with_upgrade_allows_a_websocket_e13(profile: Profile) -> None:
    policy = compiled(SOCKETS % profile)
    verdict = policy.judge(request(FEED + "?room=1", upgrade="websocket", subprotocols=("chat",)))
    assert (verdict.reason, verdict.upgrade, verdict.max_body) == ("allowed-by-rule", "websocket", 1024)
    assert policy.judge(request(FEED, upgrade="websocket")).allowed
    assert policy.judge_host("https", host("live.example.com"), 443).allowed
    for url, more, expected in (
        (FEED, {"upgrade": "h2c"}, Reason.UPGRADE_NOT_ALLOWED),
        (FEED, {"upgrade": "websocket, h2c"}, Reason.UPGRADE_NOT_ALLOWED),
        (FEED, {"upgrade": ""}, Reason.UPGRADE_NOT_ALLOWED),
        (FEED, {"upgrade": "websocket", "subprotocols": ("chat", "mqtt")}, Reason.SUBPROTOCOL_NOT_ALLOWED),
        (FEED, {"upgrade": "websocket", "subprotocols": ("",)}, Reason.SUBPROTOCOL_NOT_ALLOWED),
        (FEED, {"upgrade": "websocket", "method": "HEAD"}, Reason.UPGRADE_NOT_ALLOWED),
        (FEED, {"upgrade": "websocket", "content_length": 1}, Reason.BODY_NOT_ALLOWED),
    ):
        assert reason(policy, url, **more) is expected
    for url in (FEED + "?x=1", FEED + "/x", "http://live.example.com/feed", "https://x.example.com/feed"):
        assert not policy.judge(request(url, upgrade="websocket")).allowed
        assert reason(compiled(SOCKETS % "read-only-web"), url, upgrade="websocket") in {
            Reason.UPGRADE_NOT_ALLOWED, Reason.SCHEME_NOT_ALLOWED,
        }  # fmt: skip


def test_and_nothing_else() -> None:
    """One page that may be read, and one that may be spoken to, are two rules."""
    policy = compiled(SOCKETS % "allowlist")
    assert reason(policy, FEED) is Reason.UPGRADE_REQUIRED
    assert "opens no WebSocket" in policy.judge(request(FEED)).detail
    assert reason(policy, FEED, "POST") is Reason.METHOD_NOT_ALLOWED
    assert compiled(SOCKETS % "read-only-web").judge(request(FEED)).upgrade is None


def test_what_may_be_sent_in_a_websocket_is_bounded_by_the_cap() -> None:
    policy = compiled("""
        caps: {request_body: 10B}
        rules: [{name: up, hosts: [a.example.com], upgrade: websocket}]
        """)
    assert policy.judge(request("https://a.example.com/", upgrade="websocket")).max_body == 10


def test_no_exception_and_no_deny_rule_is_passed_by_an_upgrade() -> None:
    policy = compiled(
        """
        rules:
          - {name: live, hosts: [live.example.com], upgrade: websocket}
          - {name: not there, effect: deny, hosts: [live.example.com], paths: [/admin/**]}
        """,
        "exceptions: [{tenant: acme, cidr: 10.20.0.0/24, port: 443, name: db.example.com}]",
    )
    assert (
        reason(policy, "https://live.example.com/admin/x", upgrade="websocket")
        is Reason.REQUEST_DENIED_BY_RULE
    )
    assert policy.judge(request("https://db.example.com/")).allowed
    assert reason(policy, "https://db.example.com/", upgrade="websocket") is Reason.UPGRADE_NOT_ALLOWED


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


# ── the operator's layer ───────────────────────────────────────────────────────────────────────────────────

OPERATOR = """
    allow:
      - {hosts: [always.example.com, registry.corp.internal], methods: [GET, HEAD, POST], content_types: [text/plain]}
      - {hosts: [both.example.com], methods: [GET, HEAD, OPTIONS]}
    deny:
      - {name: nowhere, hosts: ["*.evil.example.com"]}
      - {hosts: [both.example.com], methods: [GET]}
      - {hosts: [files.example.com], paths: ["/secret/**"]}
      - {hosts: ["*.com.evil.internal"]}
    """


def test_operator_deny_over_operator_allow_over_tenant_deny_over_tenant_allow() -> None:
    policy = compiled(
        """
        rules:
          - {name: no, effect: deny, hosts: [always.example.com]}
          - {name: yes, hosts: [both.example.com, a.evil.example.com]}
        """,
        OPERATOR,
    )
    assert reason(policy, "https://always.example.com/") is Reason.ALLOWED_BY_OPERATOR
    assert reason(policy, "https://both.example.com/") is Reason.REQUEST_DENIED_BY_OPERATOR
    assert reason(policy, "https://both.example.com/", "HEAD") is Reason.ALLOWED_BY_OPERATOR
    assert reason(policy, "https://a.evil.example.com/") is Reason.HOST_DENIED_BY_OPERATOR
    assert policy.judge_name(host("a.evil.example.com")).reason is Reason.HOST_DENIED_BY_OPERATOR
    assert policy.judge_host(None, host("a.evil.example.com"), 22).reason is Reason.HOST_DENIED_BY_OPERATOR
    assert reason(policy, "https://files.example.com/secret/a") is Reason.REQUEST_DENIED_BY_OPERATOR
    assert policy.judge(request("https://files.example.com/open")).allowed
    assert policy.judge_name(host("files.example.com")).allowed


def test_only_the_operator_opens_a_name_outside_the_public_dns() -> None:
    policy = compiled("profile: allowlist", OPERATOR)
    assert policy.judge(request("https://registry.corp.internal/")).reason is Reason.ALLOWED_BY_OPERATOR
    assert policy.judge_name(host("registry.corp.internal")).allowed
    assert reason(policy, "https://other.corp.internal/") is Reason.NAME_NOT_PUBLIC
    # The rule that was nearest is named, not only the class of the name.
    assert reason(policy, "https://registry.corp.internal/", "DELETE") is Reason.METHOD_NOT_ALLOWED


def test_passthrough_is_the_operators_and_yields_to_its_deny_rules() -> None:
    operator = """
        passthrough:
          - {hosts: [pinned.example.com, files.example.com], tenants: [acme]}
          - {hosts: [other.example.com], tenants: [other]}
        deny:
          - {hosts: [files.example.com], paths: ["/secret/**"]}
        """
    policy = compiled("profile: allowlist", operator)
    pinned = host("pinned.example.com")
    assert policy.passthrough(pinned, 443)
    assert policy.judge_host("https", pinned, 443).reason is Reason.ALLOWED_BY_PASSTHROUGH
    assert policy.judge_host(None, pinned, 443).allowed
    assert policy.judge_name(pinned).allowed
    assert not policy.passthrough(pinned, 22)
    assert not policy.judge_host("http", pinned, 443).allowed
    assert not policy.judge(request("http://pinned.example.com/")).allowed
    assert not policy.passthrough(host("other.example.com"), 443)
    # Paths are denied there, so requests must be read.
    assert not policy.passthrough(host("files.example.com"), 443)


# ── addresses and exceptions ───────────────────────────────────────────────────────────────────────────────

EXCEPTED = """
    exceptions:
      - {tenant: acme, cidr: 10.20.0.0/24, port: 443}
      - {tenant: acme, cidr: 10.30.0.0/24, port: 5432, name: db.corp.internal}
      - {tenant: other, cidr: 10.40.0.0/24, port: 443}
    """


@pytest.mark.parametrize(
    ("name", "port", "address", "expected"),
    [
        ("a.example.com", 443, "1.1.1.1", Reason.PUBLIC_ADDRESS),
        ("a.example.com", 443, "2606:4700::1", Reason.PUBLIC_ADDRESS),
        ("a.example.com", 443, "10.0.1.5", Reason.PRIVATE_ADDRESS),
        ("a.example.com", 443, "169.254.169.254", Reason.PRIVATE_ADDRESS),
        ("a.example.com", 443, "::ffff:10.20.0.5", Reason.PRIVATE_ADDRESS),
        ("a.example.com", 443, "10.20.0.5", Reason.ALLOWED_BY_EXCEPTION),
        ("a.example.com", None, "10.20.0.5", Reason.ALLOWED_BY_EXCEPTION),
        ("a.example.com", 80, "10.20.0.5", Reason.PRIVATE_ADDRESS),
        ("a.example.com", 443, "10.20.1.5", Reason.PRIVATE_ADDRESS),
        ("a.example.com", 443, "10.40.0.5", Reason.PRIVATE_ADDRESS),
        ("a.example.com", 5432, "10.30.0.5", Reason.PRIVATE_ADDRESS),
        ("db.corp.internal", 5432, "10.30.0.5", Reason.ALLOWED_BY_EXCEPTION),
        ("10.20.0.5", 443, "10.20.0.5", Reason.ALLOWED_BY_EXCEPTION),
        ("10.20.0.5", 443, "10.20.0.6", Reason.PRIVATE_ADDRESS),
        ("10.20.0.5", 443, "1.1.1.1", Reason.HOST_IS_ADDRESS),
        ("1.1.1.1", 443, "1.1.1.1", Reason.HOST_IS_ADDRESS),
        ("10.30.0.5", 5432, "10.30.0.5", Reason.PRIVATE_ADDRESS),
    ],
)
def test_addresses_b7_c12_g3(name: str, port: int | None, address: str, expected: Reason) -> None:
    verdict = compiled("profile: read-only-web", EXCEPTED).judge_address(
        host(name), port, ip_address(address)
    )
    assert verdict.reason is expected
    assert verdict.allowed == (expected in {Reason.PUBLIC_ADDRESS, Reason.ALLOWED_BY_EXCEPTION})


def test_an_exception_opens_its_address_for_reading_and_nothing_else() -> None:
    policy = compiled("profile: read-only-web", EXCEPTED)
    assert reason(policy, "https://10.20.0.5/") is Reason.ALLOWED_BY_EXCEPTION
    assert reason(policy, "https://10.20.0.5/", "POST") is Reason.METHOD_NOT_ALLOWED
    assert reason(policy, "http://10.20.0.5/") is Reason.HOST_IS_ADDRESS
    assert reason(policy, "https://10.20.1.5/") is Reason.HOST_IS_ADDRESS
    assert reason(policy, "http://db.corp.internal:5432/") is Reason.ALLOWED_BY_EXCEPTION
    assert reason(policy, "https://db.corp.internal/") is Reason.NAME_NOT_PUBLIC
    assert policy.judge_name(host("db.corp.internal")).allowed


def test_an_exception_lists_no_host_for_an_allowlist() -> None:
    bare = compiled("profile: allowlist", EXCEPTED)
    assert reason(bare, "https://10.20.0.5/") is Reason.HOST_NOT_LISTED
    ruled = compiled(
        "profile: allowlist\nrules: [{name: a, hosts: [10.20.0.5], methods: [PUT], content_types: [text/plain]}]",
        EXCEPTED,
    )
    put = request("https://10.20.0.5/", "PUT", content_type="text/plain", content_length=1)
    assert ruled.judge(put).reason is Reason.ALLOWED_BY_RULE


def test_an_address_behind_the_operators_nat64_prefix_is_not_public_c11() -> None:
    policy = TenantPolicy("acme", profile=READ_ONLY.profile, nat64_prefixes=(IPv6Network("2a00:64::/96"),))
    hidden = ip_address("2a00:64::a9fe:a9fe")
    assert policy.judge_address(host("a.example.com"), 443, hidden).reason is Reason.PRIVATE_ADDRESS
    assert READ_ONLY.judge_address(host("a.example.com"), 443, hidden).allowed


# ── agreement ──────────────────────────────────────────────────────────────────────────────────────────────

_NAMES = st.sampled_from(
    ["a.example.com", "b.a.example.com", "c.b.a.example.com", "evil.example.com", "x.evil.example.com",
     "db.corp.internal", "10.20.0.5", "1.1.1.1", "localhost", "dns.google", "pin.example.com"]
)  # fmt: skip
_PATTERNS = st.sampled_from(
    ["a.example.com", "*.a.example.com", "*.example.com", "evil.example.com", "*.evil.example.com", "dns.google",
     "db.corp.internal", "10.20.0.5", "pin.example.com"]
)  # fmt: skip
_METHODS = st.sampled_from(["GET", "HEAD", "POST", "DELETE"])
_SCHEMES = st.sampled_from(["http", "https"])
_PORTS = st.sampled_from([80, 443, 5432, 8080])
_PATHS = st.sampled_from(["/", "/a", "/a/b", "/a/b/c"])
_UPGRADES = st.sampled_from([None, None, "websocket", "h2c"])
_REQUESTS = st.builds(RequestFacts, _METHODS, _SCHEMES, _NAMES.map(host), _PORTS, _PATHS, upgrade=_UPGRADES)


def _maybe(strategy: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | st.lists(strategy, min_size=1, max_size=2, unique=True)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, object]:
    written: dict[str, object] = {
        "hosts": draw(st.lists(_PATTERNS, min_size=1, max_size=2, unique=True)),
        "ports": draw(_maybe(_PORTS)),
        "schemes": draw(_maybe(_SCHEMES)),
        "methods": draw(_maybe(_METHODS)),
        "paths": draw(_maybe(st.sampled_from(["/**", "/a", "/a/**", "/*/b"]))),
        "upgrade": draw(st.sampled_from([None, None, "websocket"])),
    }
    return {key: value for key, value in written.items() if value is not None}


@st.composite
def policies(draw: st.DrawFn) -> TenantPolicy:
    nowhere = Document(None, {}, "generated.yaml")

    def layer(key: str, items: list[dict[str, object]], origin: Origin) -> list[object]:
        models = [
            OperatorRule.model_validate(item) if origin is Origin.OPERATOR
            else Rule.model_validate({**item, "name": f"r{i}", "effect": "deny" if key == "deny" else "allow"})
            for i, item in enumerate(items)
        ]  # fmt: skip
        placed, _ = compile_rules(nowhere, (key,), models, origin)
        return [(p.pattern, p.rule) for p in placed]

    few = st.lists(rules(), max_size=3)
    operator = layer("allow", draw(few), Origin.OPERATOR) + layer("deny", draw(few), Origin.OPERATOR)
    own = layer("allow", draw(few), Origin.TENANT) + layer("deny", draw(few), Origin.TENANT)
    exceptions = draw(st.lists(st.sampled_from([
        PrivateException(IPv4Network("10.20.0.0/24"), 443, None, "e0"),
        PrivateException(IPv4Network("10.30.0.0/24"), 5432, host("db.corp.internal"), "e1"),
    ]), unique=True))  # fmt: skip
    return TenantPolicy(
        "acme",
        profile=draw(st.sampled_from(Profile)),
        operator=RuleIndex(operator),
        own=RuleIndex(own),
        exceptions=tuple(exceptions),
        passthrough=draw(st.sampled_from([{}, {("pin.example.com", 443): "p0"}])),
    )


@given(policies(), _REQUESTS)
def test_an_allowed_request_has_an_allowed_host_and_name(policy: TenantPolicy, facts: RequestFacts) -> None:
    allowed = policy.judge(facts).allowed
    by_scheme = policy.judge_host(facts.scheme, facts.host, facts.port).allowed
    unknown = policy.judge_host(None, facts.host, facts.port).allowed
    assert by_scheme or not allowed
    assert unknown or not by_scheme
    assert policy.judge_name(facts.host).allowed or not unknown
    if policy.passthrough(facts.host, facts.port):
        assert policy.judge_host("https", facts.host, facts.port).allowed


@given(policies(), _REQUESTS)
def test_only_a_websocket_that_was_asked_for_is_ever_allowed(
    policy: TenantPolicy, facts: RequestFacts
) -> None:
    verdict = policy.judge(facts)
    assert verdict.upgrade == (facts.upgrade if verdict.allowed else None)
    assert verdict.upgrade in {None, "websocket"}
    if verdict.upgrade:
        assert (facts.method, verdict.reason) in {
            ("GET", Reason.ALLOWED_BY_RULE), ("GET", Reason.ALLOWED_BY_OPERATOR),
        }  # fmt: skip


@given(policies(), _REQUESTS)
def test_what_was_consulted_agrees_with_the_verdict(policy: TenantPolicy, facts: RequestFacts) -> None:
    verdict = policy.judge(facts)
    seen = list(policy.consulted(facts))
    if verdict.reason in {Reason.ALLOWED_BY_OPERATOR, Reason.ALLOWED_BY_RULE}:
        assert any(c.rule == verdict.rule and c.result == "allows" for c in seen)
    if verdict.allowed:
        assert not any(c.stage == "operator deny" and c.result == "denies" for c in seen)
    if verdict.reason in {Reason.ALLOWED_BY_PROFILE, Reason.ALLOWED_BY_RULE, Reason.ALLOWED_BY_EXCEPTION}:
        assert not any(c.stage == "tenant deny" and c.result == "denies" for c in seen)
