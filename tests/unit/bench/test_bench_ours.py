"""Every request of a load has a record."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.settings import Settings
from tests.bench import ours
from tests.bench.loads import LoadFailed
from tests.bench.ours import Ours


def counting(monkeypatch: pytest.MonkeyPatch, *numbers: int) -> Ours:
    """What says these numbers of records, the last one for ever."""
    said: Iterator[int] = iter(numbers)
    monkeypatch.setattr(Ours, "records", lambda _self: next(said, numbers[-1]))
    return Ours(Settings(), ())


def test_a_record_may_come_just_after_its_client_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    with counting(monkeypatch, 10, 13, 14).on_record(0) as asked:
        asked.append(4)


@pytest.mark.parametrize("written", [13, 16])
def test_a_record_that_is_missing_and_one_too_many_end_the_run(
    monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    monkeypatch.setattr(ours, "SETTLED_SECONDS", 0.05)
    with (
        pytest.raises(LoadFailed, match=f"4 requests, but {written - 10} audit records"),
        counting(monkeypatch, 10, written).on_record(1) as asked,
    ):
        asked.append(4)
