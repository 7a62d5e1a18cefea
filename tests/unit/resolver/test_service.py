"""The resolver put together, with real sockets on the loopback interface and a fake netd and name server."""

import json
import os
import socket
import struct
import tempfile
from ipaddress import IPv4Address
from pathlib import Path

import dns.message
import dns.rcode
import pytest
from twisted.internet import reactor
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from appliance import telling
from appliance.json_lines import JsonLines
from appliance.links import link_mark
from appliance.resolver import tcp
from appliance.resolver.client import ResolverClient, Unresolved
from appliance.resolver.service import Resolver
from appliance.settings import NameServer, Settings, Uids
from appliance.telling import Bounds

from .fakes import PUBLIC, FakeAudit, Policies, addresses_of, name, question
from .test_upstream import answer

CONTAINER = "127.0.0.2"


class NetdProtocol(JsonLines):
    def message_received(self, message):
        self.factory.heard.append(message)
        if message.get("op") == "subscribe":
            self.factory.peer = self
            endpoint = {
                "id": "e1",
                "network": "n1",
                "tenant": "acme",
                "address": CONTAINER,
                "interface": "lo",
                "ifindex": socket.if_nametoindex("lo"),
            }
            self.send({"type": "snapshot", "generation": 1, "endpoints": [endpoint]})


class Authority(DatagramProtocol):
    noisy = False

    def __init__(self):
        self.asked = []

    def datagramReceived(self, datagram, addr):
        query = dns.message.from_wire(datagram)
        self.asked.append(query.question[0].name.to_text().lower())
        self.transport.write(answer(query, PUBLIC).to_wire(), addr)


def bound(kind, family=socket.AF_INET, address=("127.0.0.9", 0)):
    made = socket.socket(family, kind)
    made.bind(address)
    if kind is socket.SOCK_STREAM:
        made.listen()
    return made


