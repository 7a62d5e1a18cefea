"""appliance.broker.denied: the words of the RFCs."""

from __future__ import annotations

from appliance.broker.denied import Denied, invalid_proof, invalid_token, store_unavailable


def test_each_has_its_status_error_and_reason() -> None:
    found = [
        invalid_proof("a", "one"),
        invalid_token("b", "two"),
        store_unavailable(),
        Denied(400, "invalid_request", "c", "x"),
    ]
    assert [(each.status, each.error, each.reason) for each in found] == [
        (401, "invalid_dpop_proof", "a"),
        (401, "invalid_token", "b"),
        (503, "temporarily_unavailable", "store_unavailable"),
        (400, "invalid_request", "c"),
    ]
    assert str(found[0]) == "a: one"
    assert all(each.nonce is None for each in found)
