"""How full the limits are, from what several processes say."""

from __future__ import annotations

from typing import Any

from appliance.cli.filling import Filled, filled


def row(used: int, limit: int = 100, **more: str) -> dict[str, Any]:
    names = {"tenant": "acme", "scope": "tenant", "of": "", "name": "", "measure": "connections"}
    return {**names, **more, "used": used, "limit": limit}


def test_workers_that_count_the_same_are_not_added_up() -> None:
    found = filled([{"limits": [row(7)]}, {"limits": [row(9)]}, {"limits": [row(8)]}, {}], {})
    assert found == {"acme": [Filled("tenant", "", "connections", 9, 100)]}


def test_the_fullest_comes_first_whatever_its_unit() -> None:
    rows = [
        row(10), row(400, 500, measure="bytes_out"), row(1, 1, scope="container", of="e1", name="job"),
        row(60, scope="container", of="e2", name="job"), row(99, tenant="beta"),
    ]  # fmt: skip
    found = filled([{"limits": rows}], {"acme": (30, 40)})
    assert [str(limit) for limit in found["acme"]] == [
        "100% container job connections",
        "80% tenant bytes_out",
        "75% tenant queries_per_second",
        "60% container job connections",
        "10% tenant connections",
    ]
    assert [limit.percent for limit in found["beta"]] == [99]


def test_who_only_asks_for_names_is_seen_too() -> None:
    assert filled([], {"acme": (3, 500)})["acme"] == [Filled("tenant", "", "queries_per_second", 3, 500)]
