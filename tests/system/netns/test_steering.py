"""Real packets of a container: each ends at a worker, at the resolver, or is counted and dropped (A1–A11)."""

import socket
import struct
import time
from pathlib import Path

import pytest

from netns import namespaces
from netns.ruleset import CONNECTION_BURST

pytestmark = pytest.mark.system

PUBLIC, PRIVATE, METADATA, NAME_SERVER = "93.184.216.34", "10.0.1.5", "169.254.169.254", "10.0.0.53"
CANARY_PORT = 8080
REFUSED = 0.4  # seconds without an answer


@pytest.fixture
def network(rig, kernel):
    made = rig.network()
    kernel.add_network(made)
    return made


@pytest.fixture
def container(rig, kernel, network):
    return rig.container(kernel, network)


def dropped(kernel, name):
    return kernel.counters()[name][0]


@pytest.mark.parametrize(
    ("host", "port"),
    [
        (PUBLIC, 80),
        (PUBLIC, 22),
        (PRIVATE, CANARY_PORT),
        (METADATA, 80),
        ("198.18.83.1", 1),
        ("198.18.83.2", 15001),
        ("172.31.0.1", 443),
        ("172.31.0.200", 5432),
        ("255.1.1.1", 9),
    ],
)
def test_a1_a4_tcp_of_any_port_to_any_destination_ends_at_a_worker(rig, container, host, port):
    answer = container.tcp(host, port)
    assert answer["destination"] == [host, port]
    assert answer["worker"] in (15001, 15002)
    assert rig.canary.seen == []


def test_the_control_reaches_the_canaries(rig, kernel):
    """Without the appliance in between they answer: so every 'nothing seen' here means something."""
    control = rig.control()
    for host in (PUBLIC, PRIVATE, METADATA):
        assert control.tcp(host, CANARY_PORT) == "canary"
        assert control.udp(host, CANARY_PORT) == b"answer:ask"


def test_one_container_stays_on_one_worker_and_two_are_in_use(rig, kernel, network):
    containers = [rig.container(kernel, network, host) for host in range(2, 10)]
    ports = [{c.tcp(PUBLIC, port)["worker"] for port in (80, 443, 8443)} for c in containers]
    assert all(len(used) == 1 for used in ports)
    assert set.union(*ports) == {15001, 15002}


@pytest.mark.parametrize("server", ["172.31.0.1", "8.8.8.8", NAME_SERVER, "172.31.0.77"])
def test_b1_dns_to_any_server_is_answered_by_the_resolver_from_the_asked_address(rig, container, server):
    assert container.udp(server, 53) == b"answer:ask"
    assert container.tcp(server, 53)["worker"] == 53
    assert rig.workers.seen[0] == ("udp", b"ask", (container.address, rig.workers.seen[0][2][1]), server)
    assert rig.canary.seen == []


@pytest.mark.parametrize(("host", "port"), [(PUBLIC, 443), (PUBLIC, CANARY_PORT), (PRIVATE, CANARY_PORT)])
def test_a6_other_udp_is_counted_and_dropped(rig, kernel, container, host, port):
    before = dropped(kernel, "udp-dropped")
    assert isinstance(container.udp(host, port, wait=REFUSED), OSError)
    assert dropped(kernel, "udp-dropped") == before + 1
    assert rig.canary.seen == []
    assert rig.workers.seen == []


def ipv4(source, destination, protocol, payload, *, fragment=0, options=b""):
    words = 5 + len(options) // 4
    length = words * 4 + len(payload)
    head = struct.pack("!BBHHHBBH", 0x40 | words, 0, length, 77, fragment, 64, protocol, 0)
    return head + socket.inet_aton(source) + socket.inet_aton(destination) + options + payload


