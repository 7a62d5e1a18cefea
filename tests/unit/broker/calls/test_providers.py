"""Connections to providers, over sockets that a worker connected: a real server, a real chain, a real loopback."""

from __future__ import annotations

import socket
import tempfile
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from appliance.broker.calls.dials import CallRefused
from appliance.broker.calls.providers import Bounds, Providers
from appliance.broker.calls.token_endpoint import MAX_ANSWER, TokenEndpoints
from appliance.broker.credentials.outgoing import NoAnswer
from appliance.names import HostName
from appliance.outgoing.deadlines import Deadlines
from appliance.tls.stream import TLSStream
from appliance.tls.upstream import UpstreamTrust
from tests.unit.broker.calls.support import ATTESTED, policy_of
from tests.unit.tls.chains import Origin, pem

LOOPBACK = IPv4Address("127.0.0.1")
OK = HostName("ok.example")
TOKEN = b'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{"a"'


class Server(Protocol):
    """Answers every request with `says`; what came is in `heard`."""

    says = TOKEN
    heard: list[bytes]

    def handshakeCompleted(self) -> None:
        pass

    def dataReceived(self, data: bytes) -> None:
        self.heard.append(data)
        self.transport.write(self.says)

    def connectionLost(self, reason) -> None:
        pass


class Dials:
    """Workers that connect to the test's server, whatever they are asked for."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.dialled = 0

    async def find(self, worker, tenant, host, port):
        return (LOOPBACK,)

    async def dial(self, worker, tenant, host, port, addresses):
        self.dialled += 1
        connected = await deferToThread(socket.create_connection, ("127.0.0.1", self.port))
        return connected, LOOPBACK


class WithAServer(TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        origin = Origin()
        bundle = Path(directory.name) / "bundle.pem"
        bundle.write_text(pem(origin.ca))
        self.context: SSL.Context = origin.context(origin.certificate("ok.example"))
        self.heard: list[bytes] = []
        self.says = TOKEN
        test = self

        class Factory(ServerFactory):
            def buildProtocol(self, addr):
                inside = Server()
                inside.heard, inside.says = test.heard, test.says
                connection = SSL.Connection(test.context, None)
                connection.set_accept_state()
                return TLSStream(connection, inside, server=True)

        port = reactor.listenTCP(0, Factory(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.dials = Dials(port.getHost().port)
        deadlines = Deadlines(reactor)
        deadlines.start()
        self.addCleanup(deadlines.stop)
        self.providers = Providers(reactor, self.dials, UpstreamTrust(bundle), deadlines, Bounds())
        self.addCleanup(self.quiet)

    async def quiet(self) -> None:
        self.providers.close()
        await deferLater(reactor, 0.05)

    async def connect(self, host: HostName = OK, **options):
        return await self.providers.connect(ATTESTED, host, 443, [LOOPBACK], **options)

    async def test_who_proves_the_name_is_connected_to(self) -> None:
        upstream = await self.connect()
        assert upstream.address == LOOPBACK
        assert upstream.quiet
        upstream.abort()

    async def test_004_24_who_proves_another_name_is_not(self) -> None:
        with pytest.raises(CallRefused) as caught:
            await self.connect(HostName("other.example"))
        assert caught.value.refusal.reason == "upstream-certificate-wrong-host"
        assert self.heard == []

    async def test_a_connection_that_was_reset_before_it_was_taken_over_leaves_nothing_behind(self) -> None:
        class Gone:
            def adoptStreamConnection(self, *_):
                raise OSError(107, "not connected")

        watched = self.providers._deadlines._watched
        self.patch(self.providers, "_reactor", Gone())
        before = set(watched)
        with pytest.raises(CallRefused) as caught:
            await self.connect()
        assert caught.value.refusal.reason == "upstream-closed"
        assert watched == before

    async def test_a_connection_rests_for_the_next_call_of_the_tenant(self) -> None:
        first = await self.connect()
        asked = Asked()
        first.send(asked, "GET", b"GET / HTTP/1.1\r\nHost: ok.example\r\n\r\n")
        await asked.done
        first.rest()
        await deferLater(reactor, 0)  # what TLS holds behind the answer is heard first
        assert await self.connect() is first
        assert self.dials.dialled == 1
        first.abort()

    async def test_a_token_endpoint_is_asked_on_a_connection_of_its_own(self) -> None:
        endpoints = TokenEndpoints(self.providers, reactor)
        answer = await endpoints.post(
            ATTESTED, Anywhere(), "https://ok.example/oauth/token?a=b", ((b"Accept", b"*/*"),), b"grant=x"
        )
        assert (answer.status, answer.body) == (200, b'{"a"')
        (asked,) = self.heard
        assert asked.startswith(b"POST /oauth/token?a=b HTTP/1.1\r\nHost: ok.example\r\nAccept: */*\r\n")
        assert asked.endswith(b"Content-Length: 7\r\n\r\ngrant=x")

    async def test_an_answer_of_a_token_endpoint_is_bounded(self) -> None:
        self.says = b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + b"x" * (MAX_ANSWER + 1)
        with pytest.raises(NoAnswer):
            await TokenEndpoints(self.providers, reactor).post(
                ATTESTED, Anywhere(), "https://ok.example/", (), b""
            )

    async def test_000_22_a_token_endpoint_at_a_private_address_is_not_asked(self) -> None:
        with pytest.raises(NoAnswer):
            await TokenEndpoints(self.providers, reactor).post(
                ATTESTED, policy_of(), "https://ok.example/", (), b""
            )
        assert self.dials.dialled == 0

    async def test_only_https_urls_with_a_name_are_token_endpoints(self) -> None:
        for url in ("http://ok.example/", "https://10.0.1.5/", "ok.example", "https://a@ok.example/"):
            with pytest.raises(NoAnswer):
                await TokenEndpoints(self.providers, reactor).post(ATTESTED, Anywhere(), url, (), b"")
        assert self.dials.dialled == 0


class Anywhere:
    """A policy that has nothing against loopback."""

    def judge_address(self, host, port, address):
        class Verdict:
            allowed = True

        return Verdict


class Asked:
    def __init__(self) -> None:
        self.done: Deferred[None] = Deferred()

    def response(self, head, pieces, *, done) -> None:
        if done:
            self.done.callback(None)
