"""A verdict that a policy remembers is the one that it would come to anew."""

from __future__ import annotations

from ipaddress import IPv4Address
from itertools import product
from typing import Any

import pytest

from appliance.policy import tenant
from appliance.policy.tenant import TenantPolicy
from appliance.policy.verdict import RequestFacts
from tests.unit.policy.written import compiled, host, request

RULES = """
    profile: {profile}
    caps: {{uri: 64B, headers: 256B}}
    rules:
      - {{name: files, hosts: [files.example.com], paths: [/a/**, /b/*]}}
      - {{name: below, hosts: ['*.example.org'], ports: [443, 8443]}}
      - {{name: admin, effect: deny, hosts: ['*.example.org', files.example.com], paths: [/a/admin/**]}}
      - {{name: keys, hosts: [files.example.com], paths: [/q/**], query: [key]}}
      - {{name: writes, hosts: [api.example.com], methods: [GET, POST], content_types: [application/json]}}
      - {{name: live, hosts: [api.example.com], paths: [/live], upgrade: websocket}}
"""
OPERATOR = "exceptions: [{tenant: acme, cidr: 10.1.2.0/24, port: 443}]\n"
PLAIN = request("https://files.example.com/a/b")
HOSTS = (
    "files.example.com", "x.example.org", "api.example.com", "www.example.net", "dns.google", "home.lan", "10.1.2.3",
)  # fmt: skip
PATHS = ("/", "/a/b", "/a/admin/x", "/b/c", "/q/z", "/live", "/dns-query", "/a/%2F")
ALIKE: tuple[dict[str, Any], ...] = (
    {},
    {"method": "HEAD"},
    {"method": "POST"},
    {"method": "PURGE"},
    {"scheme": "http", "port": 80},
    {"port": 8443},
    {"query": (("key", "1"),)},
    {"query": (("other", "1"),)},
    {"method": "POST", "content_type": "application/json", "content_length": 5},
    {"method": "POST", "content_type": "text/plain", "chunked": True},
    {"content_length": 5},
    {"uri_bytes": 65},
    {"header_bytes": 257},
    {"upgrade": "websocket"},
    {"upgrade": "websocket", "subprotocols": ("chat",)},
    {"upgrade": "h2c"},
)


def policy(profile: str) -> TenantPolicy:
    return compiled(RULES.format(profile=profile), OPERATOR)


def all_requests() -> list[RequestFacts]:
    return [
        PLAIN._replace(host=host(name), path=path, **more)
        for name, path, more in product(HOSTS, PATHS, ALIKE)
    ]


@pytest.mark.parametrize("profile", ["allowlist", "read-only-web"])
def test_requests_that_differ_in_one_thing_are_told_apart(
    profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembering, asked = policy(profile), all_requests()
    twice = [[remembering.judge(facts) for facts in asked] for _ in range(2)]
    monkeypatch.setattr(tenant, "MAX_REMEMBERED_PATH", -1)
    never = policy(profile)
    anew = [never.judge(facts) for facts in asked]
    assert not never._remembered
    assert twice == [anew, anew]
    assert len({verdict.reason for verdict in anew}) > 10


def test_a_plain_request_that_comes_again_is_not_judged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    remembering = policy("allowlist")
    first = remembering.judge(PLAIN)
    monkeypatch.setattr(TenantPolicy, "_judge_fit", None)
    assert remembering.judge(PLAIN._replace(header_bytes=200)) is first
    assert remembering.judge(PLAIN._replace(header_bytes=300)).reason == "headers-too-large"


def test_another_policy_remembers_nothing_of_it() -> None:
    assert policy("allowlist").judge(PLAIN).allowed
    assert not compiled("profile: allowlist\n").judge(PLAIN).allowed


def test_what_is_remembered_is_bounded() -> None:
    remembering = policy("read-only-web")
    for number in range(1000):
        remembering.judge(PLAIN._replace(path=f"/{number}"))
        assert len(remembering._remembered) <= tenant.MAX_REMEMBERED
    remembering.judge(PLAIN._replace(path="/" + "x" * tenant.MAX_REMEMBERED_PATH))
    remembering.judge(PLAIN._replace(host=IPv4Address("10.1.2.3")))
    assert all(len(path) <= tenant.MAX_REMEMBERED_PATH for *_, path in remembering._remembered)
    assert not any(text == "10.1.2.3" for _, _, text, _, _ in remembering._remembered)


def test_where_no_rule_speaks_of_the_host_plain_paths_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    remembering, other = policy("read-only-web"), PLAIN._replace(host=host("nobody-speaks-of.example"))
    first = remembering.judge(other)
    assert first.allowed
    assert not remembering.judge(other._replace(path="/x/dns-query")).allowed
    assert not remembering.judge(other._replace(path="/a%2Fb")).allowed
    monkeypatch.setattr(TenantPolicy, "_judge_fit", None)
    assert remembering.judge(other._replace(path="/never-seen")) is first
