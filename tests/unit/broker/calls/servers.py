"""A provider on loopback with a real chain, and a worker that connects to it."""

from __future__ import annotations

import socket
import tempfile
from ipaddress import IPv4Address
from pathlib import Path

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from appliance.broker.calls.providers import Bounds, Providers
from appliance.names import HostName
from appliance.outgoing.deadlines import Deadlines
from appliance.policy.bound import Bound, CompiledAccount
from appliance.policy.tenant import Profile, TenantPolicy
from appliance.policy.verdict import Outcome, Reason, Verdict
from appliance.tls.stream import TLSStream
from appliance.tls.upstream import UpstreamTrust
from tests.unit.tls.chains import Origin, pem

LOOPBACK = IPv4Address("127.0.0.1")
OK = HostName("ok.example")
TOKEN = b'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{"a"'


def exchanging(*token_hosts: tuple[str, int]) -> Bound:
    """The account `crm`, whose secret is exchanged at these."""
    account = CompiledAccount(
        "crm",
        "crm",
        "CRM",
        "crm",
        frozenset(),
        (),
        443,
        {},
        "accounts[0]",
        token_hosts=frozenset(token_hosts),
    )
    return Bound.of([account], [])


class Anywhere(TenantPolicy):
    """A policy that has nothing against loopback, and lists no host."""

    def __init__(self, bound: Bound | None = None, **more) -> None:
        bound = bound or exchanging((OK.text, 443))
        super().__init__("acme", profile=Profile.ALLOWLIST, bound=bound, **more)

    def judge_address(self, host, port, address):
        return Verdict(Outcome.ALLOW, Reason.PUBLIC_ADDRESS, "test", "")


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
        self.accounts = []
        self.asked = []
        self.workers = 1

    async def find(self, worker, tenant, host, port, *, account=None, policy=None):
        self.accounts.append(account)
        self.asked.append((worker, tenant, account))
        return (LOOPBACK,)

    def any_worker(self):
        return (len(self.asked) + 1) % self.workers

    async def dial(self, worker, tenant, host, port, addresses, *, account=None):
        self.accounts.append(account)
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
        self.deadlines = deadlines = Deadlines(reactor)
        deadlines.start()
        self.addCleanup(deadlines.stop)
        self.trust = UpstreamTrust(bundle)
        self.providers = Providers(reactor, self.dials, self.trust, deadlines, Bounds())
        self.addCleanup(self.quiet)

    async def quiet(self) -> None:
        self.providers.close()
        await deferLater(reactor, 0.05)
