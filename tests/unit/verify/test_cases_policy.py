from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

import pytest

from appliance.addresses import never_exceptable
from appliance.policy.loader import check_tenant_file
from appliance.settings import Settings
from appliance.verify import cases_policy
from tests.unit.verify.sanity import assert_making_rows_does_nothing, assert_sane


def test_every_attack_has_a_row_that_can_fail() -> None:
    assert_sane("cases_policy", "G1", "G2", "G3", "G5", "G6", "G8", "G9")


def test_making_rows_does_nothing() -> None:
    assert_making_rows_does_nothing("cases_policy")


def test_ranges_that_may_never_be_excepted_are_none_that_may() -> None:
    assert all(never_exceptable_or_no_range(cidr) for cidr in cases_policy.NEVER)
    assert not never_exceptable_or_no_range("10.20.0.0/16")


def never_exceptable_or_no_range(cidr: str) -> bool:
    try:
        return never_exceptable(IPv4Network(cidr)) is not None or "/" not in cidr
    except ValueError:
        return True


@pytest.mark.parametrize("word", [word for word in cases_policy.BROKEN if word != "empty"])
def test_broken_documents_are_broken(word: str, tmp_path: Path) -> None:
    file = tmp_path / "tenants" / "acme.yaml"
    file.parent.mkdir()
    file.write_text(cases_policy.BROKEN[word])
    assert check_tenant_file(Settings(config_dir=tmp_path), file)
