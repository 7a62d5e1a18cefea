"""Writes one process's records: chained, one write(2) each, into space reserved before the decision.

Writing is synchronous and does not wait for the disk (no fsync but at rotation and close): a crash of the
process loses nothing, a crash of the machine may lose the last seconds. After a write that failed nothing is
promised until another one has worked, which says how many records were lost. Files rotate by size; the oldest
beyond `Limits.retained_files` is removed, and that removal is itself a record.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from twisted.logger import Logger

from appliance.audit import place
from appliance.audit.chain import Head, seal
from appliance.audit.log import AuditUnavailable
from appliance.audit.record import MAX_RECORD, LifecycleRecord, Outcome, Record, compose
from appliance.audit.reserved_file import Reserve, ReservedFile, reserve_beyond_end
from appliance.audit.tail import DamagedLog, mark, read_tail

_log = Logger()


@dataclass(frozen=True, slots=True)
class Limits:
    """Octets of a file before it rotates, full files kept, octets reserved at a time."""

    file_bytes: int = 64 * 1024 * 1024
    retained_files: int = 32
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
    ) -> None:
        """Take the process's chain up where it ended. Raises `AuditUnavailable` with the mend."""
        self._directory = audit_dir
        self._process = process
        self._clock = clock
        self._limits = limits
        self._reserve = reserve
        self._claims = 0
        self._lost = 0
        self._rotate_at = limits.file_bytes
        self._refusing = False
        self._head = Head()
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
        return self._head

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

    def close(self) -> None:
        """Give back reserved space and wait for the disk; the sink cannot be used afterwards."""
        self._file.close()

    def settle(self, record: Record | None) -> None:
        """End one claim with its record, or with none. For `Room` only."""
        self._claims -= 1
        if record is not None:
            self._append(record)
            if self._file.size >= self._rotate_at:
                self._rotate()

    def _make_room(self) -> None:
        needed = (self._claims + 1 + (self._lost > 0)) * MAX_RECORD
        try:
            if self._file.reserved_end - self._file.size < needed:
                try:
                    self._file.reserve_ahead(needed + self._limits.reserve_bytes)
                except OSError:
                    self._file.reserve_ahead(needed)
        except OSError as error:
            explanation = _explain(self._path, error)
            if not self._refusing:
                self._refusing = True
                _log.error("audit log not available: {explanation}", explanation=explanation)
            raise AuditUnavailable(explanation) from error
        if self._lost:
            self._own_up()
        if self._refusing:
            self._refusing = False
            _log.info("audit log available again: {path}", path=str(self._path))

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
            self._lost = count
            raise

    def _append(self, record: Record, before: bytes = b"") -> None:
        line, head = seal(compose(record, self._process, self._clock()), self._head)
        try:
            self._file.append(before + line)
        except OSError as error:
            self._lost += 1
            raise AuditUnavailable(_explain(self._path, error)) from error
        self._head = head

    def _resume(self) -> None:
        tail = read_tail(self._file.content())
        self._head = tail.head or self._head_of_full_files()
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
            full.close()
        except OSError as error:
            # The current file still holds the room that was claimed in it: go on with it for a while.
            self._rotate_at = self._file.size + self._limits.reserve_bytes
            _log.error("audit log not rotated: {explanation}", explanation=_explain(self._path, error))
            return
        self._remove_oldest()

    def _exchange(self, fresh_path: Path) -> None:
        full_path = place.full_file(self._directory, self._process, self._head.sequence)
        self._path.rename(full_path)
        try:
            fresh_path.rename(self._path)
        except OSError:
            full_path.rename(self._path)
            raise

    def _remove_oldest(self) -> None:
        full = place.full_files(self._directory, self._process)
        for sequence, path in full[: max(0, len(full) - self._limits.retained_files)]:
            try:
                path.unlink()
                self.write(
                    LifecycleRecord(
                        event="audit-file-removed",
                        subject=path.name,
                        reason="retention",
                        detail=f"records up to {sequence} of {self._process} are no longer kept",
                    )
                )
            except (OSError, AuditUnavailable) as error:
                _log.error("{path} not removed: {error}", path=str(path), error=str(error))


class Room:
    """A granted claim (`appliance.audit.log.Claim`)."""

    def __init__(self, sink: Sink) -> None:
        self._sink: Sink | None = sink

    def write(self, record: Record) -> None:
        """Write the record; only the first `write` or `release` does anything."""
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.settle(record)

    def release(self) -> None:
        """Give the room back unused."""
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.settle(None)


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
