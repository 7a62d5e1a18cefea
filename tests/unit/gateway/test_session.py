"""The request loop without a reactor: one connection, an upstream played by hand."""

from __future__ import annotations

import itertools
import re

import pytest
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from appliance.gateway.connection import Connection
from appliance.gateway.states import IllegalTransition, State

from .support import OTHER_PUBLIC, Names, Wire, limited, web_policy, worker

GET = b"GET /x HTTP/1.1\r\nHost: site.net\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Talk:
    def __init__(self, **options) -> None:
        self.worker = worker(**options)
        self.connection = Connection(self.worker)
        self.wire = Wire()
        self.connection.makeConnection(self.wire)

    def says(self, data: bytes) -> None:
        self.connection.dataReceived(data)

    def server(self) -> Wire:
        """The newest dial succeeds."""
        host, _, factory, *_ = self.worker.reactor.tcpClients[-1]
        wire = Wire((host, 80))
        wire.protocol = factory.buildProtocol(None)
        wire.protocol.makeConnection(wire)
        return wire

    @property
    def statuses(self) -> list[int]:
        return [int(code) for code in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", self.wire.value())]

    @property
    def records(self) -> list[tuple[str, str]]:
        return [(record.outcome.value, record.reason) for record in self.worker.audit.records]


def test_a_request_in_single_bytes_is_one_request() -> None:
    talk = Talk()
    for byte in GET:
        talk.says(bytes([byte]))
    server = talk.server()
    assert server.value() == b"GET /x HTTP/1.1\r\nHost: site.net\r\n\r\n"
    server.protocol.dataReceived(OK)
    assert talk.wire.value().endswith(b"ok")
    assert talk.records == [("allowed", "allowed-by-profile")]
    assert talk.worker.audit.open_claims == 0


def test_the_second_request_waits_for_the_first_answer() -> None:
    talk = Talk()
    talk.says(GET + GET.replace(b"/x", b"/y"))
    server = talk.server()
    assert b"/y" not in server.value()
    server.protocol.dataReceived(OK)
    assert server.value().endswith(b"GET /y HTTP/1.1\r\nHost: site.net\r\n\r\n")
    assert len(talk.worker.reactor.tcpClients) == 1


def test_what_waits_behind_a_request_is_bounded() -> None:
    talk = Talk()
    talk.says(GET)
    server = talk.server()
    talk.says(b"GET /" + b"a" * 70_000)
    assert talk.wire.producerState == "paused"
    server.protocol.dataReceived(OK)
    assert talk.wire.producerState == "producing"


def test_a_client_that_does_not_read_its_refusals_is_not_read_either() -> None:
    """Or a flood of small requests would fill our memory with answers."""
    talk = Talk()
    put = GET.replace(b"GET", b"PUT")
    talk.says(put)
    talk.wire.producer.pauseProducing()
    talk.says(put * 100)
    assert talk.statuses == [403]
    talk.wire.producer.resumeProducing()
    assert talk.statuses == [403] * 101
    talk.wire.producer.pauseProducing()
    assert talk.wire.producerState == "paused"
    talk.wire.producer.resumeProducing()
    assert talk.wire.producerState == "producing"


def test_a_client_that_does_not_read_stops_the_server() -> None:
    talk = Talk()
    talk.says(GET)
    server = talk.server()
    server.protocol.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\npart")
    talk.wire.producer.pauseProducing()
    assert server.producerState == "paused"
    talk.wire.producer.resumeProducing()
    assert server.producerState == "producing"


def test_a_head_that_trickles_has_no_more_time_than_another() -> None:
    talk = Talk()
    talk.says(GET)
    talk.server().protocol.dataReceived(OK)
    limits = talk.worker.limits
    assert talk.connection.deadline == limits.keep_alive_seconds
    talk.says(b"G")
    assert talk.connection.deadline == limits.head_seconds
    talk.worker.reactor.advance(10)
    talk.says(b"E")
    assert talk.connection.deadline == limits.head_seconds


def test_nothing_outlives_the_age_of_a_connection() -> None:
    talk = Talk()
    limits = talk.worker.limits
    talk.worker.reactor.advance(limits.connection_seconds - 1)
    talk.says(GET)
    talk.server()
    assert talk.connection.deadline == limits.connection_seconds


def test_a_client_that_leaves_ends_the_server_connection() -> None:
    talk = Talk()
    talk.says(GET)
    server = talk.server()
    talk.connection.connectionLost(Failure(ConnectionDone()))
    assert server.aborted
    assert talk.records == [("failed", "client-closed")]
    assert talk.worker.audit.open_claims == 0


def test_no_room_for_a_record_no_request_f7() -> None:
    talk = Talk()
    talk.worker.audit.ready = False
    talk.says(GET)
    assert talk.statuses == [503]
    assert talk.worker.reactor.tcpClients == []
    talk = Talk()
    talk.worker.audit.ready = False
    talk.says(GET.replace(b"GET", b"PUT"))
    assert talk.statuses == [503]


class _Posting(type(web_policy())):
    def judge(self, facts):
        from appliance.policy.verdict import Outcome, Reason, Verdict

        return Verdict(Outcome.ALLOW, Reason.ALLOWED_BY_RULE, "test", "", max_body=1000)


def PostingPolicy():
    from appliance.policy.tenant import Profile

    return _Posting("acme", "one", profile=Profile.READ_ONLY_WEB)


def test_every_cut_of_two_requests_gives_the_same_two_answers() -> None:
    data = GET + b"DELETE / HTTP/1.1\r\nHost: site.net\r\n\r\n"
    for first, second in itertools.combinations(range(1, len(data), 7), 2):
        talk = Talk()
        for piece in (data[:first], data[first:second], data[second:]):
            talk.says(piece)
        talk.server().protocol.dataReceived(OK)
        assert talk.statuses == [200, 403]


def test_an_answer_whose_record_cannot_be_written_is_not_completed_f7() -> None:
    talk = Talk()
    talk.says(GET)
    server = talk.server()

    talk.worker.audit.loses = True
    server.protocol.dataReceived(OK)
    assert talk.wire.value() == b""
    assert talk.wire.aborted


def test_a_client_that_stopped_reading_during_an_answer_is_not_read_after_it() -> None:
    talk = Talk()
    talk.says(GET)
    server = talk.server()
    talk.wire.producer.pauseProducing()
    server.protocol.dataReceived(OK)
    assert talk.wire.producerState == "paused"
    talk.wire.producer.resumeProducing()
    assert talk.wire.producerState == "producing"


def test_a_body_behind_a_refused_head_is_never_taken_for_a_request() -> None:
    talk = Talk()
    talk.says(b"PUT / HTTP/1.1\r\nHost: site.net\r\nContent-Length: %d\r\n\r\n" % len(GET) + GET)
    assert talk.statuses == [403]
    assert talk.worker.reactor.tcpClients == []
    assert talk.wire.half_closed


def test_an_address_that_the_name_was_not_resolved_to_is_not_served_d5() -> None:
    talk = Talk(names=Names(**{"site.net": (OTHER_PUBLIC,)}))
    talk.says(GET)
    assert talk.statuses == [403]
    assert talk.records == [("denied", "destination-not-pinned")]
    assert talk.worker.reactor.tcpClients == []


def test_connect_is_judged_and_needs_room_for_records_d1() -> None:
    connect = b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n"
    talk = Talk()
    for target in (b"site.net:22", b"10.0.0.1:443", b"gateway.egress.internal:443"):
        talk.says(connect % (target, target))
    assert talk.statuses == [403, 403, 403]
    assert [reason for _, reason in talk.records] == ["port-not-allowed", "host-is-address", "own-address"]
    talk.worker.audit.ready = False
    talk.says(connect % (b"site.net:443", b"site.net:443"))
    assert talk.statuses[3:] == [503]


def test_a_tunnel_carries_tls_only_d8() -> None:
    talk = Talk()
    talk.says(b"CONNECT site.net:443 HTTP/1.1\r\nHost: site.net:443\r\n\r\n")
    assert talk.statuses == [200]
    talk.says(GET)
    assert talk.records == [("denied", "not-tls-in-tunnel")]
    assert talk.statuses == [200]
    assert talk.worker.reactor.tcpClients == []


def test_the_gateways_own_documents() -> None:
    talk = Talk()
    own = GET.replace(b"site.net", b"gateway.egress.internal")
    talk.says(own.replace(b"/x", b"/.well-known/egress/ca.pem") + own)
    assert talk.statuses == [200, 403]
    assert talk.records == [("allowed", "own-document"), ("denied", "own-address")]
    assert talk.worker.reactor.tcpClients == []


def test_upgrade_is_refused_whatever_the_policy_says_e13() -> None:
    talk = Talk(policy=PostingPolicy())
    talk.says(GET.replace(b"\r\n\r\n", b"\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"))
    assert talk.records == [("denied", "upgrade-not-allowed")]


# Limits (F4).


def test_a_request_over_the_rate_is_429_with_retry_after_and_a_record() -> None:
    talk = Talk(policy=limited("container", requests_per_second=2))
    put = GET.replace(b"GET", b"PUT")
    talk.says(put + put + put)
    assert talk.statuses == [403, 403, 429]
    assert re.search(rb"\r\nRetry-After: [12]\r\n", talk.wire.value())
    assert talk.records[-1] == ("denied", "requests-per-second-exceeded")
    assert talk.worker.audit.records[-1].rule == "limits.container.requests_per_second"
    assert talk.wire.half_closed


def test_a_flow_is_cut_where_it_passes_a_limit_of_bytes() -> None:
    talk = Talk(policy=limited("tenant", bytes_in=1000))
    talk.says(GET)
    server = talk.server()
    server.protocol.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"a" * 900)
    assert not talk.wire.aborted
    server.protocol.dataReceived(b"a" * 900)
    assert talk.wire.aborted
    assert server.aborted
    assert talk.wire.value().count(b"a" * 900) == 1
    assert talk.records == [("denied", "bytes-in-exceeded")]
    assert talk.worker.audit.open_claims == 0


