"""appliance.control: who may ask what, and what an answer looks like (A17: no policy API in a workload's reach)."""

from __future__ import annotations

import json
import os
import socket

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from appliance.control import (
    MAX_PEERS,
    MAX_PENDING,
    MAX_REQUEST,
    ControlError,
    ControlFactory,
    Operation,
    Peer,
)
from appliance.ipc import Message
from appliance.peer import Credentials

GATEWAY = 64101


def status(_message: Message, _peer: Peer) -> Message:
    return {"ready": True}


def refuse(_message: Message, _peer: Peer) -> Message:
    raise ControlError("no-such-tenant", "tenant 'x' does not exist")


class Conversation:
    """A peer with `uid` at the other end of a transport that only remembers."""

    def __init__(self, uid: int, **operations: Operation) -> None:
        factory = ControlFactory(
            {name.replace("_", "-"): value for name, value in operations.items()},
            identify=lambda _transport: Credentials(pid=1, uid=uid, gid=uid),
        )
        self.peer = factory.buildProtocol(None)
        self.transport = StringTransport()
        self.peer.makeConnection(self.transport)

    def ask(self, **message: object) -> list[Message]:
        self.peer.dataReceived(json.dumps(message).encode() + b"\n")
        return self.answers()

    def answers(self) -> list[Message]:
        lines = self.transport.value().splitlines()
        self.transport.clear()
        return [json.loads(line) for line in lines]


def test_who_asks_is_told_by_the_kernel() -> None:
    ours, theirs = socket.socketpair()

    class Transport(StringTransport):
        def getHandle(self) -> socket.socket:
            return ours

    with ours, theirs:
        peer = ControlFactory({"status": Operation(status, frozenset({os.getuid()}))}).buildProtocol(None)
        peer.makeConnection(Transport())
        assert (peer.credentials.pid, peer.credentials.uid) == (os.getpid(), os.getuid())


def test_an_answer_is_the_operations_fields_and_ok() -> None:
    assert Conversation(0, status=Operation(status)).ask(op="status") == [{"ok": True, "ready": True}]


def test_an_id_comes_back_so_that_requests_can_overlap() -> None:
    assert Conversation(0, status=Operation(status)).ask(op="status", id=7) == [
        {"ok": True, "ready": True, "id": 7}
    ]


def test_a_listed_uid_may_ask() -> None:
    conversation = Conversation(GATEWAY, status=Operation(status, frozenset({GATEWAY})))
    assert conversation.ask(op="status")[0]["ok"] is True


def test_a_uid_listed_elsewhere_may_not_ask_for_this() -> None:
    conversation = Conversation(
        GATEWAY, status=Operation(status, frozenset({GATEWAY})), drain=Operation(status, frozenset({1}))
    )
    (answer,) = conversation.ask(op="drain")
    assert (answer["ok"], answer["error"]) == (False, "not-permitted")


def test_an_unlisted_uid_is_closed_before_anything_is_read() -> None:
    conversation = Conversation(1000, status=Operation(status, frozenset({GATEWAY})))
    assert conversation.answers()[0]["error"] == "not-permitted"
    assert conversation.transport.disconnecting


def test_what_a_peer_says_of_itself_does_not_count() -> None:
    conversation = Conversation(
        GATEWAY, status=Operation(status, frozenset({GATEWAY})), drain=Operation(status)
    )
    assert conversation.ask(op="drain", uid=0)[0]["error"] == "not-permitted"


@pytest.mark.parametrize("op", ["nonsense", None, 3, ["status"]])
def test_an_unknown_operation_is_told_what_there_is(op: object) -> None:
    (answer,) = Conversation(0, status=Operation(status)).ask(op=op)
    assert (answer["error"], "status" in answer["detail"]) == ("unknown-operation", True)


def test_a_refusal_has_code_and_detail() -> None:
    assert Conversation(0, status=Operation(refuse)).ask(op="status") == [
        {"ok": False, "error": "no-such-tenant", "detail": "tenant 'x' does not exist"}
    ]


def test_our_own_bug_is_answered_and_logged_and_the_connection_lives() -> None:
    def broken(_message: Message, _peer: Peer) -> Message:
        raise ZeroDivisionError

    events: list[object] = []
    globalLogPublisher.addObserver(events.append)
    try:
        conversation = Conversation(0, status=Operation(status), broken=Operation(broken))
        assert conversation.ask(op="broken")[0]["error"] == "internal-error"
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert any(event.get("log_failure") for event in events)  # type: ignore[attr-defined]  # a log event
    assert conversation.ask(op="status")[0]["ok"] is True


