"""appliance.audit.log: what gateway and resolver rely on, held against the sink that production gives them."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.audit import place
from appliance.audit.log import AuditLog, AuditUnavailable, Claim
from appliance.audit.record import LifecycleRecord
from appliance.audit.sink import Sink

EVENT = LifecycleRecord(event="started")


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "no space")


def test_a_claim_is_written_once_or_released(tmp_path: Path) -> None:
    log: AuditLog = Sink(tmp_path, "p")
    claim: Claim = log.claim()
    claim.write(EVENT)
    claim.release()
    log.claim().release()
    assert len(place.current_file(tmp_path, "p").read_bytes().splitlines()) == 1


@pytest.mark.parametrize(
    "ask", [lambda log: log.claim(), lambda log: log.write(EVENT)], ids=["claim", "write"]
)
def test_not_ready_and_refusing_to_promise_are_the_same(
    tmp_path: Path, ask: Callable[[AuditLog], object]
) -> None:
    log: AuditLog = Sink(tmp_path, "p", reserve=full_disk)
    assert log.ready is False
    with pytest.raises(AuditUnavailable):
        ask(log)
