from __future__ import annotations

from dataclasses import fields

from appliance.gateway.limits import DEFAULT_LIMITS


def test_no_bound_is_0() -> None:
    assert all(getattr(DEFAULT_LIMITS, field.name) > 0 for field in fields(DEFAULT_LIMITS))
