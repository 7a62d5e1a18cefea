"""Whose a connection is that waited to be accepted while its container went (A11): real packets and marks."""

import socket

import pytest
from conftest import PUBLIC

from appliance.links import accepted_mark, link_mark
from appliance.processes import FIRST_WORKER_PORT, Listener, SocketKind
from netns import namespaces
from netns.listening import open_listener

pytestmark = pytest.mark.system


@pytest.fixture
def stalled(rig, kernel):
    """Workers that are there and accept nothing."""
    rig.workers.close_sockets()
    opened = []
    with namespaces.entered(rig.settings.namespace):
        for index in range(rig.settings.workers):
            listener = Listener(f"w{index}", SocketKind.TPROXY_TCP, port=FIRST_WORKER_PORT + index)
            opened.append(socket.socket(fileno=open_listener(listener, rig.settings.uids.gateway)))
    yield opened
    for listening in opened:
        listening.close()


def accepted(listening):
    """(source port, mark) of every connection in the queues."""
    found = {}
    for one in listening:
        one.settimeout(0.3)
        while True:
            try:
                connection, (_, port) = one.accept()
            except TimeoutError:
                break
            with connection:
                found[port] = accepted_mark(connection)
    return found


def test_a_queued_connection_keeps_the_link_by_which_it_came(rig, kernel, stalled):
    acme, globex = rig.network(), rig.network("globex")
    kernel.add_network(acme)
    before = rig.container(kernel, acme)
    with before.socket() as early:
        early.connect((PUBLIC, 80))
        early.sendall(b"GET / HTTP/1.1\r\n\r\n")
        early_port = early.getsockname()[1]
        kernel.detach(before.attachment.endpoint)
    kernel.remove_network(acme.id)
    kernel.add_network(globex)
    after = rig.container(kernel, globex)
    assert after.address == before.address
    with after.socket() as late:
        late.connect((PUBLIC, 80))
        late_port = late.getsockname()[1]
        marks = accepted(stalled)
    old, new = link_mark(before.attachment.endpoint), link_mark(after.attachment.endpoint)
    assert marks == {early_port: old, late_port: new}
    assert old != new


def test_what_a_container_marks_itself_counts_for_nothing(rig, kernel, stalled):
    network = rig.network()
    kernel.add_network(network)
    container = rig.container(kernel, network)
    with container.socket() as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 77)
        opened.connect((PUBLIC, 80))
        assert set(accepted(stalled).values()) == {link_mark(container.attachment.endpoint)}
