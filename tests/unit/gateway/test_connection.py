from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from appliance.endpoints import Endpoint
from appliance.gateway.connection import Connection, Connections
from appliance.gateway.limits import Limits
from appliance.gateway.worker import Worker
from appliance.limits.store import LedgerUnavailable
from appliance.limits.window import SECOND
from appliance.links import link_mark
from appliance.policy.set import PolicySet
from appliance.policy.tenant import TenantPolicy
from appliance.telling import Bounds

from .support import CONTAINER, ENDPOINT, Wire, limited, web_policy, worker

OTHER = replace(ENDPOINT, id="e2", tenant="globex", address=IPv4Address("172.18.0.3"))


def connected(shared: Worker, endpoint: Endpoint = ENDPOINT) -> Connection:
    """Accepted from the endpoint's address, by its own link."""
    connection = Connections(shared).buildProtocol(None)
    wire = Wire((str(endpoint.address), 40000))
    wire.handle.mark = link_mark(endpoint.id)
    connection.makeConnection(wire)
    return connection


def for_two_tenants(limits: Limits, policy: TenantPolicy) -> Worker:
    """A worker that serves `OTHER` too."""
    shared = worker(limits=limits)
    shared.endpoints.replace([ENDPOINT, OTHER])
    shared.test_policies[0] = PolicySet({"acme": policy, "globex": policy}, "one")
    return shared


def test_an_unknown_source_hears_nothing() -> None:
    shared = worker()
    connection = connected(shared, replace(ENDPOINT, address=IPv4Address("172.18.0.99")))
    connection.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
    connection.connectionLost()
    assert connection.transport.aborted
    assert connection.transport.value() == b""
    assert shared.audit.reasons == ["source-unknown"]
    assert shared.connections == 0


def test_a_connection_of_an_earlier_holder_of_the_address_is_a_strangers() -> None:
    """It waited to be accepted while its container went and another tenant's got the address (attack A11)."""
    shared = worker()
    connection = Connections(shared).buildProtocol(None)
    wire = Wire((str(CONTAINER), 40000))
    wire.handle.mark = link_mark("the container before")
    connection.makeConnection(wire)
    assert wire.aborted
    assert shared.audit.reasons == ["source-unknown"]


def test_a_connection_that_was_reset_before_it_was_accepted() -> None:
    connection = Connection(worker())
    wire = Wire()
    wire.handle.getpeername = lambda: (_ for _ in ()).throw(OSError(107, "not connected"))
    connection.makeConnection(wire)
    assert wire.aborted


def test_too_many_connections_are_told_so_and_do_not_count() -> None:
    shared = worker(policy=limited("container", connections=1))
    first = connected(shared)
    second = connected(shared)
    page = second.transport.value()
    assert page.startswith(b"HTTP/1.1 429 ")
    assert b"\r\nRetry-After: 1\r\n" in page
    assert second.transport.half_closed
    assert shared.audit.reasons == ["connections-exceeded"]
    assert shared.audit.records[0].rule == "limits.container.connections"
    second.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
    second.connectionLost()
    assert shared.connections == 1
    first.connectionLost()
    assert connected(shared).transport.value() == b""


def test_few_of_those_turned_away_are_waited_for_whosoever_they_are() -> None:
    shared = for_two_tenants(Limits(turned_away=1), limited("container", connections=1))
    for endpoint in (ENDPOINT, OTHER):
        assert not connected(shared, endpoint).transport.aborted
    waited_for = connected(shared)
    assert waited_for.transport.half_closed
    assert connected(shared, OTHER).transport.aborted
    assert shared.connections == 3
    waited_for.connectionLost()
    assert connected(shared, OTHER).transport.half_closed


def test_one_container_has_a_share_of_those_who_are_waited_for() -> None:
    shared = worker(policy=limited("container", connections=1), limits=Limits(turned_away=32))
    connected(shared)
    flood = [connected(shared) for _ in range(10)]
    assert [connection.transport.aborted for connection in flood] == [False] * 4 + [True] * 6
    assert shared.audit.reasons == ["connections-exceeded"] * 10
    for connection in flood[:4]:
        connection.connectionLost()
    assert not shared.places.taken
    assert connected(shared).transport.half_closed


def full() -> tuple[Worker, list[int]]:
    """A worker whose container has its one connection and is told three times a second why; and its clock."""
    now = [5 * SECOND]
    shared = worker(
        policy=limited("container", connections=1),
        limits=Limits(told=Bounds(per_second=3), turned_away=2048),
        nanoseconds=lambda: now[0],
    )
    connected(shared)
    return shared, now


def test_a_full_worker_tells_few_of_a_flood_too_f7() -> None:
    """It turns away whoever comes before it counts anything of the container."""
    limits = Limits(connections=0, told=Bounds(per_second=3), turned_away=2048)
    shared = worker(limits=limits, nanoseconds=lambda: 5 * SECOND)
    flood = [connected(shared) for _ in range(50)]
    assert [connection.transport.aborted for connection in flood] == [False] * 3 + [True] * 47
    assert len(shared.audit.records) == 3
    assert shared.budget.tallies["e1"].untold == 47
    shared.endpoint_removed(ENDPOINT)
    assert not shared.budget.tallies


