"""The counts of one tenant: a row for the tenant, and one for each destination that it uses.

Each worker has a sheet of its own that only it writes; the sheets of the others it reads. A limit is compared
with the sum of all, so it holds for the whole appliance. Two workers that ask in the same instant may each
let one more through: a limit can be passed by at most (workers - 1) connections or requests.

A sheet has a fixed number of rows. A destination's row is found by the hash of its name within `PROBES` rows,
and taken over only when nothing in it counts any more. A destination that finds no row shares `OVERFLOW` with
others like it: a tenant that goes through thousands of destinations is bounded sooner, never later, and no
other tenant's sheet knows of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from hashlib import blake2b

from appliance.limits import window
from appliance.limits.window import SECOND, Cells
from appliance.policy.limits import ScopeLimits

ROWS = 512
PROBES = 16
ROW = 16
"""Cells of a row: two of the key, the gauge of what is open, four counters; one is spare."""

LOOK_UP_EVERY = 16
"""Questions of one exchange after which the others' rows of its destination are looked for again."""

KNOWN = 256
"""Accounts of destinations that a ledger has at hand."""

TENANT, OVERFLOW, FIRST_DESTINATION = 0, 1, 2
_OPEN = 2

Key = tuple[int, int]


class Counter(IntEnum):
    """Where in a row each counter begins."""

    NEW_CONNECTIONS = 3
    REQUESTS = 3 + window.CELLS
    BYTES_OUT = 3 + 2 * window.CELLS
    BYTES_IN = 3 + 3 * window.CELLS


def key_of(destination: str) -> Key:
    """The name of a destination as two cells, never (0, 0)."""
    digest = blake2b(destination.encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8]) | 1, int.from_bytes(digest[8:])


class Sheet:
    """One worker's rows for one tenant. `cells` may lie in memory that other processes read."""

    __slots__ = ("_cells",)

    def __init__(self, cells: Cells | None = None) -> None:
        self._cells: Cells = [0] * (ROWS * ROW) if cells is None else cells

    def row(self, number: int) -> Row:
        """A row by its number."""
        return Row(self._cells, number * ROW)

    def find(self, key: Key) -> Row | None:
        """The row of a destination, if it has one."""
        for number in _candidates(key):
            at = number * ROW
            if self._cells[at] == key[0] and self._cells[at + 1] == key[1]:
                return Row(self._cells, at)
        return None

    def claim(self, key: Key, now: int, length: int) -> Row:
        """The row of a destination: its own, an unused one, one that counts no more, or `OVERFLOW`."""
        row = self.find(key)
        if row is not None:
            return row
        for number in _candidates(key):
            row = self.row(number)
            if row.is_idle(now, length):
                row.rename(key)
                return row
        return self.row(OVERFLOW)

    def clear_open(self) -> None:
        """Nothing is open: a process that begins has no connection yet."""
        for number in range(ROWS):
            self.row(number).clear_open()


class Row:
    """One row of a sheet."""

    __slots__ = ("at", "cells")

    def __init__(self, cells: Cells, at: int) -> None:
        self.cells = cells
        self.at = at

    @property
    def open(self) -> int:
        """What is open."""
        return self.cells[self.at + _OPEN]

    def opened(self) -> None:
        """One more is open."""
        self.cells[self.at + _OPEN] += 1

    def closed(self) -> None:
        """One less is open."""
        self.cells[self.at + _OPEN] = max(0, self.cells[self.at + _OPEN] - 1)

    def clear_open(self) -> None:
        """None is open."""
        self.cells[self.at + _OPEN] = 0

    def rename(self, key: Key) -> None:
        """Give the row to another destination. Its counters are idle, so nothing of them counts."""
        self.cells[self.at], self.cells[self.at + 1] = key

    def is_idle(self, now: int, length: int) -> bool:
        """Whether nothing in it counts any more; `length` is that of the byte counters."""
        return not self.open and all(
            window.idle(self.cells, self.at + counter, now, length_of(counter, length)) for counter in Counter
        )


