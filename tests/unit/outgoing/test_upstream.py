from __future__ import annotations

import socket

import pytest
from gateway.support import PUBLIC, SITE, Wire
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from appliance.outgoing.pool import Key
from appliance.outgoing.upstream import Upstream
from appliance.tls.records import Records


class Asker:
    """Downstream: what it heard."""

    def __init__(self) -> None:
        self.heads: list[int] = []
        self.body = b""
        self.done = False
        self.ends: list[str] = []
        self.upstream: Upstream | None = None

    def response(self, head, pieces, *, done):
        if head is not None:
            self.heads.append(head.status)
        self.body += b"".join(pieces)
        self.done = done
        if done and self.upstream is not None:
            self.upstream.rest()

    def response_broken(self, fault):
        self.ends.append(fault.reason)

    def response_failed(self):
        self.ends.append("failed")

    def response_missing(self):
        self.ends.append("missing")


def asked(method: str = "GET"):
    rested: list[Upstream] = []
    upstream = Upstream(Key("acme", secure=False, host=SITE, port=80), PUBLIC, rested.append)
    upstream.makeConnection(Wire())
    asker = Asker()
    asker.upstream = upstream
    upstream.send(asker, method, b"REQUEST")
    return upstream, asker, rested


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_an_answer_in_single_bytes_is_the_same_answer() -> None:
    upstream, asker, rested = asked()
    for byte in OK:
        upstream.dataReceived(bytes([byte]))
    assert (asker.heads, asker.body, asker.done) == ([200], b"ok", True)
    assert rested == [upstream]
    assert upstream.reused == 1
    assert upstream.transport.value() == b"REQUEST"


def test_interim_answers_are_left_out() -> None:
    upstream, asker, _ = asked()
    upstream.dataReceived(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK)
    assert asker.heads == [200]


def test_a_flood_of_interim_answers_ends_it() -> None:
    upstream, asker, _ = asked()
    upstream.dataReceived(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 9)
    assert asker.ends == ["interim-flood"]
    assert upstream.transport.aborted


def test_bytes_behind_an_answer_end_the_connection() -> None:
    """Or they would be read as the answer to the next request."""
    upstream, asker, rested = asked()
    upstream.dataReceived(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    assert asker.body == b"ok"
    assert rested == []
    assert upstream.transport.aborted


def test_bytes_while_resting_end_the_connection() -> None:
    upstream, _, rested = asked()
    upstream.dataReceived(OK)
    assert rested
    upstream.dataReceived(b"H")
    assert upstream.transport.aborted


def test_bytes_behind_a_bodyless_answer_end_the_connection() -> None:
    upstream, asker, rested = asked("HEAD")
    upstream.dataReceived(OK)
    assert asker.body == b""
    assert rested == []
    assert upstream.transport.aborted


def test_close_means_no_rest() -> None:
    upstream, asker, rested = asked()
    upstream.dataReceived(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
    assert asker.done
    assert rested == []


@pytest.mark.parametrize(
    ("reason", "done", "ends"), [(ConnectionDone, True, []), (ConnectionLost, False, ["missing"])]
)
def test_only_a_clean_end_ends_a_body_without_length(reason, done, ends) -> None:
    upstream, asker, _ = asked()
    upstream.dataReceived(b"HTTP/1.1 200 OK\r\n\r\nsome")
    upstream.connectionLost(Failure(reason()))
    assert (asker.done, asker.ends) == (done, ends)


def test_a_body_cut_short_is_broken() -> None:
    upstream, asker, _ = asked()
    upstream.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome")
    upstream.connectionLost(Failure(ConnectionDone()))
    assert asker.ends == ["body-incomplete"]


def test_no_answer_at_all_is_missing() -> None:
    upstream, asker, _ = asked()
    upstream.connectionLost(Failure(ConnectionDone()))
    assert asker.ends == ["missing"]


def test_a_bug_in_the_session_shuts_both_sides() -> None:
    upstream, asker, _ = asked()
    asker.response = None
    upstream.dataReceived(OK)
    assert asker.ends == ["failed"]
    assert upstream.transport.aborted


def test_after_abort_nothing_is_told() -> None:
    upstream, asker, _ = asked()
    upstream.abort()
    upstream.connectionLost(Failure(ConnectionLost()))
    assert asker.ends == []


@pytest.mark.parametrize("secure", [False, True])
def test_it_is_quiet_while_nothing_has_come_that_was_not_read(*, secure: bool) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        upstream = Upstream(Key("acme", secure=secure, host=SITE, port=443), PUBLIC, lambda _: None)
        tcp = Wire()
        tcp.handle = ours
        upstream.transport = Inside(tcp) if secure else tcp
        assert upstream.quiet
        theirs.send(b"HTTP/1.1 200 OK")
        assert not upstream.quiet
        assert ours.recv(99) == b"HTTP/1.1 200 OK"
        assert upstream.quiet
        theirs.close()
        assert not upstream.quiet
        ours.close()
        assert not upstream.quiet


class Inside:
    """TLS on a connection."""

    def __init__(self, tcp: Wire) -> None:
        self.transport = tcp
        self.records = Records()


def test_one_that_has_ended_is_not_quiet_although_nothing_came() -> None:
    """Twisted closes in its next turn, and until then the connection rests."""
    for end in ("abort", "deadline_passed", "server"):
        upstream, _, rested = asked()
        upstream.dataReceived(OK)
        assert rested
        assert upstream.quiet
        if end == "server":
            upstream.transport.loseConnection()  # as TLS does on close_notify
        else:
            getattr(upstream, end)()
            upstream.transport.disconnecting = False  # nor does Twisted's TCP say so of one that is aborted
        assert not upstream.quiet