def test_a_mistake_of_ours_while_it_is_turned_away_keeps_nothing() -> None:
    shared, _ = full()
    connection = Connections(shared).buildProtocol(None)
    wire = Wire((str(CONTAINER), 40000))

    def broken(data: bytes) -> None:
        raise RuntimeError("ours")

    wire.write = broken
    connection.makeConnection(wire)
    assert wire.aborted
    connection.connectionLost()
    connection.connectionLost()
    assert (shared.connections, shared.places.taken) == (1, 0)
    assert shared.audit.reasons == ["connections-exceeded", "internal-error"]


def test_a_mistake_of_ours_while_it_is_admitted_gives_its_connection_back() -> None:
    shared = worker(policy=limited("container", connections=1))
    pace = shared.turns.pace
    shared.turns.pace = lambda transport, tenant: 1 / 0
    broken = connected(shared)
    assert broken.transport.aborted
    broken.connectionLost()
    shared.turns.pace = pace
    assert connected(shared).transport.value() == b""
    assert shared.audit.reasons == ["internal-error"]


def test_a_mistake_of_ours_before_it_is_known_who_it_is_shuts_it() -> None:
    shared = worker()
    shared.endpoints.on_link = lambda address, mark: 1 / 0
    assert connected(shared).transport.aborted
    assert shared.connections == 0


def test_what_is_turned_away_is_read_at_its_tenants_pace() -> None:
    shared, _ = full()
    paced = []
    shared.turns.pace = lambda transport, tenant: paced.append((transport, tenant))
    refused = connected(shared)
    assert paced == [(refused.transport, "acme")]


def test_a_flood_is_counted_and_neither_told_nor_recorded_one_by_one_f7() -> None:
    shared, now = full()
    flood = [connected(shared) for _ in range(50)]
    assert [connection.transport.aborted for connection in flood] == [False] * 3 + [True] * 47
    assert shared.audit.reasons == ["connections-exceeded"] * 3
    assert shared.budget.tallies["e1"].throttled == 50
    now[0] += 2 * SECOND
    connected(shared)
    assert "47 more connections were reset without a record" in shared.audit.records[-1].detail


def test_a_flood_that_goes_on_is_told_of_and_recorded_in_each_second_f7() -> None:
    shared, now = full()
    for _ in range(8):
        before = len(shared.audit.reasons)
        for _ in range(100):
            connected(shared)
            now[0] += SECOND // 100
        assert 1 <= len(shared.audit.reasons) - before <= 3


def test_the_worker_has_a_bound_of_its_own() -> None:
    shared = worker(limits=Limits(connections=1))
    connected(shared)
    assert connected(shared).transport.value().startswith(b"HTTP/1.1 503 ")
    assert shared.audit.reasons == ["too-many-connections"]


def test_a_tenant_leaves_room_for_another() -> None:
    shared = for_two_tenants(Limits(connections=16), web_policy())
    greedy = [connected(shared) for _ in range(13)]
    assert [c.transport.value()[:13] for c in greedy] == [b""] * 12 + [b"HTTP/1.1 503 "]
    late = [connected(shared, OTHER) for _ in range(3)]
    assert [(c.transport.value(), c.transport.aborted) for c in late] == [(b"", False)] * 3
    for connection in greedy[:8]:
        connection.connectionLost()
    assert connected(shared).transport.value() == b""


def test_what_cannot_be_counted_is_not_admitted() -> None:
    def full(_tenant):
        raise LedgerUnavailable("no space left")

    shared = worker(ledger=full)
    assert connected(shared).transport.value().startswith(b"HTTP/1.1 503 ")
    assert shared.audit.reasons == ["limits-unavailable"]


def test_a_bug_of_ours_shuts_the_connection_and_is_recorded(monkeypatch) -> None:
    shared = worker()
    monkeypatch.setattr("appliance.gateway.judging.origin_of", lambda *_: 1 / 0)
    logged: list = []
    monkeypatch.setattr("appliance.gateway.connection._log.failure", lambda *a, **k: logged.append(a))
    connection = connected(shared)
    connection.dataReceived(b"GET / HTTP/1.1\r\nHost: site.net\r\n\r\n")
    assert connection.transport.aborted
    assert shared.audit.reasons == ["internal-error"]
    assert logged


def test_a_deadline_that_fails_shuts_the_connection(monkeypatch) -> None:
    shared = worker()
    monkeypatch.setattr("appliance.gateway.connection._log.failure", lambda *a, **k: None)
    connection = connected(shared)
    connection._stage.deadline_passed = lambda: 1 / 0
    connection.deadline_passed()
    assert connection.transport.aborted


def test_one_that_cannot_be_ended_is_cut_off_and_so_are_the_others(monkeypatch) -> None:
    shared = worker()
    monkeypatch.setattr("appliance.gateway.connection._log.failure", lambda *a, **k: None)
    both = [connected(shared), connected(shared)]
    for connection in both:
        connection._stage.end = lambda refusal: 1 / 0
    shared.endpoint_removed(ENDPOINT)
    assert [connection.transport.aborted for connection in both] == [True, True]
