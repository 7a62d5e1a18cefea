"""The bounds as data (F4)."""

from __future__ import annotations

from dataclasses import replace

from appliance.policy.limits import (
    DEFAULT_CEILINGS,
    DEFAULT_LIMITS,
    KERNEL_BOUNDS,
    PATHS,
    TenantLimits,
    from_values,
    value_at,
)


def test_every_bound_has_a_default_a_ceiling_above_it_and_none_is_0() -> None:
    assert len(PATHS) == 18
    for path in PATHS:
        assert 1 <= value_at(DEFAULT_LIMITS, path) <= value_at(DEFAULT_CEILINGS, path)


def test_a_scope_inside_the_tenant_is_not_wider_than_the_tenant() -> None:
    for scope, *name in PATHS:
        if scope in ("container", "destination"):
            for limits in (DEFAULT_LIMITS, DEFAULT_CEILINGS):
                assert value_at(limits, (scope, *name)) <= value_at(limits, ("tenant", *name))


def test_values_and_limits_say_the_same() -> None:
    values = {path: number for number, path in enumerate(PATHS, 1)}
    made = from_values(values, 60)
    assert {path: value_at(made, path) for path in PATHS} == values
    assert made.window_seconds == 60
    assert replace(made) == made
    assert isinstance(made, TenantLimits)


def test_the_gateways_ceilings_lie_within_what_the_kernel_lets_through() -> None:
    """Or a tenant would be promised connections that never arrive."""
    for path, bound in KERNEL_BOUNDS.items():
        assert value_at(DEFAULT_CEILINGS, path) <= bound
