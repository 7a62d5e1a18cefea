"""appliance.tls.stream: peers who want small records, speak unasked, ask for ever more, or leave early."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import weakref
from contextlib import suppress

import pytest
from OpenSSL import SSL
from OpenSSL._util import lib
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from appliance.tls import stream
from appliance.tls.profile import restrict
from appliance.tls.stream import TLSStream

from .chains import Origin
from .test_stream import CLIENT, Inside, Peers

ORIGIN = Origin()
SERVER = ORIGIN.context(ORIGIN.certificate("ok.example"))
restrict(SERVER)
OLDER = SSL.Context(SSL.TLS_CLIENT_METHOD)
OLDER.set_max_proto_version(SSL.TLS1_2_VERSION)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("size", ["512", "4096"])
def test_a_peer_who_wants_small_records_gets_every_octet(version: str, size: str) -> None:
    body = os.urandom(200_000)
    inside, wire, accepting = Inside(), StringTransport(), SSL.Connection(SERVER, None)
    accepting.set_accept_state()
    tls = TLSStream(accepting, inside, server=True)
    tls.makeConnection(wire)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        place = f"127.0.0.1:{listening.getsockname()[1]}"
        command = ["openssl", "s_client", "-connect", place, version, "-quiet", "-maxfraglen", size]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as client:
            connected, _ = listening.accept()
            with connected:
                connected.settimeout(10)
                while not inside.completed:
                    tls.dataReceived(connected.recv(1 << 16))
                    connected.sendall(wire.value())
                    wire.clear()
                tls.write(body[:7])
                tls.write(body[7:])
                tls.loseConnection()
                connected.sendall(wire.value())
                connected.shutdown(socket.SHUT_WR)
                heard, _ = client.communicate(timeout=10)
    assert heard == body


@pytest.mark.parametrize("aborting", [True, False])
def test_what_a_server_says_unasked_is_heard_before_anything_can_be_asked(*, aborting: bool) -> None:
    inside, wire = Inside(), StringTransport()
    connecting, server = SSL.Connection(OLDER, None), SSL.Connection(SERVER, None)
    connecting.set_connect_state()
    server.set_accept_state()
    tls = TLSStream(connecting, inside)
    completed_then: list[int] = []

    def heard() -> None:
        completed_then.append(inside.completed)
        if aborting:
            tls.abortConnection()

    inside.heard = heard
    tls.makeConnection(wire)
    shaken = False
    while not shaken:
        server.bio_write(wire.value())
        wire.clear()
        with suppress(SSL.WantReadError):
            server.do_handshake()
            shaken = True
            server.send(b"unasked")
        tls.dataReceived(server.bio_read(1 << 16))
    assert (inside.pieces, completed_then) == ([b"unasked"], [0])
    assert inside.completed == (0 if aborting else 1)


def test_the_end_of_a_clients_handshake_goes_with_its_first_request() -> None:
    inside, wire = Inside(), StringTransport()
    connecting, server = SSL.Connection(CLIENT, None), SSL.Connection(SERVER, None)
    connecting.set_connect_state()
    server.set_accept_state()
    tls = TLSStream(connecting, inside)
    writes: list[bytes] = []
    tls.makeConnection(wire)
    server.bio_write(wire.value())
    with suppress(SSL.WantReadError):
        server.do_handshake()
    wire.write = writes.append  # type: ignore[method-assign]  # counted here
    inside.handshakeCompleted = lambda: tls.write(b"GET")  # type: ignore[method-assign]  # asks at once
    tls.dataReceived(server.bio_read(1 << 16))
    assert len(writes) == 1
    server.bio_write(writes[0])
    assert server.recv(100) == b"GET"


@pytest.mark.parametrize("room", [10, 1000])
def test_a_peer_who_makes_openssl_talk_is_cut_off(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_MAX_UNASKED", room)
    peers = Peers(client=OLDER)
    aborted: list[int] = []
    peers.wire.abortConnection = lambda: aborted.append(1)  # type: ignore[method-assign]  # seen here
    lib.SSL_set_options(peers.stream._ssl, SSL.OP_NO_RENEGOTIATION)
    peers.client.renegotiate()
    with suppress(SSL.WantReadError):
        peers.client.do_handshake()
    peers.stream.dataReceived(peers.sealed())
    assert 10 < len(peers.wire.value()) < 1000  # the refusal
    assert aborted == ([1] if room == 10 else [])


def test_a_peer_who_leaves_is_not_waited_for_by_what_a_producer_makes() -> None:
    peers = Peers()
    peers.stream.registerProducer(object(), True)
    peers.stream.dataReceived(peers.goodbye())
    assert peers.wire.producer is None
    assert peers.wire.disconnecting
    peers.stream.unregisterProducer()  # which the inside does in the end


def test_a_connection_that_is_gone_leaves_nothing_for_the_collector() -> None:
    peers = Peers()
    peers.inside.makeConnection(peers.stream)
    gone = weakref.ref(peers.stream)
    peers.stream.connectionLost(Failure(ConnectionDone()))
    gc.disable()
    try:
        del peers
        assert gone() is None
    finally:
        gc.enable()
