"""Steps for a difference, their order, and none where there is no difference."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest

from appliance.settings import Settings
from netns.diff import difference
from netns.plan import Wanted, plan
from netns.plumbing import Attachment, Network
from netns.state import Link, Neighbour, Observed, Route, RouteKind, RoutingRule, Side, Space
from netns.steps import (
    AcceptInDockerUser,
    AddAddress,
    AddRoute,
    AddRule,
    CreateNamespace,
    CreateUplink,
    RemoveAddress,
    RemoveLink,
    RemoveRoute,
    ReplaceTable,
    SetNeighbour,
    SetSysctl,
    SetUp,
)

NETWORK = Network("a" * 64, "acme", IPv4Network("172.31.0.0/24"), IPv4Address("172.31.0.1"))
ATTACHMENT = Attachment("b" * 64, NETWORK.id, "acme", IPv4Address("172.31.0.2"), "02:42:ac:1f:00:02")
DESIRED = plan(
    Settings(), Wanted((NETWORK,), ((ATTACHMENT, "t-b"),)), lambda family, table, _text: f"{family} {table}"
)
UP = DESIRED.uplink


def links(*names, alias=""):
    return {name: Link(name, index, up=True, alias=alias) for index, name in enumerate(names, 1)}


INNER = Space(
    links=links("lo", "uplink", "t-b"),
    addresses=frozenset({("uplink", DESIRED.inner_address), ("lo", IPv4Interface("127.0.0.1/8"))}),
    routes=frozenset(DESIRED.routes),
    rules=frozenset(DESIRED.rules),
    neighbours=frozenset(DESIRED.neighbours),
    sysctls=dict(DESIRED.inner_sysctls),
    table="inet egress",
)
OUTER = Space(
    links=links("lo", "eth0") | links(UP.outer, alias=UP.alias),
    addresses=frozenset({(UP.outer, DESIRED.outer_address), ("eth0", IPv4Interface("192.0.2.2/24"))}),
    sysctls=dict(DESIRED.outer_sysctls),
    table="ip egress_host",
)
SAME = Observed(namespace=True, inner=INNER, outer=OUTER, docker_user=frozenset(DESIRED.docker_user))


def inner(**changes):
    return difference(DESIRED, replace(SAME, inner=replace(INNER, **changes)))


def outer(**changes):
    return difference(DESIRED, replace(SAME, outer=replace(OUTER, **changes)))


def test_no_difference_no_step():
    assert difference(DESIRED, SAME) == ()


def test_from_nothing_rules_stand_before_any_link_comes_up():
    """A21: no packet may pass between a link's start and its rules."""
    steps = difference(DESIRED, Observed(False, Space(), Space(), frozenset()))
    kinds = [type(step) for step in steps]
    assert kinds[0] is CreateNamespace
    assert steps[1] == SetSysctl(Side.GATEWAY, "net/ipv4/ip_forward", "0")
    last_table = max(i for i, kind in enumerate(kinds) if kind is ReplaceTable)
    assert kinds.count(ReplaceTable) == 2
    assert last_table < kinds.index(CreateUplink) < kinds.index(AddAddress) < kinds.index(SetUp)
    assert kinds.index(SetUp) < kinds.index(AddRoute)
    assert {*kinds} >= {AcceptInDockerUser, AddRule, SetNeighbour}


def test_the_uplinks_default_route_comes_after_local_ones():
    steps = difference(DESIRED, Observed(False, Space(), Space(), None))
    routes = [step.route for step in steps if isinstance(step, AddRoute) and step.route.table == 254]
    container = next(i for i, route in enumerate(routes) if route.interface == "t-b")
    assert {route.kind for route in routes[:container]} == {RouteKind.LOCAL, RouteKind.UNREACHABLE}
    assert {route.kind for route in routes[container:]} == {RouteKind.UNICAST}
    assert routes[-1].destination.prefixlen == 0


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({"table": None}, [ReplaceTable]),
        ({"table": "something else"}, [ReplaceTable]),
        ({"rules": frozenset()}, [AddRule, AddRule]),
        ({"rules": frozenset({DESIRED.rules[0], RoutingRule(101, 100, 2, 2)})}, [AddRule]),
        ({"neighbours": frozenset()}, [SetNeighbour]),
        (
            {"neighbours": frozenset({Neighbour("t-b", ATTACHMENT.address, "02:00:00:00:00:01")})},
            [SetNeighbour],
        ),
        ({"routes": frozenset(DESIRED.routes[1:])}, [AddRoute]),
        ({"routes": INNER.routes | {Route(IPv4Network("10.0.0.0/8"), "uplink")}}, [RemoveRoute]),
        ({"addresses": INNER.addresses | {("lo", IPv4Interface("172.31.0.9/32"))}}, [RemoveAddress]),
        ({"links": links("lo", "uplink", "t-b", "t-stray")}, [RemoveLink]),
        ({"sysctls": {**INNER.sysctls, "net/ipv4/tcp_syncookies": "0"}}, [SetSysctl]),
    ],
)
def test_one_thing_wrong_in_the_gateway_one_step(changes, kinds):
    assert [type(step) for step in inner(**changes)] == kinds


