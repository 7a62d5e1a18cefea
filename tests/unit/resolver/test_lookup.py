"""From a tenant's name to judged, pinned addresses."""

from ipaddress import IPv4Address

import dns.rcode
import pytest
from twisted.internet.defer import Deferred

from appliance.audit.record import Outcome
from appliance.policy.tenant import Profile
from appliance.resolver.lookup import FLIGHTS_PER_TENANT, TOTAL_TIME
from appliance.resolver.outcome import Absent, Answered, Declined, Found, Unusable
from tests.unit.policy.bindings import bound_policy

from .fakes import METADATA, PRIVATE, PUBLIC, PUBLIC_TOO, FakePolicy, finished, name

OK = name("ok.example")


def started(coroutine):
    results = []
    deferred = Deferred.fromCoroutine(coroutine)
    deferred.addBoth(results.append)
    return deferred, results


async def pinned(lookup, tenant, name, address):
    """What the control socket's operation does, without its record."""
    if lookup.holds(tenant, name, address):
        return True
    result = await lookup.resolve(tenant, name, lookup.min_ttl)
    return result if isinstance(result, Declined) else lookup.holds(tenant, name, address)


def test_an_allowed_name_is_asked_once_and_then_known(lookup, upstream, clock):
    assert finished(lookup.resolve("acme", OK)) == Answered((PUBLIC,), 60, fresh=True)
    clock.advance(20)
    assert finished(lookup.resolve("acme", OK)) == Answered((PUBLIC,), 40, fresh=False)
    clock.advance(40)
    assert finished(lookup.resolve("acme", OK)).fresh
    assert upstream.asked == ["ok.example", "ok.example"]


@pytest.mark.parametrize("tenant", ["acme", "nobody"])
def test_b3_nothing_of_a_denied_name_goes_upstream(lookup, upstream, tenant):
    denied = name("c2VjcmV0.denied.example")
    declined = finished(lookup.resolve(tenant, denied))
    assert declined.reason in ("host-not-listed", "no-policy")
    assert finished(pinned(lookup, tenant, denied, PUBLIC)).reason == declined.reason
    assert upstream.asked == []


def test_tenants_do_not_share_what_is_known(lookup, upstream):
    finished(lookup.resolve("acme", OK))
    assert finished(lookup.resolve("other", OK)).fresh
    assert len(upstream.asked) == 2


def test_concurrent_questions_are_asked_upstream_once(lookup, upstream):
    upstream.hold()
    _, first = started(lookup.resolve("acme", OK))
    _, second = started(lookup.resolve("acme", OK))
    assert upstream.asked == ["ok.example"]
    upstream.release(Found((PUBLIC,), (), 60))
    assert first == [Answered((PUBLIC,), 60, fresh=True)]
    assert second == [Answered((PUBLIC,), 60, fresh=False)]


@pytest.mark.parametrize("bad", [PRIVATE, METADATA])
def test_b7_a_mixed_set_is_refused_whole_and_pins_nothing(lookup, upstream, bad):
    upstream.answers["ok.example"] = Found((PUBLIC, bad), (), 60)
    assert finished(lookup.resolve("acme", OK)).reason == "private-address"
    assert finished(pinned(lookup, "acme", OK, PUBLIC)).reason == "private-address"
    assert len(lookup.pins) == 0


def test_b7_an_alias_to_an_internal_address_is_refused(lookup, upstream):
    upstream.answers["ok.example"] = Found((PRIVATE,), (name("db.internal.example"),), 60)
    assert finished(lookup.resolve("acme", OK)).reason == "private-address"


def test_b7_an_alias_through_a_name_that_the_operator_denies_is_refused(lookup, upstream, policies):
    policies.set(FakePolicy("acme", operator=("blocked.example",)))
    upstream.answers["ok.example"] = Absent((name("x.blocked.example"),), 60, exists=True)
    declined = finished(lookup.resolve("acme", OK))
    assert declined.reason == "host-denied-by-operator"
    assert upstream.asked == ["ok.example"]
    upstream.answers["ok.example"] = Found((PUBLIC,), (name("x.blocked.example"),), 60)
    assert finished(lookup.resolve("acme", OK, max_age=-1)).reason == "host-denied-by-operator"


def test_b7_rebinding_to_a_private_address_gains_nothing(lookup, upstream, clock):
    """TTL 0, public first, then metadata: the second answer is refused, the first stays what it was."""
    upstream.answers["ok.example"] = [Found((PUBLIC,), (), 0), Found((METADATA,), (), 0)]
    assert finished(lookup.resolve("acme", OK)) == Answered((PUBLIC,), 5, fresh=True)
    clock.advance(6)
    assert finished(lookup.resolve("acme", OK)).reason == "private-address"
    assert finished(pinned(lookup, "acme", OK, PUBLIC)) is True
    assert finished(pinned(lookup, "acme", OK, METADATA)).reason == "private-address"
    clock.advance(120)
    assert not lookup.pins.holds("acme", OK, PUBLIC, clock.seconds())


