"""The broker's end of dialling; both ends together are in the gateway's test of its own."""

from __future__ import annotations

import json
import os
import socket
import struct
from dataclasses import asdict
from ipaddress import IPv4Address

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from appliance.audit.record import Outcome
from appliance.broker.calls import refusals
from appliance.broker.calls.dials import (
    CHANNELS,
    MAX_ADDRESSES,
    MAX_SOCKETS,
    SECONDS,
    CallRefused,
    Dials,
    read_refusal,
)
from appliance.refusal import Refusal
from appliance.resolver.pins import ADDRESSES_PER_NAME
from tests.unit.gateway.support import SITE, Wire

GIVEN = Refusal(504, "upstream-connect-timeout", "It took too long.", "Try again.", outcome=Outcome.FAILED)


class Unix(Wire):
    """A worker's connection, by the uid that the kernel tells."""

    uid = 64101
    pid = os.getpid()

    def getHandle(self):
        return self

    def getsockopt(self, level, name, size):
        return struct.pack("3i", self.pid, self.uid, self.uid)


def connected(uid: int = 64101):
    clock = Clock()
    dials = Dials(clock, 64101)
    channel = dials.buildProtocol(None)
    wire = Unix()
    wire.uid = uid
    channel.makeConnection(wire)
    return clock, dials, channel, wire


def found(coroutine) -> list:
    results: list = []
    Deferred.fromCoroutine(coroutine).addBoth(results.append)
    return results


def test_a_refusal_is_read_as_it_was_written() -> None:
    assert read_refusal(asdict(GIVEN)) == GIVEN


@pytest.mark.parametrize("members", [None, [], {}, {"status": 1}, {**asdict(GIVEN), "outcome": "odd"}])
def test_what_is_no_refusal_is_the_diallers_failure(members) -> None:
    assert read_refusal(members) is refusals.DIALLER_UNAVAILABLE


def test_members_that_were_not_agreed_count_for_nothing() -> None:
    assert read_refusal({**asdict(GIVEN), "further": 1}) == GIVEN


@pytest.mark.parametrize(
    "change",
    [
        {"status": "504"}, {"status": 101}, {"status": {}}, {"reason": ["x"]}, {"reason": "a\r\nX: y"},
        {"detail": None}, {"mend": "x" * 4096}, {"rule": {}}, {"retry_after": "1\r\nX: y"}, {"outcome": []},
        {"proxy_error": "x\r\nX: y"},
    ],
)  # fmt: skip
def test_a_refusal_whose_members_are_of_another_shape_is_none(change: dict) -> None:
    assert read_refusal({**asdict(GIVEN), **change}) is refusals.DIALLER_UNAVAILABLE


def test_a_stranger_does_not_dial_for_us() -> None:
    *_, wire = connected(uid=64102)
    assert wire.aborted


@pytest.mark.parametrize("line", [b'{"worker":"0"}', b'{"worker":true}', b"{}", b"[]", b"x"])
def test_a_worker_says_its_number_first(line: bytes) -> None:
    _, dials, channel, wire = connected()
    channel.dataReceived(line + b"\n")
    assert wire.disconnecting
    assert not dials._workers


def test_an_answer_that_does_not_come_is_given_up() -> None:
    clock, dials, channel, _ = connected()
    channel.dataReceived(b'{"worker":0}\n')
    results = found(dials.find(0, "acme", SITE, 443))
    clock.advance(SECONDS)
    assert results[0].value.refusal is refusals.DIALLER_UNAVAILABLE


def test_a_worker_that_goes_leaves_its_questions_unanswered() -> None:
    _, dials, channel, _ = connected()
    channel.dataReceived(b'{"worker":0}\n')
    results = found(dials.find(0, "acme", SITE, 443))
    channel.connectionLost()
    assert isinstance(results[0].value, CallRefused)
    assert found(dials.find(0, "acme", SITE, 443))[0].value.refusal is refusals.DIALLER_UNAVAILABLE


@pytest.mark.parametrize("answer", [b'{"id":1,"ok":true}', b'{"id":1,"ok":true,"addresses":[]}',
                                    b'{"id":1,"ok":true,"addresses":["::1"]}', b'{"id":1}'])  # fmt: skip
def test_an_answer_of_another_shape_is_none(answer: bytes) -> None:
    _, dials, channel, _ = connected()
    channel.dataReceived(b'{"worker":0}\n')
    results = found(dials.find(0, "acme", SITE, 443))
    channel.dataReceived(answer + b"\n")
    assert isinstance(results[0].value, CallRefused)


def test_a_host_has_no_more_addresses_than_the_resolver_gives() -> None:
    for count in (MAX_ADDRESSES, MAX_ADDRESSES + 1):
        _, dials, channel, _ = connected()
        channel.dataReceived(b'{"worker":0}\n')
        results = found(dials.find(0, "acme", SITE, 443))
        addresses = [f"1.1.1.{number}" for number in range(count)]
        channel.dataReceived(json.dumps({"id": 1, "ok": True, "addresses": addresses}).encode() + b"\n")
        (result,) = results
        assert isinstance(result, tuple) == (count == MAX_ADDRESSES)
    assert result.value.refusal is refusals.DIALLER_UNAVAILABLE
    assert MAX_ADDRESSES == ADDRESSES_PER_NAME


