from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from appliance.broker.calls.found import CAPACITY, MOST_SECONDS, Found
from appliance.names import HostName
from appliance.policy.tenant import TenantPolicy
from tests.unit.gateway.support import PUBLIC, SITE, web_policy

POLICY = web_policy()
ADDRESSES = (PUBLIC, IPv4Address("93.184.215.15"))


def kept(*, holds: object = 3.0) -> Found:
    found = Found()
    found.keep(POLICY, SITE, 443, ADDRESSES, asked=100.0, holds=holds)
    return found


def test_what_was_said_is_said_again() -> None:
    assert kept().kept(POLICY, SITE, 443, 100.0) == ADDRESSES


def test_nothing_outlives_what_the_worker_has_pinned() -> None:
    assert kept().kept(POLICY, SITE, 443, 102.9) == ADDRESSES
    assert kept().kept(POLICY, SITE, 443, 103.0) == ()


def test_a_worker_is_believed_for_a_few_seconds_whatever_it_says() -> None:
    assert kept(holds=3600).kept(POLICY, SITE, 443, 99.9 + MOST_SECONDS) == ADDRESSES
    assert kept(holds=3600).kept(POLICY, SITE, 443, 100.0 + MOST_SECONDS) == ()


def test_a_clock_that_was_set_back_makes_nothing_last_longer() -> None:
    assert kept().kept(POLICY, SITE, 443, 99.9) == ()


def test_another_policy_of_the_same_words_asks_anew() -> None:
    found = kept()
    assert found.kept(web_policy(), SITE, 443, 100.0) == ()
    assert found.kept(POLICY, SITE, 443, 100.0) == ()


def test_another_tenant_host_or_port_asks_for_itself() -> None:
    found = kept()
    assert found.kept(TenantPolicy("other"), SITE, 443, 100.0) == ()
    assert found.kept(POLICY, HostName("other.net"), 443, 100.0) == ()
    assert found.kept(POLICY, SITE, 8443, 100.0) == ()


@pytest.mark.parametrize(
    "holds", [None, "3", True, [], 0, 0.0, -1, float("nan"), float("inf"), float("-inf")]
)
def test_a_word_that_tells_no_time_is_not_kept(holds: object) -> None:
    assert kept(holds=holds).kept(POLICY, SITE, 443, 100.0) == ()


def test_what_was_forgotten_is_asked_for() -> None:
    found = kept()
    found.forget("acme", SITE, 443)
    assert found.kept(POLICY, SITE, 443, 100.0) == ()


def test_hosts_have_a_bound_and_the_oldest_goes() -> None:
    found = kept()
    for port in range(1, CAPACITY):
        found.keep(POLICY, HostName("other.net"), port, ADDRESSES, asked=100.0, holds=3)
    assert found.kept(POLICY, SITE, 443, 100.0) == ADDRESSES
    found.keep(POLICY, HostName("other.net"), CAPACITY, ADDRESSES, asked=100.0, holds=3)
    assert found.kept(POLICY, SITE, 443, 100.0) == ()
    assert len(found._words) == CAPACITY
