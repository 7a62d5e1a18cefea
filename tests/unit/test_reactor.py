"""appliance.reactor: bytes go out when they are written; all else is Twisted's."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from twisted.internet.interfaces import IPullProducer
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface import implementer

from appliance.reactor import (
    PromptClient,
    PromptReactor,
    PromptServer,
    PromptUnixClient,
    PromptUnixServer,
)

Pair = tuple[PromptServer, socket.socket]


@pytest.fixture
def reactor() -> Iterator[PromptReactor]:
    """One that does not run; what it knows at the end is closed."""
    made = PromptReactor()  # type: ignore[no-untyped-call]  # Twisted
    yield made
    for known in {*made.getReaders(), *made.getWriters()}:
        known.connectionLost(Failure(CONNECTION_DONE))
    made._poller.close()


@pytest.fixture
def pair(reactor: PromptReactor) -> Iterator[Pair]:
    """A connection, and its other end."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with ours, theirs:
        yield PromptServer(ours, Protocol(), ("", 0), None, 0, reactor), theirs  # type: ignore[arg-type]  # no port
        reactor.removeAll()


def test_written_at_once(pair: Pair) -> None:
    connection, theirs = pair
    connection.write(b"one")
    assert theirs.recv(10) == b"one"
    assert connection not in connection.reactor.getWriters()


def test_what_the_kernel_does_not_take_keeps_its_order(pair: Pair) -> None:
    connection, theirs = pair
    big = bytes(range(256)) * 8192
    connection.write(big)
    assert connection in connection.reactor.getWriters()
    connection.write(b"last")
    got = b""
    while connection in connection.reactor.getWriters():
        got += theirs.recv(1 << 20)
        assert connection.doWrite() is None
    assert got + theirs.recv(1 << 20) == big + b"last"


def test_an_error_is_left_for_the_reactor(pair: Pair) -> None:
    connection, theirs = pair
    theirs.close()
    connection.write(b"lost")
    assert connection in connection.reactor.getWriters()
    assert connection.doWrite() is not None


def test_nothing_is_written_after_the_end(pair: Pair) -> None:
    connection, theirs = pair
    connection._writeDisconnected = True
    connection.write(b"late")
    with pytest.raises(BlockingIOError):
        theirs.recv(10)


def test_nothing_is_written_after_an_abort(pair: Pair) -> None:
    connection, theirs = pair
    connection.abortConnection()
    connection.write(b"late")
    with pytest.raises(BlockingIOError):
        theirs.recv(10)


def test_a_producer_that_is_asked_for_each_piece_is_asked_on(pair: Pair) -> None:
    connection, theirs = pair

    @implementer(IPullProducer)
    class Pieces:
        left = 6

        def resumeProducing(self) -> None:
            self.left -= 1
            connection.write(b"x")
            if not self.left:
                connection.unregisterProducer()

        def stopProducing(self) -> None:
            pass

    connection.registerProducer(Pieces(), False)  # type: ignore[no-untyped-call]  # Twisted
    for _ in range(7):
        connection.doWrite()
    assert theirs.recv(10) == b"x" * 6


class Echo(Protocol):
    def dataReceived(self, data: bytes) -> None:
        if data == b"fail":
            raise ValueError("a mistake")
        self.transport.write(data.upper())  # type: ignore[union-attr]  # connected


def turn(reactor: PromptReactor, client: socket.socket) -> bytes:
    """What the client is told next, b"" when it is cut off."""
    for _ in range(100):
        reactor.doPoll(0.01)
        reactor.runUntilCurrent()
        try:
            return client.recv(100)
        except BlockingIOError:
            pass
    raise TimeoutError


def test_a_failure_ends_its_connection_only(reactor: PromptReactor) -> None:
    errors: list[object] = []
    log.addObserver(errors.append)
    listening = reactor.listenTCP(0, Factory.forProtocol(Echo), interface="127.0.0.1")
    with ExitStack() as stack:
        clients = []
        for _ in range(2):
            client = stack.enter_context(socket.create_connection(listening.socket.getsockname()))
            client.setblocking(False)
            client.send(b"yes")
            assert turn(reactor, client) == b"YES"
            clients.append(client)
        clients[0].send(b"fail")
        assert turn(reactor, clients[0]) == b""
        clients[1].send(b"more")
        assert turn(reactor, clients[1]) == b"MORE"
    log.removeObserver(errors.append)
    assert any("a mistake" in str(error) for error in errors)