def test_b12_an_address_that_no_answer_gave_is_not_pinned(lookup, upstream):
    finished(lookup.resolve("acme", OK))
    assert finished(pinned(lookup, "acme", OK, PUBLIC_TOO)) is False
    assert upstream.asked == ["ok.example"]


def test_an_unknown_address_is_asked_for_afresh_but_not_in_a_loop(lookup, upstream, clock):
    upstream.answers["ok.example"] = [Found((PUBLIC,), (), 60), Found((PUBLIC_TOO,), (), 60)]
    finished(lookup.resolve("acme", OK))
    clock.advance(6)
    assert finished(pinned(lookup, "acme", OK, PUBLIC_TOO)) is True
    assert finished(pinned(lookup, "acme", OK, IPv4Address("8.8.8.8"))) is False
    assert len(upstream.asked) == 2


def test_a_pin_is_judged_by_the_policy_in_force(lookup, policies):
    finished(lookup.resolve("acme", OK))
    policies.set(FakePolicy("acme", denied=("ok.example",)))
    assert finished(pinned(lookup, "acme", OK, PUBLIC)).reason == "host-not-listed"


def test_an_exception_taken_back_ends_its_pins(lookup, policies, upstream):
    policies.set(FakePolicy("acme", excepted=["10.0.1.0/24"]))
    upstream.answers["ok.example"] = Found((PRIVATE,), (), 60)
    assert finished(lookup.resolve("acme", OK)).addresses == (PRIVATE,)
    policies.set(FakePolicy("acme"))
    assert finished(pinned(lookup, "acme", OK, PRIVATE)).reason == "private-address"
    assert finished(lookup.resolve("acme", OK)).reason == "private-address"


def test_a_policy_that_changes_while_upstream_is_asked_applies(lookup, policies, upstream):
    upstream.hold()
    _, results = started(lookup.resolve("acme", OK))
    policies.set(FakePolicy("acme", denied=("ok.example",)))
    upstream.release(Found((PUBLIC,), (), 60))
    assert results[0].reason == "host-not-listed"


def test_a_chain_that_the_server_left_open_is_followed(lookup, upstream):
    upstream.answers["ok.example"] = Absent((name("a.cdn.example"),), 30, exists=True)
    upstream.answers["a.cdn.example"] = Found((PUBLIC,), (name("b.cdn.example"),), 20)
    assert finished(lookup.resolve("acme", OK)) == Answered((PUBLIC,), 20, fresh=True)
    assert upstream.asked == ["ok.example", "a.cdn.example"]


def test_an_absent_end_of_a_chain_is_not_asked_for_again(lookup, upstream):
    upstream.answers["ok.example"] = Absent((name("a.cdn.example"),), 30, exists=False)
    assert finished(lookup.resolve("acme", OK)).reason == "name-does-not-exist"
    upstream.answers["two.example"] = Absent((name("b.cdn.example"),), 30, exists=True)
    upstream.answers["b.cdn.example"] = Absent((), 30, exists=True)
    assert finished(lookup.resolve("acme", name("two.example"))).reason == "name-has-no-address"
    assert upstream.asked == ["ok.example", "two.example", "b.cdn.example"]


def test_a_chain_that_loops_across_replies_ends(lookup, upstream):
    upstream.answers["ok.example"] = Absent((name("a.example"),), 30, exists=True)
    upstream.answers["a.example"] = Absent((OK,), 30, exists=True)
    assert finished(lookup.resolve("acme", OK)).reason == "upstream-failed"
    assert len(upstream.asked) == 2


def test_a_chain_that_grows_across_replies_ends(lookup, upstream):
    for step in range(12):
        source = "ok.example" if step == 0 else f"n{step}.example"
        upstream.answers[source] = Absent((name(f"n{step + 1}.example"),), 30, exists=True)
    assert finished(lookup.resolve("acme", OK)).reason == "upstream-failed"
    assert len(upstream.asked) == 9


def test_time_is_bounded_and_a_failure_is_not_asked_in_a_loop(lookup, upstream, clock):
    upstream.hold()
    _, results = started(lookup.resolve("acme", OK))
    clock.advance(TOTAL_TIME)
    assert results[0].reason == "upstream-timeout"
    assert len(lookup.flights) == 0
    assert finished(lookup.resolve("acme", OK)).reason == "upstream-timeout"
    assert len(upstream.asked) == 1
    clock.advance(1)
    upstream.held = None
    assert isinstance(finished(lookup.resolve("acme", OK)), Answered)


def test_one_asker_who_leaves_does_not_end_the_question_of_the_others(lookup, upstream):
    upstream.hold()
    first, _ = started(lookup.resolve("acme", OK))
    _, second = started(lookup.resolve("acme", OK))
    first.addErrback(lambda _: None)
    first.cancel()
    upstream.release(Found((PUBLIC,), (), 60))
    assert second[0].addresses == (PUBLIC,)


