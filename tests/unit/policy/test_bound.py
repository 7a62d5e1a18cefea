"""Accounts of a tenant: their hosts are theirs, by https on their port, and nobody else has a word there."""

from __future__ import annotations

import pytest

from appliance.policy.bound import Bound, CompiledAccount, CompiledGroup
from appliance.policy.hosts import HostPattern
from appliance.policy.paths import PathPattern
from appliance.policy.rules import AllowRule
from appliance.policy.slot import Slot
from appliance.policy.tenant import Profile, TenantPolicy
from appliance.policy.verdict import Outcome, Reason, Verdict
from tests.unit.policy.written import host, request


def rule(account: str = "crm") -> AllowRule:
    verdict = Verdict(
        Outcome.ALLOW, Reason.ALLOWED_BY_INTEGRATION, "accounts[0]", "", account=account, group="read"
    )
    return AllowRule(
        "accounts[0]", frozenset({("https", 443)}), frozenset({"GET"}), (PathPattern.parse("/data/**"),),
        frozenset({"page"}), frozenset(), False, 1000, verdict, repeatable=frozenset(),
    )  # fmt: skip


def bound(pattern: str) -> Bound:
    where = HostPattern.of(pattern)
    group = CompiledGroup("read", Slot(style="bearer"), "read")
    account = CompiledAccount(
        "crm", "crm", "CRM", "crm", frozenset({"static"}), (where,), 443, {"read": group}, "accounts[0]"
    )
    return Bound.of([account], [(where, rule())])


def policy(pattern: str) -> TenantPolicy:
    return TenantPolicy("acme", profile=Profile.READ_ONLY_WEB, bound=bound(pattern))


def test_an_account_carries_what_fits_its_group() -> None:
    verdict = policy("api.example.com").judge(request("https://api.example.com/data/1?page=2"))
    assert (verdict.allowed, verdict.reason) == (True, Reason.ALLOWED_BY_INTEGRATION)
    assert (verdict.account, verdict.group) == ("crm", "read")


@pytest.mark.parametrize(
    ("url", "method", "reason"),
    [
        ("https://api.example.com/other", "GET", Reason.PATH_NOT_ALLOWED),
        ("https://api.example.com/data/1", "HEAD", Reason.METHOD_NOT_ALLOWED),
        ("https://api.example.com/data/1?page=1&page=2", "GET", Reason.QUERY_NOT_ALLOWED),
        ("https://api.example.com/data/1?other=1", "GET", Reason.QUERY_NOT_ALLOWED),
    ],
)
def test_nothing_falls_through_to_the_profile(url: str, method: str, reason: Reason) -> None:
    asked = policy("api.example.com")
    for _ in range(2):  # the second verdict is a remembered one
        verdict = asked.judge(request(url, method))
        assert (verdict.allowed, verdict.reason, verdict.account) == (False, reason, None)
        assert "integration account" in verdict.mend


def test_a_remembered_verdict_of_a_path_is_not_that_of_another() -> None:
    asked = policy("api.example.com")
    assert asked.judge(request("https://api.example.com/data/1")).account == "crm"
    assert not asked.judge(request("https://api.example.com/other")).allowed
    assert asked.judge(request("https://api.example.com/data/2")).account == "crm"


@pytest.mark.parametrize("url", ["http://api.example.com/x", "https://www.example.com/x"])
def test_what_is_not_covered_is_the_profiles_and_carries_nothing(url: str) -> None:
    verdict = policy("api.example.com").judge(request(url))
    assert (verdict.allowed, verdict.reason, verdict.account) == (True, Reason.ALLOWED_BY_PROFILE, None)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("acme.my.salesforce.com", True),
        ("login.salesforce.com", True),
        ("salesforce.com", False),
        ("salesforce.com.evil.example", False),
        ("evilsalesforce.com", False),
        ("x.y.001.test.code-builder-stg.platform.salesforce.com", False),  # a public suffix below
    ],
)
def test_004_18_a_wildcard_is_for_names_of_one_owner(name: str, theirs: object) -> None:
    asked = policy("*.salesforce.com")
    assert (asked.judge(request(f"https://{name}/data/1")).account == "crm") is theirs
    account = asked.account("crm")
    assert account is not None
    assert account.covers(name, 443) is theirs
    assert not account.covers(name, 8443)


def test_a_host_is_opened_before_its_request_is_known() -> None:
    asked = TenantPolicy("acme", profile=Profile.ALLOWLIST, bound=bound("api.example.com"))
    name = host("api.example.com")
    assert asked.judge_name(name).allowed
    assert asked.judge_host(None, name, 443).allowed
    assert asked.judge_host("https", name, 443).reason is Reason.ALLOWED_BY_INTEGRATION
    assert not asked.judge_host("https", name, 8443).allowed
    assert not asked.judge_host("http", name, 80).allowed


def test_an_account_of_nobody() -> None:
    assert policy("api.example.com").account("other") is None
    assert TenantPolicy("acme").account("crm") is None
    assert list(policy("api.example.com").bound.covered()) == [(HostPattern("api.example.com"), 443)]
    assert not list(TenantPolicy("acme").bound.covered())


def test_a_passthrough_is_none_where_an_account_reads() -> None:
    asked = TenantPolicy(
        "acme", profile=Profile.READ_ONLY_WEB, bound=bound("api.example.com"),
        passthrough={("api.example.com", 443): "p0"},
    )  # fmt: skip
    assert not asked.passthrough(host("api.example.com"), 443)
    assert asked.judge_host("https", host("api.example.com"), 443).reason is Reason.ALLOWED_BY_INTEGRATION
