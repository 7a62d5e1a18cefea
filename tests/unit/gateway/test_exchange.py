from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from unittest.mock import Mock

import pytest

from appliance.audit.record import Outcome
from appliance.gateway import refusals
from appliance.gateway.exchange import Exchange
from appliance.gateway.origin import Origin
from appliance.policy.verdict import RequestFacts
from tests.unit.policy.written import compiled

from .carried import bound
from .support import PUBLIC, SITE, plain, request, web_policy


def exchange(*arguments) -> Exchange:
    return Exchange("id-1", request(*arguments), 0.0)


@pytest.mark.parametrize(
    ("method", "lines", "may"),
    [
        ("GET", (), True),
        ("HEAD", (), True),
        ("POST", (), False),
        ("DELETE", (), False),
        ("GET", ("Content-Length: 1",), False),
        ("GET", ("Transfer-Encoding: chunked",), False),
    ],
)
def test_only_what_does_no_harm_twice_is_repeated(method, lines, may) -> None:
    found = exchange("/", "site.net", method, *lines)
    assert found.may_be_repeated is may
    found.retried = True
    assert not found.may_be_repeated


def test_a_record_of_a_refusal_names_the_keys_of_the_query_and_no_value() -> None:
    found = exchange("/a/b?token=secret&x=1")
    found.status = 403
    record = found.record(plain(), 1.5, refusals.UPGRADE)
    assert (record.path, record.query_keys) == ("/a/b", ("token", "x"))
    assert "secret" not in str(record)
    assert (record.outcome, record.reason, record.status) == (Outcome.DENIED, "upgrade-not-allowed", 403)
    assert (record.tenant, record.endpoint, record.container, record.run) == ("acme", "e1", "c1", None)


def test_whether_a_newer_policy_would_allow_it_too_g5() -> None:
    found = exchange()
    policy = web_policy()
    assert not found.adopt(policy)
    found.origin = Origin("http", SITE, 80)
    found.facts = RequestFacts("GET", "http", SITE, 80)
    assert found.adopt(policy)
    found.address = PUBLIC
    assert found.adopt(policy)
    found.address = IPv4Address("10.0.0.1")
    assert not found.adopt(policy)
    found.address = None
    found.facts = RequestFacts("POST", "http", SITE, 80)
    assert not found.adopt(policy)


@pytest.mark.parametrize("what", ["request", "address"])
def test_a_policy_that_does_not_allow_it_binds_nothing(what: str) -> None:
    found, policy = exchange(), web_policy()
    found.facts = RequestFacts("GET", "http", SITE, 80)
    assert found.adopt(policy)
    found.flow = Mock()
    verdict = found.verdict
    if what == "address":
        found.address = IPv4Address("10.0.0.1")
    else:
        found.facts = RequestFacts("POST", "http", SITE, 80)
    assert not found.adopt(web_policy())
    assert found.policy is policy
    assert found.verdict is verdict
    assert found.flow.mock_calls == []


@pytest.mark.parametrize(
    ("before", "now", "still"),
    [
        (None, None, True),
        (None, "crm", False),
        ("crm", None, False),
        ("crm", "crm", True),
        ("erp", "crm", False),
    ],
)
def test_with_another_account_it_would_be_another_request_g5(before, now, still) -> None:
    found = exchange()
    found.facts = RequestFacts("GET", "http", SITE, 80)
    found.verdict = replace(web_policy().judge(found.facts), account=before)
    policy = web_policy(bound=None if now is None else bound())
    verdict = policy.judge(found.facts)
    assert (verdict.allowed, verdict.account) == (True, now)
    assert found.adopt(policy) is still


def test_the_policy_that_still_allows_it_is_the_one_that_decided() -> None:
    found = exchange()
    found.facts = RequestFacts("GET", "http", SITE, 80)
    found.policy = web_policy()
    found.verdict = found.policy.judge(found.facts)
    newer = compiled("rules: [{name: read, hosts: [site.net], schemes: [http]}]")
    found.adopt(newer)
    assert found.policy is newer
    assert found.record(plain(), 1.5, None).reason == "allowed-by-rule"
    assert "read" in found.rule
