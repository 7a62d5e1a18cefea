"""Writes one process's records: chained, into space that was reserved before the decision.

One write(2) for each, or for those that are held to be written together. Writing is synchronous and does not
wait for the disk (no fsync but at rotation and close): a crash of the process loses only records that are
held, whose answers were not completed; a crash of the machine may lose the last seconds. After a write that
failed nothing is promised until another one has worked, which says how many records were lost. Files rotate
by size.

How long full files are kept: the newest `retained_files` always, older ones for `least_age_seconds`, so that
who writes much in a short time does not push out what others had done before. That takes more of the disk
while it lasts: up to `most_files`, and only as long as `free_share` of the file system stays free. Each
removal is a record; one before the least age is marked as failed.
"""

from __future__ import annotations

import errno
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from twisted.logger import Logger

from appliance.audit import place
from appliance.audit.chain import Head, seal_text
from appliance.audit.log import AuditUnavailable
from appliance.audit.record import MAX_RECORD, LifecycleRecord, Outcome, Record
from appliance.audit.reserved_file import Reserve, ReservedFile, free_share, reserve_beyond_end
from appliance.audit.tail import DamagedLog, mark, read_tail
from appliance.audit.text import text_of

RETENTION = "retention"

_log = Logger()


@dataclass(frozen=True, slots=True)
class Limits:
    """Octets of a file before it rotates, full files kept (see the module), octets reserved at a time."""

    file_bytes: int = 64 * 1024 * 1024
    retained_files: int = 32
    most_files: int = 512
    least_age_seconds: float = 24 * 3600.0
    free_share: float = 0.2
    reserve_bytes: int = 1024 * 1024


