"""Sheets and rows (F4): bounded room, no reset by eviction, limits across workers."""

from __future__ import annotations

from appliance.limits.ledger import (
    FIRST_DESTINATION,
    LOOK_UP_EVERY,
    OVERFLOW,
    PROBES,
    ROW,
    ROWS,
    Counter,
    Ledger,
    Sheet,
    key_of,
)
from appliance.limits.window import SECOND

HOUR = 3600 * SECOND
NOW = 10 * HOUR


def fill(sheet: Sheet, now: int) -> None:
    """Use every destination row."""
    for number in range(FIRST_DESTINATION, ROWS):
        row = sheet.row(number)
        row.rename((number | 2**40, number))
        row.cells[row.at + Counter.BYTES_OUT] = now // HOUR
        row.cells[row.at + Counter.BYTES_OUT + 1] = 1


def test_a_row_has_room_for_all_of_it() -> None:
    assert max(Counter) + 3 <= ROW


def test_a_destination_keeps_its_row() -> None:
    sheet = Sheet()
    first = sheet.claim(key_of("a.net:443"), NOW, HOUR)
    first.opened()
    assert sheet.claim(key_of("a.net:443"), NOW, HOUR).at == first.at
    assert sheet.claim(key_of("b.net:443"), NOW, HOUR).at != first.at
    assert first.at >= FIRST_DESTINATION * ROW


def test_a_row_is_found_in_the_first_hours_of_a_machine() -> None:
    """The clock begins with the machine: at its start there is no window before the present one."""
    sheet = Sheet()
    assert sheet.claim(key_of("a.net:443"), SECOND, HOUR).at != OVERFLOW * ROW


def test_a_full_sheet_does_not_forget_a_hot_destination() -> None:
    sheet = Sheet()
    hot = Ledger(sheet).destination("hot.net:443", NOW, HOUR)
    hot.add(Counter.BYTES_OUT, NOW, HOUR, 10**6)
    for number in range(5000):
        other = Ledger(sheet).destination(f"h{number}.net:443", NOW, HOUR)
        other.add(Counter.BYTES_OUT, NOW, HOUR, 1)
    again = Ledger(sheet).destination("hot.net:443", NOW, HOUR)
    assert again.used(Counter.BYTES_OUT, NOW, HOUR) == 10**6


def test_what_finds_no_row_shares_one_and_takes_none() -> None:
    sheet = Sheet()
    fill(sheet, NOW)
    one = sheet.claim(key_of("late.net:443"), NOW, HOUR)
    other = sheet.claim(key_of("later.net:443"), NOW, HOUR)
    assert (one.at, other.at) == (OVERFLOW * ROW, OVERFLOW * ROW)


def test_a_row_is_taken_over_only_when_nothing_in_it_counts() -> None:
    sheet = Sheet()
    fill(sheet, NOW)
    key = key_of("late.net:443")
    assert sheet.claim(key, NOW + HOUR, HOUR).at == OVERFLOW * ROW
    taken = sheet.claim(key, NOW + 2 * HOUR, HOUR)
    assert taken.at >= FIRST_DESTINATION * ROW
    sheet = Sheet()
    fill(sheet, NOW)
    for number in range(FIRST_DESTINATION, ROWS):
        sheet.row(number).opened()
    assert sheet.claim(key, NOW + 9 * HOUR, HOUR).at == OVERFLOW * ROW


def test_a_search_is_bounded() -> None:
    class Counting(list[int]):
        reads = 0

        def __getitem__(self, at):
            self.reads += 1
            return super().__getitem__(at)

    cells = Counting([0] * (ROWS * ROW))
    fill(Sheet(cells), NOW)
    cells.reads = 0
    Sheet(cells).claim(key_of("late.net:443"), NOW, HOUR)
    assert cells.reads < PROBES * ROW


def test_the_workers_count_together() -> None:
    one, other = Sheet(), Sheet()
    first, second = Ledger(one, [other]), Ledger(other, [one])
    first.tenant.own.opened()
    second.tenant.own.opened()
    assert first.tenant.open == second.tenant.open == 2
    first.tenant.add(Counter.REQUESTS, NOW, SECOND, 3)
    second.tenant.add(Counter.REQUESTS, NOW, SECOND, 4)
    assert first.tenant.used(Counter.REQUESTS, NOW, SECOND) == 7
    here = first.destination("a.net:443", NOW, HOUR)
    assert here.used(Counter.BYTES_IN, NOW, HOUR) == 0
    second.destination("a.net:443", NOW, HOUR).add(Counter.BYTES_IN, NOW, HOUR, 5)
    second.destination("b.net:443", NOW, HOUR).add(Counter.BYTES_IN, NOW, HOUR, 7)
    seen = [here.used(Counter.BYTES_IN, NOW, HOUR) for _ in range(LOOK_UP_EVERY)]
    assert seen[-1] == 5
    assert first.destination("a.net:443", NOW, HOUR).used(Counter.BYTES_IN, NOW, HOUR) == 5


def test_open_never_falls_below_none() -> None:
    row = Sheet().row(0)
    row.closed()
    assert row.open == 0
    row.opened()
    row.clear_open()
    assert row.open == 0


def test_a_destination_is_looked_at_without_claiming_a_row() -> None:
    sheets = Sheet(), Sheet()
    one, other = Ledger(sheets[0], [sheets[1]]), Ledger(sheets[1], [sheets[0]])
    assert one.known("a.net:443") is None
    assert sheets[0].find(key_of("a.net:443")) is None
    one.destination("a.net:443", NOW, HOUR).own.opened()
    other.destination("a.net:443", NOW, HOUR).own.opened()
    account = one.known("a.net:443")
    assert account is not None
    assert account.open == 2