class ServiceTests(TestCase):
    timeout = 30

    async def setUp(self):
        # Nothing marks what comes in by the loopback interface.
        self.patch(tcp, "accepted_mark", lambda _accepted: link_mark("e1"))
        self.directory = tempfile.TemporaryDirectory()
        self.run_dir = Path(self.directory.name)
        self.settings = Settings(run_dir=self.run_dir, uids=Uids(gateway=os.getuid() or 64101))
        self.netd = Factory.forProtocol(NetdProtocol)
        self.netd.heard = []
        self.netd_port = reactor.listenUNIX(str(self.settings.control_socket("netd")), self.netd)
        self.authority = Authority()
        self.authority_port = reactor.listenUDP(0, self.authority, interface="127.0.0.1")
        place = NameServer(address=IPv4Address("127.0.0.1"), port=self.authority_port.getHost().port)
        self.audit = FakeAudit()
        self.resolver = Resolver(reactor, self.settings, (place,), Policies(), self.audit)
        sockets = {
            "dns-udp": bound(socket.SOCK_DGRAM),
            "dns-tcp": bound(socket.SOCK_STREAM),
            "control": bound(
                socket.SOCK_STREAM, socket.AF_UNIX, str(self.settings.control_socket("resolver"))
            ),
        }
        self.udp, self.tcp = sockets["dns-udp"].getsockname(), sockets["dns-tcp"].getsockname()
        self.resolver.start(sockets)
        self.stops = True
        while not self.resolver.status()["ready"]:
            await deferLater(reactor, 0.01)

    async def tearDown(self):
        if self.stops:
            await self.resolver.stop()
        await self.netd_port.stopListening()
        await self.authority_port.stopListening()
        self.directory.cleanup()

    def over_udp(self, wire):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as container:
            container.bind((CONTAINER, 0))
            container.settimeout(1)
            container.sendto(wire, self.udp)
            reply, sender = container.recvfrom(2000)
            assert sender == self.udp
            return dns.message.from_wire(reply)

    def over_tcp(self, wire):
        with socket.create_connection(self.tcp, 3, (CONTAINER, 0)) as container:
            container.sendall(struct.pack(">H", len(wire)) + wire)
            with container.makefile("rb") as stream:
                (length,) = struct.unpack(">H", stream.read(2))
                return dns.message.from_wire(stream.read(length))

    async def test_a_container_and_the_gateway_get_the_same_judged_addresses(self):
        for ask in (self.over_udp, self.over_tcp):
            reply = await deferToThread(ask, question("ok.example"))
            assert addresses_of(reply.answer[0]) == (PUBLIC,)
        client = self.client()
        assert (await client.resolve("acme", name("ok.example"))).addresses == (PUBLIC,)
        assert await client.pinned("acme", name("ok.example"), PUBLIC) is True
        await client.stop()
        assert self.authority.asked == ["ok.example."]
        assert [record.transport for record in self.audit.records] == ["udp"]

    async def test_b3_a_denied_name_reaches_no_name_server(self):
        for ask in (self.over_udp, self.over_tcp):
            reply = await deferToThread(ask, question("c2VjcmV0.denied.example"))
            assert reply.rcode() == dns.rcode.REFUSED
        client = self.client()
        with pytest.raises(Unresolved) as caught:
            await client.resolve("acme", name("x.denied.example"))
        assert (caught.value.reason, caught.value.denied) == ("host-not-listed", True)
        await client.stop()
        assert self.authority.asked == []

    async def test_the_status_counts(self):
        await deferToThread(self.over_udp, question("x.denied.example"))
        status = self.resolver.status()
        assert (status["endpoints"], status["denied"], status["upstream_queries"]) == (1, 1, 0)
        assert json.dumps(status)
        self.audit.ready = False
        assert not self.resolver.status()["ready"]

    async def flood(self):
        """Refusals of one second: those with a record of their own, and five more."""

        def ask():
            for _ in range(Bounds().per_second + 5):
                self.over_udp(question("x.denied.example"))

        await deferToThread(ask)
        assert self.audit.open == 1
        return len(self.audit.records)

    async def test_f7_refusals_of_a_flood_are_recorded_together_after_a_while(self):
        self.patch(telling, "COLLECT_SECONDS", 0.1)
        told = await self.flood()
        while self.audit.open:
            await deferLater(reactor, 0.1)
        summary = self.audit.records[told]
        assert (summary.reason, summary.endpoint) == (telling.MANY, "e1")
        assert summary.count + told == Bounds().per_second + 5

    async def test_f7_nothing_of_a_flood_is_lost_when_the_container_leaves(self):
        told = await self.flood()
        self.netd.peer.send({"type": "update", "generation": 2, "added": [], "removed": ["e1"]})
        while {"type": "ack", "generation": 2} not in self.netd.heard:
            await deferLater(reactor, 0.01)
        assert self.audit.open == 0
        assert self.audit.records[-1].count + told == Bounds().per_second + 5

    async def test_f7_nothing_of_a_flood_is_lost_when_the_process_ends(self):
        told = await self.flood()
        self.stops = False
        await self.resolver.stop()
        assert self.audit.open == 0
        assert self.audit.records[-1].count + told == Bounds().per_second + 5

    async def test_b3_what_a_worker_asks_for_a_container_is_its_question(self):
        self.patch(self.resolver._answering, "_clock", Clock())  # nothing flows back into its rate
        client = self.client()
        rate = self.settings.resolver.queries_per_second
        for number in range(rate):
            asked = name(f"n{number}.example")
            assert await client.pinned("acme", asked, IPv4Address("8.8.8.8"), endpoint="e1") is False
        with pytest.raises(Unresolved) as caught:
            await client.pinned("acme", name("x.example"), PUBLIC, endpoint="e1")
        assert (caught.value.over_rate, caught.value.denied) == (True, True)
        await client.stop()
        assert (await deferToThread(self.over_udp, question("own.example"))).rcode() == dns.rcode.REFUSED
        assert len(self.authority.asked) == rate
        assert {record.endpoint for record in self.audit.records} == {"e1"}

    async def test_an_endpoint_that_went_away_is_answered_no_more(self):
        held = await deferToThread(self.connected)
        self.netd.peer.send({"type": "update", "generation": 2, "added": [], "removed": ["e1"]})
        while {"type": "ack", "generation": 2} not in self.netd.heard:
            await deferLater(reactor, 0.01)
        closed = await deferToThread(self.is_closed, held)
        assert closed
        with pytest.raises(TimeoutError):
            await deferToThread(self.over_udp, question("ok.example"))
        assert self.authority.asked == []

    def connected(self):
        held = socket.create_connection(self.tcp, 3, (CONTAINER, 0))
        wire = question("gateway.egress.internal")
        held.sendall(struct.pack(">H", len(wire)) + wire)
        assert held.recv(100)
        return held

    @staticmethod
    def is_closed(held):
        with held:
            try:
                return held.recv(100) == b""
            except ConnectionResetError:
                return True

    def client(self):
        place = UNIXClientEndpoint(reactor, str(self.settings.control_socket("resolver")))
        client = ResolverClient(place, reactor)
        client.start()
        return client
