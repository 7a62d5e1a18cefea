"""Squid in a worker's stead, by real packets: who reaches it, what it may send, and the way there and back (G8)."""

import json
import socket
import time

import pytest
from conftest import PRIVATE, PUBLIC

from appliance.links import accepted_mark, link_mark
from appliance.privilege import owning_files_as
from appliance.processes import BUNDLE_PORT, SQUID_PORT, Listener, SocketKind
from netns import namespaces, nft
from netns.listening import open_listener
from netns.shares import Steering

pytestmark = pytest.mark.system

REFUSED = 0.4  # seconds without an answer
EVERYBODY = Steering(frozenset({0, 1}))
BACK = Steering(frozenset(), frozenset({0, 1}))


@pytest.fixture
def network(rig, kernel):
    made = rig.network()
    kernel.add_network(made)
    return made


@pytest.fixture
def container(rig, kernel, network):
    return rig.container(kernel, network)


@pytest.fixture
def squid(rig, kernel):
    """Where Squid listens, with a queue that nobody empties unasked."""
    with namespaces.entered(rig.settings.namespace), owning_files_as(rig.settings.uids.squid):
        listening = socket.create_server((str(rig.settings.uplink.address.ip), SQUID_PORT))
    listening.settimeout(1)
    yield listening
    listening.close()


def asks(container, listening, gateway=None, port=3128):
    """A container's connection and Squid's end of it."""
    opened = container.socket()
    opened.connect((gateway or container.gateway, port))
    return opened, listening.accept()[0]


def says(one, other, text=b"hello"):
    one.sendall(text)
    return other.recv(100) == text


def test_squid_sees_who_asks_and_the_container_its_gateway(rig, kernel, container, squid):
    kernel.steer(EVERYBODY)
    opened, served = asks(container, squid)
    with opened, served:
        assert served.getpeername() == opened.getsockname()
        assert opened.getpeername() == (container.gateway, 3128)
        assert accepted_mark(served) == link_mark(container.attachment.endpoint)
        assert says(opened, served)
        assert says(served, opened)
        # Segments larger than the link takes, cut and summed up after the rewriting.
        served.sendall(bytes(60_000))
        assert len(opened.recv(60_000, socket.MSG_WAITALL)) == 60_000


@pytest.mark.parametrize(
    "target",
    [
        (PUBLIC, 80), (PUBLIC, 443), (PUBLIC, 3128), (PRIVATE, 8080), ("172.31.0.1", 443), ("172.31.0.1", 15101),
        ("172.31.0.9", 3128), ("198.18.83.2", SQUID_PORT), ("198.18.83.2", 3128), ("198.18.83.1", 3128),
        ("127.0.0.2", 3128), ("172.31.0.1", 3127),
    ],
)  # fmt: skip
def test_nothing_else_reaches_anybody(rig, kernel, container, squid, target):
    kernel.steer(EVERYBODY)
    assert isinstance(container.tcp(*target, wait=REFUSED), OSError)
    with pytest.raises(TimeoutError):
        squid.settimeout(0.1)
        squid.accept()
    assert rig.workers.seen == []
    assert rig.canary.seen == []


def test_another_networks_gateway_is_not_ones_own(rig, kernel, container, squid):
    other = rig.network("globex", 1)
    kernel.add_network(other)
    kernel.steer(EVERYBODY)
    assert isinstance(container.tcp(str(other.gateway), 3128, wait=REFUSED), OSError)
    neighbour = rig.container(kernel, other)
    opened, served = asks(neighbour, squid)
    with opened, served:
        assert opened.getpeername() == (str(other.gateway), 3128)
        assert says(served, opened)


def test_in_the_workers_time_squid_is_out_of_reach(rig, kernel, container, squid):
    """The control of all tests here: the same packet, steered the other way."""
    assert container.tcp(container.gateway, 3128)["destination"] == [container.gateway, 3128]
    assert isinstance(container.tcp("198.18.83.2", SQUID_PORT, wait=REFUSED), OSError)
    with pytest.raises(TimeoutError):
        squid.settimeout(0.1)
        squid.accept()


