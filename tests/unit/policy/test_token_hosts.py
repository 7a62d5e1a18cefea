"""Token hosts: named by the platform, for the broker alone, below the operator's denials."""

from __future__ import annotations

import pytest

from appliance.policy.bound import CompiledAccount
from appliance.policy.catalog import Catalog
from appliance.policy.slot import EXCHANGED_KINDS
from appliance.policy.tenant import Profile, TenantPolicy
from appliance.policy.token_hosts import judge_exchange, judge_token_host
from appliance.policy.verdict import Reason
from tests.unit.policy.bindings import CRM, account_faults, bound_policy, definition, faults_of_definition
from tests.unit.policy.written import host, request

KINDS = "secrets: [static, oauth2-refresh]\n"
NAMED = CRM.replace("secrets: [static]\n", KINDS + "token_hosts: [{host: Login.crm.example, port: 8443}]\n")
ASKING = CRM.replace("secrets: [static]\n", KINDS + "token_host: ask\n")
ONE = "accounts: [{name: crm-acme, integration: crm, tenants: [acme]%s}]"
TOKENS = "https://login.crm.example:8443/token"


def policy(operator: str | None = None, text: str = NAMED, more: str = "") -> TenantPolicy:
    return bound_policy(ONE % more, {"crm": text}, operator, Profile.ALLOWLIST)


def account(text: str, more: str = "") -> CompiledAccount:
    found = policy(text=text, more=more).account("crm-acme")
    assert found is not None
    return found


def test_a_definition_names_its_token_hosts() -> None:
    assert account(NAMED).token_hosts == {("login.crm.example", 8443)}
    assert account(CRM).token_hosts == frozenset()


def test_where_the_definition_asks_the_account_says_or_means_its_own_host() -> None:
    assert account(ASKING).token_hosts == {("api.crm.example", 443)}
    said = account(ASKING, ", token_hosts: [{host: id.example, port: 443}, {host: id.example, port: 444}]")
    assert said.token_hosts == {("id.example", 443), ("id.example", 444)}
    (line,) = account_faults(ONE % ", token_hosts: [{host: id.example, port: 443}]", own={"crm": NAMED})
    assert "crm does not ask for token_hosts; leave them out" in line


@pytest.mark.parametrize(
    ("written", "word"),
    [
        ("[{host: '*.crm.example', port: 443}]", "stands for many hosts"),
        ("[{host: 192.0.2.1, port: 443}]", "is an address"),
        ("[{host: a.example}]", "token_hosts[0].port is missing"),
        ("[{port: 443}]", "token_hosts[0].host is missing"),
        ("[{host: a.example, port: 0}]", "token_hosts[0].port"),
        ("[{host: a.example, port: 443, path: /}]", "unknown key 'path'"),
        ("[{host: a.example, port: 443}, {host: A.example, port: 443}]", "a.example:443 is listed twice"),
        ("[a.example]", "must hold keys and values"),
        ("[]", "token_hosts is empty"),
    ],
)
def test_004_18_a_token_host_is_one_host_and_its_port(written: str, word: str) -> None:
    text = CRM.replace("secrets: [static]\n", f"{KINDS}token_hosts: {written}\n")
    lines = faults_of_definition(text)
    assert any(word in line for line in lines), lines
    assert all(line.startswith("crm.yaml:9:") for line in lines), lines
    lines = account_faults(ONE % f", token_hosts: {written}", own={"crm": ASKING})
    assert any(word.replace("token_hosts", "accounts[0].token_hosts") in line for line in lines), lines


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (CRM.replace("secrets: [static]\n", KINDS), "crm.yaml:8:19: a secret of kind oauth2-refresh"),
        (NAMED.replace(KINDS, "secrets: [static]\n"), "none of static is exchanged for a token"),
        (NAMED.replace("token_hosts", "token_host: ask\ntoken_hosts"), "stand together"),
        (ASKING.replace("ask", "any"), "token_host: any is not known here"),
    ],
)
def test_what_is_exchanged_says_where(text: str, word: str) -> None:
    lines = faults_of_definition(text)
    assert any(word in line for line in lines), lines


def test_every_definition_that_comes_along_says_where_its_secrets_are_exchanged() -> None:
    exchanged = {
        name
        for name, found in Catalog().items()
        if found is not None and EXCHANGED_KINDS.intersection(found.document.secrets)
    }
    assert exchanged == {"gcp", "github", "github-enterprise", "rest", "rest-header", "rest-query", "slack"}
    (google,) = Catalog()["gcp"].document.token_hosts  # type: ignore[union-attr]  # it is there
    assert str(google) == "oauth2.googleapis.com:443"


def test_what_the_tenants_policy_denies_the_broker_may_reach_for_the_account_alone() -> None:
    asked = policy()
    where = host("login.crm.example")
    assert judge_token_host(asked, "crm-acme", where, 8443).allowed
    assert judge_token_host(asked, "crm-acme", where, None).allowed
    assert asked.judge_host("https", where, 8443).reason is Reason.HOST_NOT_LISTED
    assert asked.judge_name(where).reason is Reason.HOST_NOT_LISTED
    assert asked.judge(request(TOKENS, "POST")).reason is Reason.HOST_NOT_LISTED


@pytest.mark.parametrize(
    ("account_name", "name", "port"),
    [
        ("crm-acme", "login.crm.example", 443),
        ("crm-acme", "other.crm.example", 8443),
        ("crm-acme", "a.login.crm.example", 8443),
        ("crm-acme", "api.crm.example", 443),
        ("other", "login.crm.example", 8443),
    ],
)
def test_what_nobody_names_is_no_token_host(account_name: str, name: str, port: int) -> None:
    asked = bound_policy(ONE % "", {"crm": NAMED})  # its profile would allow reading there
    verdict = judge_token_host(asked, account_name, host(name), port)
    assert (verdict.allowed, verdict.reason) == (False, Reason.TOKEN_HOST_NOT_NAMED)


def test_the_operators_denials_stand_above() -> None:
    denied = policy("deny: [{hosts: [login.crm.example]}]")
    where = host("login.crm.example")
    for port in (8443, None):
        verdict = judge_token_host(denied, "crm-acme", where, port)
        assert (verdict.allowed, verdict.reason) == (False, Reason.HOST_DENIED_BY_OPERATOR)
    part = policy("deny: [{hosts: [login.crm.example], paths: [/token]}]")
    assert judge_token_host(part, "crm-acme", where, 8443).allowed
    assert (
        judge_exchange(part, "crm-acme", request(TOKENS, "POST")).reason is Reason.REQUEST_DENIED_BY_OPERATOR
    )
    assert judge_exchange(part, "crm-acme", request(f"{TOKENS}/2", "POST")).allowed
    assert not judge_exchange(part, "other", request(f"{TOKENS}/2", "POST")).allowed


def test_without_a_policy_and_by_address_there_is_no_token_host() -> None:
    none = TenantPolicy("acme", bound=policy().bound)
    assert judge_token_host(none, "crm-acme", host("login.crm.example"), 8443).reason is Reason.NO_POLICY
    by_address = judge_token_host(policy(), "crm-acme", host("192.0.2.1"), 8443)
    assert by_address.reason is Reason.HOST_IS_ADDRESS


def test_another_token_host_is_another_definition() -> None:
    assert definition(NAMED).digest != definition(NAMED.replace("8443", "8444")).digest
