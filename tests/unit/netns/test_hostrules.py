"""The host's table and the two rules in Docker's chain."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from netns.hostrules import HostRules, docker_user_rules, render, table_name

RULES = HostRules(
    table_name("egress"),
    "up-egress",
    IPv4Address("198.18.83.2"),
    (IPv4Network("172.31.0.0/24"),),
    ((IPv4Address("10.0.0.53"), 53),),
)


def test_nat_is_for_the_gateways_address_alone():
    assert 'ip saddr 198.18.83.2 oifname != "up-egress" masquerade' in render(RULES).splitlines()
    assert render(RULES).count("masquerade") == 1


def test_what_comes_in_by_the_uplink_is_dropped_last():
    lines = render(RULES).splitlines()
    start = lines.index("chain input {")
    rules = lines[start + 1 : lines.index("}", start)]
    assert rules[-1] == 'iifname "up-egress" drop'
    assert "ip saddr @pools drop" in rules
    assert not [rule for rule in rules if "tcp dport" in rule and "@name_servers" not in rule]


def test_a_proxy_on_this_host_is_let_in_by_address_and_port_alone():
    proxied = render(replace(RULES, proxy=(IPv4Address("198.18.83.1"), 3128))).splitlines()
    added = set(proxied) - set(render(RULES).splitlines())
    assert added == {'iifname "up-egress" ip daddr 198.18.83.1 tcp dport 3128 accept'}
    assert proxied.index(*added) == proxied.index('iifname "up-egress" drop') - 1


def test_docker_rules_carry_the_instance_by_which_they_are_removed():
    inward, outward = docker_user_rules("egress", "up-egress")
    for rule in (inward, outward):
        assert "egress-appliance:egress" in rule
    assert "RELATED,ESTABLISHED" in outward


def test_published_ports_of_the_host_are_refused_before_all_else():
    """A18: Docker's address translation moves the packet from `input` to `forward`."""
    lines = render(RULES).splitlines()
    start = lines.index("chain forward {")
    assert lines[start + 3] == 'iifname "up-egress" ct status dnat drop'