def test_one_share_falls_and_the_other_does_not_notice(rig, kernel, network, squid):
    containers = [rig.container(kernel, network, host) for host in range(2, 8)]
    workers = {c.address: c.tcp(PUBLIC, 80)["worker"] for c in containers}
    assert set(workers.values()) == {15001, 15002}
    kernel.steer(Steering(frozenset({1})))
    for container in containers:
        if workers[container.address] == 15001:
            assert container.tcp(PUBLIC, 443)["worker"] == 15001
        else:
            opened, served = asks(container, squid)
            with opened, served:
                assert says(opened, served)
            assert isinstance(container.tcp(PUBLIC, 443, wait=REFUSED), OSError)


def test_the_resolver_answers_all_the_while(rig, kernel, container):
    kernel.steer(EVERYBODY)
    assert container.udp("8.8.8.8", 53) == b"answer:ask"
    assert container.tcp("8.8.8.8", 53)["worker"] == 53


def test_a_starting_container_gets_its_root_from_the_gateways_address_alone(rig, kernel, container):
    with namespaces.entered(rig.settings.namespace):
        listener = Listener("bundle", SocketKind.TPROXY_TCP, port=BUNDLE_PORT)
        bundle = socket.socket(fileno=open_listener(listener, rig.settings.uids.squid))
    kernel.steer(EVERYBODY)
    with bundle:
        bundle.settimeout(1)
        opened, served = asks(container, bundle, port=80)
        with opened, served:
            assert says(served, opened)
        assert isinstance(container.tcp(PUBLIC, 80, wait=REFUSED), OSError)


def test_without_squid_nothing_is_answered_and_a_syn_is_sent_again(rig, kernel, container):
    """Both down: as with a dead worker no reset ends the attempt, so whoever comes back finds it."""
    kernel.steer(EVERYBODY)
    error = container.tcp(container.gateway, 3128, wait=REFUSED)
    assert isinstance(error, TimeoutError), error
    assert rig.workers.seen == []


def test_a_connection_that_finds_no_worker_finds_squid_before_anybody_has_noticed(
    rig, container, kernel, squid
):
    rig.workers.drop(lambda item: item.getsockname()[1] in (15001, 15002))
    opened, served = asks(container, squid)
    with opened, served:
        assert says(opened, served)
    assert isinstance(container.tcp(PUBLIC, 80, wait=REFUSED), OSError)
    assert kernel.drift() == ()
    kernel.steer(Steering(ready=False))
    assert isinstance(container.tcp(container.gateway, 3128, wait=REFUSED), TimeoutError)
    assert kernel.drift() == ()


def test_a_connection_that_was_a_workers_is_reset(rig, kernel, container, squid):
    with container.socket(wait=2) as opened:
        opened.connect((container.gateway, 3128))
        kernel.steer(EVERYBODY)
        opened.recv(4096)
        with pytest.raises(ConnectionError):
            for _ in range(20):
                opened.sendall(b"x")
                time.sleep(0.05)


def test_what_squid_has_drains_and_what_begins_is_the_workers(rig, kernel, container, squid):
    kernel.steer(EVERYBODY)
    opened, served = asks(container, squid)
    with opened, served:
        kernel.steer(BACK)
        assert says(opened, served)
        assert says(served, opened)
        assert container.tcp(container.gateway, 3128)["worker"] in (15001, 15002)
        assert container.tcp(PUBLIC, 80)["worker"] in (15001, 15002)
        # The same port again, and the drain leaves it alone.
        with container.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind((container.address, 0))
            again.connect((container.gateway, 3128))
            assert json.loads(again.recv(2048))["worker"] in (15001, 15002)
        kernel.steer(Steering())
        opened.settimeout(2)
        with pytest.raises(ConnectionError):
            for _ in range(20):
                opened.sendall(b"x")
                time.sleep(0.05)


def test_a11_what_squid_owes_a_container_that_is_gone_is_not_its_successors(rig, kernel, network, squid):
    kernel.steer(EVERYBODY)
    before = rig.container(kernel, network)
    early, owed = asks(before, squid)
    queued = before.socket()
    queued.connect((before.gateway, 3128))
    queued.sendall(b"GET http://www.example.com/ HTTP/1.1\r\n\r\n")
    kernel.detach(before.attachment.endpoint)
    after = rig.container(kernel, network)
    assert after.address == before.address
    with pytest.raises(ConnectionError):
        owed.recv(1)
    waiting = squid.accept()[0]
    with early, owed, queued, waiting:
        waiting.settimeout(1)
        late, served = asks(after, squid)
        with late, served:
            assert accepted_mark(served) == link_mark(after.attachment.endpoint)
            assert says(served, late)