@pytest.mark.parametrize("line", [b"[]\n", b"not json\n", b'"text"\n'])
def test_a_line_that_is_no_object_ends_the_connection(line: bytes) -> None:
    conversation = Conversation(0, status=Operation(status))
    conversation.peer.dataReceived(line)
    assert conversation.transport.disconnecting


def test_slow_operations_answer_when_they_are_done_in_any_order() -> None:
    gates: list[Deferred[int]] = []

    async def slow(_message: Message, _peer: Peer) -> Message:
        gate: Deferred[int] = Deferred()
        gates.append(gate)
        return {"value": await gate}

    conversation = Conversation(0, slow=Operation(slow))
    assert conversation.ask(op="slow", id="a") == []
    assert conversation.ask(op="slow", id="b") == []
    gates[1].callback(2)
    gates[0].callback(1)
    assert [answer["id"] for answer in conversation.answers()] == ["b", "a"]


def test_a_lost_connection_cancels_what_was_asked_and_tells_the_watchers() -> None:
    cancelled: list[bool] = []

    async def slow(_message: Message, _peer: Peer) -> Message:
        await Deferred(lambda _deferred: cancelled.append(True))
        return {}

    closed: list[bool] = []
    conversation = Conversation(0, slow=Operation(slow))
    conversation.peer.on_close(lambda: closed.append(True))
    conversation.ask(op="slow")
    conversation.peer.connectionLost(Failure(ConnectionDone()))
    assert (cancelled, closed) == ([True], [True])
    assert conversation.answers() == []


def test_an_operation_that_is_cancelled_by_another_is_answered() -> None:
    gate: Deferred[Message] = Deferred()
    conversation = Conversation(0, slow=Operation(lambda _message, _peer: gate))
    conversation.ask(op="slow")
    gate.cancel()
    assert conversation.answers()[0]["error"] == "cancelled"


def test_closing_does_not_wait_for_a_peer_that_does_not_read() -> None:
    conversation = Conversation(0, status=Operation(status))
    conversation.peer.pauseProducing()
    conversation.peer.close()
    assert conversation.transport.disconnecting
    assert conversation.transport.producer is None


def test_an_operation_may_speak_for_itself() -> None:
    def subscribe(_message: Message, peer: Peer) -> None:
        peer.send({"type": "snapshot"})

    assert Conversation(0, subscribe=Operation(subscribe)).ask(op="subscribe") == [{"type": "snapshot"}]


def test_too_many_unanswered_requests_stop_the_reading_until_some_are_answered() -> None:
    gates: list[Deferred[Message]] = []

    def slow(_message: Message, _peer: Peer) -> Deferred[Message]:
        gates.append(Deferred())
        return gates[-1]

    conversation = Conversation(0, slow=Operation(slow))
    for _ in range(MAX_PENDING + 1):
        conversation.ask(op="slow")
    assert conversation.transport.producerState == "paused"
    gates[0].callback({})
    assert conversation.transport.producerState == "producing"


def test_a_peer_that_does_not_read_is_not_read_from() -> None:
    conversation = Conversation(0, status=Operation(status))
    conversation.peer.pauseProducing()
    assert conversation.transport.producerState == "paused"
    conversation.peer.resumeProducing()
    assert conversation.transport.producerState == "producing"


def test_a_uid_has_so_many_connections_and_root_as_many_as_it_likes() -> None:
    """A worker that was taken over does not fill netd's memory with requests that never end."""
    asking = [GATEWAY]
    factory = ControlFactory(
        {"status": Operation(status, frozenset({GATEWAY}))},
        identify=lambda _transport: Credentials(pid=1, uid=asking[0], gid=0),
    )

    def connected() -> tuple[Peer, StringTransport]:
        peer, transport = factory.buildProtocol(None), StringTransport()
        peer.makeConnection(transport)
        return peer, transport

    peers = [connected() for _ in range(MAX_PEERS + 1)]
    assert [transport.disconnecting for _, transport in peers] == [False] * MAX_PEERS + [True]
    peers[-1][0].connectionLost(Failure(ConnectionDone()))
    peers[0][0].connectionLost(Failure(ConnectionDone()))
    assert [connected()[1].disconnecting for _ in range(2)] == [False, True]
    asking[0] = 0
    assert not any(connected()[1].disconnecting for _ in range(MAX_PEERS + 1))


def test_a_request_without_an_end_is_not_kept() -> None:
    conversation = Conversation(GATEWAY, status=Operation(status, frozenset({GATEWAY})))
    conversation.peer.dataReceived(b"x" * MAX_REQUEST)
    assert not conversation.transport.disconnecting
    conversation.peer.dataReceived(b"x")
    assert conversation.transport.disconnecting
