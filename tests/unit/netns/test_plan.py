"""From settings and links to what should be there."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest

from appliance.addresses import blocked_networks_v4
from appliance.links import link_mark
from appliance.settings import Settings, Uplink, UplinkProxy
from netns.plan import TENANT_TABLE, Wanted, collapsed, gateway_ruleset, host_rules, plan
from netns.plumbing import Attachment, Network
from netns.ruleset import render
from netns.state import MAIN_TABLE, Neighbour, Route, RouteKind

NETWORK = Network("a" * 64, "acme", IPv4Network("172.31.0.0/24"), IPv4Address("172.31.0.1"))
ATTACHMENT = Attachment("b" * 64, NETWORK.id, "acme", IPv4Address("172.31.0.2"), "02:42:ac:1f:00:02")
WANTED = Wanted((NETWORK,), ((ATTACHMENT, "t-b"),), (), ((IPv4Address("10.0.0.53"), 53),))


def canonical(family, table, text):
    return f"{family} {table} {len(text)}"


def test_the_gateway_forwards_nothing_and_every_marked_packet_is_local():
    desired = plan(Settings(), WANTED, canonical)
    assert desired.inner_sysctls[0] == ("net/ipv4/ip_forward", "0")
    assert ("net/ipv6/conf/all/disable_ipv6", "1") in desired.inner_sysctls
    assert Route(IPv4Network("0.0.0.0/0"), "lo", RouteKind.LOCAL, table=TENANT_TABLE) in desired.routes
    answers, tenants = desired.rules
    assert (answers.arriving, answers.table) == ("lo", MAIN_TABLE), (
        "else a marked answer would come back to us"
    )
    assert (tenants.table, tenants.mark, tenants.mask) == (TENANT_TABLE, 1, 1)
    assert answers.priority < tenants.priority


def test_each_link_has_its_own_mark_and_accepted_connections_keep_it():
    """A11: a connection that waited to be accepted is told from one of the address's next holder."""
    other = replace(ATTACHMENT, endpoint="c" * 64, address=IPv4Address("172.31.0.3"))
    wanted = replace(WANTED, links=((ATTACHMENT, "t-b"), (other, "t-c")))
    marks = {link[2] for link in gateway_ruleset(Settings(), wanted).links}
    assert marks == {link_mark("b" * 64), link_mark("c" * 64)}
    assert ("net/ipv4/tcp_fwmark_accept", "1") in plan(Settings(), wanted, canonical).inner_sysctls


def test_a_pool_is_local_and_a_container_in_it_has_its_own_route_and_neighbour():
    desired = plan(Settings(), WANTED, canonical)
    assert Route(NETWORK.pool, "lo", RouteKind.LOCAL) in desired.routes
    assert Route(IPv4Network("172.31.0.2/32"), "t-b") in desired.routes
    assert desired.neighbours == (Neighbour("t-b", ATTACHMENT.address, ATTACHMENT.mac),)
    assert desired.links == ("t-b",)


def test_on_the_host_there_is_nat_forwarding_and_dockers_chain():
    desired = plan(Settings(), WANTED, canonical)
    assert desired.outer_table is not None
    assert "172.31.0.0/24" in desired.outer_table.text
    assert ("net/ipv4/ip_forward", "1") in desired.outer_sysctls
    assert desired.docker_user


def test_in_a_lab_the_host_is_not_touched():
    desired = plan(Settings(uplink=Uplink(peer_namespace="internet")), WANTED, canonical)
    assert desired.outer_table is None
    assert desired.docker_user == ()
    assert {key.split("/")[3] for key, _ in desired.outer_sysctls} == {"up-egress"}


def test_both_ends_of_the_uplink_share_a_prefix():
    desired = plan(Settings(), Wanted(), canonical)
    assert desired.outer_address == IPv4Interface("198.18.83.1/30")
    assert desired.inner_address.network == desired.outer_address.network


def test_counts_are_loaded_but_do_not_make_a_difference():
    plain = plan(Settings(), WANTED, canonical)
    counted = plan(Settings(), WANTED, canonical, {"spoofed": (1, 2)})
    assert plain.inner_table.canonical == counted.inner_table.canonical
    assert plain.inner_table.text != counted.inner_table.text


def routed(address, **wanted):
    """The route of the main table that the kernel takes: the longest prefix."""
    routes = plan(Settings(), replace(WANTED, **wanted), canonical).routes
    holding = [r for r in routes if r.table == MAIN_TABLE and IPv4Address(address) in r.destination]
    longest = max(route.destination.prefixlen for route in holding)
    (taken,) = [route for route in holding if route.destination.prefixlen == longest]
    return taken


