"""UDP questions with real packets on the loopback interface (A11: the link is the identity)."""

import select
import socket
import struct
from collections import Counter
from ipaddress import IPv4Address

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher

from appliance.endpoints import Endpoint, EndpointTable
from appliance.resolver.message import MAX_QUESTION
from appliance.resolver.udp import (
    IP_PKTINFO,
    MAX_PENDING_PER_ENDPOINT,
    MAX_PENDING_PER_TENANT,
    PACKETS_PER_WAKEUP,
    UdpQuestions,
)

CONTAINER = "127.0.0.2"
ASKED = "127.0.0.9"


class Echo:
    """Stands for `Answering`: answers with the question reversed, or later."""

    def __init__(self):
        self.counts = Counter()
        self.asked = []
        self.held = None
        self.fails = False

    async def answer(self, wire, asker):
        self.asked.append((wire, asker))
        if self.fails:
            raise RuntimeError("a bug")
        if self.held is not None:
            deferred = Deferred()
            self.held.append(deferred)
            await deferred
        return wire[::-1] if wire != b"silence" else None


class Readers:
    def __init__(self):
        self.readers = []

    def addReader(self, reader):
        self.readers.append(reader)

    def removeReader(self, reader):
        self.readers.remove(reader)


@pytest.fixture
def table():
    table = EndpointTable()
    lo = socket.if_nametoindex("lo")
    table.update([Endpoint("e1", "n1", "acme", IPv4Address(CONTAINER), "lo", lo)], [])
    return table


@pytest.fixture
def echo():
    return Echo()


@pytest.fixture
def reactor():
    return Readers()


@pytest.fixture
def questions(table, echo, reactor):
    listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listening.bind(("0.0.0.0", 0))
    questions = UdpQuestions(listening, table, echo)
    questions.start(reactor)
    yield questions
    questions.stop()


@pytest.fixture
def container():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as container:
        container.bind((CONTAINER, 0))
        container.settimeout(2)
        yield container


def ask(questions, sender, wire, asked=ASKED):
    sender.sendto(wire, (asked, questions._socket.getsockname()[1]))


def heard(sender):
    return bool(select.select([sender], [], [], 0.05)[0])


def test_an_answer_leaves_from_the_address_that_was_asked(questions, container, echo):
    for asked in (ASKED, "127.0.0.77"):
        ask(questions, container, b"question", asked)
        questions.doRead()
        answer, sender = container.recvfrom(100)
        assert answer == b"noitseuq"
        assert sender[0] == asked
    wire, asker = echo.asked[0]
    assert wire == b"question"
    assert (asker.endpoint.tenant, asker.transport) == ("acme", "udp")
    assert asker.destination == IPv4Address(ASKED)
    assert asker.source == f"{CONTAINER}:{container.getsockname()[1]}"


def test_a11_a_source_that_is_no_endpoints_is_not_answered(questions, echo):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.3", 0))
        ask(questions, stranger, b"question")
        questions.doRead()
        assert not heard(stranger)
    assert echo.asked == []
    assert echo.counts["dropped"] == 1


def test_a11_an_endpoints_address_on_another_interface_is_not_answered(questions, container, echo, table):
    other = socket.if_nametoindex("lo") + 1000
    table.replace([Endpoint("e1", "n1", "acme", IPv4Address(CONTAINER), "t-e1", other)])
    ask(questions, container, b"question")
    questions.doRead()
    assert not heard(container)
    assert echo.asked == []


def test_silence_is_possible(questions, container):
    ask(questions, container, b"silence")
    questions.doRead()
    assert not heard(container)


def test_an_oversize_question_is_passed_on_longer_than_any_that_is_read(questions, container, echo):
    ask(questions, container, b"q" * 5000)
    questions.doRead()
    assert len(echo.asked[0][0]) == MAX_QUESTION + 1


def test_f4_one_wakeup_reads_a_bounded_batch(questions, container, echo):
    for _ in range(PACKETS_PER_WAKEUP + 5):
        ask(questions, container, b"question")
    questions.doRead()
    assert len(echo.asked) == PACKETS_PER_WAKEUP
    questions.doRead()
    assert len(echo.asked) == PACKETS_PER_WAKEUP + 5


def test_f4_an_endpoint_has_a_bounded_number_of_questions_pending(questions, container, echo):
    echo.held = []
    for _ in range(MAX_PENDING_PER_ENDPOINT + 20):
        ask(questions, container, b"question")
        questions.doRead()
    assert len(echo.held) == MAX_PENDING_PER_ENDPOINT
    held, echo.held = echo.held, None
    for deferred in held:
        deferred.callback(None)
    ask(questions, container, b"again")
    questions.doRead()
    assert echo.asked[-1][0] == b"again"


def test_f4_all_containers_of_a_tenant_leave_room_for_another_tenants(questions, table, echo):
    lo = socket.if_nametoindex("lo")
    table.update(
        [
            Endpoint(f"e{number}", "n1", tenant, IPv4Address(f"127.0.0.{number}"), "lo", lo)
            for number, tenant in ((3, "acme"), (4, "acme"), (5, "acme"), (6, "beta"))
        ],
        [],
    )
    echo.held = []
    for number in (3, 4, 5, 6):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as container:
            container.bind((f"127.0.0.{number}", 0))
            for _ in range(MAX_PENDING_PER_ENDPOINT):
                ask(questions, container, b"question")
                questions.doRead()
    tenants = Counter(asker.endpoint.tenant for _wire, asker in echo.asked)
    assert tenants == {"acme": MAX_PENDING_PER_TENANT, "beta": MAX_PENDING_PER_ENDPOINT}
    held, echo.held = echo.held, None
    for deferred in held:
        deferred.callback(None)
    assert not questions._of_tenant


def test_our_own_fault_does_not_end_the_service(questions, container, echo):
    events = []
    echo.fails = True
    globalLogPublisher.addObserver(events.append)
    try:
        ask(questions, container, b"question")
        questions.doRead()
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert any("log_failure" in event for event in events)
    echo.fails = False
    ask(questions, container, b"question")
    questions.doRead()
    assert heard(container)


def test_an_answer_that_cannot_be_sent_is_dropped(questions, container, echo):
    echo.held = []
    ask(questions, container, b"question")
    questions.doRead()
    info = struct.pack("=I4s4s", 0, socket.inet_aton("192.0.2.1"), socket.inet_aton("192.0.2.1"))
    questions._send(b"answer", container.getsockname(), info)  # not an address of this host
    assert echo.counts["unsent"] == 1
    echo.held.pop().callback(None)
    assert heard(container)


def test_an_answer_that_comes_after_the_stop_goes_nowhere(table, echo, reactor, container):
    listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listening.bind(("0.0.0.0", 0))
    questions = UdpQuestions(listening, table, echo)
    questions.start(reactor)
    assert reactor.readers == [questions]
    echo.held = []
    ask(questions, container, b"question")
    questions.doRead()
    questions.stop()
    assert reactor.readers == []
    assert questions.fileno() == -1
    echo.held.pop().callback(None)


def test_the_constant_is_the_kernels():
    """linux/in.h; Python has it by name only in later releases."""
    assert getattr(socket, "IP_PKTINFO", 8) == IP_PKTINFO
