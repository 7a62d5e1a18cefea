"""How an open WebSocket ends: by policy, by age, by a peer that leaves, by a mistake of ours."""

from __future__ import annotations

from dataclasses import replace

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from appliance.policy.set import PolicySet
from tests.unit.policy.written import compiled
from tests.unit.websocket.test_frames import frame

from .carried import bound
from .support import web_policy
from .test_session_policy import load
from .test_websocket import RULES, SWITCH, Open

DONE, LOST = Failure(ConnectionDone()), Failure(ConnectionLost())


def test_a_rule_that_is_gone_ends_it_g5() -> None:
    talk = Open().switch()
    same = talk.worker.policy("acme")
    talk.worker.test_policies[0] = PolicySet({"acme": compiled(RULES % ("1MiB", "1MiB"))}, "two")
    talk.connection.policy_changed()
    assert not talk.upstream.aborted
    assert same is not talk.worker.policy("acme")
    # The host may still be read, and that is another thing.
    reading = "rules: [{name: live, hosts: [site.net], schemes: [http]}]"
    talk.worker.test_policies[0] = PolicySet({"acme": compiled(reading)}, "three")
    talk.connection.policy_changed()
    assert talk.told == (1008, "policy-changed")
    assert talk.upstream.aborted
    assert talk.records[-1] == ("denied", "policy-changed")
    talk.connection.policy_changed()
    assert len(talk.records) == 2


@pytest.mark.parametrize(("measure", "says"), [("bytes_out", Open.says), ("bytes_in", Open.server_says)])
def test_a_limit_that_is_lowered_ends_it_f4(measure: str, says) -> None:
    talk = Open().switch()
    mask = b"abcd" if measure == "bytes_out" else None
    says(talk, frame(2, b"x" * 500, mask=mask))
    lower = compiled(RULES % ("1MiB", "1MiB"))
    lower.limits = replace(lower.limits, tenant=replace(lower.limits.tenant, **{measure: 1000}))
    load(talk, lower)
    assert not talk.upstream.aborted
    says(talk, frame(2, b"x" * 500, mask=mask))
    assert talk.told == (1008, f"{measure.replace('_', '-')}-exceeded")
    assert talk.upstream.aborted


@pytest.mark.parametrize(
    ("receives", "sends", "says", "reason"),
    [
        ("1MiB", "10B", Open.says, "body-too-large"),
        ("10B", "1MiB", Open.server_says, "response-too-large"),
    ],
)
def test_a_cap_that_is_lowered_ends_it(receives: str, sends: str, says, reason: str) -> None:
    talk = Open().switch()
    mask = b"abcd" if says is Open.says else None
    says(talk, frame(2, b"x" * 10, mask=mask))
    load(talk, compiled(RULES % (receives, sends)))
    assert not talk.upstream.aborted
    says(talk, frame(2, b"x", mask=mask))
    assert talk.told == (1009, reason)
    assert talk.upstream.aborted


def test_an_account_that_takes_its_host_over_ends_it_g5() -> None:
    """Though its definition would open the same: the caller's own authority opened this one."""
    talk = Open().switch()
    load(talk, web_policy(bound=bound(upgrade="websocket")))
    assert talk.told == (1008, "policy-changed")
    assert talk.upstream.aborted


def test_in_the_middle_of_a_frame_it_is_cut_off() -> None:
    talk = Open().switch()
    talk.server_says(frame(2, b"x" * 100, mask=None)[:50])
    talk.worker.test_policies[0] = PolicySet({}, "two")
    talk.connection.policy_changed()
    assert talk.wire.aborted
    assert talk.wire.value().endswith(b"x" * 48)


def test_idle_and_old_ones_end() -> None:
    talk = Open(limits=lambda limits: replace(limits, tunnel_seconds=1000)).switch()
    idle = talk.worker.limits.tunnel_idle_seconds
    assert talk.connection.deadline == idle
    talk.worker.reactor.advance(900)
    talk.says(frame(9))
    assert talk.connection.deadline == 1000
    talk.worker.reactor.advance(100)
    talk.connection.deadline_passed()
    assert talk.told == (1001, "tunnel-too-old")
    assert talk.connection.deadline == 1000 + talk.worker.limits.closing_seconds
    talk.connection.deadline_passed()
    assert talk.wire.aborted
    talk = Open().switch()
    talk.worker.reactor.advance(idle)
    talk.connection.deadline_passed()
    assert talk.told == (1001, "tunnel-idle")
    assert talk.records[-1] == ("failed", "tunnel-idle")


