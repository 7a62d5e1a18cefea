"""What processes inside the gateway namespace may send: by the uid that opened the socket (A16, A19, A21)."""

import socket
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from appliance.privilege import owning_files_as
from appliance.processes import CHAINED_PORT
from appliance.settings import UplinkProxy
from netns import namespaces, nft

pytestmark = pytest.mark.system

PUBLIC, PRIVATE, METADATA, NAME_SERVER = "93.184.216.34", "10.0.1.5", "169.254.169.254", "10.0.0.53"
CANARY_PORT = 8080
REFUSED = 0.4  # seconds without an answer


def bind_to_uplink(rig, opened):
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, rig.settings.uplink_interface.encode())


def connects(rig, uid, host, port, wait=3.0, *, bound=False):
    with owning_files_as(uid), rig.gateway_socket(wait=wait) as opened:
        if bound:
            bind_to_uplink(rig, opened)
        try:
            opened.connect((host, port))
        except OSError:
            return False
        return opened.recv(100) == b'"canary"'


def asks(rig, uid, host, port, wait=3.0, *, bound=False):
    with owning_files_as(uid), rig.gateway_socket(socket.SOCK_DGRAM, wait) as opened:
        if bound:
            bind_to_uplink(rig, opened)
        try:
            opened.connect((host, port))
            opened.send(b"ask")
            return opened.recv(100) == b"answer:ask"
        except OSError:
            return False


def test_the_gateway_uid_reaches_public_addresses_by_tcp_only(rig, kernel):
    gateway = rig.settings.uids.gateway
    assert connects(rig, gateway, PUBLIC, CANARY_PORT)
    assert not asks(rig, gateway, PUBLIC, CANARY_PORT, REFUSED)
    assert [kind for kind, *_ in rig.canary.seen] == ["tcp"]


@pytest.fixture
def without_routes(rig, kernel):
    """The rules alone: the routes that refuse special ranges are taken away."""
    rig.in_gateway("ip", "route", "flush", "type", "unreachable")


@pytest.mark.usefixtures("without_routes")
@pytest.mark.parametrize("host", [PRIVATE, METADATA, "198.18.83.1"])
@pytest.mark.parametrize("who", ["gateway", "resolver", "broker", "squid", "root"])
def test_nobody_reaches_a_special_range(rig, kernel, who, host):
    uid = 0 if who == "root" else getattr(rig.settings.uids, who)
    before = kernel.counters()["special-output"][0]
    assert not connects(rig, uid, host, CANARY_PORT, REFUSED)
    assert not asks(rig, uid, host, CANARY_PORT, REFUSED)
    assert kernel.counters()["special-output"][0] >= before + 2
    assert rig.canary.seen == []


@pytest.mark.parametrize("bound", [False, True], ids=["routed", "bound to the uplink"])
@pytest.mark.parametrize("host", [PRIVATE, METADATA])
def test_a20_without_any_table_there_is_no_route_to_a_special_range(rig, kernel, host, bound):
    """The second layer alone. Whoever binds to the uplink asks there for the address: nobody answers."""
    rig.in_gateway("nft", "flush", "ruleset")
    gateway = rig.settings.uids.gateway
    assert not connects(rig, gateway, host, CANARY_PORT, REFUSED, bound=bound)
    assert not asks(rig, gateway, host, CANARY_PORT, REFUSED, bound=bound)
    assert rig.canary.seen == []
    assert connects(rig, gateway, PUBLIC, CANARY_PORT, bound=bound)


def test_a20_the_neighbours_answer_is_what_a_bound_socket_lacks(rig, kernel):
    """The control of the test above: with the outer end's answers to any address the canary is reached.

    One way only, because what comes back has no route to where it came from (RFC 3704).
    """
    rig.in_gateway("nft", "flush", "ruleset")
    with namespaces.entered(rig.outside):
        outer = f"/proc/sys/net/ipv4/conf/up-{rig.settings.instance}/arp_ignore"
        Path(outer).write_text("0", encoding="ascii")
    assert not asks(rig, rig.settings.uids.gateway, PRIVATE, CANARY_PORT, REFUSED, bound=True)
    assert [kind for kind, *_ in rig.canary.seen] == ["udp"]


