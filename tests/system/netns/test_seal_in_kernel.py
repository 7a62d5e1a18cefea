"""The seal on a real kernel: first, again over what is there, and seen when it is undone."""

import subprocess
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netns import namespaces, nft
from netns.driver.sealer import holds, seal

pytestmark = pytest.mark.system

NAME = "egress-seal-probe"
GATEWAY = IPv4Address("172.29.0.1")
OTHER = IPv4Address("172.29.0.2")


@pytest.fixture
def sandbox():
    namespaces.create(NAME)
    yield namespaces.path(NAME)
    namespaces.remove(NAME)


def test_it_is_made_and_seen(sandbox):
    assert not holds(sandbox, GATEWAY)
    seal(sandbox, GATEWAY)
    assert holds(sandbox, GATEWAY)
    assert not holds(sandbox, OTHER)


def test_it_replaces_whatever_bears_its_name(sandbox):
    with namespaces.entered(NAME):
        nft.change("table ip egress_seal {\n\tchain open {\n\t}\n}\n")
    seal(sandbox, OTHER)
    seal(sandbox, GATEWAY)
    assert holds(sandbox, GATEWAY)


@pytest.mark.parametrize(
    "undo",
    [
        ("nft", "flush", "chain", "ip", "egress_seal", "embedded"),
        ("nft", "delete", "table", "ip", "egress_seal"),
        ("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=0"),
    ],
)
def test_what_undoes_it_is_seen(sandbox, undo):
    seal(sandbox, GATEWAY)
    subprocess.run(["ip", "netns", "exec", NAME, *undo], check=True)
    assert not holds(sandbox, GATEWAY)


def test_the_calling_thread_comes_back(sandbox):
    own = Path("/proc/thread-self/ns/net").stat().st_ino
    seal(sandbox, GATEWAY)
    assert Path("/proc/thread-self/ns/net").stat().st_ino == own
    assert Path("/proc/sys/net/ipv4/conf/all/route_localnet").exists()
