"""F7: which refusals have a record of their own, whatever kind of record that is, and whose the others count as."""

from __future__ import annotations

from dataclasses import replace

import pytest
from twisted.internet.task import Clock

from appliance.audit.log import AuditUnavailable
from appliance.audit.record import DnsRecord, Outcome
from appliance.outgoing.deadlines import Deadlines
from appliance.telling import COLLECT_SECONDS, MANY, TENANTS, Bounds, Telling

REFUSED = DnsRecord(
    tenant="acme", endpoint="e1", container="c1", run=None, source="a", destination="b", transport="udp",
    name="one.example", type="A", outcome=Outcome.DENIED, reason="host-not-listed", rule="profile",
    detail="No.", rcode="REFUSED", duration_ms=0.1,
)  # fmt: skip
BOUND = Bounds().per_second


class Audit:
    def __init__(self) -> None:
        self.ready, self.open, self.records = True, 0, []

    def claim(self) -> Room:
        if not self.ready:
            raise AuditUnavailable("full")
        self.open += 1
        return Room(self)

    def write(self, record) -> None:
        self.claim().write(record)


class Room:
    def __init__(self, audit: Audit) -> None:
        self.audit = audit

    def write(self, record) -> None:
        self.audit.records.append(record)
        self.release()

    def release(self) -> None:
        self.audit.open -= 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def audit() -> Audit:
    return Audit()


@pytest.fixture
def attached() -> set[str]:
    return {"e1", "e2"}


@pytest.fixture
def telling(audit, clock, attached):
    deadlines = Deadlines(clock)
    deadlines.start()
    yield Telling(
        audit, deadlines, lambda: int(clock.seconds() * 1e9), attached=lambda endpoint: endpoint in attached
    )
    deadlines.stop()


def test_the_first_have_their_own_and_the_others_one_with_their_number(telling, audit, clock) -> None:
    for number in range(100):
        telling.write(replace(REFUSED, name=f"n{number}.example"))
    assert [record.name for record in audit.records] == [f"n{number}.example" for number in range(BOUND)]
    assert audit.open == 1
    clock.pump([1.0] * int(COLLECT_SECONDS + 1))
    summary = audit.records[-1]
    assert (summary.reason, summary.count, summary.name) == (MANY, 100 - BOUND, "n99.example")
    assert (summary.endpoint, summary.container, summary.rule) == ("e1", "c1", "profile")
    assert audit.open == 0


def test_more_of_the_same_is_counted_and_never_recorded_one_by_one(telling, audit) -> None:
    for _ in range(7):
        telling.add(REFUSED)
    assert audit.records == []
    telling.write(REFUSED)
    assert audit.records == [REFUSED]
    telling.forget("e1")
    assert audit.records[-1].count == 7


def test_room_for_the_common_record_is_claimed_before_the_first_is_answered(telling, audit) -> None:
    audit.ready = False
    with pytest.raises(AuditUnavailable):
        telling.add(REFUSED)
    audit.ready = True
    telling.add(REFUSED)
    audit.ready = False
    telling.add(REFUSED)
    telling.close()
    assert audit.records[-1].count == 2


def test_each_endpoint_has_its_own_common_record(telling, audit) -> None:
    for _ in range(BOUND + 3):
        telling.write(REFUSED)
        telling.write(replace(REFUSED, endpoint="e2"))
    telling.close()
    assert [(record.endpoint, record.count) for record in audit.records[-2:]] == [("e1", 3), ("e2", 3)]


def test_what_no_endpoint_asked_counts_as_its_tenants(telling, audit) -> None:
    nobody = replace(REFUSED, endpoint=None, container=None)
    for _ in range(BOUND + 3):
        telling.write(nobody)
        telling.write(replace(nobody, tenant="beta"))
        telling.write(REFUSED)
    telling.close()
    assert [(record.tenant, record.endpoint, record.count) for record in audit.records[-3:]] == [
        ("acme", None, 3),
        ("beta", None, 3),
        ("acme", "e1", 3),
    ]


def test_what_comes_after_an_endpoint_has_left_takes_no_room_of_its_own(telling, audit, attached) -> None:
    attached.clear()
    telling.forget("e1")
    for number in range(50):
        for _ in range(BOUND + 1):
            telling.write(replace(REFUSED, endpoint=f"e{number}"))
    assert len(telling._collected) == 1
    telling.close()
    assert sum(record.count for record in audit.records) == 50 * (BOUND + 1)


def test_tenants_that_somebody_makes_up_take_bounded_room(telling, audit) -> None:
    for number in range(TENANTS + 100):
        telling.write(replace(REFUSED, tenant=f"t{number}", endpoint=None))
    assert len(telling._collected) <= TENANTS + 1
    assert len(telling._tenants) <= TENANTS + 1
    telling.close()
    assert sum(record.count for record in audit.records) == TENANTS + 100


def test_what_comes_after_the_end_has_a_record_of_its_own(telling, audit) -> None:
    telling.close()
    for _ in range(BOUND + 5):
        telling.write(REFUSED)
        telling.add(REFUSED)
    claimed = audit.claim()
    telling.write(REFUSED, claimed)
    assert [record.count for record in audit.records] == [1] * (2 * BOUND + 11)
    assert audit.open == 0