@pytest.fixture
def send_raw(container):
    """Sends a whole IPv4 packet as root with CAP_NET_RAW would; the kernel fills in the checksum."""
    with container.socket(socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        yield lambda packet, to=PUBLIC: raw.sendto(packet, (to, 0))


UDP_DNS = struct.pack("!HHHH", 4444, 53, 8 + 16, 0) + b"q" * 16
TCP_SYN = struct.pack("!HHIIBBHHH", 4444, 80, 1, 0, 0x50, 2, 1024, 0, 0)


@pytest.mark.parametrize(
    ("attack", "packet", "counter"),
    [
        ("A7 ICMP echo", lambda me: ipv4(me, PUBLIC, 1, b"\x08\0\xf7\xff\0\0\0\0"), "icmp-dropped"),
        ("A8 SCTP", lambda me: ipv4(me, PUBLIC, 132, b"x" * 16), "protocols-dropped"),
        ("A8 DCCP", lambda me: ipv4(me, PUBLIC, 33, b"x" * 16), "protocols-dropped"),
        ("A8 UDP-Lite", lambda me: ipv4(me, PUBLIC, 136, UDP_DNS), "protocols-dropped"),
        ("A8 GRE", lambda me: ipv4(me, PUBLIC, 47, b"\0" * 8), "protocols-dropped"),
        ("A8 IPIP", lambda me: ipv4(me, PUBLIC, 4, ipv4(me, PUBLIC, 17, UDP_DNS)), "protocols-dropped"),
        ("A8 ESP", lambda me: ipv4(me, PUBLIC, 50, b"\0" * 16), "protocols-dropped"),
        ("A11 spoof neighbour", lambda _: ipv4("172.31.0.3", PUBLIC, 17, UDP_DNS), "spoofed"),
        ("A11 spoof TCP", lambda _: ipv4("172.31.0.3", PUBLIC, 6, TCP_SYN), "spoofed"),
        ("A11 spoof uplink", lambda _: ipv4("198.18.83.2", PUBLIC, 6, TCP_SYN), "spoofed"),
        ("A6 first fragment", lambda me: ipv4(me, PUBLIC, 17, UDP_DNS[:16], fragment=0x2000), "fragments"),
        ("A6 last fragment", lambda me: ipv4(me, PUBLIC, 17, UDP_DNS[16:], fragment=2), "fragments"),
        (
            "source route",
            lambda me: ipv4(me, PUBLIC, 6, TCP_SYN, options=b"\x83\x07\x04\x0a\0\1\5\0"),
            "options",
        ),
        ("record route", lambda me: ipv4(me, PUBLIC, 17, UDP_DNS, options=b"\x07\x03\x04\x00"), "options"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_raw_packets_are_counted_and_dropped(request, attack, packet, counter):
    rig, kernel, container, send_raw = map(
        request.getfixturevalue, ("rig", "kernel", "container", "send_raw")
    )
    before = dropped(kernel, counter)
    send_raw(packet(container.address))
    assert dropped(kernel, counter) == before + 1, attack
    assert rig.canary.seen == []
    assert rig.workers.seen == []


def test_broadcast_and_multicast_are_dropped(rig, kernel, container):
    before = dropped(kernel, "broadcasts")
    with container.socket(socket.SOCK_DGRAM) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        for host in ("255.255.255.255", "224.0.0.251", "239.1.2.3"):
            opened.sendto(b"x", (host, 53))
    assert dropped(kernel, "broadcasts") == before + 3
    assert rig.workers.seen == []


def test_a11_an_added_address_is_spoofing(rig, kernel, container):
    rig.run("ip", "-n", container.namespace, "address", "add", "172.31.0.9/24", "dev", "eth0")
    assert container.tcp(PUBLIC, 80)["destination"] == [PUBLIC, 80]  # so that the gateway's MAC is known
    rig.workers.seen.clear()
    before = dropped(kernel, "spoofed")
    with container.socket(wait=REFUSED) as opened:
        opened.bind(("172.31.0.9", 0))
        with pytest.raises(OSError):
            opened.connect((PUBLIC, 80))
    assert dropped(kernel, "spoofed") > before
    assert rig.workers.seen == []


def test_a13_a_mark_set_by_the_sender_is_no_ticket(rig, kernel, container):
    with container.socket(socket.SOCK_DGRAM) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 1)
        before = dropped(kernel, "udp-dropped")
        opened.sendto(b"x", (PRIVATE, CANARY_PORT))
    assert dropped(kernel, "udp-dropped") == before + 1
    assert rig.canary.seen == []


def test_a9_ipv6_has_no_stack_to_answer_and_is_counted(rig, kernel, container):
    interface = container.live.interface
    with namespaces.entered(rig.settings.namespace):
        assert Path(f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6").read_text().strip() == "1"
    addresses = rig.run("ip", "-n", rig.settings.namespace, "-6", "address")
    assert addresses == ""
    rig.run("ip", "-n", container.namespace, "address", "add", "2001:db8::2/64", "dev", "eth0", "nodad")
    rig.run(
        "ip",
        "-n",
        container.namespace,
        "neigh",
        "add",
        "2001:db8::1",
        "lladdr",
        "02:00:00:00:00:01",
        "dev",
        "eth0",
    )
    before = kernel.counters()["ipv6-dropped"][0]
    with container.socket(socket.SOCK_DGRAM, family=socket.AF_INET6) as opened:
        opened.sendto(b"x", ("2001:db8::1", 53))
        opened.sendto(b"x", ("ff02::1%eth0", 53))
    assert kernel.counters()["ipv6-dropped"][0] >= before + 1
    assert rig.workers.seen == []


def test_a19_tenants_do_not_reach_each_other(rig, kernel, container):
    other = rig.network("globex", 1)
    kernel.add_network(other)
    neighbour = rig.container(kernel, other)
    with neighbour.socket() as listening:
        listening.bind((neighbour.address, 80))
        listening.listen()
        answer = container.tcp(neighbour.address, 80)
        assert answer["destination"] == [neighbour.address, 80]
        listening.settimeout(0.2)
        with pytest.raises(TimeoutError):
            listening.accept()


def test_a21_while_the_resolver_is_dead_its_packets_go_nowhere_else(rig, kernel, container):
    """`tproxy` finds no socket and goes on to the next rule: that must not be the one for workers (B2)."""
    assert (
        container.udp("8.8.8.8", 53) == b"answer:ask"
    )  # so that the gateway's MAC is known: no packet waits for it
    rig.workers.seen.clear()
    rig.workers.drop(lambda listening: listening.getsockname()[1] == 53)
    assert isinstance(container.tcp("8.8.8.8", 53, wait=REFUSED), TimeoutError)
    assert isinstance(container.udp("8.8.8.8", 53, wait=REFUSED), TimeoutError)
    assert dropped(kernel, "resolver-absent") >= 2
    assert rig.workers.seen == []


def test_a21_while_a_worker_is_dead_its_containers_wait_and_no_other_takes_them(rig, kernel, container):
    port = container.tcp(PUBLIC, 80)["worker"]
    rig.workers.drop(lambda listening: listening.getsockname()[1] == port)
    assert isinstance(container.tcp(PUBLIC, 80, wait=REFUSED), TimeoutError)
    assert dropped(kernel, "worker-absent") >= 1


def test_f4_a_flood_of_new_connections_ends_in_the_kernel_and_only_its_sender_feels_it(rig, kernel, network):
    flooding, quiet = (rig.container(kernel, network, host) for host in (2, 3))
    tries = 2 * CONNECTION_BURST
    before = dropped(kernel, "connections-too-fast")
    for _ in range(tries):
        with flooding.socket() as opened:
            opened.setblocking(False)
            opened.connect_ex((PUBLIC, 80))
    assert dropped(kernel, "connections-too-fast") > before
    began = time.monotonic()
    assert quiet.tcp(PUBLIC, 80)["destination"] == [PUBLIC, 80]
    assert time.monotonic() - began < 1  # the first SYN got through: a lost one is sent again after a second
    assert kernel.converge().steps == ()  # what the rule counted is no drift that would be "mended"


def test_f4_a_flood_of_questions_ends_in_the_kernel_and_others_are_heard(rig, kernel, network):
    flooding, quiet = (rig.container(kernel, network, host) for host in (2, 3))
    with flooding.socket(socket.SOCK_DGRAM) as asking:
        asking.connect((NAME_SERVER, 53))
        for _ in range(2000):
            asking.send(b"ask")
    assert dropped(kernel, "questions-too-fast") > 1000
    assert quiet.udp(NAME_SERVER, 53, b"ask", 1) == b"answer:ask"
    assert kernel.converge().steps == ()