@pytest.mark.usefixtures("without_routes")
@pytest.mark.parametrize("host", [PRIVATE, METADATA])
def test_without_the_rule_the_same_connection_reaches_the_canary(rig, kernel, host):
    """The control of the tests above, on the very path: they can fail."""
    with namespaces.entered(rig.settings.namespace):
        nft.change(
            f"flush chain inet {rig.settings.instance} leave-to-special\n"
            f"add rule inet {rig.settings.instance} leave-to-special accept\n"
        )
    assert connects(rig, rig.settings.uids.gateway, host, CANARY_PORT)


@pytest.mark.parametrize("who", ["resolver", "root"])
def test_only_outbound_uids_reach_public_addresses(rig, kernel, who):
    uid = 0 if who == "root" else rig.settings.uids.resolver
    assert not connects(rig, uid, PUBLIC, CANARY_PORT, REFUSED)
    assert not asks(rig, uid, PUBLIC, CANARY_PORT, REFUSED)
    assert rig.canary.seen == []


def test_only_the_resolver_and_the_fallback_ask_only_their_servers(rig, kernel):
    uids = rig.settings.uids
    for uid in (uids.resolver, uids.squid):
        assert asks(rig, uid, NAME_SERVER, 53)
        assert connects(rig, uid, NAME_SERVER, 53)
    rig.canary.seen.clear()
    for uid in (uids.gateway, uids.broker, 0):
        assert not asks(rig, uid, NAME_SERVER, 53, REFUSED)
        assert not connects(rig, uid, NAME_SERVER, 53, REFUSED)
    for uid in (uids.resolver, uids.squid):
        assert not asks(rig, uid, NAME_SERVER, 5353, REFUSED)
    assert rig.canary.seen == []


def test_an_operators_exception_opens_one_range_and_port_to_the_gateway(rig, kernel):
    uids = rig.settings.uids
    kernel.set_exceptions(((IPv4Network("10.0.1.0/29"), CANARY_PORT),))
    assert connects(rig, uids.gateway, PRIVATE, CANARY_PORT)
    for uid in (uids.resolver, uids.broker, uids.squid, 0):
        assert not connects(rig, uid, PRIVATE, CANARY_PORT, REFUSED)
    assert not connects(rig, uids.gateway, METADATA, CANARY_PORT, REFUSED)
    kernel.set_exceptions(((IPv4Network("10.0.1.0/29"), CANARY_PORT + 1),))
    assert not connects(rig, uids.gateway, PRIVATE, CANARY_PORT, REFUSED)


def test_nobody_opens_a_connection_to_a_container(rig, kernel):
    network = rig.network()
    kernel.add_network(network)
    container = rig.container(kernel, network)
    with container.socket() as tcp, container.socket(socket.SOCK_DGRAM) as udp:
        tcp.bind((container.address, CANARY_PORT))
        tcp.listen()
        udp.bind((container.address, CANARY_PORT))
        for uid in (rig.settings.uids.gateway, rig.settings.uids.resolver, 0):
            assert not connects(rig, uid, container.address, CANARY_PORT, REFUSED)
            assert not asks(rig, uid, container.address, CANARY_PORT, REFUSED)
        for listening in (tcp, udp):
            listening.settimeout(0.1)
        with pytest.raises(TimeoutError):
            tcp.accept()
        with pytest.raises(TimeoutError):
            udp.recv(100)
    assert kernel.counters()["tenant-output"][0] > 0


def test_a_pools_address_is_no_source_towards_the_outside(rig, kernel):
    """Whatever a transparent socket is bound to, the uplink carries one source only."""
    kernel.add_network(rig.network())
    with owning_files_as(rig.settings.uids.gateway), rig.gateway_socket(wait=REFUSED) as opened:
        opened.setsockopt(socket.SOL_IP, socket.IP_TRANSPARENT, 1)
        opened.bind(("172.31.0.5", 0))
        with pytest.raises(OSError):
            opened.connect((PUBLIC, CANARY_PORT))
    assert kernel.counters()["uplink-output"][0] > 0


