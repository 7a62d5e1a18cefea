from __future__ import annotations

from dataclasses import astuple

from appliance.gateway.limits import DEFAULT_LIMITS


def test_no_bound_is_0() -> None:
    def bounds(values: tuple[object, ...]) -> list[float]:
        return [n for value in values for n in (bounds(value) if isinstance(value, tuple) else [value])]

    assert min(bounds(astuple(DEFAULT_LIMITS))) > 0