@pytest.mark.parametrize("block", blocked_networks_v4(), ids=str)
def test_a20_no_special_range_has_a_route_first_and_last_address(block):
    """Without any nft table the kernel still refuses them: generated from the same addresses."""
    for address in (block[0], block[-1]):
        assert routed(address, networks=(), links=()).kind is RouteKind.UNREACHABLE


def test_what_is_let_through_and_what_is_ours_keeps_its_route():
    assert routed("10.0.0.53").via == Settings().uplink.peer
    assert routed("10.0.0.54").kind is RouteKind.UNREACHABLE
    assert routed("172.31.0.9").kind is RouteKind.LOCAL
    assert routed("172.31.0.2").interface == "t-b"
    assert routed("172.30.0.2").kind is RouteKind.UNREACHABLE
    assert routed("198.18.83.5").kind is RouteKind.UNREACHABLE
    assert routed("93.184.216.34").via == Settings().uplink.peer


@pytest.mark.parametrize("exception", ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32"])
def test_an_operators_exception_has_a_route_as_wide_as_itself(exception):
    wanted = ((IPv4Network(exception), 443), (IPv4Network(exception), 80))
    assert routed("10.1.2.3", exceptions=wanted).via == Settings().uplink.peer
    outside = routed("10.2.0.1", exceptions=wanted)
    assert (outside.kind is RouteKind.UNREACHABLE) == (exception != "10.0.0.0/8")


@pytest.mark.parametrize("exception", ["172.31.0.0/24", "172.31.0.128/25", "172.16.0.0/12"])
def test_an_exception_never_leads_a_pools_address_away(exception):
    wanted = ((IPv4Network(exception), 443),)
    assert routed("172.31.0.200", exceptions=wanted).kind is RouteKind.LOCAL
    assert routed("172.31.0.2", exceptions=wanted).interface == "t-b"


def test_a_pool_as_wide_as_a_special_range_takes_its_place():
    wide = replace(NETWORK, pool=IPv4Network("10.0.0.0/8"))
    assert routed("10.9.9.9", networks=(wide,), links=(), name_servers=()).kind is RouteKind.LOCAL


def test_exceptions_inside_others_are_left_out():
    wide, narrow = IPv4Network("10.1.0.0/16"), IPv4Network("10.1.2.0/24")
    assert collapsed(((wide, 443), (narrow, 443), (narrow, 80), (wide, 443))) == ((wide, 443), (narrow, 80))


@pytest.mark.parametrize("address", ["10.8.0.5", "93.184.215.90"])
def test_g9_a_proxy_takes_the_place_of_the_exceptions(address):
    settings = Settings(uplink=Uplink(proxy=UplinkProxy(address=IPv4Address(address), port=3128)))
    wanted = replace(WANTED, exceptions=((IPv4Network("10.1.0.0/16"), 443),))
    rules = gateway_ruleset(settings, wanted)
    assert rules.proxied
    assert rules.exceptions == ((IPv4Network(address), 3128),)
    routes = [r.destination for r in plan(settings, wanted, canonical).routes if r.via]
    assert (IPv4Network("10.8.0.5/32") in routes) == (address == "10.8.0.5")
    assert IPv4Network("10.1.0.0/16") not in routes
    assert host_rules(settings, wanted).proxy == (IPv4Address(address), 3128)
    assert not gateway_ruleset(Settings(), wanted).proxied


def test_g9_chained_the_gateway_opens_squids_port_and_exceptions_only():
    wanted = replace(WANTED, exceptions=((IPv4Network("10.1.0.0/16"), 443),))
    rules = gateway_ruleset(Settings(uplink=Uplink(chained=True)), wanted)
    uids = Settings().uids
    assert (rules.chained, uids.gateway in rules.outbound_uids) == (True, False)
    assert uids.squid in rules.outbound_uids
    assert rules.exceptions == ((IPv4Network("10.1.0.0/16"), 443),)
    leave = render(rules).splitlines()
    opening = [line for line in leave if line.endswith("tcp dport 15103 accept")]
    assert [line.partition(" ip saddr")[0] for line in opening] == [f'oifname "lo" meta skuid {uids.gateway}']
    direct = gateway_ruleset(Settings(), wanted)
    assert "15103" not in render(direct)
    assert uids.gateway in direct.outbound_uids
