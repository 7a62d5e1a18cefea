"""A connection to a server inside TLS is used again only for answers that were asked for: real TLS, no reactor."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from gateway.support import PUBLIC, SITE, Wire, secured, worker
from OpenSSL import SSL
from twisted.internet.error import ConnectionAborted
from twisted.python.failure import Failure

from appliance.gateway.connection import Connection
from appliance.gateway.dial import CountingTLS
from appliance.gateway.session import Session
from appliance.outgoing.pool import Key
from appliance.outgoing.upstream import Upstream
from tests.unit.tls.chains import Origin

ORIGIN = Origin()
SERVER = ORIGIN.context(ORIGIN.certificate("site.net"))
ONE = b"GET /one HTTP/1.1\r\nHost: site.net\r\n\r\n"
TWO = ONE.replace(b"/one", b"/two")


class Trusting:
    """A client that verifies nothing."""

    def connection(self, _name, _resumable=None):
        connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
        connection.set_connect_state()
        return connection

    def resumable(self, _connection):
        return None


class Server:
    """The far end of the newest dial, with OpenSSL on both sides of `wire`."""

    def __init__(self, reactor) -> None:
        host, port, factory, *_ = reactor.tcpClients[-1]
        self._reactor = reactor
        self.wire = Wire((host, port))
        factory.buildProtocol(None).makeConnection(self.wire)
        self._tls = SSL.Connection(SERVER, None)
        self._tls.set_accept_state()
        self.heard = b""
        while not self.heard:
            self.hear()

    def hear(self) -> None:
        """Take what the gateway sent, and give what the handshake answers."""
        sent = self.wire.value()
        self.wire.clear()
        if sent:
            self._tls.bio_write(sent)
        try:
            self.heard += self._tls.recv(1 << 16)
        except SSL.WantReadError:
            self.deliver(self._sealed())

    def answer(self, body: bytes) -> bytes:
        """One record."""
        self._tls.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        return self._sealed()

    def goodbye(self) -> bytes:
        self._tls.shutdown()
        return self._sealed()

    def deliver(self, segment: bytes) -> None:
        """One read of the gateway, and what it calls for later."""
        if segment:
            self.wire.protocol.dataReceived(segment)
        self._reactor.advance(0)

    def _sealed(self) -> bytes:
        try:
            return self._tls.bio_read(1 << 16)
        except SSL.WantReadError:
            return b""


class Talk:
    def __init__(self, *requests: bytes) -> None:
        self.worker = worker(upstream_tls=Trusting())
        self.wire = Wire(own=(str(PUBLIC), 443))
        connection = Connection(self.worker)
        connection.makeConnection(self.wire)
        self._session = connection._stage = Session(connection, secured())
        self._session.makeConnection(self.wire)
        self._session.handshakeCompleted()
        self.says(*requests)
        self.server = Server(self.worker.reactor)
        assert self.server.heard == ONE

    def says(self, *requests: bytes) -> None:
        self._session.dataReceived(b"".join(requests))

    @property
    def dials(self) -> int:
        return len(self.worker.reactor.tcpClients)

    @property
    def bodies(self) -> list[bytes]:
        return re.findall(rb"\r\n\r\n(ONE|TWO|POISON)", self.wire.value())


def two_is_asked_anew(talk: Talk) -> bool:
    """On another connection, the first being gone, whose answer is the one that is given."""
    assert talk.server.wire.aborted
    assert talk.dials == 2
    other = Server(talk.worker.reactor)
    assert other.heard == TWO
    other.deliver(other.answer(b"TWO"))
    return talk.bodies == [b"ONE", b"TWO"]


def two_follows_on_it(talk: Talk) -> bool:
    """On the connection of the first request, and its answer is the one that is given."""
    talk.server.hear()
    talk.server.deliver(talk.server.answer(b"TWO"))
    assert talk.server.heard == ONE + TWO
    assert talk.dials == 1
    return talk.bodies == [b"ONE", b"TWO"]


def test_a_second_request_goes_on_the_same_connection() -> None:
    talk = Talk(ONE)
    talk.server.deliver(talk.server.answer(b"ONE"))
    talk.says(TWO)
    assert two_follows_on_it(talk)


def test_so_does_one_that_waited_behind_the_first() -> None:
    talk = Talk(ONE, TWO)
    talk.server.wire.protocol.dataReceived(talk.server.answer(b"ONE"))
    talk.server.hear()
    assert talk.server.heard == ONE  # not before all that came is read
    talk.worker.reactor.advance(0)
    assert two_follows_on_it(talk)


def test_an_answer_to_a_request_not_yet_sent_is_nobodys() -> None:
    talk = Talk(ONE, TWO)
    talk.server.deliver(talk.server.answer(b"ONE") + talk.server.answer(b"POISON"))
    assert two_is_asked_anew(talk)


@pytest.mark.parametrize("size", [1, 5, 20])
@pytest.mark.parametrize("waiting", [True, False])
def test_nor_is_one_that_has_only_begun(size: int, *, waiting: bool) -> None:
    talk = Talk(ONE, TWO) if waiting else Talk(ONE)
    answer, poison = talk.server.answer(b"ONE"), talk.server.answer(b"POISON")
    talk.server.deliver(answer + poison[:size])
    if not waiting:
        talk.says(TWO)
    talk.server.deliver(poison[size:])
    assert two_is_asked_anew(talk)


def test_nor_is_one_that_came_with_the_end_of_the_handshake() -> None:
    older = SSL.Context(SSL.TLS_CLIENT_METHOD)
    older.set_max_proto_version(SSL.TLS1_2_VERSION)
    client, server = SSL.Connection(older, None), SSL.Connection(SERVER, None)
    client.set_connect_state()
    server.set_accept_state()
    upstream, wire = Upstream(Key("acme", True, SITE, 443), PUBLIC, lambda _: None), Wire((str(PUBLIC), 443))
    assert upstream.secured is not None
    ends: list[object] = []
    upstream.secured.addBoth(ends.append)
    tls = CountingTLS(client, upstream, lambda *_: None)
    tls.makeConnection(wire)
    while not wire.aborted:
        assert wire.value()
        server.bio_write(wire.value())
        wire.clear()
        with suppress(SSL.WantReadError):
            server.do_handshake()
            server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON")
        tls.dataReceived(server.bio_read(1 << 16))
    assert ends == []
    tls.connectionLost(Failure(ConnectionAborted()))
    [end] = ends
    assert isinstance(end, Failure)
    assert end.type is ConnectionAborted


def test_a_connection_that_the_server_has_closed_is_not_used() -> None:
    talk = Talk(ONE, TWO)
    talk.server.deliver(talk.server.answer(b"ONE") + talk.server.goodbye())
    assert two_is_asked_anew(talk)


def test_draining_ends_one_that_is_still_read() -> None:
    talk = Talk(ONE)
    talk.wire.write = lambda _: talk.worker.pool.close()
    talk.server.deliver(talk.server.answer(b"ONE"))
    assert talk.server.wire.aborted


def test_a_container_that_leaves_takes_its_waiting_request_along() -> None:
    talk = Talk(ONE, TWO)
    talk.server.wire.protocol.dataReceived(talk.server.answer(b"ONE"))
    talk._session.connectionLost()
    talk.worker.reactor.advance(0)
    talk.server.hear()
    assert talk.server.heard == ONE
    assert talk.dials == 1
    assert talk.worker.audit.reasons == ["allowed-by-profile", "client-closed"]