def test_a11_the_mark_alone_holds_where_connections_cannot_be_closed(
    rig, kernel, network, squid, monkeypatch
):
    monkeypatch.setattr("netns.kernel.close_answers", lambda _address: None)
    kernel.steer(EVERYBODY)
    before = rig.container(kernel, network)
    early, owed = asks(before, squid)
    kernel.detach(before.attachment.endpoint)
    after = rig.container(kernel, network)
    stale = kernel.counters()["stale-answers"][0]
    with early, owed, after.socket(socket.SOCK_DGRAM):
        owed.sendall(b"the answer to the one before")
        late, served = asks(after, squid)
        with late, served:
            assert says(served, late)
    assert kernel.counters()["stale-answers"][0] > stale


def test_squid_opens_no_connection_to_a_container_and_none_to_a_special_range(rig, kernel, container):
    kernel.steer(EVERYBODY)
    with container.socket() as listening:
        listening.bind((container.address, 8080))
        listening.listen()
        for host in (container.address, PRIVATE, "127.0.0.1"):
            with owning_files_as(rig.settings.uids.squid), rig.gateway_socket(wait=REFUSED) as opened:
                opened.bind(("198.18.83.2" if host != "127.0.0.1" else host, SQUID_PORT))
                with pytest.raises(OSError, match=r"timed out|No route"):
                    opened.connect((host, 8080 if host != "127.0.0.1" else 15001))
    assert rig.workers.seen == []
    assert rig.canary.seen == []


@pytest.mark.parametrize("steering", [Steering(), Steering(frozenset({1})), EVERYBODY, BACK])
def test_the_steered_table_is_the_one_that_the_comparison_wants(rig, kernel, container, steering):
    """Else netd would replace it at the next look, and again, for ever."""
    kernel.steer(EVERYBODY)
    kernel.steer(steering)
    assert kernel.drift() == ()
    kernel.detach(container.attachment.endpoint)
    assert kernel.drift() == ()


def test_a20_a_flush_in_the_fallbacks_time_is_repaired_to_the_fallback(rig, kernel, container, squid):
    kernel.steer(EVERYBODY)
    rig.in_gateway("nft", "flush", "ruleset")
    assert isinstance(container.tcp(container.gateway, 3128, wait=REFUSED), OSError)
    assert [str(step) for step in kernel.converge().steps] == [
        f"replace nft table inet {rig.settings.instance} in the gateway namespace"
    ]
    opened, served = asks(container, squid)
    with opened, served:
        assert says(opened, served)
    assert isinstance(container.tcp(PUBLIC, 80, wait=REFUSED), OSError)


def test_steering_without_a_table_brings_the_table(rig, kernel, container, squid):
    rig.in_gateway("nft", "flush", "ruleset")
    kernel.steer(EVERYBODY)
    opened, served = asks(container, squid)
    with opened, served:
        assert says(opened, served)


def test_steering_keeps_what_is_counted(rig, kernel, container):
    container.udp(PUBLIC, 443, wait=0.1)
    kernel.steer(EVERYBODY)
    kernel.steer(Steering())
    assert kernel.counters()["udp-dropped"][0] >= 1


def test_without_the_mark_the_answer_would_reach_the_successor(rig, kernel, network, squid, monkeypatch):
    """The control of A11: with the rule taken away the packet is sent by the new link."""
    monkeypatch.setattr("netns.kernel.close_answers", lambda _address: None)
    kernel.steer(EVERYBODY)
    before = rig.container(kernel, network)
    early, owed = asks(before, squid)
    kernel.detach(before.attachment.endpoint)
    rig.container(kernel, network)
    table = f"inet {rig.settings.instance}"
    with namespaces.entered(rig.settings.namespace):
        nft.change(
            f"flush chain {table} leave-as-proxy\n"
            f"add rule {table} leave-as-proxy ip saddr set ip daddr map @proxy_of tcp sport set 3128 accept\n"
        )
    stale = kernel.counters()["stale-answers"][0]
    with early, owed, pytest.raises(ConnectionError):  # by the successor's kernel, which has seen it
        for _ in range(20):
            owed.sendall(b"the answer to the one before")
            time.sleep(0.05)
    assert kernel.counters()["stale-answers"][0] == stale
