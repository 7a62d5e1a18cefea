"""Framing between our own processes: bounded, JSON objects only, whole messages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.testing import StringTransport

from appliance.ipc import Message
from appliance.json_lines import JsonLines


class Recorder(JsonLines):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def message_received(self, message: Message) -> None:
        self.seen.append(message)


@pytest.fixture
def wire() -> tuple[Recorder, StringTransport]:
    protocol, transport = Recorder(), StringTransport()
    protocol.makeConnection(transport)
    return protocol, transport


def test_messages_survive_any_split(wire: tuple[Recorder, StringTransport]) -> None:
    protocol, _ = wire
    for byte in b'{"op":"status"}\n{"op":"x","id":1}\n':
        protocol.dataReceived(bytes([byte]))
    assert protocol.seen == [{"op": "status"}, {"op": "x", "id": 1}]


@pytest.mark.parametrize("line", [b"[1]\n", b"nonsense\n", b'"text"\n', b"\xff\n", b"[" * 100_000 + b"\n"])
def test_anything_but_an_object_ends_the_connection(
    wire: tuple[Recorder, StringTransport], line: bytes
) -> None:
    protocol, transport = wire
    protocol.dataReceived(line)
    assert protocol.seen == []
    assert transport.disconnecting


def test_an_endless_line_ends_the_connection(
    wire: tuple[Recorder, StringTransport], monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol, transport = wire
    monkeypatch.setattr(Recorder, "MAX_LENGTH", 1000)
    protocol.dataReceived(b"x" * 2000)
    assert transport.disconnecting


def test_send_writes_one_line(wire: tuple[Recorder, StringTransport]) -> None:
    protocol, transport = wire
    protocol.send({"a": "b\nc"})
    assert transport.value().count(b"\n") == 1
    assert json.loads(transport.value()) == {"a": "b\nc"}
