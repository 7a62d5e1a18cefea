"""Listening sockets as the launcher opens them."""

import os
import socket
from pathlib import Path

import pytest
from conftest import run

from appliance.processes import Listener, SocketKind
from netns import namespaces
from netns.listening import open_listener

pytestmark = pytest.mark.system
UID = 64101


def opened(listener, uid=UID):
    return socket.socket(fileno=open_listener(listener, uid))


@pytest.mark.parametrize("kind", [SocketKind.TPROXY_TCP, SocketKind.TPROXY_UDP])
def test_a_transparent_socket_belongs_to_the_process_though_root_opens_it(kind):
    """The rules by owner look at who opened a socket, not at who uses it (nft `meta skuid`)."""
    with namespaces.scratch(), opened(Listener("x", kind, port=53)) as listening:
        assert os.fstat(listening.fileno()).st_uid == UID
        assert listening.getsockopt(socket.SOL_IP, socket.IP_TRANSPARENT) == 1
        if kind is SocketKind.TPROXY_UDP:
            assert listening.getsockopt(socket.SOL_IP, 8) == 1


def congestion_control(connection):
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode()


def test_what_a_container_opens_is_not_paced_and_what_we_open_is_as_the_host_says():
    """BBR would arm a timer for every piece that goes to a container; see `netns.listening`."""
    listener = Listener("tenants", SocketKind.TPROXY_TCP, port=15001)
    with namespaces.scratch(), opened(listener) as listening:
        run("ip", "link", "set", "lo", "up")
        default = Path("/proc/sys/net/ipv4/tcp_congestion_control")
        with socket.create_connection(("127.0.0.1", 15001), 5) as ours, listening.accept()[0] as accepted:
            assert congestion_control(accepted) == "reno"
            assert congestion_control(ours) == default.read_text().strip()


def test_a_port_that_is_taken_is_named():
    listener = Listener("tenants", SocketKind.TPROXY_TCP, port=15001)
    with namespaces.scratch(), opened(listener), pytest.raises(OSError, match=r"tenants \(port 15001\)"):
        open_listener(listener, UID)


def test_a_socket_that_is_shared_is_of_the_group(tmp_path):
    listener = Listener("control", SocketKind.UNIX, path=tmp_path / "x.sock", mode=0o660, group=UID + 1)
    with socket.socket(fileno=open_listener(listener, UID)):
        found = (tmp_path / "x.sock").stat()
        assert (found.st_mode & 0o777, found.st_uid, found.st_gid) == (0o660, UID, UID + 1)


def test_a_unix_socket_has_its_mode_and_owner_and_replaces_a_stale_one(tmp_path):
    listener = Listener("control", SocketKind.UNIX, path=tmp_path / "x.sock", mode=0o600)
    opened(listener).close()
    with opened(listener):
        found = listener.path.stat()
        assert (found.st_mode & 0o777, found.st_uid, found.st_gid) == (0o600, UID, UID)
        with pytest.raises(OSError, match="another process is listening"):
            open_listener(listener, UID)


def test_a_file_in_the_way_is_not_removed(tmp_path):
    listener = Listener("control", SocketKind.UNIX, path=tmp_path / "x.sock")
    listener.path.write_text("precious")
    with pytest.raises(OSError, match="is no socket"):
        open_listener(listener, UID)
    assert listener.path.read_text() == "precious"
