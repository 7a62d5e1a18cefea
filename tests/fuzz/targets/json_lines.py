"""Lines between our processes: dictionaries arrive, everything else ends the connection, nothing is raised."""

from __future__ import annotations

import json

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from appliance.control import ControlError, ControlFactory, Operation, Peer
from appliance.endpoints import EndpointFeed, FeedError
from appliance.ipc import Message
from appliance.json_lines import JsonLines
from appliance.links import link_mark
from appliance.peer import Credentials

UID = 1000
SEEDS = (
    b'\x00{"op":"status"}\n',
    b'\x03{"op":"status","id":7}\n{"op":"secret"}\n{"op":"refuse","id":[1,{"a":null}]}\n',
    b'\x00{"op":["status"],"id":NaN}\n{"op":1e999}\n',
    b"\x00" + b"[" * 1500 + b"\n",
    b"\x05" + b'{"a":' * 1500 + b"\n",
    b'\x00"text"\n{"op":"status"}\n',
    b'\x00{"op":"status","op":"secret"}\r\n\xff\xfe\n',
    b'\x00{"op":"\\ud800","id":"\\ud800"}\n',
    b'\x00{"op":"status","id":' + b"9" * 4400 + b"}\n",
    (b'\x00{"type":"snapshot","generation":1,"endpoints":[{"id":"e","network":"n","tenant":"acme","address":"172.18.0.2",'
    b'"interface":"t-e","ifindex":7}]}\n'),
)  # fmt: skip
TOKENS = (
    b'"op":', b'"status"', b'"secret"', b'"refuse"', b'"id":', b"\n", b"\r\n", b"{", b"}", b"[[[[", b"NaN", b"1e999", b"null",
    b"\\ud800", b'"endpoints":[', b'"type":"update"', b'"added":', b'"removed":', b'"generation":', b'"address":',
)  # fmt: skip


class _Received(JsonLines):
    def __init__(self) -> None:
        self.messages: list[Message] = []

    def message_received(self, message: Message) -> None:
        self.messages.append(message)


def _refuse(message: Message, peer: Peer) -> None:
    del message, peer
    raise ControlError("refused", "as asked")


def _never(message: Message, peer: Peer) -> None:
    raise AssertionError("an operation that this uid may not ask for")


OPERATIONS = {
    "status": Operation(lambda message, peer: {"ready": True}, frozenset({UID})),
    "refuse": Operation(_refuse, frozenset({UID})),
    "secret": Operation(_never),
}
FACTORY = ControlFactory(OPERATIONS, lambda transport: Credentials(1, UID, UID))


def one(data: bytes) -> None:
    """The first octet says in what pieces the rest arrives (0: at once)."""
    if not data:
        return
    size, wire = data[0] or len(data), data[1:]
    plain, whole = _Received(), _Received()
    _feed(plain, wire, size)
    _feed(whole, wire, len(data))
    assert repr(plain.messages) == repr(whole.messages)  # NaN is unlike itself
    assert all(isinstance(message, dict) for message in plain.messages)
    asked = sum(_is_object(line.removesuffix(b"\r")) for line in wire.split(b"\n")[:-1])
    assert len(plain.messages) <= asked
    peer = FACTORY.buildProtocol(None)
    answers = _feed(peer, wire, size).splitlines()
    assert len(answers) == len(plain.messages)
    for answer in answers:
        assert json.loads(answer)["ok"] in (True, False)
    _tell_table(plain.messages)


def _feed(protocol: JsonLines, wire: bytes, size: int) -> bytes:
    transport = StringTransport()
    protocol.makeConnection(transport)
    for at in range(0, len(wire), size):
        if transport.disconnecting:
            break
        protocol.dataReceived(wire[at : at + size])
    return transport.value()


def _is_object(line: bytes) -> bool:
    return line.strip().startswith(b"{") or not line.isascii()


def _tell_table(messages: list[Message]) -> None:
    """What the reader of netd's feed makes of it."""
    feed = EndpointFeed(None, Clock())  # type: ignore[arg-type]  # it is never started
    for message in messages:
        try:
            feed.apply(message)
        except FeedError:
            continue
        for endpoint in feed.table:
            assert feed.table.on_link(endpoint.address, link_mark(endpoint.id)) is endpoint