def test_a_link_that_is_down_comes_up():
    down = {**INNER.links, "t-b": replace(INNER.links["t-b"], up=False)}
    assert inner(links=down) == (SetUp(Side.GATEWAY, "t-b"),)


def test_writing_ip_forward_resets_others_so_all_are_set_again():
    steps = inner(sysctls={**INNER.sysctls, "net/ipv4/ip_forward": "1"})
    assert steps[0] == SetSysctl(Side.GATEWAY, "net/ipv4/ip_forward", "0")
    assert SetSysctl(Side.GATEWAY, "net/ipv4/conf/all/accept_redirects", "0") in steps


def test_a_kernel_without_ipv6_needs_no_switch_but_any_other_must_be_there():
    absent = {key: None if key.startswith("net/ipv6/") else value for key, value in INNER.sysctls.items()}
    assert inner(sysctls=absent) == ()
    assert inner(sysctls={**INNER.sysctls, "net/ipv4/icmp_echo_ignore_all": None}) == (
        SetSysctl(Side.GATEWAY, "net/ipv4/icmp_echo_ignore_all", "1"),
    )


def test_half_an_uplink_is_removed_and_made_again_with_what_hung_on_it():
    steps = outer(links=links("lo", "eth0"))
    kinds = [type(step) for step in steps]
    assert steps[0] == RemoveLink(Side.GATEWAY, "uplink")
    assert kinds[1] is CreateUplink
    assert [s for s in steps if isinstance(s, AddRoute)] == [AddRoute(DESIRED.routes[-1])]
    assert AddAddress(Side.GATEWAY, "uplink", DESIRED.inner_address) in steps


def test_a_foreign_link_of_the_uplinks_name_is_not_taken_for_ours():
    steps = outer(links=links("lo", "eth0", UP.outer))
    assert CreateUplink(UP) in steps
    assert RemoveLink(Side.OUTSIDE, UP.outer) not in steps


def test_a_foreign_link_without_a_pair_of_ours_stays_too():
    """It is refused by the step, with the mend, and never removed."""
    observed = Observed(True, Space(), replace(OUTER, links=links("lo", UP.outer, alias="a bridge")), None)
    steps = difference(DESIRED, observed)
    assert CreateUplink(UP) in steps
    assert not [step for step in steps if isinstance(step, RemoveLink)]


def test_the_hosts_other_addresses_and_links_are_not_ours_to_remove():
    steps = outer(addresses=OUTER.addresses | {("docker0", IPv4Interface("172.17.0.1/16"))})
    assert steps == ()


def test_dockers_chain_gets_what_is_missing_and_only_where_docker_made_it():
    missing = replace(SAME, docker_user=frozenset(DESIRED.docker_user[:1]))
    assert difference(DESIRED, missing) == (AcceptInDockerUser(DESIRED.docker_user[1]),)
    assert difference(DESIRED, replace(SAME, docker_user=None)) == ()


def test_every_step_names_its_object():
    steps = difference(DESIRED, Observed(False, Space(), Space(), frozenset()))
    texts = [str(step) for step in (*steps, RemoveLink(Side.GATEWAY, "t-x"), RemoveRoute(DESIRED.routes[0]))]
    assert len({*texts}) == len(texts)
    assert "create network namespace egress" in texts
    assert "add route unicast 0.0.0.0/0 via 198.18.83.1 dev uplink table 254" in texts
    assert str(RemoveAddress(Side.GATEWAY, "lo", IPv4Interface("10.0.0.1/8"))).startswith("remove address")
