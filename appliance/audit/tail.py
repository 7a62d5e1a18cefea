"""Where an interrupted log goes on: the last good record, and what stands damaged behind it.

A crash may leave the newest line cut short. It is kept as it is, as evidence; the next record is a mark of
its digest, so that a reader can tell damage that was noticed at once from damage done later.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from appliance.audit.chain import BrokenRecord, Head, unseal
from appliance.audit.record import LifecycleRecord, Outcome

TAIL_TRUNCATED = "tail-truncated"
MAX_DAMAGED_LINES = 3
"""A cut line, and the cut mark of it, and the cut mark of that: more is no crash."""


class DamagedLog(ValueError):
    """More is broken at the end of a log than a crash explains."""


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a log: its head (None: no good record in it) and the octets behind the last good record.

    `complete_but_unterminated`: the last good record lacks only its newline.
    """

    head: Head | None
    damage: bytes
    complete_but_unterminated: bool = False


def read_tail(content: bytes) -> Tail:
    """Find the tail of a log file. Raises `DamagedLog`."""
    end = len(content)
    for _ in range(MAX_DAMAGED_LINES + 1):
        terminated = content.endswith(b"\n", 0, end)
        line_end = end - 1 if terminated else end
        start = content.rfind(b"\n", 0, line_end) + 1
        if start == end:
            return Tail(None, content)
        try:
            sealed = unseal(content[start:line_end])
        except BrokenRecord:
            end = start
            continue
        if not terminated:
            return Tail(sealed.head, b"", complete_but_unterminated=True)
        return Tail(sealed.head, content[end:])
    raise DamagedLog(f"more than the last {MAX_DAMAGED_LINES} lines are broken")


def mark(damage: bytes, file: str) -> LifecycleRecord:
    """The record that says: this stood damaged when the log was taken up again."""
    return LifecycleRecord(
        event=TAIL_TRUNCATED,
        subject=_name(damage),
        outcome=Outcome.FAILED,
        reason=TAIL_TRUNCATED,
        detail=f"{len(damage)} octets at the end of {file} were cut short by a crash and are kept",
    )


def is_mark_of(record: dict[str, object], damage: bytes) -> bool:
    """Whether `record` is the mark of exactly this damage."""
    return record.get("event") == TAIL_TRUNCATED and record.get("subject") == _name(damage)


def _name(damage: bytes) -> str:
    return f"sha256:{hashlib.sha256(damage).hexdigest()}"
