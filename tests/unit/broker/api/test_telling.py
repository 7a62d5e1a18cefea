"""A flood of refusals fills no file of records, and its number is told."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from appliance.audit.log import AuditUnavailable
from appliance.audit.record import LifecycleRecord
from appliance.broker.api.telling import AT_ONCE, EACH, Telling
from tests.unit.gateway.support import Log

REFUSED = LifecycleRecord(event="workload-refused", detail="nobody")


def test_of_a_flood_so_many_have_a_record_and_the_next_tells_how_many_had_none() -> None:
    clock, audit = Clock(), Log()
    telling = Telling(audit, clock.seconds)
    for _ in range(AT_ONCE + 900):
        telling.write("e1", REFUSED)
    assert audit.records == [REFUSED] * AT_ONCE
    clock.advance(EACH)
    telling.write("e1", REFUSED)
    assert audit.records[-1].detail == "nobody; 900 before it have no record"
    clock.advance(EACH)
    telling.write("e1", REFUSED)
    assert audit.records[-1] == REFUSED


def test_one_takes_nothing_from_another_and_who_is_forgotten_is_new() -> None:
    audit = Log()
    telling = Telling(audit, Clock().seconds)
    for _ in range(AT_ONCE + 5):
        telling.write("e1", REFUSED)
    telling.write("e2", REFUSED)
    telling.forget("e1")
    telling.forget("e3")
    telling.write("e1", REFUSED)
    assert audit.records == [REFUSED] * (AT_ONCE + 2)


def test_what_cannot_be_recorded_stays_counted() -> None:
    clock, audit = Clock(), Log()
    telling = Telling(audit, clock.seconds)
    for _ in range(AT_ONCE + 3):
        telling.write("e1", REFUSED)
    audit.ready = False
    clock.advance(EACH)
    with pytest.raises(AuditUnavailable):
        telling.write("e1", REFUSED)
    audit.ready = True
    clock.advance(EACH)
    telling.write("e1", REFUSED)
    assert audit.records[-1].detail == "nobody; 3 before it have no record"
