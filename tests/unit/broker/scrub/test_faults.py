from __future__ import annotations

from appliance.broker.scrub.faults import ScrubFault


def test_a_fault_is_told_by_its_code() -> None:
    fault = ScrubFault("scrub-failed", "the scrubber itself failed")
    assert (fault.code, fault.detail) == ("scrub-failed", "the scrubber itself failed")
    assert str(fault) == "scrub-failed: the scrubber itself failed"
