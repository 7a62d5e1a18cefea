"""The upstream client against a real server on the loopback interface that answers, errs and forges (B11)."""

import itertools
import struct
from ipaddress import IPv4Address

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.trial.unittest import TestCase

from appliance.resolver import exchange
from appliance.resolver.outcome import Absent, Found, Unusable
from appliance.resolver.reply import MAX_REPLY
from appliance.resolver.upstream import MAX_FOREIGN, UpstreamClient
from appliance.settings import NameServer

from .fakes import PUBLIC, PUBLIC_TOO, name

OK = name("www.ok.example")
LOOPBACK = IPv4Address("127.0.0.1")


def answer(query, *addresses, rcode=dns.rcode.NOERROR):
    reply = dns.message.make_response(dns.message.from_wire(query.to_wire()))  # it would share the question
    reply.set_rcode(rcode)
    if addresses:
        reply.answer = [
            dns.rrset.from_text(query.question[0].name, 60, "IN", "A", *(str(one) for one in addresses))
        ]
    return reply


class Server:
    """Answers each query by `over_udp(query) → datagrams` and `over_tcp(query) → stream bytes or None`."""

    def __init__(self):
        self.over_udp = lambda query: [answer(query, PUBLIC).to_wire()]
        self.over_tcp = lambda query: framed(answer(query, PUBLIC_TOO).to_wire())
        self.udp_queries, self.tcp_queries, self.senders = [], [], []
        self.udp = _ServerDatagrams(self)
        factory = Factory.forProtocol(_ServerStream)
        factory.server = self
        self.stream_port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.number = self.stream_port.getHost().port
        self.datagram_port = reactor.listenUDP(self.number, self.udp, interface="127.0.0.1")

    @property
    def place(self):
        return NameServer(address=LOOPBACK, port=self.number)

    async def stop(self):
        await self.datagram_port.stopListening()
        await self.stream_port.stopListening()


def framed(wire):
    return struct.pack(">H", len(wire)) + wire


class _ServerDatagrams(DatagramProtocol):
    noisy = False

    def __init__(self, server):
        self.server = server

    def datagramReceived(self, datagram, addr):
        query = dns.message.from_wire(datagram)
        self.server.udp_queries.append(query)
        self.server.senders.append(addr)
        for wire in self.server.over_udp(query):
            self.transport.write(wire, addr)


class _ServerStream(Protocol):
    def dataReceived(self, data):
        query = dns.message.from_wire(data[2:])
        self.factory.server.tcp_queries.append(query)
        reply = self.factory.server.over_tcp(query)
        if reply is None:
            self.transport.loseConnection()
        else:
            for part in (reply[:1], reply[1:5], reply[5:]):
                self.transport.write(part)


