"""From a judged request to a connection: which is at hand, which is dialled, and why there is none."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from twisted.internet.defer import Deferred

from appliance.gateway.exchange import Exchange
from appliance.gateway.judging import judge
from appliance.gateway.reach import at_hand, reach
from appliance.gateway.turns import FIRST_READ
from appliance.outgoing.upstream import Upstream
from appliance.policy.ranges import Ranges
from appliance.policy.set import PolicySet
from appliance.refusal import Refusal

from .support import ENDPOINT, OTHER_PUBLIC, PUBLIC, Names, Wire, limited, plain, request, web_policy, worker


def judged(made, channel=None) -> Exchange:
    exchange = Exchange("r1", request("/x"), made.seconds())
    assert judge(made, channel or plain(), exchange) is None
    return exchange


def begin(made, exchange, channel=None) -> list:
    found: list = []
    Deferred.fromCoroutine(reach(made, (channel or plain()).caller, exchange)).addCallback(found.append)
    return found


def connect(made) -> Wire:
    host, _, factory, *_ = made.reactor.tcpClients[-1]
    wire = Wire((host, 80))
    wire.protocol = factory.buildProtocol(None)
    wire.protocol.makeConnection(wire)
    return wire


def test_nothing_is_at_hand_before_anything_is_known() -> None:
    made = worker()
    assert at_hand(made, plain().caller, judged(made)) is None
    assert made.routes._resolver.asked == []


def test_what_was_dialled_and_rests_is_at_hand() -> None:
    made = worker()
    exchange = judged(made)
    found = begin(made, exchange)
    assert found == []
    connect(made)
    (upstream,) = found
    assert isinstance(upstream, Upstream)
    assert (upstream.address, upstream.key.tenant, upstream.key.secure) == (PUBLIC, "acme", False)
    assert upstream.transport.bufferSize == FIRST_READ  # it is read in its tenant's turns
    made.pool.put(upstream)
    assert at_hand(made, plain().caller, exchange) is upstream
    made.pool.put(upstream)
    assert begin(made, exchange) == [upstream]
    assert len(made.reactor.tcpClients) == 1


def test_a_request_that_is_tried_again_gets_a_new_connection() -> None:
    made = worker()
    exchange = judged(made)
    found = begin(made, exchange)
    connect(made)
    made.pool.put(found[0])
    exchange.retried = True
    assert begin(made, exchange) == []
    assert len(made.reactor.tcpClients) == 2


def test_the_address_that_the_container_chose_comes_first_d5() -> None:
    made = worker(names=Names(**{"site.net": (PUBLIC, OTHER_PUBLIC)}))
    channel = plain(OTHER_PUBLIC)
    begin(made, judged(made, channel), channel)
    assert made.reactor.tcpClients[-1][0] == str(OTHER_PUBLIC)
    assert made.routes._resolver.charged == [ENDPOINT.id]


def test_an_address_that_is_not_the_names_is_refused_and_not_taken_from_the_pool_d5() -> None:
    made = worker()
    exchange = judged(made)
    found = begin(made, exchange)
    connect(made)
    made.pool.put(found[0])
    channel = plain(OTHER_PUBLIC)
    other = judged(made, channel)
    assert at_hand(made, channel.caller, other) is None
    (refusal,) = begin(made, other, channel)
    assert refusal.reason == "destination-not-pinned"
    assert set(made.routes._resolver.charged) == {ENDPOINT.id}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"names": Names(**{"else.net": (PUBLIC,)})}, "name-does-not-exist"),
        (
            {"policy": limited("destination", new_connections_per_second=1)},
            "new-connections-per-second-exceeded",
        ),
    ],
)
def test_why_there_is_none(options, reason) -> None:
    made = worker(**options)
    begin(made, judged(made))
    (refusal,) = begin(made, judged(made))
    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason


def test_a_policy_that_changed_meanwhile_and_still_allows_it_binds_it() -> None:
    made = worker()
    exchange = judged(made)
    newer = web_policy()
    found = begin(made, exchange)
    made.test_policies[0] = PolicySet({"acme": newer}, "two")
    connect(made)
    assert isinstance(found[0], Upstream)
    assert exchange.policy is newer


def test_a_policy_that_changed_meanwhile_wins_g5() -> None:
    made = worker()
    found = begin(made, judged(made))
    made.test_policies[0] = PolicySet({}, "two")
    wire = connect(made)
    assert [refusal.reason for refusal in found] == ["policy-changed"]
    assert wire.aborted


@pytest.mark.parametrize("retried", [False, True])
def test_the_address_dialled_is_judged_by_the_policy_of_that_moment_g5(*, retried: bool) -> None:
    made = worker(names=Names(**{"site.net": (OTHER_PUBLIC,)}))
    channel = plain(OTHER_PUBLIC)
    exchange = judged(made, channel)
    if retried:
        exchange.retried, exchange.address = True, PUBLIC
    found = begin(made, exchange, channel)
    denying = web_policy(generation="two", denied_addresses=Ranges([IPv4Network(f"{OTHER_PUBLIC}/32")]))
    made.test_policies[0] = PolicySet({"acme": denying}, "two")
    wire = connect(made)
    assert [refusal.reason for refusal in found] == ["policy-changed"]
    assert wire.aborted
    assert exchange.address == OTHER_PUBLIC  # which the record tells


def test_an_address_that_was_only_tried_before_condemns_no_other_g5() -> None:
    made = worker(names=Names(**{"site.net": (OTHER_PUBLIC,)}))
    channel = plain(OTHER_PUBLIC)
    exchange = judged(made, channel)
    exchange.retried, exchange.address = True, PUBLIC
    found = begin(made, exchange, channel)
    denying = web_policy(generation="two", denied_addresses=Ranges([IPv4Network(f"{PUBLIC}/32")]))
    made.test_policies[0] = PolicySet({"acme": denying}, "two")
    connect(made)
    assert [upstream.address for upstream in found] == [OTHER_PUBLIC]
