"""The seal on a real kernel: first, again over what is there, and seen when it is undone."""

import socket
import struct
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netns import namespaces, nft
from netns.driver import sealer
from netns.driver.sealer import holds, seal, seal_again

pytestmark = pytest.mark.system

NAME = "egress-seal-probe"
GATEWAY = IPv4Address("172.29.0.1")
OTHER = IPv4Address("172.29.0.2")

BATCH_BEGIN, BATCH_END = 16, 17  # NFNL_MSG_BATCH_* of linux/netfilter/nfnetlink.h
NETLINK_NETFILTER, NFTABLES = 12, 10
HOSTILE = bytes.fromhex(
    "7c000000090a05048308d5390000000002000000100001006567726573735f7365616c00060002006d00000008000300"
    "00000008080004000002676a080005000000000208000a0000000006080006000000000008000700000000041e000d00"
    "0800a676f74dc70af6df706cb008000502d7ee09053f8625b33100004c0000000c0a05048e7c010a0000000002000000"
    "100001006567726573735f7365616c00060002006d000000200003801c0001800c00018006000100d2fc00000c000280"
    "08000100aff80cd4"
)
"""NEWSET and NEWSETELEM: a map in egress_seal, with user data of no form that nft writes, and an element."""
LOOKS = f"""
from ipaddress import IPv4Address
from pathlib import Path
from netns import namespaces
from netns.driver.sealer import holds
print(holds(namespaces.path({NAME!r}), IPv4Address({str(GATEWAY)!r})))
"""


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


def batch_mark(kind):
    return struct.pack("=IHHIIBBH", 20, kind, 1, 1, 0, 0, 0, socket.htons(NFTABLES))


def hostile_table():
    """What a container with CAP_NET_ADMIN can send the kernel."""
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    with namespaces.entered(NAME), socket.socket(socket.AF_NETLINK, kind, NETLINK_NETFILTER) as sending:
        sending.send(batch_mark(BATCH_BEGIN) + HOSTILE + batch_mark(BATCH_END))


def test_a_table_over_which_nft_ends_does_not_end_who_looks(sandbox):
    seal(sandbox, GATEWAY)
    hostile_table()
    listed = subprocess.run(
        ["ip", "netns", "exec", NAME, "nft", "list", "table", "ip", "egress_seal"],
        capture_output=True,
        check=False,
    )
    assert listed.returncode < 0, "a control: nft itself is ended by it"
    looked = subprocess.run([sys.executable, "-c", LOOKS], capture_output=True, text=True, check=False)
    assert (looked.returncode, looked.stdout) == (0, "False\n"), looked.stderr


def test_what_was_sealed_before_is_sealed_by_a_child(sandbox, monkeypatch):
    def in_this_process(*_arguments):
        raise AssertionError("a hostile table would be read in this process")

    seal(sandbox, GATEWAY)
    monkeypatch.setattr(sealer, "_first", in_this_process)
    monkeypatch.setattr(nft, "written_out", in_this_process)
    seal(sandbox, GATEWAY)
    seal_again(sandbox, GATEWAY)
    assert holds(sandbox, GATEWAY)


def test_an_untouched_sandbox_needs_no_child(sandbox, monkeypatch):
    monkeypatch.setattr(sealer, "seal_again", None)
    seal(sandbox, GATEWAY)


def test_a_listing_that_is_too_large_is_no_seal(sandbox):
    seal(sandbox, GATEWAY)
    with namespaces.entered(NAME):
        nft.change(
            "table ip egress_seal {\n\tset s {\n\t\ttype ipv4_addr\n\t\telements = { "
            + ", ".join(f"10.0.{n >> 8}.{n & 255}" for n in range(20000))
            + " }\n\t}\n}\n"
        )
    assert not holds(sandbox, GATEWAY)
    seal_again(sandbox, GATEWAY)
    assert holds(sandbox, GATEWAY)
