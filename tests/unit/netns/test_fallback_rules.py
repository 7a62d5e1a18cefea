"""The fallback's part of the table as text, in every state of steering. What it does, tests/system/netns shows."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from test_ruleset import RULESET, chain

from netns.ruleset import elements, render, steer
from netns.shares import Steering

SQUID = 64104
WITH = replace(RULESET, squid_uid=SQUID)
TPROXY, ABSENT = "meta l4proto tcp tproxy ip to :15001 accept", "counter name worker-absent drop"
TO_WORKER = [TPROXY, "ip saddr . ip daddr @proxies tcp dport 3128 goto as-proxy", ABSENT]


@pytest.mark.parametrize(
    ("steering", "expected"),
    [
        (Steering(), TO_WORKER),
        (Steering(frozenset({1})), TO_WORKER),
        (Steering(ready=False), [TPROXY, ABSENT]),
        (Steering(frozenset({0})), ["goto to-squid"]),
        (Steering(frozenset(), frozenset({0})), ["jump drain", *TO_WORKER]),
    ],
)
def test_a_share_is_its_workers_or_squids(steering, expected):
    steered = replace(WITH, steering=steering)
    assert chain(render(steered), "worker-0") == expected
    # The transaction that steers and the whole table say the same, or each comparison would find a difference.
    added = [x.removeprefix("add rule inet egress worker-0 ") for x in steer(steered).splitlines()]
    assert added[: len(expected) + 1] == ["flush chain inet egress worker-0", *expected]


def test_steering_touches_nothing_but_the_workers_chains():
    text = steer(replace(WITH, steering=Steering(frozenset({0, 1}))))
    assert all(line.split()[4] in ("worker-0", "worker-1") for line in text.splitlines())
    assert "delete" not in text


def test_squid_is_reached_as_a_proxy_at_ones_own_gateway_and_nothing_else_is():
    lines = chain(render(WITH), "to-squid")
    assert lines == [
        "ip saddr . ip daddr @proxies tcp dport 3128 goto as-proxy",
        "ip saddr . ip daddr @proxies tcp dport 80 tproxy ip to :15102 accept",
        "counter name not-for-fallback drop",
    ]
    assert chain(render(WITH), "as-proxy")[-1] == "ip daddr set 198.18.83.2 tcp dport set 15101 accept"
    assert "elements = { 172.31.0.0/24 . 172.31.0.1 }" in render(WITH)
    assert "elements = { 172.31.0.0/24 : 172.31.0.1 }" in render(WITH)


def test_what_squid_sends_is_of_the_link_that_asked():
    lines = chain(render(WITH), "leave-as-proxy")
    assert lines[0].startswith(
        "oifname . ip daddr . meta mark @answered tcp flags & (syn | ack) != syn ip saddr"
    )
    assert lines[1].startswith("meta mark 0 tcp flags & (rst | ack) == rst ")
    assert lines[2] == "counter name stale-answers drop"
    # Before the rule that lets any answer pass.
    assert (
        chain(render(WITH), "leave-to-tenant")[0]
        == "ip saddr 198.18.83.2 tcp sport 15101 goto leave-as-proxy"
    )


def test_squids_own_address_is_asked_for_by_nobody():
    steer_chain = chain(render(WITH), "steer")
    dropped = steer_chain.index("ip daddr 198.18.83.2 tcp dport 15101 counter name not-for-fallback drop")
    assert dropped < next(i for i, line in enumerate(steer_chain) if "vmap" in line)


def test_squids_own_helpers_alone_use_loopback():
    helpers = "ip saddr 127.0.0.1 ip daddr 127.0.0.1 meta l4proto tcp accept"
    assert f'oifname "lo" meta skuid {SQUID} {helpers}' in chain(render(WITH), "leave")
    assert [line for line in chain(render(WITH), "leave") if '"lo"' in line and "skuid" not in line] == []


def test_squid_asks_the_name_servers_and_opens_no_exception():
    leave = chain(render(WITH), "leave-to-uplink")
    assert "meta skuid { 64102, 64104 } ip daddr . udp dport @name_servers accept" in leave
    assert not any(str(SQUID) in line for line in chain(render(WITH), "leave-to-special"))


def test_without_a_fallback_there_is_none_of_it():
    text = render(RULESET)
    for word in ("to-squid", "proxies", "15101", "15102", '"lo"', "answered", "jump drain"):
        assert word not in text
    assert chain(text, "worker-1")[-1] == "counter name worker-absent drop"


def test_a_containers_elements():
    names = [name for name, _ in elements(WITH, "t-a", IPv4Address("172.31.0.2"), 1)]
    assert names == ["endpoints", "answered"]
    assert elements(WITH, "t-a", IPv4Address("172.31.0.2"), 1)[1][1] == '"t-a" . 172.31.0.2 . 0x00000001'
    assert len(elements(RULESET, "t-a", IPv4Address("172.31.0.2"), 1)) == 1