class Sink:
    """Implements `appliance.audit.log.AuditLog` on files (see `place`)."""

    def __init__(
        self,
        audit_dir: Path,
        process: str,
        *,
        clock: Callable[[], float] = time.time,
        limits: Limits = Limits(),
        reserve: Reserve = reserve_beyond_end,
        free: Callable[[Path], float] = free_share,
    ) -> None:
        """Take the process's chain up where it ended. Raises `AuditUnavailable` with the mend."""
        self._directory = audit_dir
        self._process = process
        self._clock = clock
        self._limits = limits
        self._reserve = reserve
        self._free = free
        self._claims = 0
        self._lost = 0
        self._removals: deque[LifecycleRecord] = deque()
        self._rotate_at = limits.file_bytes
        self._refusing = False
        self._head = self._written = Head()
        self._held: list[bytes] = []
        self._held_lost = ""
        self._closing: Thread | None = None
        self._path = place.current_file(audit_dir, process)
        try:
            self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._file = ReservedFile(self._path, reserve)
            try:
                self._resume()
            except BaseException:
                self._file.close()
                raise
        except (OSError, DamagedLog) as error:
            raise AuditUnavailable(_explain(self._path, error)) from error

    @property
    def head(self) -> Head:
        """The newest record's number and digest: kept elsewhere, it proves later that nothing was cut off."""
        return self._written

    @property
    def ready(self) -> bool:
        """Whether a claim would be granted now."""
        try:
            self._make_room()
        except AuditUnavailable:
            return False
        return True

    def claim(self) -> Room:
        """Room for one record. Raises `AuditUnavailable`."""
        self._make_room()
        self._claims += 1
        return Room(self)

    def write(self, record: Record) -> None:
        """Claim and write at once. Raises `AuditUnavailable`."""
        self.claim().write(record)

    def flush(self) -> None:
        """See `AuditLog`."""
        self._write_held()
        lost, self._held_lost = self._held_lost, ""
        if lost:
            raise AuditUnavailable(lost)

    def close(self) -> None:
        """Give back reserved space and wait for the disk; the sink cannot be used afterwards."""
        self._write_held()
        self._file.close()
        self._closed()

    def _closed(self) -> None:
        """Wait until the file that was full before the present one is on the disk."""
        if self._closing is not None:
            self._closing.join()

    def settle(self, record: Record | None) -> None:
        """End one claim with its record, or with none. For `Room` only."""
        self._claims -= 1
        if record is not None:
            self._append(record)
            if self._file.size >= self._rotate_at:
                self._rotate()

    def hold(self, record: Record) -> None:
        """Seal a record for the next flush; its claim ends there. For `Room` only."""
        line, self._head = seal_text(text_of(record, self._process, self._clock()), self._head)
        self._held.append(line)

    def _write_held(self) -> None:
        held = self._held
        if not held:
            return
        self._held = []
        self._claims -= len(held)
        try:
            self._file.append(b"".join(held))
        except OSError as error:
            self._lost += len(held)
            self._head = self._written
            self._held_lost = _explain(self._path, error)
            return
        self._written = self._head
        if self._file.size >= self._rotate_at:
            self._rotate()

    def _make_room(self) -> None:
        try:
            if self._file.reserved_end - self._file.size < self._needed():
                self._remove_oldest()
                try:
                    self._file.reserve_ahead(self._needed() + self._limits.reserve_bytes)
                except OSError:
                    self._file.reserve_ahead(self._needed())
        except OSError as error:
            explanation = _explain(self._path, error)
            if not self._refusing:
                self._refusing = True
                _log.error("audit log not available: {explanation}", explanation=explanation)
            raise AuditUnavailable(explanation) from error
        if self._lost:
            self._own_up()
        while self._removals:
            self._append(self._removals.popleft())
        if self._refusing:
            self._refusing = False
            _log.info("audit log available again: {path}", path=str(self._path))

    def _needed(self) -> int:
        return (self._claims + 1 + (self._lost > 0) + len(self._removals)) * MAX_RECORD

    def _own_up(self) -> None:
        """There is room, and yet records were lost: that goes on record before anything is promised."""
        count, self._lost = self._lost, 0
        try:
            self._append(
                LifecycleRecord(
                    event="records-lost",
                    subject=self._path.name,
                    outcome=Outcome.FAILED,
                    reason="write-failed",
                    detail=f"records of {self._process} that could not be written: {count}",
                )
            )
        except AuditUnavailable:
            # What was held before this record is lost with it; the record itself is none of those.
            self._lost += count - 1
            raise

    def _append(self, record: Record, before: bytes = b"") -> None:
        self._write_held()  # the chain is in the order of sealing
        line, head = seal_text(text_of(record, self._process, self._clock()), self._head)
        try:
            self._file.append(before + line)
        except OSError as error:
            self._lost += 1
            raise AuditUnavailable(_explain(self._path, error)) from error
        self._head = self._written = head

    def _resume(self) -> None:
        tail = read_tail(self._file.content())
        self._head = self._written = tail.head or self._head_of_full_files()
        if tail.complete_but_unterminated:
            self._file.append(b"\n")
        elif tail.damage:
            self._append(mark(tail.damage, self._path.name), before=b"\n")

    def _head_of_full_files(self) -> Head:
        full = place.full_files(self._directory, self._process)
        if not full:
            return Head()
        newest = full[-1][1]
        head = read_tail(newest.read_bytes()).head
        if head is None:
            raise DamagedLog(f"{newest.name} has no good record at its end")
        return head

    def _rotate(self) -> None:
        fresh_path = self._path.with_suffix(".new")
        try:
            fresh = ReservedFile(fresh_path, self._reserve, empty=True)
            try:
                fresh.reserve_ahead((self._claims + 1) * MAX_RECORD + self._limits.reserve_bytes)
                self._exchange(fresh_path)
            except OSError:
                fresh.close()
                raise
            full, self._file = self._file, fresh
            self._rotate_at = self._limits.file_bytes
        except OSError as error:
            # The current file still holds the room that was claimed in it: go on with it for a while.
            self._rotate_at = self._file.size + self._limits.reserve_bytes
            _log.error("audit log not rotated: {explanation}", explanation=_explain(self._path, error))
            return
        self._close_aside(full)
        try:
            self._remove_oldest()
        except OSError as error:
            _log.error("old audit files not looked for: {error}", error=str(error))

    def _close_aside(self, full: ReservedFile) -> None:
        """Waiting for the disk takes a few ms on a fast one, seconds on a busy one: not in the reactor."""
        self._closed()
        try:
            full.give_back()
            self._closing = Thread(target=_close, args=(full, self._path), name="audit-close")
            self._closing.start()
        except (OSError, RuntimeError):  # RuntimeError: no thread to be had
            self._closing = None
            _close(full, self._path)

    def _exchange(self, fresh_path: Path) -> None:
        full_path = place.full_file(self._directory, self._process, self._head.sequence)
        self._path.rename(full_path)
        try:
            fresh_path.rename(self._path)
        except OSError:
            full_path.rename(self._path)
            raise

    def _remove_oldest(self) -> None:
        """Remove what need not be kept; the record of that is written when room is made the next time."""
        full = place.full_files(self._directory, self._process)
        kept = self._limits.retained_files
        for files, (sequence, path) in zip(range(len(full), kept, -1), full, strict=False):
            try:
                age = self._clock() - path.stat().st_mtime
                reason = self._why_removed(files, age)
                if reason is None:
                    return
                path.unlink()
            except OSError as error:
                _log.error("{path} not removed: {error}", path=str(path), error=str(error))
                continue
            self._removals.append(
                LifecycleRecord(
                    event="audit-file-removed",
                    subject=path.name,
                    outcome=Outcome.ALLOWED if reason == RETENTION else Outcome.FAILED,
                    reason=reason,
                    detail=f"records up to {sequence} of {self._process} are no longer kept; "
                    f"the last of them is {age / 3600:.1f} hours old",
                )
            )

    def _why_removed(self, files: int, age: float) -> str | None:
        """The reason why the oldest of so many full files goes, or None. Its last record has that age (s)."""
        if age >= self._limits.least_age_seconds:
            return RETENTION
        if files > self._limits.most_files:
            return "too-many-files"
        if self._free(self._path) < self._limits.free_share:
            return "disk-nearly-full"
        return None