class UpstreamTests(TestCase):
    timeout = 20

    def setUp(self):
        self.server, self.second = Server(), Server()
        self.client = UpstreamClient(reactor, (self.server.place,), try_time=0.3)

    async def tearDown(self):
        await self.server.stop()
        await self.second.stop()

    async def test_an_answer_over_udp(self):
        assert await self.client.query(OK) == Found((PUBLIC,), (), 60)
        assert self.server.tcp_queries == []

    async def test_b11_every_query_has_its_own_port_id_and_case(self):
        for _ in range(12):
            await self.client.query(OK)
        ports = {port for _, port in self.server.senders}
        ids = {query.id for query in self.server.udp_queries}
        cases = {query.question[0].name.labels for query in self.server.udp_queries}
        assert len(ports) > 8
        assert len(ids) > 8
        assert len(cases) > 8

    async def test_b11_forged_datagrams_before_the_true_one_are_passed_over(self):
        def forge(query):
            wrong_id = answer(query, "6.6.6.6")
            wrong_id.id ^= 1
            wrong_name = answer(query, "6.6.6.6")
            wrong_name.question[0].name = dns.name.from_text("evil.example")
            return [wrong_id.to_wire(), wrong_name.to_wire(), b"", b"\0" * 5, answer(query, PUBLIC).to_wire()]

        self.server.over_udp = forge
        assert await self.client.query(OK) == Found((PUBLIC,), (), 60)
        assert self.client.foreign >= 3

    async def test_b11_a_datagram_from_another_sender_is_passed_over(self):
        """The forger knows id, name and port, and sends from another port than the server's."""

        def forge(query):
            self.second.udp.transport.write(answer(query, "6.6.6.6").to_wire(), self.server.senders[-1])
            reactor.callLater(0.1, self.server.udp.transport.write, *true(query))
            return []

        def true(query):
            return answer(query, PUBLIC).to_wire(), self.server.senders[-1]

        self.server.over_udp = forge
        assert await self.client.query(OK) == Found((PUBLIC,), (), 60)
        assert self.client.foreign == 1

    async def test_b11_many_forged_datagrams_move_the_question_to_tcp(self):
        def forge(query):
            for guess in range(MAX_FOREIGN):
                reply = answer(query, "6.6.6.6")
                reply.id = (query.id + 1 + guess) % 65536
                yield reply.to_wire()

        self.server.over_udp = forge
        assert await self.client.query(OK) == Found((PUBLIC_TOO,), (), 60)

    async def test_a_server_that_lowers_the_case_is_asked_over_tcp(self):
        def lowered(query):
            reply = answer(query, PUBLIC)
            reply.question[0].name = dns.name.from_text("www.ok.example")
            return reply

        self.server.over_udp = lambda query: [lowered(query).to_wire()]
        self.server.over_tcp = lambda query: framed(lowered(query).to_wire())
        found = await self.client.query(OK)
        assert found == Found((PUBLIC,), (), 60)
        assert len(self.server.tcp_queries) == 1

    async def test_truncated_oversize_and_malformed_replies_are_asked_again_over_tcp(self):
        def truncated(query):
            reply = answer(query)
            reply.flags |= dns.flags.TC
            return [reply.to_wire()]

        def malformed(query):
            return [answer(query, PUBLIC).to_wire()[:-3]]

        def oversize(query):
            return [answer(query, *(PUBLIC + step for step in range(300))).to_wire(max_size=65535)]

        for over_udp in (truncated, malformed, oversize):
            self.server.over_udp = over_udp
            assert await self.client.query(OK) == Found((PUBLIC_TOO,), (), 60)

    async def test_b11_a_forged_or_broken_answer_over_tcp_is_not_used(self):
        def wrong_id(query):
            reply = answer(query, "6.6.6.6")
            reply.id ^= 1
            return framed(reply.to_wire())

        tc = dns.flags.TC

        def truncated(query):
            reply = answer(query)
            reply.flags |= tc
            return [reply.to_wire()]

        self.server.over_udp = truncated
        for over_tcp in (wrong_id, lambda _: framed(b"\xff" * 40), lambda _: None):
            self.server.over_tcp = over_tcp
            assert isinstance(await self.client.query(OK), Unusable)

    async def test_a_huge_answer_is_not_read_and_no_other_server_is_asked(self):
        def truncated(query):
            reply = answer(query)
            reply.flags |= dns.flags.TC
            return [reply.to_wire()]

        def huge(query):
            addresses = b"".join(
                b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + struct.pack(">I", step) for step in range(3950)
            )
            head = answer(query).to_wire()
            question = query.question[0].name.to_wire() + b"\0\1\0\1"
            return framed(head[:6] + struct.pack(">3H", 3950, 0, 0) + question + addresses)

        def from_wire(wire, *options, **others):
            assert len(wire) <= 512, "only the server's own reading of our query"
            return self.from_wire(wire, *options, **others)

        self.from_wire = dns.message.from_wire
        self.patch(dns.message, "from_wire", from_wire)
        self.patch(exchange, "read_records", lambda *_: self.fail("read"))
        self.server.over_udp, self.server.over_tcp = truncated, huge
        client = UpstreamClient(reactor, (self.server.place, self.second.place), try_time=0.3)
        result = await client.query(OK)
        assert (result.reason, result.final) == ("upstream-failed", True)
        assert client.queries == 2
        assert (len(self.server.tcp_queries), self.second.udp_queries) == (1, [])

    async def test_a_long_reply_over_tcp_is_given_up_before_it_has_come(self):
        self.server.over_udp = lambda _: [b"\0"] * MAX_FOREIGN
        self.server.over_tcp = lambda _: struct.pack(">H", MAX_REPLY + 1) + b"\0" * 8
        result = await self.client.query(OK)
        assert (result.reason, result.final) == ("upstream-failed", True)
        assert self.client.queries == 2

    async def test_a_silent_server_costs_a_bounded_time_and_the_next_is_asked(self):
        self.server.over_udp = lambda _: []
        client = UpstreamClient(reactor, (self.server.place, self.second.place), try_time=0.2)
        assert await client.query(OK) == Found((PUBLIC,), (), 60)
        assert len(self.server.udp_queries) == 1
        await client.query(OK)
        assert len(self.server.udp_queries) == 1, "the one that answered is asked first"

    async def test_a_failing_server_is_followed_by_the_next(self):
        self.server.over_udp = lambda query: [answer(query, rcode=dns.rcode.SERVFAIL).to_wire()]
        client = UpstreamClient(reactor, (self.server.place, self.second.place), try_time=0.2)
        assert await client.query(OK) == Found((PUBLIC,), (), 60)

    async def test_a_lost_datagram_is_sent_again_to_the_only_server(self):
        lost = itertools.count()
        self.server.over_udp = lambda query: [answer(query, PUBLIC).to_wire()] if next(lost) else []
        assert await self.client.query(OK) == Found((PUBLIC,), (), 60)

    async def test_nobody_answers(self):
        self.server.over_udp = lambda _: []
        result = await self.client.query(OK)
        assert result.reason == "upstream-timeout"
        assert len(self.server.udp_queries) == 2

    async def test_a_name_that_does_not_exist(self):
        self.server.over_udp = lambda query: [answer(query, rcode=dns.rcode.NXDOMAIN).to_wire()]
        assert await self.client.query(OK) == Absent((), 0, exists=False)

    async def test_nothing_is_left_open_when_the_asker_goes_away(self):
        self.server.over_udp = lambda _: []
        asking = Deferred.fromCoroutine(self.client.query(OK))
        asking.addErrback(lambda _: None)
        asking.cancel()
        await asking  # trial fails the test for a socket or a timer that is left

    async def test_no_server_at_all_is_a_failure(self):
        result = await UpstreamClient(reactor, ()).query(OK)
        assert result.reason == "upstream-failed"
