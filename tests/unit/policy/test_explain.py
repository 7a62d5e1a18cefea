"""`explain` gives the enforcing evaluator's verdict, step by step (attack G6)."""

from __future__ import annotations

import pytest

from appliance.policy.explain import explain
from appliance.policy.set import PolicySet
from tests.unit.policy.bindings import bound_policy
from tests.unit.policy.written import compiled

POLICIES = PolicySet(
    {
        "acme": compiled(
            """
            rules:
              - {name: live, hosts: [live.example.com], paths: [/feed], upgrade: websocket}
              - {name: hook, hosts: [hooks.example.com], methods: [POST], paths: [/in], content_types: [text/plain]}
            """,
            """
            passthrough: [{hosts: [pinned.example.com]}]
            exceptions: [{tenant: acme, cidr: 10.20.0.0/24, port: 443}]
            """,
        )
    }
)


@pytest.mark.parametrize(
    ("method", "url", "checks", "reason"),
    [
        ("GET", "https://a.example.com/x?y=z", ["name", "host", "request"], "allowed-by-profile"),
        ("POST", "https://a.example.com/", ["name", "host", "request"], "method-not-allowed"),
        ("POST", "https://hooks.example.com/in", ["name", "host", "request"], "allowed-by-rule"),
        ("POST", "https://hooks.example.com/a/../in", ["name", "host", "request"], "allowed-by-rule"),
        ("GET", "https://a.example.com:22/", ["name", "host"], "port-not-allowed"),
        ("GET", "http://a.example.com:22/", ["name", "request"], "port-not-allowed"),
        ("POST", "http://hooks.example.com/in", ["name", "request"], "method-not-allowed"),
        ("GET", "http://localhost/", ["name"], "name-not-public"),
        ("GET", "http://host.docker.internal/", ["name"], "name-not-public"),
        ("GET", "http://127.0.0.1/", ["name"], "host-is-address"),
        ("GET", "https://10.20.0.5/", ["name", "host", "request", "address"], "allowed-by-exception"),
        ("POST", "https://pinned.example.com/", ["host"], "allowed-by-passthrough"),
        ("GET", "http://pinned.example.com/", ["name", "request"], "allowed-by-profile"),
        ("GET", "http://2130706433/", ["syntax"], "request-malformed"),
        ("GET", "http://ok.com@evil/", ["syntax"], "request-malformed"),
        ("GET", "ftp://a.example.com/", ["syntax"], "request-malformed"),
        ("GET", "https://a.example.com/a%00", ["syntax"], "request-malformed"),
        ("GET", "wss://live.example.com/feed", ["name", "host", "request"], "allowed-by-rule"),
        ("GET", "WSS://live.example.com/feed", ["name", "host", "request"], "allowed-by-rule"),
        ("GET", "ws://live.example.com/feed", ["name", "request"], "upgrade-not-allowed"),
        ("GET", "wss://live.example.com/", ["name", "host", "request"], "upgrade-not-allowed"),
        ("GET", "wss://a.example.com/feed", ["name", "host", "request"], "upgrade-not-allowed"),
        ("POST", "wss://live.example.com/feed", ["name", "host", "request"], "upgrade-not-allowed"),
        ("GET", "wss://wss://live.example.com/feed", ["syntax"], "request-malformed"),
        ("GET", "ws:/live.example.com/feed", ["syntax"], "request-malformed"),
        ("GET", "", ["syntax"], "request-malformed"),
    ],
)
def test_steps_and_verdict(method: str, url: str, checks: list[str], reason: str) -> None:
    explanation = explain(POLICIES, "acme", method, url)
    assert [step.check for step in explanation.steps] == checks
    assert explanation.verdict.reason == reason
    assert all(step.verdict.allowed for step in explanation.steps[:-1])
    if explanation.facts is not None and "request" in checks:
        policy = POLICIES.for_tenant("acme")
        assert explanation.verdict == policy.judge(explanation.facts)


def test_a_plain_request_is_explained_by_what_judges_it() -> None:
    listed = "profile: allowlist\nrules:\n  - {name: site, hosts: [a.example.com]}\n"
    policies = PolicySet({"acme": compiled(listed)})
    found = explain(policies, "acme", "GET", "http://a.example.com/")
    assert found.facts is not None
    assert found.verdict == policies.for_tenant("acme").judge(found.facts)


def test_a_body_can_be_asked_about_and_the_rules_are_listed() -> None:
    url = "https://hooks.example.com/in"
    found = explain(POLICIES, "acme", "POST", url, content_type="text/html", content_length=3)
    assert found.verdict.reason == "content-type-not-allowed"
    assert [(c.stage, c.result) for c in found.consulted] == [("tenant allow", "content-type-not-allowed")]
    assert explain(POLICIES, "acme", "POST", url, content_type="text/plain", content_length=3).verdict.allowed


def test_an_unknown_tenant() -> None:
    assert explain(POLICIES, "ghost", "GET", "https://a.example.com/").verdict.reason == "no-policy"


def test_an_integration_account_is_named_with_its_group() -> None:
    policies = PolicySet({"acme": bound_policy("accounts: [{name: a, integration: crm, tenants: [acme]}]")})
    found = explain(policies, "acme", "GET", "https://api.crm.example/data/1")
    assert [(s.check, s.verdict.account) for s in found.steps] == [
        ("name", "a"),
        ("host", "a"),
        ("request", "a"),
    ]
    assert [s.verdict.group for s in found.steps] == [None, None, "read"]
    assert found.steps[0].verdict.rule == "accounts.yaml:1 accounts[0] 'a'"
    assert (found.verdict.account, found.verdict.group) == ("a", "read")
    assert [(c.stage, c.result) for c in found.consulted] == [
        ("integration allow", "allows"), ("integration allow", "method-not-allowed"),
    ]  # fmt: skip
    above = "allow: [{hosts: [api.crm.example], methods: [DELETE]}]\ndeny: [{hosts: [api.crm.example], ports: [8443]}]"
    also = PolicySet(
        {"acme": bound_policy("accounts: [{name: a, integration: crm, tenants: [acme]}]", operator=above)}
    )
    stages = [c.stage for c in explain(also, "acme", "DELETE", "https://api.crm.example/data/1").consulted]
    assert stages == ["operator deny", "integration allow", "integration allow"]  # no other rule is asked
    refused = explain(policies, "acme", "DELETE", "https://api.crm.example/data/1")
    assert (refused.verdict.account, refused.verdict.reason) == (None, "method-not-allowed")
    assert "'a' group" in refused.verdict.rule
