from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from appliance.gateway.routes import ASKED_PER_TENANT, NoRoute, Routes
from appliance.names import HostName
from appliance.policy.tenant import Profile, TenantPolicy
from appliance.resolver.client import Resolved, Unresolved
from appliance.resolver.flights import RESUMED_PER_TURN

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
    return Routes(names, clock), clock


def test_one_resolution_serves_until_its_ttl() -> None:
    names = Names()
    found, clock = routes(names)
    policy = web_policy()
    assert found.kept(policy, SITE, 80) == ()
    assert now(found.find(policy, SITE, 80)) == (PUBLIC,)
    assert found.kept(policy, SITE, 80) == (PUBLIC,)
    clock.advance(60)
    assert found.kept(policy, SITE, 80) == ()


def test_what_is_kept_holds_until_its_ttl_and_under_its_policy() -> None:
    found, clock = routes(Names())
    policy = web_policy()
    assert found.holds(policy, SITE, 80) == 0
    now(found.find(policy, SITE, 80))
    clock.advance(20)
    assert found.holds(policy, SITE, 80) == 40
    assert found.holds(web_policy(), SITE, 80) == found.holds(policy, SITE, 80, "crm") == 0
    clock.advance(40)
    assert found.holds(policy, SITE, 80) == 0


def test_another_policy_port_or_tenant_judges_for_itself() -> None:
    found, _ = routes(Names())
    policy = web_policy()
    now(found.find(policy, SITE, 80))
    assert found.kept(web_policy(), SITE, 80) == ()
    assert found.kept(policy, SITE, 443) == ()


def test_what_is_known_for_the_broker_is_not_known_for_a_container() -> None:
    names, policy = Names(), web_policy()
    found, _ = routes(names)
    assert now(found.find(policy, SITE, 443, "crm")) == (PUBLIC,)
    assert names.asked == [("resolve", "acme", "site.net", "crm")]
    assert found.kept(policy, SITE, 443, "crm") == (PUBLIC,)
    assert found.kept(policy, SITE, 443) == found.kept(policy, SITE, 443, "other") == ()
    assert not now(found.is_pinned(policy, SITE, 443, OTHER_PUBLIC))


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


