"""appliance.tls.sessions: a session is resumed by whom it was proved to, towards whom it was, for a while, once."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from OpenSSL import SSL
from OpenSSL._util import lib

from appliance.names import HostName
from appliance.tls.sessions import LIFE, Resumable, Sessions
from appliance.tls.upstream import UpstreamCertificateInvalid, UpstreamTrust

from .chains import Origin, pem

OK, OTHER = HostName.parse("ok.example"), HostName.parse("other.example")


class Ground:
    """A server, and a gateway that trusts its authority; `now` is the gateway's clock."""

    def __init__(self, directory: Path) -> None:
        self.now = 1000.0
        self.origin = Origin()
        (directory / "bundle.pem").write_text(pem(self.origin.ca))
        self.trust = UpstreamTrust(directory / "bundle.pem", lambda: self.now)
        self.server = self.origin.context(self.origin.certificate("ok.example", "other.example"))
        self.server.set_session_id(b"ok")

    def connect(self, resumable: Resumable | None = None, name: HostName = OK) -> SSL.Connection:
        """A connection after its handshake and a first answer, which bears the tickets."""
        ours, theirs = self.trust.connection(name, resumable), SSL.Connection(self.server, None)
        theirs.set_accept_state()
        for _ in range(3):
            for one, other in ((ours, theirs), (theirs, ours)):
                with suppress(SSL.WantReadError):
                    one.do_handshake()
                with suppress(SSL.WantReadError):
                    other.bio_write(one.bio_read(1 << 16))
        theirs.send(b"answer")
        ours.bio_write(theirs.bio_read(1 << 16))
        assert ours.recv(100) == b"answer"
        return ours

    def session(self, resumable: Resumable | None = None) -> Resumable:
        """What a connection leaves when it has ended."""
        left = self.trust.resumable(self.connect(resumable))
        assert left is not None
        return left


def resumed(connection: SSL.Connection) -> bool:
    return bool(lib.SSL_session_reused(connection._ssl))


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def test_the_next_connection_resumes_the_session(ground: Ground) -> None:
    assert not resumed(ground.connect())
    assert resumed(ground.connect(ground.session()))


def test_a_session_of_another_name_is_not_offered(ground: Ground) -> None:
    """Although the server would agree, and its certificate is good for both."""
    assert not resumed(ground.connect(ground.session(), OTHER))


def test_a_server_that_declines_is_verified(ground: Ground) -> None:
    left = ground.session()
    ground.server = ground.origin.context(ground.origin.certificate("evil.example"))
    with pytest.raises(UpstreamCertificateInvalid):
        handshake(ground, left)
    ground.server = ground.origin.context(ground.origin.certificate("ok.example"))
    assert not resumed(ground.connect(left))


def handshake(ground: Ground, left: Resumable) -> None:
    ours, theirs = ground.trust.connection(OK, left), SSL.Connection(ground.server, None)
    theirs.set_accept_state()
    with suppress(SSL.WantReadError):
        ours.do_handshake()
    theirs.bio_write(ours.bio_read(1 << 16))
    with suppress(SSL.WantReadError):
        theirs.do_handshake()
    ours.bio_write(theirs.bio_read(1 << 16))
    ours.do_handshake()


def test_resuming_does_not_lengthen_what_was_proved(ground: Ground) -> None:
    first = ground.session()
    assert first.ends == 1000 + LIFE
    ground.now += LIFE / 2
    assert ground.session(first).ends == first.ends
    ground.now = first.ends
    assert ground.trust.resumable(ground.connect(first)) is None


def test_a_new_proof_does(ground: Ground) -> None:
    left = ground.session()
    ground.now += 5
    ground.server = ground.origin.context(ground.origin.certificate("ok.example"))
    assert ground.session(left).ends == left.ends + 5


def test_tls_1_2_is_not_resumed(ground: Ground) -> None:
    ground.server.set_max_proto_version(SSL.TLS1_2_VERSION)
    assert ground.trust.resumable(ground.connect()) is None


def test_a_connection_of_nobody_leaves_nothing(ground: Ground) -> None:
    assert ground.trust.resumable(SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)) is None


def kept(ends: float = 10.0) -> Resumable:
    return Resumable(SSL.Session(), OK, ends)


def test_what_is_taken_is_nobody_elses() -> None:
    sessions, one = Sessions(lambda: 0.0), kept()
    sessions.keep("acme", one)
    assert sessions.take("beta") is None
    assert sessions.take("acme") is one
    assert sessions.take("acme") is None


def test_the_newer_replaces_the_older() -> None:
    sessions, newer = Sessions(lambda: 0.0), kept()
    sessions.keep("acme", kept())
    sessions.keep("acme", newer)
    assert sessions.take("acme") is newer
    assert len(sessions) == 0


def test_after_its_end_it_is_not_given_out() -> None:
    sessions = Sessions(lambda: 10.0)
    sessions.keep("acme", kept(10.0))
    assert sessions.take("acme") is None


def test_the_least_recently_kept_is_dropped() -> None:
    sessions = Sessions(lambda: 0.0, capacity=2)
    for key in ("one", "two", "one", "three"):
        sessions.keep(key, kept())
    assert [sessions.take(key) is not None for key in ("one", "two", "three")] == [True, False, True]