def test_an_answer_without_its_socket_is_no_connection() -> None:
    _, dials, channel, _ = connected()
    channel.dataReceived(b'{"worker":0}\n')
    results = found(dials.dial(0, "acme", SITE, 443, [IPv4Address("93.184.215.14")]))
    channel.dataReceived(b'{"id":1,"ok":true,"address":"93.184.215.14"}\n')
    assert results[0].value.refusal is refusals.DIALLER_UNAVAILABLE


def test_a_socket_that_is_no_tcp_connection_is_refused_and_closed() -> None:
    _, dials, channel, _ = connected()
    channel.dataReceived(b'{"worker":0}\n')
    results = found(dials.dial(0, "acme", SITE, 443, [IPv4Address("127.0.0.1")]))
    ours, theirs = socket.socketpair()
    channel.fileDescriptorReceived(os.dup(theirs.fileno()))
    theirs.close()
    channel.dataReceived(b'{"id":1,"ok":true,"address":"127.0.0.1"}\n')
    assert results[0].value.refusal is refusals.PEER_NOT_JUDGED
    assert ours.recv(1) == b""
    ours.close()


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_a_descriptor_that_is_no_socket_is_closed_and_ends_the_channel(tmp_path) -> None:
    _, _, channel, wire = connected()
    channel.dataReceived(b'{"worker":0}\n')
    descriptor = os.open(tmp_path, os.O_RDONLY)
    channel.fileDescriptorReceived(descriptor)
    assert not is_open(descriptor)
    assert wire.disconnecting


def test_a_channel_without_a_number_holds_no_socket() -> None:
    _, _, channel, wire = connected()
    with socket.socket() as one:
        descriptor = os.dup(one.fileno())
    channel.fileDescriptorReceived(descriptor)
    assert not is_open(descriptor)
    assert wire.disconnecting


def test_a_process_has_few_channels() -> None:
    _, dials, first, _ = connected()
    wires = []
    for _ in range(CHANNELS.of_process):
        wires.append(Unix())
        dials.buildProtocol(None).makeConnection(wires[-1])
    assert [each.aborted for each in wires] == [False] * (CHANNELS.of_process - 1) + [True]
    first.connectionLost()
    again = Unix()
    dials.buildProtocol(None).makeConnection(again)
    assert not again.aborted


def test_no_other_process_takes_a_workers_number_while_that_is_there() -> None:
    _, dials, first, _ = connected()
    first.dataReceived(b'{"worker":0}\n')
    other, wire = dials.buildProtocol(None), Unix()
    wire.pid = os.getpid() + 1
    other.makeConnection(wire)
    other.dataReceived(b'{"worker":0}\n')
    assert wire.disconnecting
    other.connectionLost()
    assert dials._workers == {0: first}
    first.connectionLost()
    again, wire = dials.buildProtocol(None), Unix()
    wire.pid = os.getpid() + 1
    again.makeConnection(wire)
    again.dataReceived(b'{"worker":0}\n')
    assert dials._workers == {0: again}


def test_a_worker_that_answers_nothing_leaves_nothing_behind() -> None:
    clock, dials, channel, _ = connected()
    channel.dataReceived(b'{"worker":0}\n')
    found(dials.find(0, "acme", SITE, 443))
    waiting = Deferred.fromCoroutine(dials.find(0, "acme", SITE, 443))
    waiting.addErrback(lambda _: None)
    waiting.cancel()
    clock.advance(SECONDS)
    assert not channel._asked


def test_a_socket_with_an_answer_that_wants_none_is_closed() -> None:
    _, dials, channel, _ = connected()
    channel.dataReceived(b'{"worker":0}\n')
    for tail in ('"ok":true,"addresses":["93.184.215.14"]', '"ok":false,"refusal":{}'):
        results = found(dials.find(0, "acme", SITE, 443))
        with socket.socket() as one:
            descriptor = os.dup(one.fileno())
        channel.fileDescriptorReceived(descriptor)
        channel.dataReceived(f'{{"id":{channel._next},"address":"x",{tail}}}\n'.encode())
        assert results
        assert not is_open(descriptor)


def test_sockets_that_nobody_asked_for_have_a_bound_and_are_closed() -> None:
    _, _, channel, wire = connected()
    channel.dataReceived(b'{"worker":0}\n')
    with socket.socket() as one:
        for _ in range(MAX_SOCKETS + 1):
            channel.fileDescriptorReceived(os.dup(one.fileno()))
    assert wire.disconnecting
    held = list(channel._sockets)
    channel.connectionLost()
    assert all(each.fileno() < 0 for each in held)


def test_for_a_call_that_came_by_no_worker_each_worker_has_its_turn() -> None:
    _, dials, first, _ = connected()
    assert dials.any_worker() == -1
    first.message_received({"worker": 4})
    second = dials.buildProtocol(None)
    second.makeConnection(Unix())
    second.message_received({"worker": 2})
    assert sorted(dials.any_worker() for _ in range(4)) == [2, 2, 4, 4]
    first.connectionLost()
    assert [dials.any_worker() for _ in range(2)] == [2, 2]
