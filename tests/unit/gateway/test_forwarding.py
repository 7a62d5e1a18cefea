"""A request's way to a server and back, by the session that asked for it, and what comes too late."""

from __future__ import annotations

import pytest
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from appliance.gateway.states import IllegalTransition
from appliance.http1.refused import UpstreamInvalid
from appliance.policy.set import PolicySet

from .support import limited
from .test_session import GET, OK, PostingPolicy, Talk


def test_a_stale_connection_is_replaced_once_and_only_once() -> None:
    talk = Talk()
    talk.says(GET)
    first = talk.server()
    first.protocol.dataReceived(OK)
    talk.says(GET)
    first.protocol.connectionLost(Failure(ConnectionDone()))
    assert len(talk.worker.reactor.tcpClients) == 2
    second = talk.server()
    second.protocol.connectionLost(Failure(ConnectionDone()))
    assert talk.statuses == [200, 502]
    assert len(talk.worker.reactor.tcpClients) == 2
    assert talk.records[-1] == ("failed", "upstream-closed")


def test_a_fresh_connection_that_closes_is_not_tried_again() -> None:
    talk = Talk()
    talk.says(GET)
    talk.server().protocol.connectionLost(Failure(ConnectionDone()))
    assert talk.statuses == [502]
    assert len(talk.worker.reactor.tcpClients) == 1


def test_half_an_answer_is_never_tried_again() -> None:
    talk = Talk()
    talk.says(GET)
    first = talk.server()
    first.protocol.dataReceived(OK)
    talk.says(GET)
    first.protocol.dataReceived(OK[:-1])
    first.protocol.connectionLost(Failure(ConnectionDone()))
    assert len(talk.worker.reactor.tcpClients) == 1
    assert talk.wire.aborted


def test_a_client_that_leaves_while_dialling_stops_the_dial() -> None:
    talk = Talk()
    talk.says(GET)
    talk.worker.reactor.connectors[0].disconnect = lambda: None
    talk.connection.connectionLost(Failure(ConnectionDone()))
    assert talk.server().aborted
    assert talk.records == [("failed", "client-closed")]


def test_a_policy_that_changes_while_dialling_wins_g5() -> None:
    talk = Talk()
    talk.says(GET)
    talk.worker.test_policies[0] = PolicySet({}, "two")
    server = talk.server()
    assert server.value() == b""
    assert talk.records == [("denied", "policy-changed")]


def test_a_request_with_a_body_reaches_the_server_only_in_a_dialled_connection() -> None:
    talk = Talk(policy=PostingPolicy())
    talk.says(b"POST /x HTTP/1.1\r\nHost: site.net\r\nContent-Length: 6\r\n\r\nabc")
    talk.says(b"def" + GET)
    server = talk.server()
    assert server.value().endswith(b"\r\n\r\nabcdef")
    server.protocol.dataReceived(OK)
    assert b"GET /x" in server.value()


def test_an_early_answer_closes_both_sides() -> None:
    talk = Talk(policy=PostingPolicy())
    talk.says(b"POST /x HTTP/1.1\r\nHost: site.net\r\nContent-Length: 6\r\n\r\nabc")
    server = talk.server()
    server.protocol.dataReceived(OK)
    assert talk.wire.half_closed
    assert server.aborted
    talk.says(GET)
    assert talk.statuses == [200]
    assert len(talk.records) == 1


def test_bytes_out_are_charged_before_they_leave() -> None:
    talk = Talk(policy=limited("container", bytes_out=60))
    talk.says(GET.replace(b"/x", b"/" + b"secret" * 20))
    server = talk.server()
    assert server.value() == b""
    assert talk.statuses == [429]
    assert talk.records == [("denied", "bytes-out-exceeded")]


def test_what_comes_when_the_request_is_over_is_nobodys() -> None:
    talk = Talk()
    talk.says(GET)
    talk.server()
    forwarding = talk.connection._stage._forwarding
    assert not forwarding.sending
    talk.connection.deadline_passed()
    assert talk.statuses == [504]
    forwarding.response_missing()
    forwarding.response_broken(UpstreamInvalid("late", "late"))
    with pytest.raises(IllegalTransition, match="an answer without a request"):
        forwarding.response(None, [b"late"], done=True)
    assert talk.records == [("failed", "upstream-response-timeout")]
    assert talk.statuses == [504]
    assert not talk.wire.aborted  # which would take the page away
    assert len(talk.worker.reactor.tcpClients) == 1


def test_an_answer_while_draining_is_the_last() -> None:
    talk = Talk()
    talk.says(GET)
    server = talk.server()
    talk.connection.drain()
    server.protocol.dataReceived(OK)
    assert b"Connection: close" in talk.wire.value()
    assert talk.wire.half_closed