class Account:
    """What a limit is compared with: our own row, and those of the other workers for the same thing."""

    __slots__ = ("_asked", "_key", "_others", "_places", "_room_under", "alone", "own")

    def __init__(self, own: Row, others: Sequence[Sheet] = (), key: Key | None = None) -> None:
        """`key` names a destination; without it the tenant's row of each of `others` counts."""
        self.own = own
        self._others = others
        self._key = key
        self._asked = 0
        self.alone = key is None and not others
        """Whether nobody else writes or remembers this row."""
        self._room_under: ScopeLimits | None = None  # when bytes were last counted, they were below these
        rows = [own] if key is not None else [own, *[sheet.row(TENANT) for sheet in others]]
        self._places = [(row.cells, row.at) for row in rows]

    @property
    def holds_its_row(self) -> bool:
        """Whether the destination's own row is still its own: neither shared nor given to another."""
        key, row = self._key, self.own
        return key is not None and row.cells[row.at] == key[0] and row.cells[row.at + 1] == key[1]

    def begin(self) -> None:
        """Another exchange asks: the others' rows are looked up anew."""
        self._asked = 0

    @property
    def open(self) -> int:
        """What is open in all workers."""
        return sum([cells[at + _OPEN] for cells, at in self._looked_up()])

    def add(self, counter: Counter, now: int, length: int, amount: int = 1) -> None:
        """Count."""
        window.add(self.own.cells, self.own.at + counter, now, length, amount)

    def used(self, counter: Counter, now: int, length: int) -> int:
        """What the last `length` nanoseconds saw."""
        return window.used(self._looked_up(), counter, now, length)

    def wait(self, counter: Counter, now: int, length: int, limit: int) -> int:
        """Nanoseconds until one more fits into `limit`."""
        return window.wait(self._looked_up(), counter, now, length, limit)

    def has_room(self, now: int, length: int, limits: ScopeLimits) -> bool:
        """Whether one more request is within `limits` for certain; if not, `wait` knows.

        Certain it is when this window and the one before it together hold less than a limit. Of an account
        that is `alone` bytes are added up again only when their last count came to a limit, or was under
        other limits: `charge` sees each of them. So it is 0.6 us for one account, where three exact answers
        took 9.
        """
        if self._room_under is not limits:
            places = self._looked_up()
            if (
                window.at_most(places, _BYTES_OUT, now, length) >= limits.bytes_out
                or window.at_most(places, _BYTES_IN, now, length) >= limits.bytes_in
            ):
                return False
            if self.alone:
                self._room_under = limits
        second, requests = now // SECOND, 0
        for cells, at in self._looked_up():
            known = cells[at + _REQUESTS]
            if known == second:
                requests += cells[at + _REQUESTS + 1] + cells[at + _REQUESTS + 2]
            elif known == second - 1:
                requests += cells[at + _REQUESTS + 1]
        return requests < limits.requests_per_second

    def charge(self, counter: int, now: int, length: int, amount: int, limits: ScopeLimits) -> bool:
        """Count bytes, and whether they are within their limit for certain; if not, `used` knows."""
        limit = limits.bytes_out if counter == _BYTES_OUT else limits.bytes_in
        own = self.own
        cells, at = own.cells, own.at + counter
        if cells[at] == now // length:
            count = cells[at + 1] = cells[at + 1] + amount
        else:
            window.add(cells, at, now, length, amount)
            count = amount
        count += cells[at + 2]
        if self._others:
            count = window.at_most(self._looked_up(), counter, now, length)
        if count >= limit or self._room_under is not limits:
            self._room_under = None
        return count <= limit

    def _looked_up(self) -> list[window.Place]:
        """All rows. Where the others have a destination is looked up now and then: rows come and go."""
        key = self._key
        if key is not None and self._others:
            if self._asked % LOOK_UP_EVERY == 0:
                found = [row for sheet in self._others if (row := sheet.find(key)) is not None]
                self._places[1:] = [(row.cells, row.at) for row in found]
            self._asked += 1
        return self._places


class Ledger:
    """All sheets of one tenant: our own and those of the other workers."""

    __slots__ = ("_accounts", "_others", "_own", "tenant")

    def __init__(self, own: Sheet | None = None, others: Sequence[Sheet] = ()) -> None:
        self._own = own or Sheet()
        self._others = others
        self._accounts: dict[str, Account] = {}
        self.tenant = Account(self._own.row(TENANT), others)

    def destination(self, name: str, now: int, length: int) -> Account:
        """The account of a destination; `length` is that of the byte counters, in nanoseconds."""
        account = self._accounts.get(name)
        if account is not None and account.holds_its_row:
            account.begin()
            return account
        key = key_of(name)
        account = Account(self._own.claim(key, now, length), self._others, key)
        if account.holds_its_row:
            self._keep(name, account)
        return account

    def _keep(self, name: str, account: Account) -> None:
        if len(self._accounts) >= KNOWN:
            # One that is in use stays: a second account of its row would not see what the first is charged.
            self._accounts = {name: kept for name, kept in self._accounts.items() if kept.own.open}
        if len(self._accounts) < KNOWN:
            self._accounts[name] = account
            account.alone = not self._others

    def known(self, name: str) -> Account | None:
        """The account of a destination that has a row of its own; to look at, nothing is claimed."""
        key = key_of(name)
        row = self._own.find(key)
        return None if row is None else Account(row, self._others, key)


_REQUESTS, _BYTES_OUT, _BYTES_IN = map(int, (Counter.REQUESTS, Counter.BYTES_OUT, Counter.BYTES_IN))


def length_of(counter: Counter, length: int) -> int:
    """The window of a counter: bytes are counted over `length`, everything else over a second."""
    return length if counter >= Counter.BYTES_OUT else SECOND


def _candidates(key: Key) -> range | list[int]:
    count = ROWS - FIRST_DESTINATION
    first = key[1] % count
    if first + PROBES <= count:
        return range(FIRST_DESTINATION + first, FIRST_DESTINATION + first + PROBES)
    return [FIRST_DESTINATION + (first + step) % count for step in range(PROBES)]