def test_a_peer_that_does_not_hang_up_after_close_is_left() -> None:
    talk = Open().switch()
    talk.says(frame(8))
    talk.server_says(frame(8, mask=None))
    talk.connection.deadline_passed()
    assert talk.upstream.aborted
    assert talk.wire.half_closed
    assert talk.worker.audit.records[-1].detail == "The WebSocket ended without a code."


def test_what_trickles_in_after_close_gains_no_time() -> None:
    talk = Open().switch()
    talk.says(frame(8))
    talk.server_says(frame(8, mask=None))
    deadline = talk.connection.deadline
    assert deadline == talk.worker.limits.closing_seconds
    sent, received = talk.sent, talk.received
    talk.worker.reactor.advance(1)
    talk.says(b"x")
    talk.server_says(b"x")
    talk.connection.drain()
    assert talk.connection.deadline == deadline
    assert (talk.sent, talk.received) == (sent, received)
    talk.worker.reactor.advance(deadline)
    talk.connection.deadline_passed()
    assert talk.upstream.aborted
    talk.says(b"x")
    talk.connection.deadline_passed()
    assert talk.wire.aborted
    assert len(talk.records) == 2


def test_draining_waits_for_the_end_of_a_message() -> None:
    talk = Open().switch()
    talk.server_says(frame(1, b"a", final=False, mask=None))
    talk.connection.drain()
    assert not talk.upstream.aborted
    talk.server_says(frame(0, b"b", mask=None))
    assert talk.told == (1001, "draining")
    before = talk.connection.deadline
    talk.connection.drain()
    assert talk.connection.deadline == before


def test_none_is_opened_while_draining() -> None:
    talk = Open()
    talk.connection.drain()
    talk.server_says(SWITCH)
    assert talk.statuses == [503]
    assert talk.records == [("failed", "draining")]


@pytest.mark.parametrize("said", [False, True])
def test_a_container_that_leaves_ends_the_server_connection(said) -> None:
    talk = Open().switch()
    if said:
        talk.says(frame(8, b"\x03\xe9"))
    talk.connection.connectionLost(LOST)
    assert talk.upstream.aborted
    assert talk.records[-1] == (("allowed", "allowed-by-rule") if said else ("failed", "client-closed"))
    assert len(talk.records) == 2


@pytest.mark.parametrize("reason", [DONE, LOST])
@pytest.mark.parametrize("said", [False, True])
def test_a_server_that_leaves(said, reason) -> None:
    talk = Open().switch()
    if said:
        talk.server_says(frame(8, b"\x03\xe9", mask=None))
    talk.upstream.protocol.connectionLost(reason)
    assert talk.wire.half_closed
    assert talk.records[-1] == (("allowed", "allowed-by-rule") if said else ("failed", "tunnel-broken"))
    if not said:
        assert talk.told == (1014, "tunnel-broken")


def test_a_container_that_is_gone_from_its_network_is_cut_off() -> None:
    talk = Open().switch()
    (endpoint,) = talk.worker.endpoints
    talk.worker.endpoint_removed(endpoint)
    assert (talk.wire.aborted, talk.upstream.aborted) == (True, True)
    assert talk.records[-1] == ("denied", "endpoint-removed")
    talk.connection.connectionLost(LOST)
    assert len(talk.records) == 2


def test_a_mistake_of_ours_shuts_both_sides() -> None:
    for breaks in ("_from_client", "_from_server"):
        talk = Open().switch()
        getattr(talk.connection._stage, breaks).feed = None
        (talk.says if breaks == "_from_client" else talk.server_says)(frame(1))
        assert (talk.wire.aborted, talk.upstream.aborted) == (True, True)
        assert talk.records[-1] == ("failed", "internal-error")
