"""The bounds that hold when nobody says otherwise."""

from __future__ import annotations

from appliance.http1.limits import DEFAULT_LIMITS, HeadLimits


def test_defaults_are_finite_and_strict() -> None:
    assert HeadLimits(8192, 65536, 100, 8, encoded_slash=False) == DEFAULT_LIMITS
