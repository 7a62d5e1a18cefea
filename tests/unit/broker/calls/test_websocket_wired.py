"""A WebSocket over real sockets: a worker's Unix connection, TLS with a provider on loopback, frames both ways."""

from __future__ import annotations

import os
import socket
import tempfile
from ipaddress import IPv4Address
from pathlib import Path

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.protocol import Factory, Protocol, ServerFactory
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from appliance.broker.calls.call import Call
from appliance.broker.calls.connection import CallConnections
from appliance.broker.calls.providers import Providers
from appliance.outgoing.deadlines import Deadlines
from appliance.policy.tenant import Profile, TenantPolicy
from appliance.policy.verdict import Outcome, Reason, Verdict
from appliance.tls.stream import TLSStream
from appliance.tls.upstream import UpstreamTrust
from appliance.websocket.frames import Frames
from tests.unit.broker.calls.support import ATTESTED, SECRET, Neighbours
from tests.unit.broker.calls.test_websocket import CLOSE, NORMAL, SWITCH, TEXT, live
from tests.unit.gateway.support import ENDPOINT
from tests.unit.tls.chains import Origin, pem
from tests.unit.websocket.test_frames import frame, read
from tests.unit.websocket.test_handshake import ASKS

LOOPBACK = IPv4Address("127.0.0.1")
ASK = "\r\n".join(["GET /live HTTP/1.1", "Host: ok.example", *ASKS, "", ""]).encode()


class AnyAddress(TenantPolicy):
    """A policy that has nothing against loopback."""

    def judge_address(self, host, port, address):
        return Verdict(Outcome.ALLOW, Reason.ALLOWED_BY_INTEGRATION, "test", "")


class Provider(Protocol):
    """Says 101, and then for each frame the secret that it was sent, in two frames; a Close it answers."""

    def __init__(self, heard: list[bytes]) -> None:
        self.heard = heard
        self.open = False
        self.frames = Frames(new_mask=lambda: b"\0\0\0\0")

    def handshakeCompleted(self) -> None:
        pass

    def dataReceived(self, data: bytes) -> None:
        self.heard.append(data)
        if not self.open:
            self.open = True
            self.transport.write(SWITCH)
            return
        for _, opcode, payload in read(self.frames.feed(data), masked=True):
            if opcode == CLOSE:
                self.transport.write(frame(CLOSE, payload, mask=None))
                self.transport.loseConnection()
            else:
                half = payload + SECRET[:9].encode()
                self.transport.write(frame(TEXT, half, final=False, mask=None))
                reactor.callLater(0.02, self.transport.write, frame(0, SECRET[9:].encode(), mask=None))

    def connectionLost(self, reason) -> None:
        pass


class Worker(Protocol):
    """A gateway worker's end; `until` waits for octets."""

    def __init__(self) -> None:
        self.read = b""
        self.lost: Deferred[None] = Deferred()
        self._wanted: tuple[bytes, Deferred[None]] | None = None

    def dataReceived(self, data: bytes) -> None:
        self.read += data
        if self._wanted is not None and self._wanted[0] in self.read:
            self._wanted, (_, found) = None, self._wanted
            found.callback(None)

    def connectionLost(self, reason) -> None:
        self.lost.callback(None)

    async def until(self, wanted: bytes) -> None:
        if wanted not in self.read:
            found: Deferred[None] = Deferred()
            self._wanted = (wanted, found)
            await found.addTimeout(5, reactor)


class WithAProvider(TestCase):
    """A provider on loopback, and a broker's socket for calls at `path`."""

    async def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = self.path = str(Path(directory.name) / "calls.sock")
        origin = Origin()
        bundle = Path(directory.name) / "bundle.pem"
        bundle.write_text(pem(origin.ca))
        context: SSL.Context = origin.context(origin.certificate("ok.example"))
        self.heard: list[bytes] = []
        heard = self.heard

        class Providing(ServerFactory):
            def buildProtocol(self, addr):
                connection = SSL.Connection(context, None)
                connection.set_accept_state()
                return TLSStream(connection, Provider(heard), server=True)

        port = reactor.listenTCP(0, Providing(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number = port.getHost().port

        class Dials:
            async def find(self, *_, **__):
                return (LOOPBACK,)

            async def dial(self, *_, **__):
                return await deferToThread(socket.create_connection, ("127.0.0.1", number)), LOOPBACK

        self.neighbours = n = Neighbours()
        n.policy = AnyAddress("acme", "one", profile=Profile.READ_ONLY_WEB, bound=live(host="ok.example"))
        deadlines = Deadlines(reactor)
        deadlines.start()
        self.addCleanup(deadlines.stop)
        self.providers = Providers(reactor, Dials(), UpstreamTrust(bundle), deadlines)
        object.__setattr__(n.means, "providers", self.providers)
        object.__setattr__(n.means, "deadlines", deadlines)
        self.connections = CallConnections(os.getuid(), lambda *found: Call(n.means, *found))
        calls = reactor.listenUNIX(path, self.connections)
        self.addCleanup(calls.stopListening)
        self.addCleanup(self.quiet)

    async def quiet(self) -> None:
        self.connections.close()
        self.providers.close()
        await deferLater(reactor, 0.1)


class Wired(WithAProvider):
    async def setUp(self) -> None:
        await super().setUp()
        self.worker = Worker()
        await UNIXClientEndpoint(reactor, self.path).connect(Factory.forProtocol(lambda: self.worker))
        self.addCleanup(self.worker.transport.loseConnection)

    async def open(self) -> None:
        self.worker.transport.write(ATTESTED.line() + ASK)
        await self.worker.until(b"\r\n\r\n")
        assert self.worker.read.startswith(b"HTTP/1.1 101 ")
        assert SECRET.encode() in b"".join(self.heard)

    @property
    def frames(self) -> list:
        return read(self.worker.read.partition(b"\r\n\r\n")[2], masked=False)

    async def test_004_39_a_secret_that_a_provider_repeats_in_two_frames_stays_here(self) -> None:
        await self.open()
        self.worker.transport.write(frame(TEXT, b"say it: "))
        await self.worker.until(b"[scrubbed:secret]")
        self.worker.transport.write(frame(CLOSE, NORMAL))
        await self.worker.lost
        assert SECRET[:9].encode() not in self.worker.read
        text = b"".join(payload for _, opcode, payload in self.frames if opcode != CLOSE)
        assert text == b"say it: [scrubbed:secret]"
        assert self.frames[-1] == (True, CLOSE, NORMAL)
        details = [record.detail for record in self.neighbours.audit.records]
        assert details == ["A WebSocket was opened.", "The WebSocket ended with code 1000."]

    async def test_004_11_a_container_that_leaves_takes_it_along(self) -> None:
        await self.open()
        self.connections.departed(ENDPOINT.id)
        await self.worker.lost
        assert self.neighbours.audit.records[-1].reason == "client-closed"
        assert self.neighbours.audit.open_claims == 0

    async def test_the_account_that_goes_is_told_in_a_close_frame(self) -> None:
        await self.open()
        self.neighbours.policy = AnyAddress("acme", "two", profile=Profile.READ_ONLY_WEB)
        self.worker.transport.write(frame(TEXT, b"more") * 3)
        await self.worker.lost
        (_, opcode, payload) = self.frames[-1]
        assert (opcode, payload[:2], payload[2:]) == (CLOSE, b"\x03\xf0", b"account-not-bound")
        assert len(self.heard) == 1
