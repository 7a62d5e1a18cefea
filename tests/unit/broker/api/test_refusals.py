"""appliance.broker.api.refusals: statuses and codes that clients may rely on."""

from __future__ import annotations

import pytest

from appliance.broker.api import refusals
from appliance.broker.identity.workloads import EnrolmentRefused
from appliance.http1.refused import Refused


@pytest.mark.parametrize(
    ("code", "status"),
    [("csr_invalid", 400), ("workload_disabled", 403), ("workload_departed", 403), ("anything", 403)],
)
def test_a_refused_enrolment_has_its_code(code: str, status: int) -> None:
    refusal = refusals.of_enrolment(EnrolmentRefused(code, "why"))
    assert (refusal.status, refusal.reason) == (status, code)


def test_what_can_be_mended_by_waiting_says_how_long() -> None:
    assert refusals.too_often(7).retry_after == 7
    assert refusals.NOT_READY.retry_after == 1


def test_what_leaves_the_connection_unreadable_closes_it() -> None:
    assert refusals.body_too_large(1).closes
    assert refusals.malformed(Refused(400, "bad", "why")).closes
