"""Sockets that a worker connects and gives to the broker, over a real Unix socket and a real loopback server."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Awaitable
from ipaddress import IPv4Address
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from appliance.broker.calls import refusals as of_calls
from appliance.broker.calls.dials import CallRefused
from appliance.broker.calls.dials import Dials as Ours
from appliance.gateway import refusals
from appliance.gateway.dial import DialFailed
from appliance.gateway.dials import Dials, detached
from appliance.names import HostName
from appliance.policy.tenant import Profile, TenantPolicy
from appliance.refusal import Refusal
from tests.unit.broker.calls.servers import exchanging

from .support import SITE, web_policy

LOOPBACK = IPv4Address("127.0.0.1")


class Greeting(Protocol):
    def connectionMade(self) -> None:
        self.transport.write(b"hello")
        self.transport.loseConnection()


class Dialler:
    """Connects to the port that it was made with, whatever it is asked for."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked: list = []
        self.fails: Exception | None = None

    async def connect(self, addresses, port):
        self.asked.append((tuple(addresses), port))
        if self.fails:
            raise self.fails
        arrived: Deferred = Deferred()

        class Arrival(Protocol):
            def connectionMade(self) -> None:
                self.transport.stopReading()
                arrived.callback(self.transport)

        from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", self.port), Arrival())
        return await arrived, addresses[0]


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def refused(asked: Awaitable) -> Refusal | None:
    try:
        await asked
    except CallRefused as answer:
        return answer.refusal
    return None


async def received(connected: socket.socket) -> bytes:
    connected.setblocking(False)
    for _ in range(200):
        try:
            return connected.recv(16)
        except BlockingIOError:
            await deferLater(reactor, 0.01)
    return b"nothing"


class Routes:
    def __init__(self, addresses) -> None:
        self.addresses = addresses
        self.accounts = set()

    def kept(self, policy, host, port, account=None):
        self.accounts.add(account)
        return self.addresses

    def holds(self, policy, host, port, account=None):
        return 7.5


class Policy:
    """The default policy, but that any port stands for 443: the test's server has the port it gets."""

    def judge_host(self, scheme, host, port):
        assert port
        return web_policy().judge_host(scheme, host, 443)


class Worker:
    def __init__(self, port: int) -> None:
        self.reactor = reactor
        self.dialler = Dialler(port)
        self.routes = Routes((LOOPBACK,))
        self.policy = lambda tenant: Policy()


