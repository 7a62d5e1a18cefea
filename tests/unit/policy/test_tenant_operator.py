"""The evaluator on what is the operator's: the layer above a tenant's, passthrough, addresses and exceptions."""

from __future__ import annotations

from ipaddress import IPv6Network, ip_address

import pytest

from appliance.policy.tenant import TenantPolicy
from appliance.policy.verdict import Reason
from tests.unit.policy.test_tenant import READ_ONLY, reason
from tests.unit.policy.written import compiled, host, request

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
