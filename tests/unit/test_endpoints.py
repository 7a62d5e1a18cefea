"""The table of live endpoints, and the feed that fills it (001-10: the link is the identity)."""

import json
from ipaddress import IPv4Address, IPv4Network

import pytest
from twisted.internet.defer import succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from appliance.endpoints import Endpoint, EndpointFeed, EndpointTable, FeedError, own_namespace
from appliance.links import link_mark


def entry(identity="e1", address="172.18.0.2", ifindex=7, **more):
    return {
        "id": identity,
        "network": "n1",
        "tenant": "acme",
        "address": address,
        "interface": f"t-{identity}",
        "ifindex": ifindex,
        "container": "",
        "name": "",
        "run": "",
    } | more


def endpoint(*arguments, **more):
    return Endpoint.parse(entry(*arguments, **more))


def test_an_endpoint_is_found_by_its_address_and_only_on_its_interface():
    table = EndpointTable()
    table.update([endpoint()], [])
    assert table.on_interface(IPv4Address("172.18.0.2"), 7).id == "e1"
    assert table.on_interface(IPv4Address("172.18.0.2"), 7).tenant == "acme"
    assert table.on_interface(IPv4Address("172.18.0.2"), 8) is None  # A11: another's address
    assert table.on_interface(IPv4Address("172.18.0.3"), 7) is None
    assert table.on_link(IPv4Address("172.18.0.2"), link_mark("e1")).id == "e1"
    assert table.on_link(IPv4Address("172.18.0.2"), link_mark("e2")) is None  # an earlier holder's
    assert table.on_link(IPv4Address("172.18.0.3"), link_mark("e1")) is None


def test_a_removed_endpoint_owns_nothing_any_more():
    table = EndpointTable()
    table.update([endpoint()], [])
    change = table.update([], ["e1", "never-seen"])
    assert [e.id for e in change.removed] == ["e1"]
    assert table.on_interface(IPv4Address("172.18.0.2"), 7) is None
    assert len(table) == 0


def test_a_newcomer_ends_the_earlier_holder_of_its_address():
    table = EndpointTable()
    table.update([endpoint("e1")], [])
    change = table.update([endpoint("e2", ifindex=9)], [])
    assert [e.id for e in change.removed] == ["e1"]
    assert table.on_interface(IPv4Address("172.18.0.2"), 9).id == "e2"
    assert [e.id for e in table] == ["e2"]
    assert table.update([], ["e1"]).removed == ()
    assert table.on_interface(IPv4Address("172.18.0.2"), 9).id == "e2"


def test_a_late_container_name_does_not_end_flows():
    table = EndpointTable()
    table.update([endpoint()], [])
    change = table.update([endpoint(name="job-1", run="r9")], [])
    assert change.removed == ()
    assert change.added == ()
    assert [(e.id, e.name) for e in table] == [("e1", "job-1")]


@pytest.mark.parametrize("more", [{"ifindex": 8}, {"tenant": "other"}, {"address": "172.18.0.9"}])
def test_an_endpoint_whose_link_changed_ends_and_begins(more):
    table = EndpointTable()
    table.update([endpoint()], [])
    change = table.replace([Endpoint.parse(entry() | more)])
    assert [e.id for e in change.removed] == ["e1"]
    assert [e.id for e in change.added] == ["e1"]
    assert len(list(table)) == 1


def test_a_snapshot_removes_what_it_does_not_name():
    table = EndpointTable()
    table.update([endpoint("e1"), endpoint("e2", "172.18.0.3", 8)], [])
    change = table.replace([endpoint("e2", "172.18.0.3", 8)])
    assert [e.id for e in change.removed] == ["e1"]
    assert [e.id for e in table] == ["e2"]


@pytest.mark.parametrize(
    "bad",
    [
        None,
        [],
        entry(ifindex=0),
        entry(ifindex=True),
        entry(ifindex="7"),
        entry(address="172.18.0"),
        entry(address=""),
        entry(tenant="../x"),
        entry(tenant=""),
        entry(tenant="acme-"),
        entry(tenant="a" * 33),
        entry(name=3),
        entry(name="x" * 300),
        {k: v for k, v in entry().items() if k != "network"},
    ],
)
def test_an_endpoint_of_another_shape_is_refused(bad):
    with pytest.raises(FeedError):
        Endpoint.parse(bad)


@implementer(IStreamClientEndpoint)
class Netd:
    """A fake control socket: keeps each connection's protocol and transport."""

    def __init__(self):
        self.connections = []

    def connect(self, factory):
        protocol = factory.buildProtocol(None)
        transport = StringTransport()
        self.connections.append((protocol, transport))
        protocol.makeConnection(transport)
        return succeed(protocol)

    def say(self, message):
        protocol, _ = self.connections[-1]
        protocol.dataReceived(json.dumps(message).encode() + b"\n")

    def heard(self):
        _, transport = self.connections[-1]
        lines = transport.value().splitlines()
        transport.clear()
        return [json.loads(line) for line in lines]

    @property
    def closing(self):
        return self.connections[-1][1].disconnecting

    def hang_up(self):
        self.connections[-1][0].connectionLost(Failure(ConnectionDone()))


@pytest.fixture
def started():
    netd, clock = Netd(), Clock()
    feed = EndpointFeed(netd, clock)
    feed.start()
    return netd, clock, feed