def test_nothing_comes_in_by_the_uplink(rig, kernel):
    kernel.add_network(rig.network())
    rig.run("ip", "-n", rig.outside, "route", "add", "172.31.0.0/24", "via", "198.18.83.2")
    before = kernel.counters()["input-dropped"][0]
    for host, port in (("198.18.83.2", 15001), ("172.31.0.1", 15001), ("198.18.83.2", 53)):
        with namespaces.entered(rig.outside), socket.socket() as opened:
            opened.settimeout(0.5)
            with pytest.raises(OSError):
                opened.connect((host, port))
    assert kernel.counters()["input-dropped"][0] >= before + 3
    assert rig.workers.seen == []


def test_the_labs_outside_has_no_way_to_the_host(rig):
    """No packet of these tests can leave the machine."""
    assert rig.run("ip", "-n", rig.outside, "route", "show", "default") == ""
    links = rig.run("ip", "-n", rig.outside, "-br", "link").splitlines()
    assert {line.split()[0].split("@")[0] for line in links} <= {"lo", f"up-{rig.settings.instance}"}


@pytest.mark.parametrize("proxy", [PRIVATE, PUBLIC])
def test_g9_with_a_proxy_the_gateway_opens_it_and_nothing_else(rig, proxy):
    other = PUBLIC if proxy == PRIVATE else PRIVATE
    uplink = rig.settings.uplink.model_copy(
        update={"proxy": UplinkProxy(address=IPv4Address(proxy), port=CANARY_PORT)}
    )
    rig.settings = rig.settings.model_copy(update={"uplink": uplink})
    kernel = rig.start_gateway()
    kernel.set_exceptions(((IPv4Network("10.0.1.0/29"), CANARY_PORT + 1), (IPv4Network("10.0.0.0/24"), 443)))
    uids = rig.settings.uids
    assert connects(rig, uids.gateway, proxy, CANARY_PORT)
    assert not asks(rig, uids.gateway, proxy, CANARY_PORT, REFUSED)
    assert asks(rig, uids.resolver, NAME_SERVER, 53)
    rig.canary.seen.clear()
    for uid in (uids.resolver, uids.squid, 0):
        assert not connects(rig, uid, proxy, CANARY_PORT, REFUSED)
    for uid in (uids.gateway, uids.squid):
        assert not connects(rig, uid, other, CANARY_PORT, REFUSED)
    assert not connects(rig, uids.gateway, METADATA, CANARY_PORT, REFUSED)
    assert rig.canary.seen == []


def test_g9_chained_the_gateway_opens_squids_own_port_and_squid_the_public(rig):
    uplink = rig.settings.uplink.model_copy(update={"chained": True})
    rig.settings = rig.settings.model_copy(update={"uplink": uplink})
    kernel = rig.start_gateway()
    kernel.set_exceptions(((IPv4Network("10.0.1.0/29"), CANARY_PORT),))
    uids = rig.settings.uids
    with owning_files_as(uids.squid), rig.gateway_socket() as squid:
        squid.bind(("127.0.0.1", CHAINED_PORT))
        squid.listen()
        with owning_files_as(uids.gateway), rig.gateway_socket() as asking:
            asking.connect(("127.0.0.1", CHAINED_PORT))
            served, _ = squid.accept()
            with served:
                asking.sendall(b"ask")
                assert served.recv(9) == b"ask"
                served.sendall(b"answer")
                assert asking.recv(9) == b"answer"
        for uid in (uids.resolver, uids.broker, 0):
            assert not connects(rig, uid, "127.0.0.1", CHAINED_PORT, REFUSED)
    assert connects(rig, uids.squid, PUBLIC, CANARY_PORT)
    assert connects(rig, uids.gateway, PRIVATE, CANARY_PORT), "what an operator excepted"
    rig.canary.seen.clear()
    assert not connects(rig, uids.gateway, PUBLIC, CANARY_PORT, REFUSED)
    assert not connects(rig, uids.squid, PRIVATE, CANARY_PORT, REFUSED)
    assert not connects(rig, uids.gateway, METADATA, CANARY_PORT, REFUSED)
    assert rig.canary.seen == []
