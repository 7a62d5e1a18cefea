"""Squid's connections with one container are closed, and those with its neighbour are not."""

import socket
from ipaddress import IPv4Address

import pytest

from appliance.processes import SQUID_PORT
from netns import namespaces
from netns.sockets import close_answers

pytestmark = pytest.mark.system


def test_connections_of_one_address_end_accepted_or_waiting(rig):
    name = f"ns{rig.tag}"
    rig.namespace(name)
    for address in ("172.31.0.2", "172.31.0.3", "198.18.83.2"):
        rig.run("ip", "-n", name, "address", "add", f"{address}/32", "dev", "lo")
    with namespaces.entered(name):
        listening = socket.create_server(("198.18.83.2", SQUID_PORT))
        clients = [
            socket.create_connection(("198.18.83.2", SQUID_PORT), 3, (source, 0))
            for source in ("172.31.0.2", "172.31.0.3", "172.31.0.2")
        ]
        accepted = [listening.accept()[0] for _ in range(2)]
        close_answers(IPv4Address("172.31.0.2"))
        accepted.append(listening.accept()[0])
    for index, closed in ((0, True), (1, False), (2, True)):
        accepted[index].settimeout(1)
        if closed:
            with pytest.raises(ConnectionError):
                accepted[index].recv(1)
        else:
            clients[index].sendall(b"x")
            assert accepted[index].recv(1) == b"x"
    for item in (listening, *clients, *accepted):
        item.close()
