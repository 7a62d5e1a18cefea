"""The table's text: what a reader of the rules relies on. That nft and the kernel take it, tests/system shows."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from appliance.addresses import blocked_networks_v4
from appliance.policy.limits import KERNEL_CONNECTION_RATE
from netns.plumbing import Network
from netns.ruleset import COUNTERS, Ruleset, element, render

RULESET = Ruleset(
    table="egress",
    uplink="uplink",
    uplink_address=IPv4Address("198.18.83.2"),
    worker_ports=(15001, 15002),
    resolver_port=53,
    gateway_uid=64101,
    resolver_uid=64102,
    outbound_uids=(64101, 64103),
    special=blocked_networks_v4(),
    networks=(Network("a" * 64, "acme", IPv4Network("172.31.0.0/24"), IPv4Address("172.31.0.1")),),
    links=(("t-b", IPv4Address("172.31.0.3"), 0xB1), ("t-a", IPv4Address("172.31.0.2"), 0xA1)),
    exceptions=((IPv4Network("10.1.0.0/16"), 443),),
    name_servers=((IPv4Address("10.0.0.53"), 53),),
)


def chain(text, name):
    lines = text.splitlines()
    start = lines.index(f"chain {name} {{")
    return lines[start + 1 : lines.index("}", start)]


@pytest.mark.parametrize("name", ["steer", "arrive", "pass", "leave"])
def test_absence_denies(name):
    assert "policy drop" in chain(render(RULESET), name)


def test_the_table_is_replaced_atomically():
    lines = render(RULESET).splitlines()
    assert lines[:3] == ["table inet egress", "delete table inet egress", "table inet egress {"]


def test_one_statement_a_line():
    """nft 1.0.6 refuses some statements that share a line."""
    assert all(";" not in line for line in render(RULESET).splitlines())


def test_the_source_check_stands_before_every_way_in():
    steer = chain(render(RULESET), "steer")
    check = steer.index("meta mark 0 counter name spoofed drop")
    assert steer[check - 2 : check] == ["meta mark set 0", "meta mark set iifname . ip saddr map @endpoints"]
    assert sum("mark set" in line for line in steer) == 2, "what the map gave stays"
    first_way_in = next(i for i, line in enumerate(steer) if "tproxy" in line)
    assert check < first_way_in


def test_special_ranges_are_decided_before_any_general_acceptance():
    leave = chain(render(RULESET), "leave-to-uplink")
    special = leave.index("ip daddr @special goto leave-to-special")
    general = [i for i, line in enumerate(leave) if line.endswith("accept") and "@name_servers" not in line]
    assert general
    assert min(general) > special


def test_g9_with_a_proxy_nobody_opens_anything_but_the_proxy():
    only = ((IPv4Network("93.184.215.90"), 3128),)
    leave = chain(render(replace(RULESET, proxied=True, exceptions=only)), "leave-to-uplink")
    opening = [line for line in leave if line.endswith("accept") and "@name_servers" not in line]
    assert opening == [
        "ct state established tcp flags & (syn | ack) != syn accept",
        "meta skuid 64101 ip daddr . tcp dport @exceptions accept",
    ]
    direct = chain(render(RULESET), "leave-to-uplink")
    assert "meta skuid { 64101, 64103 } meta l4proto tcp accept" in direct


def test_only_a_link_and_address_pair_lets_a_container_in():
    assert 'elements = { "t-a" . 172.31.0.2 : 0x000000a1, "t-b" . 172.31.0.3 : 0x000000b1 }' in render(
        RULESET
    )
    assert element("t-a", IPv4Address("172.31.0.2"), 1) == '"t-a" . 172.31.0.2 : 0x00000001'


def test_every_special_network_of_the_address_table_is_in():
    (line,) = [x for x in render(RULESET).splitlines() if x.startswith("elements") and "169.254.0.0/16" in x]
    for network in blocked_networks_v4():
        assert f" {network}" in line


def test_counters_go_on_from_where_they_stood():
    text = render(RULESET, {"spoofed": (7, 420)})
    assert "counter spoofed {\npackets 7 bytes 420\n}" in text
    assert all(f"counter {name} {{" in text for name in COUNTERS)


def test_one_worker_needs_no_hash():
    text = render(replace(RULESET, worker_ports=(15001,)))
    assert "jhash" not in text
    assert "tproxy ip to :15001 accept" in text


def test_empty_sets_render_without_elements():
    text = render(replace(RULESET, links=(), networks=(), exceptions=(), name_servers=()))
    assert "elements = {  }" not in text


def test_questions_are_counted_by_source_before_the_resolver_f4():
    steer = chain(render(RULESET), "steer")
    (rate,) = [
        i for i, line in enumerate(steer) if "update @asking { ip saddr limit rate over 100/second" in line
    ]
    assert steer[rate].endswith("counter name questions-too-fast drop")
    assert rate < next(i for i, line in enumerate(steer) if line.startswith("udp dport 53 tproxy"))


def test_new_connections_are_counted_by_source_before_any_way_in_f4():
    steer = chain(render(RULESET), "steer")
    allowed = f"update @opening {{ ip saddr limit rate over {KERNEL_CONNECTION_RATE}/second"
    (rate,) = [i for i, line in enumerate(steer) if allowed in line]
    assert steer[rate].endswith("counter name connections-too-fast drop")
    assert steer.index("meta mark 0 counter name spoofed drop") < rate
    assert rate < next(i for i, line in enumerate(steer) if "tproxy" in line)
