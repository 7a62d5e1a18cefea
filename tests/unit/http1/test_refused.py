"""Whose fault, which status."""

from __future__ import annotations

from appliance.http1.refused import NeedMore, ProtocolFault, Refused, UpstreamInvalid


def test_faults_carry_status_reason_and_detail() -> None:
    refused = Refused(414, "request-line-too-long", "too long")
    assert (refused.status, refused.reason, refused.detail) == (414, "request-line-too-long", "too long")
    assert str(refused) == "request-line-too-long: too long"
    invalid = UpstreamInvalid("obs-fold", "folded")
    assert invalid.status == 502
    assert isinstance(refused, ProtocolFault)
    assert isinstance(invalid, ProtocolFault)
    assert not isinstance(invalid, Refused)


def test_the_search_begins_at_the_front() -> None:
    assert NeedMore().searched == 0