def test_both_kinds_of_connections_are_prompt(reactor: PromptReactor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        factory = ClientFactory.forProtocol(Protocol)
        connector = reactor.connectTCP(*listening.getsockname(), factory)
        assert isinstance(connector.transport, PromptClient)
        connector.timeoutID.cancel()
        connector.transport.stopReading()
        connector.transport.stopWriting()
        connector.transport.socket.close()


def test_only_ipv4_sockets_are_adopted(reactor: PromptReactor) -> None:
    with pytest.raises(ValueError, match="IPv4"):
        reactor.adoptStreamPort(3, socket.AF_UNIX, Factory())


class Given(Factory[Protocol]):
    protocol = Protocol


@pytest.mark.parametrize(
    ("family", "kind"), [(socket.AF_UNIX, PromptUnixServer), (socket.AF_INET, PromptServer)]
)
def test_an_adopted_connection_is_prompt(reactor: PromptReactor, family: int, kind: type) -> None:
    with ExitStack() as stack:
        if family == socket.AF_UNIX:
            ours, theirs = map(stack.enter_context, socket.socketpair())
        else:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            theirs = stack.enter_context(socket.create_connection(listening.getsockname()))
            ours = stack.enter_context(listening.accept()[0])
        ours.setblocking(False)
        connection = reactor.adoptStreamConnection(ours.fileno(), family, Given())
        assert isinstance(connection, kind)
        connection.write(b"one")
        assert theirs.recv(10) == b"one"
        assert connection not in reactor.getWriters()


def test_no_other_connection_is_adopted(reactor: PromptReactor) -> None:
    with pytest.raises(ValueError, match="IPv4 or a Unix"):
        reactor.adoptStreamConnection(0, socket.AF_INET6, Given())


def test_a_connection_to_a_unix_socket_is_prompt(reactor: PromptReactor, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        connector = reactor.connectUNIX(path, ClientFactory())
        assert isinstance(connector.transport, PromptUnixClient)
        connector.disconnect()


def test_octets_behind_a_descriptor_go_with_it(reactor: PromptReactor) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, Path(os.devnull).open("rb") as file:
        ours.setblocking(False)
        connection = reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, Given())
        connection.write(b"before ")
        connection.sendFileDescriptor(file.fileno())
        connection.write(b"with it")
        assert connection in reactor.getWriters()
        assert connection.doWrite() is None
        assert theirs.recv(7) == b"before "
        said, descriptors, _, _ = socket.recv_fds(theirs, 10, 2)
        assert (said[:1], len(descriptors)) == (b"w", 1)
        os.close(descriptors[0])


def test_what_a_turns_end_is_for_is_done_after_all_events_and_before_the_next_wait(
    reactor: PromptReactor, pair: Pair
) -> None:
    did: list[str] = []

    class Asks(Protocol):
        def dataReceived(self, data: bytes) -> None:
            reactor.at_turn_end(lambda: did.append("end"))
            did.append(data.decode())

    connection, theirs = pair
    connection.protocol = Asks()
    theirs.send(b"event")
    reactor.doPoll(1)
    assert did == ["event", "end"]
    reactor.at_turn_end(lambda: did.append("left over"))
    reactor.doPoll(60)  # does not wait
    assert did == ["event", "end", "left over"]


def test_turns_are_counted_by_polls_and_what_is_timed_comes_between_them(
    reactor: PromptReactor, pair: Pair
) -> None:
    seen: list[int] = []

    class Looks(Protocol):
        def dataReceived(self, data: bytes) -> None:
            del data
            seen.append(reactor.turns)

    connection, theirs = pair
    connection.protocol = Looks()
    for _ in range(2):
        theirs.send(b"event")
        reactor.doPoll(1)
    reactor.callLater(0, lambda: seen.append(reactor.turns))
    reactor.runUntilCurrent()
    assert seen == [1, 2, 2]


def test_a_mistake_at_a_turns_end_is_logged_and_the_others_go_on(reactor: PromptReactor) -> None:
    did: list[str] = []
    errors: list[object] = []
    log.addObserver(errors.append)
    reactor.at_turn_end(lambda: did[1])  # type: ignore[arg-type, return-value]
    reactor.at_turn_end(lambda: did.append("after"))
    reactor.doPoll(0)
    log.removeObserver(errors.append)
    assert did == ["after"]
    assert errors
