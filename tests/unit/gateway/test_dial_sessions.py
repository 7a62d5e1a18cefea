"""TLS sessions with servers are resumed by the tenant to which they belong, towards the same origin."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from OpenSSL import SSL
from OpenSSL._util import lib
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from appliance.gateway.dial import DialFailed, Dialler, Direct
from appliance.gateway.limits import Limits
from appliance.outgoing.pool import Key
from appliance.outgoing.upstream import Upstream
from appliance.tls.upstream import UpstreamTrust
from tests.unit.tls.chains import Origin, pem

from .support import PUBLIC, SITE, Wire

ACME, BETA = Key("acme", True, SITE, 443), Key("beta", True, SITE, 443)


class Ground:
    """A dialler, and a server whose octets are carried by hand."""

    def __init__(self, directory: Path) -> None:
        origin = Origin()
        (directory / "bundle.pem").write_text(pem(origin.ca))
        reactor, limits = MemoryReactorClock(), Limits()
        trust = UpstreamTrust(directory / "bundle.pem")
        self._dialler = Dialler(reactor, trust, limits, Direct(reactor, limits))
        self._server = origin.context(origin.certificate("site.net"))
        self._server.set_session_id(b"ok")

    def resumes(self, key: Key, *, broken: bool = False) -> bool:
        """Whether a new connection does; it is aborted in the end, after a record that is no TLS if `broken`."""
        wire, server = Wire((str(PUBLIC), 443)), SSL.Connection(self._server, None)
        server.set_accept_state()
        upstream = Upstream(key, PUBLIC, lambda _: None)
        done = Deferred.fromCoroutine(self._dialler.secure(wire, SITE, upstream))
        for _ in range(3):
            if sent := wire.value():
                wire.clear()
                server.bio_write(sent)
            with suppress(SSL.WantReadError):
                server.do_handshake()
            with suppress(SSL.WantReadError):
                wire.protocol.dataReceived(server.bio_read(1 << 16))
        if broken:
            wire.protocol.dataReceived(b"\0" * 100)
        upstream.abort()
        wire.protocol.connectionLost(Failure(ConnectionAborted()))
        done.addErrback(lambda failure: failure.trap(DialFailed))
        return bool(lib.SSL_session_reused(server._ssl))


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def test_the_session_of_a_connection_that_was_dropped_is_resumed_again_and_again(ground: Ground) -> None:
    assert [ground.resumes(ACME) for _ in range(3)] == [False, True, True]


def test_but_not_by_another_tenant_e20(ground: Ground) -> None:
    ground.resumes(ACME)
    assert not ground.resumes(BETA)


def test_nor_after_something_was_wrong_inside_it(ground: Ground) -> None:
    ground.resumes(ACME, broken=True)
    assert not ground.resumes(ACME)