class Slow:
    """A resolver whose answers take their time."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.answer: Deferred = Deferred()

    async def resolve(self, tenant, name, account=None, *, endpoint=None):
        self.asked.append((tenant, name.text))
        return await self.answer

    async def pinned(self, tenant, name, address, *, endpoint=None):
        self.asked.append((tenant, f"{name} {address}"))
        return await self.answer


class Turning(Clock):
    """As in a reactor, what is called later during a turn waits for the next one."""

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call.func(*call.args)


def waiting(coroutine) -> list:
    results: list = []
    Deferred.fromCoroutine(coroutine).addBoth(results.append)
    return results


def test_the_resolver_is_asked_once_for_all_who_wait_for_a_name() -> None:
    slow, clock = Slow(), Clock()
    found = Routes(slow, clock)
    policy = web_policy()
    results = [waiting(found.find(policy, SITE, 80)) for _ in range(1000)]
    assert slow.asked == [("acme", "site.net")]
    slow.answer.callback(Resolved((PUBLIC,), 60))
    clock.advance(0)
    assert results == [[(PUBLIC,)]] * 1000


def test_of_500_who_wait_for_a_name_few_go_on_before_others_are_heard() -> None:
    slow, clock = Slow(), Turning()
    found = Routes(slow, clock)
    policy = web_policy()
    results = [waiting(found.is_pinned(policy, SITE, 443, PUBLIC)) for _ in range(500)]
    slow.answer.callback(True)
    assert sum(map(len, results)) == RESUMED_PER_TURN
    clock.turn()
    assert sum(map(len, results)) == 2 * RESUMED_PER_TURN
    while clock.calls:
        clock.turn()
    assert results == [[True]] * 500


def test_names_that_nobody_answers_take_few_places_and_none_of_another_tenant() -> None:
    slow = Slow()
    found = Routes(slow, Clock())
    mine, theirs = web_policy(), TenantPolicy("beta", "one", profile=Profile.READ_ONLY_WEB)
    for number in range(ASKED_PER_TENANT - 1):
        assert waiting(found.find(mine, HostName(f"n{number}.slow.net"), 80)) == []
    assert waiting(found.is_pinned(mine, SITE, 80, PUBLIC)) == []
    for refused in (found.find(mine, SITE, 80), found.is_pinned(mine, SITE, 80, OTHER_PUBLIC)):
        ((failure,),) = (waiting(refused),)
        assert (failure.value.refusal.status, failure.value.refusal.reason) == (503, "resolver-busy")
    assert waiting(found.find(mine, HostName("n0.slow.net"), 443)) == []  # somebody asks already
    assert waiting(found.find(theirs, SITE, 80)) == []
    assert len(slow.asked) == ASKED_PER_TENANT + 1


def test_b3_whose_question_it_is_is_told_to_the_resolver() -> None:
    names = Names()
    found, _ = routes(names)
    now(found.is_pinned(web_policy(), SITE, 443, PUBLIC, endpoint="e1"))
    now(found.find(web_policy(), SITE, 443, endpoint="e2"))
    now(found.find(web_policy(), SITE, 443, "crm"))
    assert names.charged == ["e1", "e2", None]


OVER = Unresolved("queries-per-second-exceeded", "The container asks too fast.", denied=True)
UNKNOWN = Unresolved("endpoint-unknown", "The resolver knows no such container.")


class Bounded:
    """A resolver that refuses some as `why` says, whatever the name; it answers when it is told to."""

    def __init__(self, *refused: str, why: Unresolved = OVER) -> None:
        self.refused, self.why, self.charged, self.open = refused, why, [], []

    def answer(self) -> None:
        self.open.pop(0).callback(None)

    async def pinned(self, tenant, name, address, *, endpoint=None) -> bool:
        self.charged.append(endpoint)
        self.open.append(Deferred())
        await self.open[-1]
        if endpoint in self.refused:
            raise self.why
        return True


def test_b3_over_the_rate_is_a_typed_429() -> None:
    bounded = Bounded("e1")
    result = waiting(Routes(bounded, Clock()).is_pinned(web_policy(), SITE, 443, PUBLIC, endpoint="e1"))
    bounded.answer()
    refusal = result[0].value.refusal
    assert (refusal.status, refusal.reason, refusal.retry_after) == (429, "queries-per-second-exceeded", 1)
    assert refusal.outcome == "denied"
    assert bounded.charged == ["e1"]


@pytest.mark.parametrize("why", [OVER, UNKNOWN], ids=lambda why: why.reason)
def test_of_those_who_wait_together_only_who_may_not_ask_is_refused(why: Unresolved) -> None:
    """One question is for all of them; whoever joined another's, which was refused, asks in its own name."""
    bounded, clock = Bounded("noisy", why=why), Clock()
    found, policy = Routes(bounded, clock), web_policy()
    askers = [*["noisy"] * 3, *["quiet"] * 2, "other"]
    results = [waiting(found.is_pinned(policy, SITE, 443, PUBLIC, endpoint=asker)) for asker in askers]
    assert bounded.charged == ["noisy"]
    while bounded.open:
        bounded.answer()
        clock.advance(0)
    assert sorted(bounded.charged) == ["noisy", "noisy", "other", "quiet"]
    assert [result == [True] for result in results] == [asker != "noisy" for asker in askers]


def test_another_failure_is_everybodys() -> None:
    slow = Slow()
    found, policy = Routes(slow, Clock()), web_policy()
    results = [waiting(found.is_pinned(policy, SITE, 443, PUBLIC, endpoint=f"e{n}")) for n in range(3)]
    slow.answer.errback(Unresolved("upstream-timeout", "Nobody answered."))
    assert [result[0].value.refusal.status for result in results] == [504] * 3
    assert len(slow.asked) == 1
