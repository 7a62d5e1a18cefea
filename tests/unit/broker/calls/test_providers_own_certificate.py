"""A provider that knows its callers by their certificates: shown for one call, on a connection that nobody else gets."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from cryptography import x509
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from appliance.broker.calls.dials import CallRefused
from tests.unit.broker.calls.servers import LOOPBACK, OK, WithAServer
from tests.unit.broker.calls.support import ATTESTED
from tests.unit.tls.chains import Origin, pem
from tests.unit.tls.test_upstream_own_certificate import holds_certificate, key_pem

GET = b"GET / HTTP/1.1\r\nHost: ok.example\r\n\r\n"


class Asked:
    """Who hears an answer."""

    def __init__(self) -> None:
        self.done: Deferred[str] = Deferred()

    def response(self, head, pieces, *, done) -> None:
        if done:
            self.done.callback("answered")

    def response_missing(self) -> None:
        self.done.callback("missing")


class WithCertificates(WithAServer):
    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.clients = Origin()
        accepted = Path(directory.name) / "clients.pem"
        accepted.write_text(pem(self.clients.ca))
        self.context.load_verify_locations(str(accepted))
        self.shown: list[x509.Certificate] = []

        def judge(_connection, certificate, _code, depth, passed) -> bool:
            if not depth:
                self.shown.append(certificate.to_cryptography())
            return bool(passed)

        self.context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, judge)
        self.certificate = self.clients.certificate(common_name="us")
        self.own = (pem(self.certificate).encode(), key_pem(self.clients.key))

    async def connect(self, **options):
        return await self.providers.connect(ATTESTED, OK, 443, [LOOPBACK], **options)

    async def answered(self, upstream) -> str:
        asked = Asked()
        upstream.send(asked, "GET", GET)
        return await asked.done

    async def test_it_is_shown_and_the_connection_forgets_the_key_before_a_request_is_sent(self) -> None:
        upstream = await self.connect(own=self.own)
        connection = upstream.transport.connection
        assert not holds_certificate(connection)
        assert await self.answered(upstream) == "answered"
        assert self.shown == [self.certificate]
        assert self.heard == [GET]
        upstream.abort()

    async def test_without_one_such_a_provider_is_not_spoken_to(self) -> None:
        try:
            upstream = await self.connect()
        except CallRefused:
            pass
        else:  # TLS 1.3: a client is done before the server has judged it
            assert await self.answered(upstream) == "missing"
        assert self.heard == []

    async def test_nobody_gets_the_connection_after_the_call(self) -> None:
        upstream = await self.connect(own=self.own)
        assert await self.answered(upstream) == "answered"
        upstream.rest()
        assert upstream.lost
        await deferLater(reactor, 0)
        other = await self.connect(own=self.own)
        assert other is not upstream
        assert self.dials.dialled == 2
        other.abort()

    async def test_nor_is_one_that_rests_taken_for_it(self) -> None:
        self.context.set_verify(SSL.VERIFY_NONE)
        resting = await self.connect()
        assert await self.answered(resting) == "answered"
        resting.rest()
        await deferLater(reactor, 0)
        other = await self.connect(own=self.own)
        assert other is not resting
        other.abort()
        resting.abort()

    async def test_one_that_cannot_be_used_is_refused_and_the_socket_closed(self) -> None:
        with pytest.raises(CallRefused) as caught:
            await self.connect(own=(self.own[0], b"no key"))
        assert caught.value.refusal.reason == "credential-unusable"
        assert self.heard == []
