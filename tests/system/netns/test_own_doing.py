"""A container comes and goes: the kernel tells much of it, all of it our own doing; of others' changes none is."""

import socket
import time
from contextlib import closing

import pytest

from netns import namespaces
from netns.naming import container_interface
from netns.notices import NFTABLES_GROUPS, ROUTE_GROUPS, Transactions, route_notices
from netns.own_links import GRACE
from netns.watch import NETLINK_NETFILTER, NETLINK_ROUTE, OurThreads

pytestmark = pytest.mark.system


QUIET = 1.2
"""Seconds: the kernel tells of the new uplink's carrier up to one later, whatever happens meanwhile."""


def listening(protocol, groups):
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
    opened.bind((0, sum(1 << (group - 1) for group in groups)))
    return opened


def datagrams(opened):
    while True:
        try:
            yield opened.recv(65536)
        except BlockingIOError:
            return


@pytest.fixture
def heard(rig, kernel):
    with namespaces.entered(rig.settings.namespace):
        routes = listening(NETLINK_ROUTE, ROUTE_GROUPS)
        rules = listening(NETLINK_NETFILTER, NFTABLES_GROUPS)
    transactions = Transactions(OurThreads())

    def hear(seconds=0.1):
        time.sleep(seconds)
        told = [n for d in datagrams(routes) for n in route_notices(d, expected=kernel.own.expects)]
        return told + [n for d in datagrams(rules) for n in transactions.take(d)]

    with closing(routes), closing(rules):
        while hear(QUIET):
            pass
        yield hear


def strange(notices):
    return [str(notice) for notice in notices if not notice.own]


def test_a_container_that_comes_and_goes_asks_for_no_comparison(rig, kernel, heard):
    network = rig.network()
    kernel.add_network(network)
    heard()
    attachment = rig.attachment(network)
    kernel.attach(attachment)
    told = heard()
    assert len(told) > 4
    assert strange(told) == []
    kernel.detach(attachment.endpoint)
    told = heard()
    assert len(told) > 2
    assert strange(told) == []
    assert kernel.drift() == ()


def test_what_docker_does_to_the_other_end_asks_for_none(rig, kernel, heard):
    network = rig.network()
    kernel.add_network(network)
    end = container_interface(kernel.attach(rig.attachment(network)).interface)
    heard()
    name = f"no{rig.tag}"
    rig.namespace(name)
    rig.run("ip", "link", "set", end, "netns", name, "name", "eth0")
    rig.run("ip", "-n", name, "link", "set", "eth0", "up")
    told = heard()
    assert told
    assert strange(told) == []


BREAKAGES = {
    "down": ("ip", "link", "set", "{link}", "down"),
    "alias": ("ip", "link", "set", "{link}", "alias", "egress1 another"),
    "deleted": ("ip", "link", "del", "{link}"),
    "route deleted": ("ip", "route", "del", "{address}/32"),
    "neighbour deleted": ("ip", "neigh", "del", "{address}", "dev", "{link}"),
    "element deleted": ("nft", "flush", "map", "inet", "{instance}", "endpoints"),
    "address": ("ip", "address", "add", "10.9.8.7/32", "dev", "{link}"),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_what_others_do_to_its_link_asks_for_one(rig, kernel, container, heard, breakage):
    time.sleep(GRACE)
    heard()
    facts = {
        "link": container.live.interface,
        "address": container.address,
        "instance": rig.settings.instance,
    }
    rig.in_gateway(*(part.format(**facts) for part in BREAKAGES[breakage]))
    assert strange(heard())