def test_a_tenant_has_a_bounded_number_of_questions_under_way(lookup, upstream):
    upstream.hold()
    for step in range(FLIGHTS_PER_TENANT):
        started(lookup.resolve("acme", name(f"n{step}.example")))
    assert finished(lookup.resolve("acme", OK)).reason == "resolver-busy"
    _, joined = started(lookup.resolve("acme", name("n0.example")))
    _, other = started(lookup.resolve("other", OK))
    assert joined == other == []
    upstream.release(Unusable("upstream-failed", "…"))
    assert joined[0].reason == "upstream-failed"


def test_what_upstream_fails_with_is_told(lookup, upstream):
    upstream.answers["ok.example"] = Unusable("upstream-unreachable", "…")
    assert finished(lookup.resolve("acme", OK)).reason == "upstream-unreachable"


LOGIN = name("login.crm.example")
OF_THE_BROKER = """
name: crm
title: CRM
scheme: https
hosts: [api.crm.example]
port: 443
slot: {style: bearer}
secrets: [oauth2-refresh]
token_hosts: [{host: login.crm.example, port: 443}]
groups: [{name: read, risk: read, methods: [GET], paths: [/data]}]
"""


def test_a_token_host_is_resolved_for_its_account_and_for_no_container(lookup, upstream, policies):
    bound = bound_policy(
        "accounts: [{name: a, integration: crm, tenants: [acme]}]",
        {"crm": OF_THE_BROKER},
        profile=Profile.ALLOWLIST,
    )
    policies.set(bound)
    upstream.answers["login.crm.example"] = Found((PUBLIC,), (), 60)
    assert finished(lookup.resolve("acme", LOGIN)).reason == "host-not-listed"
    assert finished(lookup.resolve("acme", LOGIN, account="b")).reason == "token-host-not-named"
    assert upstream.asked == []
    assert finished(lookup.resolve("acme", LOGIN, account="a")).addresses == (PUBLIC,)
    assert finished(lookup.resolve("acme", LOGIN)).reason == "host-not-listed"
    assert finished(pinned(lookup, "acme", LOGIN, PUBLIC)).reason == "host-not-listed"
    assert not lookup.pins.holds("acme", LOGIN, PUBLIC, 0.0)


def test_a_token_host_at_a_private_address_is_none(lookup, upstream, policies):
    policies.set(
        bound_policy("accounts: [{name: a, integration: crm, tenants: [acme]}]", {"crm": OF_THE_BROKER})
    )
    upstream.answers["login.crm.example"] = Found((PRIVATE,), (), 60)
    assert finished(lookup.resolve("acme", LOGIN, account="a")).reason == "private-address"


BUSY = Declined(Outcome.DENIED, "queries-per-second-exceeded", None, "…", dns.rcode.REFUSED, None)


def test_whoever_departs_is_told_before_and_only_where_upstream_is_asked_for_this_question(lookup, upstream):
    departed = []

    def departs():
        assert len(upstream.asked) == len(departed)
        departed.append(True)

    upstream.hold()
    for _ in range(3):
        started(lookup.resolve("acme", OK, departs=departs))
    upstream.release(Found((PUBLIC,), (), 60))
    finished(lookup.resolve("acme", OK, departs=departs))
    finished(lookup.resolve("acme", name("x.denied.example"), departs=departs))
    assert departed == [True]


def test_a_question_that_is_declined_when_it_departs_leaves_nothing_behind(lookup, upstream):
    assert finished(lookup.resolve("acme", OK, departs=lambda: BUSY)) is BUSY
    assert upstream.asked == []
    assert (len(lookup.flights), len(lookup.cache), len(lookup.pins)) == (0, 0, 0)
    assert finished(lookup.resolve("acme", OK)).fresh


def test_whoever_finds_no_place_to_ask_is_not_charged(lookup, upstream):
    upstream.hold()
    for step in range(FLIGHTS_PER_TENANT):
        started(lookup.resolve("acme", name(f"n{step}.example")))
    departed = []
    refused = finished(lookup.resolve("acme", OK, departs=lambda: departed.append(True)))
    assert refused.reason == "resolver-busy"
    assert departed == []


@pytest.mark.parametrize(
    "result", [Found((PRIVATE,), (), 60), Absent((), 60, exists=False), Unusable("upstream-failed", "…")]
)
def test_a_refusal_says_whether_upstream_was_asked_for_it(lookup, upstream, result):
    upstream.answers["ok.example"] = result
    assert finished(lookup.resolve("acme", OK)).fresh
    assert not finished(lookup.resolve("acme", OK)).fresh
    assert not finished(lookup.resolve("acme", name("x.denied.example"))).fresh