def test_an_answer_that_passes_the_limit_at_once_is_a_typed_refusal() -> None:
    talk = Talk(policy=limited("destination", bytes_in=100))
    talk.says(GET)
    talk.server().protocol.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"a" * 900)
    assert talk.statuses == [429]
    assert b"aaa" not in talk.wire.value()


def test_what_is_open_to_a_destination_is_released_with_the_answer() -> None:
    talk = Talk(policy=limited("destination", connections=1))
    for _ in range(3):
        talk.says(GET)
        if len(talk.worker.reactor.tcpClients) == 1 and not talk.statuses:
            server = talk.server()
        server.protocol.dataReceived(OK)
    assert talk.statuses == [200] * 3


def test_dials_are_bounded() -> None:
    talk = Talk(policy=limited("destination", new_connections_per_second=1))
    talk.says(GET)
    talk.server().protocol.dataReceived(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    talk.says(GET)
    assert talk.statuses == [200, 429]
    assert len(talk.worker.reactor.tcpClients) == 1


def test_who_let_an_exchange_wait_is_on_record() -> None:
    talk = Talk()
    talk.says(GET)
    talk.server().protocol.dataReceived(OK[:-1])
    talk.wire.producer.pauseProducing()
    talk.connection.deadline_passed()
    assert talk.records == [("failed", "response-not-read")]
    talk = Talk()
    talk.says(GET)
    talk.server().protocol.dataReceived(OK[:-1])
    talk.connection.deadline_passed()
    assert talk.records == [("failed", "upstream-response-timeout")]


def test_no_step_but_those_of_the_table() -> None:
    talk = Talk()
    talk.says(GET)
    session = talk.connection._stage
    talk.connection.connectionLost(Failure(ConnectionDone()))
    with pytest.raises(IllegalTransition, match="CLOSED to HEAD"):
        session.enter(State.HEAD)


def test_behind_an_own_document_that_cannot_be_recorded_nothing_is_taken_up() -> None:
    talk = Talk()
    talk.worker.audit.ready = False
    talk.says(
        GET.replace(b"site.net", b"gateway.egress.internal").replace(b"/x", b"/.well-known/egress/ca.pem")
        + GET
    )
    assert talk.wire.aborted
    assert talk.wire.value() == b""
    assert not talk.worker.reactor.tcpClients
