from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from appliance.gateway.routes import NoRoute, Routes

from .support import OTHER_PUBLIC, PUBLIC, SITE, Names, web_policy


def now(coroutine):
    """The result of a coroutine that has no reason to wait."""
    results: list = []
    Deferred.fromCoroutine(coroutine).addBoth(results.append)
    (result,) = results
    if hasattr(result, "raiseException"):
        result.raiseException()
    return result


def routes(names: Names) -> tuple[Routes, Clock]:
    clock = Clock()
    return Routes(names, clock.seconds), clock


def test_one_resolution_serves_until_its_ttl() -> None:
    names = Names()
    found, clock = routes(names)
    policy = web_policy()
    assert found.kept(policy, SITE, 80) == ()
    assert now(found.find(policy, SITE, 80)) == (PUBLIC,)
    assert found.kept(policy, SITE, 80) == (PUBLIC,)
    clock.advance(60)
    assert found.kept(policy, SITE, 80) == ()


def test_another_policy_port_or_tenant_judges_for_itself() -> None:
    found, _ = routes(Names())
    policy = web_policy()
    now(found.find(policy, SITE, 80))
    assert found.kept(web_policy(), SITE, 80) == ()
    assert found.kept(policy, SITE, 443) == ()


@pytest.mark.parametrize("bad", ["10.0.1.5", "169.254.169.254", "127.0.0.1", "100.100.100.200"])
def test_one_address_that_may_not_be_dialled_condemns_the_set_b7(bad) -> None:
    found, _ = routes(Names(**{"site.net": (PUBLIC, IPv4Address(bad))}))
    policy = web_policy()
    with pytest.raises(NoRoute) as caught:
        now(found.find(policy, SITE, 80))
    assert caught.value.refusal.reason == "private-address"
    assert found.kept(policy, SITE, 80) == ()


def test_pinned_is_asked_of_the_resolver_unless_the_set_is_at_hand_d5() -> None:
    names = Names()
    found, _ = routes(names)
    policy = web_policy()
    assert now(found.is_pinned(policy, SITE, 443, PUBLIC))
    assert not now(found.is_pinned(policy, SITE, 443, OTHER_PUBLIC))
    now(found.find(policy, SITE, 443))
    names.asked.clear()
    assert now(found.is_pinned(policy, SITE, 443, PUBLIC))
    assert names.asked == []


def test_no_address_is_no_route() -> None:
    found, _ = routes(Names(**{"site.net": ()}))
    with pytest.raises(NoRoute) as caught:
        now(found.find(web_policy(), SITE, 80))
    assert caught.value.refusal.reason == "no-address"


def test_what_is_kept_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr("appliance.gateway.routes.CAPACITY", 3)
    found, _ = routes(Names())
    policy = web_policy()
    for port in range(1, 6):
        now(found.find(policy, SITE, port))
    assert [bool(found.kept(policy, SITE, port)) for port in range(1, 6)] == [False, False, True, True, True]
