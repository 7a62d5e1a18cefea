"""appliance.tls.stream: what goes through, what its end is taken for, and who slows whom down."""

from __future__ import annotations

from contextlib import suppress

import pytest
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from appliance.tls import stream
from appliance.tls.stream import TLSStream

from .chains import Origin

ORIGIN = Origin()
SERVER = ORIGIN.context(ORIGIN.certificate("ok.example"))
CLIENT = SSL.Context(SSL.TLS_CLIENT_METHOD)
DONE, CUT = Failure(ConnectionDone()), Failure(ConnectionLost())


class Inside(Protocol):
    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.ends: list[type[BaseException]] = []
        self.completed = 0
        self.heard = lambda: None

    def handshakeCompleted(self) -> None:
        self.completed += 1

    def dataReceived(self, data: bytes) -> None:
        self.pieces.append(data)
        self.heard()

    def connectionLost(self, reason: Failure) -> None:
        self.ends.append(reason.type)


class Peers:
    """A stream as a server, and a client of OpenSSL alone."""

    def __init__(self, *, established: bool = True, client: SSL.Context = CLIENT, **options: bool) -> None:
        self.inside = Inside()
        self.wire = StringTransport()
        accepting = SSL.Connection(SERVER, None)
        accepting.set_accept_state()
        self.stream = TLSStream(accepting, self.inside, **options)
        self.stream.makeConnection(self.wire)
        self.client = SSL.Connection(client, None)
        self.client.set_connect_state()
        while established and not self.inside.completed:
            with suppress(SSL.WantReadError):
                self.client.do_handshake()
            self.stream.dataReceived(self.sealed())
            self.hears()

    def sealed(self, *plain: bytes) -> bytes:
        """What the client sends: a record for each."""
        for piece in plain:
            self.client.send(piece)
        return self.client.bio_read(1 << 20)

    def hears(self) -> bytes:
        """What the client makes of what was written to the wire."""
        sent = self.wire.value()
        self.wire.clear()
        if sent:
            self.client.bio_write(sent)
        heard = b""
        try:
            while True:
                heard += self.client.recv(1 << 16)
        except SSL.WantReadError:
            return heard

    def goodbye(self) -> bytes:
        self.client.shutdown()
        return self.client.bio_read(1 << 20)


def test_the_records_of_one_read_come_in_one_piece() -> None:
    peers = Peers()
    peers.stream.dataReceived(peers.sealed(b"one ", b"two ", b"three"))
    assert peers.inside.pieces == [b"one two three"]


def test_000_01_what_was_given_out_does_not_stay_in_the_buffer_that_all_connections_share() -> None:
    secret = b"repeated-by-the-provider"
    peers = Peers()
    peers.stream.dataReceived(peers.sealed(secret, *[b"x" * 16_000 + secret] * 9))
    assert secret in b"".join(peers.inside.pieces)
    assert not any(bytes(stream._octets(stream._opened)))


def test_more_than_fits_comes_in_order_and_whole() -> None:
    peers = Peers()
    blocks = [bytes([number]) * (1 << 14) for number in range(20)]
    peers.stream.dataReceived(peers.sealed(*blocks))
    assert b"".join(peers.inside.pieces) == b"".join(blocks)


@pytest.mark.parametrize("size", [1, 4, 5, 6, 1000, 16405, 16406, 16407])
def test_however_it_is_cut_up(size: int) -> None:
    peers = Peers()
    sealed = peers.sealed(b"a" * (1 << 14), b"b", b"c" * 2000)
    for at in range(0, len(sealed), size):
        peers.stream.dataReceived(sealed[at : at + size])
    assert b"".join(peers.inside.pieces) == b"a" * (1 << 14) + b"b" + b"c" * 2000