class BetweenTheTwo(TestCase):
    async def begin(self, uid: int | None = None) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = str(Path(directory.name) / "dials.sock")
        self.ours = Ours(reactor, os.getuid() if uid is None else uid)
        listening = reactor.listenUNIX(path, self.ours)
        self.addCleanup(listening.stopListening)
        server = reactor.listenTCP(0, ServerFactory.forProtocol(Greeting), interface="127.0.0.1")
        self.addCleanup(server.stopListening)
        self.port = server.getHost().port
        self.worker = Worker(self.port)
        dials = Dials(self.worker, 0, UNIXClientEndpoint(reactor, path))
        dials.start()
        self.addCleanup(dials.stop)
        for _ in range(200):
            if self.ours._workers:
                return
            await deferLater(reactor, 0.01)
        raise AssertionError("no worker has come")

    async def test_the_broker_gets_the_connected_socket_itself(self) -> None:
        await self.begin()
        assert await self.ours.find(0, "acme", SITE, 443) == (LOOPBACK,)
        connected, address = await self.ours.dial(0, "acme", SITE, self.port, [LOOPBACK])
        with connected:
            assert address == LOOPBACK
            assert not os.get_inheritable(connected.fileno())
            assert await received(connected) == b"hello"
        assert self.worker.dialler.asked == [((LOOPBACK,), self.port)]

    async def test_the_worker_says_for_how_long_and_is_not_asked_until_then(self) -> None:
        await self.begin()
        policy = web_policy()
        assert await self.ours.find(0, "acme", SITE, 443, policy=policy) == (LOOPBACK,)
        self.worker.routes.addresses = (IPv4Address("127.0.0.2"),)
        assert await self.ours.find(0, "acme", SITE, 443, policy=policy) == (LOOPBACK,)
        assert await self.ours.find(0, "acme", SITE, 443, policy=web_policy()) == self.worker.routes.addresses

    async def test_the_worker_keeps_nothing_of_it(self) -> None:
        await self.begin()
        before = descriptors()
        connected, _ = await self.ours.dial(0, "acme", SITE, self.port, [LOOPBACK])
        connected.close()
        for _ in range(100):
            if descriptors() == before:
                return
            await deferLater(reactor, 0.01)
        raise AssertionError("a descriptor is left over")

    async def test_000_23_004_24_a_peer_that_was_not_judged_is_refused(self) -> None:
        await self.begin()
        other = IPv4Address("127.0.0.2")
        self.worker.routes.addresses = (other,)  # the worker lies: its dialler goes to 127.0.0.1
        assert (
            await refused(self.ours.dial(0, "acme", SITE, self.port, [other]))
        ) is of_calls.PEER_NOT_JUDGED

    async def test_an_address_that_the_worker_has_not_judged_is_not_dialled(self) -> None:
        await self.begin()
        assert (
            await refused(self.ours.dial(0, "acme", SITE, self.port, [IPv4Address("10.0.1.5")]))
        ).reason == "destination-not-pinned"
        assert self.worker.dialler.asked == []

    async def test_000_20_a_host_that_the_policy_denies_is_not_looked_up(self) -> None:
        await self.begin()
        assert (
            await refused(self.ours.find(0, "acme", HostName("metadata.google.internal"), 443))
        ).reason == "name-not-public"

    async def test_for_its_account_the_broker_is_connected_to_a_token_host_and_to_nothing_else(self) -> None:
        await self.begin()
        login = HostName("login.example")
        listed = TenantPolicy("acme", profile=Profile.ALLOWLIST, bound=exchanging((login.text, self.port)))
        self.worker.policy = lambda tenant: listed
        for asked in (self.ours.find, self.ours.dial):
            more = [[LOOPBACK]] if asked == self.ours.dial else []
            for account, host, reason in (
                (None, login, "host-not-listed"),
                ("other", login, "token-host-not-named"),
                ("crm", SITE, "token-host-not-named"),
                (7, login, "dial-invalid"),
            ):
                answer = await refused(asked(0, "acme", host, self.port, *more, account=account))
                assert answer.reason == reason
        assert self.worker.dialler.asked == []
        assert await self.ours.find(0, "acme", login, self.port, account="crm") == (LOOPBACK,)
        connected, _ = await self.ours.dial(0, "acme", login, self.port, [LOOPBACK], account="crm")
        connected.close()
        assert self.worker.routes.accounts == {"crm"}

    async def test_the_workers_refusal_arrives_as_it_was(self) -> None:
        await self.begin()
        self.worker.dialler.fails = DialFailed(refusals.CONNECT_TIMEOUT)
        assert (
            await refused(self.ours.dial(0, "acme", SITE, self.port, [LOOPBACK]))
        ) == refusals.CONNECT_TIMEOUT

    async def test_without_a_worker_nothing_is_dialled(self) -> None:
        await self.begin()
        assert (await refused(self.ours.find(7, "acme", SITE, 443))) is of_calls.DIALLER_UNAVAILABLE


class Detaching(TestCase):
    async def test_what_was_detached_is_still_connected(self) -> None:
        server = reactor.listenTCP(0, ServerFactory.forProtocol(Greeting), interface="127.0.0.1")
        self.addCleanup(server.stopListening)
        transport, _ = await Dialler(server.getHost().port).connect([LOOPBACK], 1)
        with detached(transport) as connected:
            assert await received(connected) == b"hello"
            assert isinstance(connected, socket.socket)