def test_the_feed_subscribes_applies_and_acknowledges(started):
    netd, _, feed = started
    assert netd.heard() == [{"op": "subscribe"}]
    assert not feed.ready
    netd.say({"type": "snapshot", "generation": 4, "endpoints": [entry()]})
    assert feed.ready
    assert netd.heard() == [{"type": "ack", "generation": 4}]
    added = [entry("e2", "172.18.0.3", 8)]
    netd.say({"type": "update", "generation": 5, "added": added, "removed": ["e1"]})
    assert netd.heard() == [{"type": "ack", "generation": 5}]
    assert [e.id for e in feed.table] == ["e2"]


@pytest.mark.parametrize(
    ("announced", "strayed"),
    [(own_namespace(), []), (own_namespace() + 1, ["strayed"]), (None, []), (True, []), ("7", [])],
)
def test_a20_a_process_in_another_namespace_than_netds_says_so_once(started, announced, strayed):
    netd, _, feed = started
    seen = []
    feed.on_stray(lambda: seen.append("strayed"))
    for generation in (1, 2):
        netd.say({"type": "snapshot", "generation": generation, "endpoints": [], "namespace": announced})
    assert seen == strayed


def test_networks_are_told_whole_and_stay_until_they_are_told_again(started):
    netd, _, feed = started
    told = [{"tenant": "acme", "pool": "172.18.0.0/24"}, {"tenant": "acme", "pool": "172.19.0.0/24"}]
    netd.say({"type": "snapshot", "generation": 1, "endpoints": [], "networks": told})
    assert feed.pools == {"acme": (IPv4Network("172.18.0.0/24"), IPv4Network("172.19.0.0/24"))}
    netd.say({"type": "update", "generation": 2, "added": [], "removed": []})
    assert len(feed.pools["acme"]) == 2
    netd.say({"type": "update", "generation": 3, "added": [], "removed": [], "networks": []})
    assert feed.pools == {}


@pytest.mark.parametrize(
    "bad", ["x", [1], [{"tenant": "acme"}], [{"tenant": "acme", "pool": "172.18.0.1/24"}], {"a": 1}]
)
def test_networks_of_another_shape_end_the_connection_and_change_nothing(started, bad):
    netd, _, feed = started
    netd.say({"type": "snapshot", "generation": 1, "endpoints": [entry()], "networks": bad})
    assert netd.closing
    assert not feed.ready
    assert len(feed.table) == 0


def test_removal_is_announced_before_it_is_acknowledged(started):
    netd, _, feed = started
    netd.say({"type": "snapshot", "generation": 1, "endpoints": [entry()]})
    netd.heard()
    seen = []
    feed.on_removed(lambda e: seen.append((e.id, netd.heard(), len(feed.table))))
    netd.say({"type": "update", "generation": 2, "added": [], "removed": ["e1"]})
    assert seen == [("e1", [], 0)]
    assert netd.heard() == [{"type": "ack", "generation": 2}]


def test_one_failing_listener_does_not_silence_the_others(started):
    netd, _, feed = started
    netd.say({"type": "snapshot", "generation": 1, "endpoints": [entry()]})
    seen = []

    def fails(endpoint):
        raise RuntimeError(endpoint.id)

    feed.on_removed(fails)
    feed.on_removed(seen.append)
    netd.say({"type": "snapshot", "generation": 2, "endpoints": []})
    assert [e.id for e in seen] == ["e1"]


def test_the_last_table_stays_in_force_while_netd_is_away(started):
    netd, clock, feed = started
    netd.say({"type": "snapshot", "generation": 1, "endpoints": [entry()]})
    netd.hang_up()
    assert not feed.connected
    assert [e.id for e in feed.table] == ["e1"]
    clock.advance(2)
    assert len(netd.connections) == 2
    assert netd.heard() == [{"op": "subscribe"}]
    # netd counts from the beginning again after its own restart
    netd.say({"type": "snapshot", "generation": 0, "endpoints": []})
    assert len(feed.table) == 0


@pytest.mark.parametrize(
    "message",
    [
        {"type": "update", "generation": 1, "added": [], "removed": []},
        {"type": "update", "generation": 2, "added": {}, "removed": []},
        {"type": "update", "generation": 2, "added": [], "removed": [1]},
        {"type": "update", "generation": 2, "added": [{"id": "e3"}], "removed": ["e1"]},
        {"type": "snapshot", "generation": -1, "endpoints": []},
        {"type": "snapshot", "generation": 2},
        {"type": "surprise", "generation": 2},
        {},
    ],
)
def test_a_message_of_another_shape_changes_nothing_and_ends_the_connection(started, message):
    netd, _, feed = started
    netd.say({"type": "snapshot", "generation": 1, "endpoints": [entry()]})
    netd.heard()
    netd.say(message)
    assert netd.closing
    assert netd.heard() == []
    assert [e.id for e in feed.table] == ["e1"]


def test_an_update_before_any_snapshot_is_refused(started):
    netd, _, feed = started
    netd.say({"type": "update", "generation": 9, "added": [entry()], "removed": []})
    assert netd.closing
    assert not feed.ready


def test_a_stopped_feed_does_not_reconnect(started):
    netd, clock, feed = started
    feed.stop()
    netd.hang_up()
    clock.advance(60)
    assert len(netd.connections) == 1