class Room:
    """A granted claim (`appliance.audit.log.Claim`)."""

    def __init__(self, sink: Sink) -> None:
        self._sink: Sink | None = sink

    def write(self, record: Record) -> None:
        """Write the record; only the first `write`, `hold` or `release` does anything."""
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.settle(record)

    def hold(self, record: Record) -> None:
        """Have it written with others."""
        if self._sink is not None:
            self._sink.hold(record)
            self._sink = None

    def release(self) -> None:
        """Give the room back unused."""
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.settle(None)


def _close(full: ReservedFile, path: Path) -> None:
    try:
        full.close()
    except OSError as error:
        _log.error(
            "full audit file not closed in good order: {explanation}", explanation=_explain(path, error)
        )


def _explain(path: Path, error: OSError | DamagedLog) -> str:
    if isinstance(error, DamagedLog):
        return f"{path}: {error}; check it with `egress log --verify`, then move it away to begin a new chain"
    number = error.errno
    if isinstance(error, BlockingIOError):
        return f"{path}: another process writes this log; stop it first (`egress status` shows it)"
    if number in (errno.ENOSPC, errno.EDQUOT):
        return f"{path}: no space left for audit records; free some on this file system (df {path.parent})"
    if number == errno.EOPNOTSUPP:
        return f"{path}: this file system cannot reserve space; put the log on ext4, xfs, btrfs or tmpfs"
    if number in (errno.EACCES, errno.EPERM):
        return (
            f"{path}: may not be written; `egress up` sets its owner, or chown {path.parent} to this process"
        )
    return f"{path}: {error.strerror}"
