"""One name, label and uid for all who must agree on them."""

from __future__ import annotations

import pytest

from appliance.workload import TENANT_NAME, WORKLOAD_ID


@pytest.mark.parametrize("name", ["a", "acme", "a-1", "a--1", "a" * 32])
def test_a_tenant_name(name: str) -> None:
    assert TENANT_NAME.fullmatch(name)


@pytest.mark.parametrize(
    "name",
    ["", "A", "1a", "-a", "a-", "acme-", "a" * 31 + "-", "a.b", "a/b", "../a", "a b", "a\n", "\u00e4", "a" * 33,
     "[red]"],
)  # fmt: skip
def test_no_tenant_name(name: str) -> None:
    """It becomes a file name, a Docker network's name and a field of records."""
    assert not TENANT_NAME.fullmatch(name)


def test_a_workload_is_not_root() -> None:
    assert WORKLOAD_ID > 0
