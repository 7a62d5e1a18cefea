"""The host's published ports, asked for by its public address from the gateway (A18): real packets."""

import socket
import threading
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv4Network

import pytest
from conftest import run

from netns import namespaces, nft
from netns.hostrules import HostRules, render

pytestmark = pytest.mark.system

PUBLIC, ELSEWHERE, PUBLISHED, INSIDE = "93.184.216.34", "93.184.216.35", 8080, "10.88.0.2"
DNAT = f"""table ip published {{
chain prerouting {{
type nat hook prerouting priority dstnat
policy accept
fib daddr type local tcp dport {PUBLISHED} dnat to {INSIDE}:80
}}
}}
"""


@pytest.fixture
def host():
    """A host with our table and a published port, the gateway, and the container behind the port."""
    names = {part: f"hair-{part}" for part in ("host", "gateway", "inside")}
    with ExitStack() as stack:
        for name in names.values():
            run("ip", "netns", "add", name)
            stack.callback(run, "ip", "netns", "del", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        host, gateway, inside = names.values()
        for outer, inner, space, net in (
            ("up0", "uplink", gateway, "198.18.99"),
            ("d0", "eth0", inside, "10.88.0"),
        ):
            run("ip", "-n", host, "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", space)
            for where, link, last in ((host, outer, 1), (space, inner, 2)):
                run("ip", "-n", where, "addr", "add", f"{net}.{last}/24", "dev", link)
                run("ip", "-n", where, "link", "set", link, "up")
            run("ip", "-n", space, "route", "add", "default", "via", f"{net}.1")
        run("ip", "-n", host, "addr", "add", f"{PUBLIC}/32", "dev", "lo")
        run("ip", "-n", inside, "addr", "add", f"{ELSEWHERE}/32", "dev", "lo")
        run("ip", "-n", host, "route", "add", f"{ELSEWHERE}/32", "via", INSIDE)
        run("ip", "netns", "exec", host, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        rules = HostRules("hair_host", "up0", IPv4Address("198.18.99.2"), (IPv4Network("172.31.0.0/24"),))
        with namespaces.entered(host):
            nft.change(render(rules))
            nft.change(DNAT)
        stack.enter_context(_Answering(inside))
        yield gateway


class _Answering:
    """Port 80 of the container: one word to each caller."""

    def __init__(self, namespace):
        with namespaces.entered(namespace):
            self._listening = socket.create_server(("0.0.0.0", 80))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listening.close()

    def _serve(self):
        while True:
            try:
                caller, _ = self._listening.accept()
            except OSError:
                return
            with caller:
                caller.sendall(b"reached")


def ask(gateway, host, port):
    with namespaces.entered(gateway):
        opened = socket.socket()
    with opened:
        opened.settimeout(0.5)
        try:
            opened.connect((host, port))
            return opened.recv(16)
        except OSError as error:
            return type(error)


def test_a18_a_published_port_is_no_way_back_into_the_host(host):
    assert ask(host, ELSEWHERE, 80) == b"reached"  # the control: what is forwarded as it is, passes
    assert ask(host, PUBLIC, PUBLISHED) is TimeoutError
