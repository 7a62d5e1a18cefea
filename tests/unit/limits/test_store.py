"""Counts in files that workers share (F4): one writer each, nothing lost with a worker."""

from __future__ import annotations

import pytest

from appliance.limits.ledger import Counter
from appliance.limits.store import SIZE, LedgerFiles, LedgerUnavailable
from appliance.limits.window import SECOND

NOW = 50 * SECOND


def test_workers_see_each_others_counts_at_once(tmp_path) -> None:
    one, other = (LedgerFiles(tmp_path, number, 2).ledger("acme") for number in (0, 1))
    one.tenant.own.opened()
    one.tenant.add(Counter.REQUESTS, NOW, SECOND, 5)
    assert other.tenant.open == 1
    assert other.tenant.used(Counter.REQUESTS, NOW, SECOND) == 5
    assert LedgerFiles(tmp_path, 0, 2).ledger("beta").tenant.open == 0
    assert {file.stat().st_size for file in tmp_path.iterdir()} == {SIZE}
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


def test_a_killed_worker_gives_no_fresh_budget_but_its_connections_are_gone(tmp_path) -> None:
    first = LedgerFiles(tmp_path, 0, 2).ledger("acme")
    other = LedgerFiles(tmp_path, 1, 2).ledger("acme")
    first.tenant.own.opened()
    first.tenant.add(Counter.BYTES_OUT, NOW, 3600 * SECOND, 5)
    other.tenant.own.opened()
    again = LedgerFiles(tmp_path, 0, 2)
    again.begin()
    ledger = again.ledger("acme")
    assert ledger.tenant.open == 1
    assert ledger.tenant.used(Counter.BYTES_OUT, NOW, 3600 * SECOND) == 5


def test_another_workers_cells_cannot_be_written(tmp_path) -> None:
    LedgerFiles(tmp_path, 0, 2).ledger("acme")
    ledger = LedgerFiles(tmp_path, 1, 2).ledger("acme")
    (sheet,) = ledger._others
    with pytest.raises(TypeError):
        sheet.row(0).opened()


def test_without_a_place_nothing_is_admitted(tmp_path) -> None:
    with pytest.raises(LedgerUnavailable, match="must be writable for the gateway"):
        LedgerFiles(tmp_path / "absent", 0, 2).ledger("acme")
    with pytest.raises(LedgerUnavailable):
        LedgerFiles(tmp_path / "absent", 0, 2).begin()
    (tmp_path / "acme.0").symlink_to("/etc/passwd")
    with pytest.raises(LedgerUnavailable):
        LedgerFiles(tmp_path, 0, 2).ledger("acme")
    with pytest.raises(LedgerUnavailable):
        LedgerFiles(tmp_path, 0, 2).begin()
