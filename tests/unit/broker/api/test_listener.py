"""What a worker says before a workload's TLS, and how many it may pass on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.broker.api import listener
from appliance.handover import MAX_LINE
from tests.unit.broker.api.support import LINK, Broker, FromWorker


def connected(broker: Broker, data: bytes = b"", uid: int | None = None) -> FromWorker:
    connection = broker.interface.connections.buildProtocol(None)
    wire = FromWorker()
    if uid is not None:
        wire.uid = uid
    wire.connection = connection
    connection.makeConnection(wire)
    connection.dataReceived(data)
    return wire


@pytest.mark.parametrize("uid", [0, 64102, 64103])
def test_000_06_only_the_gateways_uid_speaks_for_a_workload(broker: Broker, uid: int) -> None:
    assert connected(broker, uid=uid).aborted
    assert not connected(broker).aborted


@pytest.mark.parametrize(
    "data", [b"x" * MAX_LINE, b"{}\n", b"\n", replace(LINK, account="crm").line()], ids=range(4)
)
def test_whatever_else_it_says_ends_it(broker: Broker, data: bytes) -> None:
    assert connected(broker, data).aborted


def test_a_link_has_so_many_and_no_more(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "OF_ENDPOINT", 2)
    first = connected(broker, LINK.line())
    connected(broker, LINK.line())
    assert connected(broker, LINK.line()).aborted
    assert not connected(broker, replace(LINK, endpoint="e2").line()).aborted
    first.connection.connectionLost()
    assert not connected(broker, LINK.line()).aborted
    monkeypatch.setattr(listener, "IN_ALL", 3)
    assert connected(broker).aborted


def test_a_tenant_has_so_many_and_leaves_the_others_theirs(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "OF_TENANT", 3)
    lines = [replace(LINK, endpoint=f"x{number}").line() for number in range(4)]
    wires = [connected(broker, line) for line in lines]
    assert [wire.aborted for wire in wires] == [False, False, False, True]
    assert not connected(broker, replace(LINK, endpoint="y", tenant="globex").line()).aborted
    wires[3].connection.connectionLost()
    assert connected(broker, lines[3]).aborted
    wires[0].connection.connectionLost()
    assert not connected(broker, lines[3]).aborted


def test_silence_is_ended_in_time(broker: Broker) -> None:
    wires = [connected(broker), connected(broker, LINK.line()), connected(broker, LINK.line()[:9])]
    broker.clock.advance(listener.FIRST_SECONDS - 1)
    assert not any(wire.aborted for wire in wires)
    broker.clock.pump([1.0, 1.0])
    assert all(wire.aborted for wire in wires)


def test_an_idle_conversation_is_ended_and_the_end_of_the_process_ends_all(broker: Broker) -> None:
    client = broker.workload()
    client.session()
    broker.clock.advance(119)
    assert not client.wire.aborted
    broker.clock.pump([1.0] * 3)
    assert client.wire.aborted
    other = connected(broker)
    broker.interface.connections.close()
    assert other.aborted