@pytest.mark.parametrize("size", [0, 1, 1 << 14, (1 << 14) + 1, 1 << 20])
def test_what_is_written_arrives_and_in_few_writes(size: int) -> None:
    peers = Peers()
    writes: list[bytes] = []
    peers.wire.write = writes.append  # type: ignore[method-assign]  # counted here
    peers.stream.write(b"x" * size)
    assert len(writes) == -(-size // 98304)  # as many records as are put together at a time
    StringTransport.write(peers.wire, b"".join(writes))
    assert peers.hears() == b"x" * size


def test_nothing_can_be_written_before_the_handshake() -> None:
    peers = Peers(established=False)
    peers.stream.write(b"early")
    assert peers.wire.disconnecting
    peers.stream.connectionLost(DONE)
    assert peers.inside.ends == [SSL.WantReadError]


def test_a_request_may_come_with_the_end_of_the_handshake() -> None:
    peers = Peers(established=False)
    with pytest.raises(SSL.WantReadError):
        peers.client.do_handshake()
    peers.stream.dataReceived(peers.sealed())
    peers.client.bio_write(peers.wire.value())
    peers.client.do_handshake()
    peers.stream.dataReceived(peers.sealed(b"GET"))
    assert (peers.inside.completed, peers.inside.pieces) == (1, [b"GET"])


def completed(client: SSL.Context, **options: bool) -> Peers:
    """Peers who have not read what the server sent behind the handshake."""
    peers = Peers(established=False, client=client, **options)
    while not peers.inside.completed:
        with suppress(SSL.WantReadError):
            peers.client.do_handshake()
        if sent := peers.wire.value():
            peers.wire.clear()
            peers.client.bio_write(sent)
            continue
        with suppress(SSL.WantReadError):
            peers.stream.dataReceived(peers.client.bio_read(1 << 16))
    return peers


def test_session_tickets_go_with_the_first_answer_where_they_may() -> None:
    assert completed(CLIENT).wire.value()
    peers = completed(CLIENT, server=True)
    peers.stream.dataReceived(peers.sealed(b"GET"))
    assert peers.wire.value() == b""
    peers.stream.write(b"answer")
    assert peers.hears() == b"answer"


def test_the_end_of_an_older_handshake_does_not_wait() -> None:
    older = SSL.Context(SSL.TLS_CLIENT_METHOD)
    older.set_max_proto_version(SSL.TLS1_2_VERSION)
    peers = completed(older, server=True)
    assert peers.wire.value()
    peers.hears()
    peers.stream.dataReceived(peers.sealed(b"GET"))
    assert peers.inside.pieces == [b"GET"]


def test_a_goodbye_is_the_end_and_is_answered() -> None:
    peers = Peers()
    peers.stream.dataReceived(peers.sealed(b"last") + peers.goodbye())
    assert peers.inside.pieces == [b"last"]
    assert peers.wire.disconnecting
    with pytest.raises(SSL.ZeroReturnError):
        peers.hears()
    peers.stream.connectionLost(DONE)
    assert peers.inside.ends == [ConnectionDone]


def test_an_end_without_a_goodbye_is_a_cut() -> None:
    """However orderly TCP ends: an answer that lasts until the end would be taken for whole."""
    peers = Peers()
    peers.stream.dataReceived(peers.sealed(b"half")[:-3])
    peers.stream.connectionLost(DONE)
    assert (peers.inside.pieces, peers.inside.ends) == ([], [ConnectionLost])


def test_so_is_one_while_hands_are_shaken() -> None:
    peers = Peers(established=False)
    peers.stream.connectionLost(DONE)
    assert peers.inside.ends == [ConnectionLost]


def test_what_came_before_a_broken_record_is_given_out_and_the_peer_is_told() -> None:
    peers = Peers()
    good, bad = peers.sealed(b"good"), bytearray(peers.sealed(b"bad"))
    bad[-1] ^= 1
    peers.stream.dataReceived(good + bytes(bad) + b"never read")
    peers.stream.dataReceived(b"nor this")
    assert peers.inside.pieces == [b"good"]
    assert peers.wire.disconnecting
    with pytest.raises(SSL.Error, match="bad record mac"):
        peers.hears()
    peers.stream.connectionLost(DONE)
    assert peers.inside.ends == [SSL.Error]


def test_a_failure_of_the_handshake_is_its_reason() -> None:
    peers = Peers(established=False)
    peers.stream.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
    peers.stream.connectionLost(DONE)
    assert (peers.inside.completed, peers.inside.ends) == (0, [SSL.Error])


def test_closing_says_goodbye_and_waits_for_the_peers() -> None:
    peers = Peers()
    peers.stream.write(b"answer")
    peers.stream.loseConnection()
    peers.stream.write(b"too late")
    assert peers.stream.disconnecting
    assert not peers.wire.disconnecting
    sent = peers.wire.value()
    peers.client.bio_write(sent)
    assert peers.client.recv(100) == b"answer"
    with pytest.raises(SSL.ZeroReturnError):
        peers.client.recv(100)
    peers.stream.dataReceived(peers.goodbye())
    assert peers.wire.disconnecting


def test_closing_waits_for_the_producer() -> None:
    peers = Peers()
    peers.stream.registerProducer(peers.stream, True)
    peers.stream.loseConnection()
    peers.stream.write(b"still made")
    assert peers.hears() == b"still made"
    peers.stream.unregisterProducer()
    with pytest.raises(SSL.ZeroReturnError):
        peers.hears()


@pytest.mark.parametrize("established", [True, False])
def test_a_cut_of_ours_is_no_goodbye(*, established: bool) -> None:
    """A client would take an answer that lasts until the end for whole."""
    peers = Peers(established=established)
    aborted = []
    peers.wire.abortConnection = lambda: aborted.append(1)  # type: ignore[method-assign]  # seen here
    if established:
        peers.stream.abortConnection()
    else:
        peers.stream.loseConnection()
    assert (aborted, peers.wire.value()) == ([1], b"")


def test_nothing_more_is_heard_after_that() -> None:
    peers = Peers()
    peers.inside.heard = peers.stream.abortConnection
    blocks = [b"x" * (1 << 14)] * 20
    peers.stream.dataReceived(peers.sealed(*blocks))
    peers.stream.dataReceived(peers.sealed(b"more"))
    assert len(peers.inside.pieces) == 1


def test_the_transport_slows_the_producer_and_the_inside_the_transport() -> None:
    peers = Peers()
    producer = object()
    peers.stream.registerProducer(producer, True)
    assert peers.wire.producer is producer
    peers.stream.unregisterProducer()
    assert peers.wire.producer is None
    peers.stream.pauseProducing()
    assert peers.wire.producerState == "paused"
    peers.stream.resumeProducing()
    assert peers.wire.producerState == "producing"


def test_a_producer_for_nobody_is_stopped() -> None:
    peers = Peers()
    stopped: list[int] = []
    peers.stream.stopProducing = lambda: stopped.append(1)  # type: ignore[attr-defined]  # as its own producer
    peers.stream.dataReceived(peers.goodbye())
    peers.stream.registerProducer(peers.stream, True)
    assert stopped == [1]
    assert peers.wire.producer is None


def test_after_the_end_nothing_reaches_openssl() -> None:
    peers = Peers()
    peers.stream.connectionLost(CUT)
    peers.stream.write(b"x")
    peers.stream.dataReceived(b"x")
    peers.stream.loseConnection()
    peers.stream.unregisterProducer()
    assert peers.inside.ends == [ConnectionLost]
