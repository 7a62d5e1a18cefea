"""Reads records of all processes in the order of their time, and follows them as they are written.

Reading does not verify (`verify` does); a line that is no JSON object is left out.
"""

from __future__ import annotations

import heapq
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.audit import place
from appliance.audit.lines import MAX_LINE, open_audit_file, read_lines
from appliance.audit.record import Kind, Outcome

POLL_SECONDS = 0.25

JsonRecord = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which records to show; every condition that is given must hold.

    `container` matches from the beginning of the id, as Docker's own commands do. `refused` keeps all that
    was not allowed. `since` and `until` are RFC 3339 UTC texts as in the records, inclusive.
    """

    tenant: str | None = None
    run: str | None = None
    container: str | None = None
    refused: bool = False
    kinds: frozenset[Kind] = frozenset()
    since: str | None = None
    until: str | None = None

    def matches(self, record: JsonRecord) -> bool:
        """Whether the record is to be shown."""
        if self.tenant is not None and record.get("tenant") != self.tenant:
            return False
        if self.run is not None and record.get("run") != self.run:
            return False
        if self.container is not None and not str(record.get("container") or "").startswith(self.container):
            return False
        if self.refused and record.get("outcome") == Outcome.ALLOWED:
            return False
        if self.kinds and all(record.get("kind") != kind for kind in self.kinds):
            return False
        moment = _time(record)
        return (self.since is None or moment >= self.since) and (self.until is None or moment <= self.until)


def records(audit_dir: Path, selection: Selection = Selection()) -> Iterator[JsonRecord]:
    """All selected records of all processes, oldest first. Raises `OSError`."""
    chains = (_chain(audit_dir, process) for process in place.writers(audit_dir))
    merged = heapq.merge(*chains, key=_time)
    return (record for record in merged if selection.matches(record))


def follow(
    audit_dir: Path,
    selection: Selection = Selection(),
    *,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[JsonRecord]:
    """Selected records written from now on, without end; the caller stops asking. Raises `OSError`.

    Looks every `POLL_SECONDS`; survives rotation and finds processes that appear later. Records of one look
    are in the order of time.
    """
    followed = {process: _Followed(audit_dir, process) for process in place.writers(audit_dir)}
    for one in followed.values():
        one.skip_to_end()
    while True:
        for process in place.writers(audit_dir):
            followed.setdefault(process, _Followed(audit_dir, process))
        fresh = [record for one in followed.values() for record in one.fresh()]
        yield from sorted(filter(selection.matches, fresh), key=_time)
        pause(POLL_SECONDS)


class _Followed:
    """One process's files and how far they were read, by record number and by offset in the current file."""

    def __init__(self, audit_dir: Path, process: str) -> None:
        self._audit_dir = audit_dir
        self._process = process
        self._sequence = 0
        self._inode = 0
        self._offset = 0

    def skip_to_end(self) -> None:
        for _ in self.fresh():
            pass

    def fresh(self) -> Iterator[JsonRecord]:
        current = place.current_file(self._audit_dir, self._process)
        try:
            stream = open_audit_file(current)
        except FileNotFoundError:
            return  # Between the two renames of a rotation.
        with stream:
            inode = os.fstat(stream.fileno()).st_ino
            if inode != self._inode:
                # Rotated: what we have not seen of the old file stands in files named by their last record.
                for last, path in place.full_files(self._audit_dir, self._process):
                    if last > self._sequence:
                        yield from self._unseen(_parse(line.content) for line in read_lines(path))
                self._inode, self._offset = inode, 0
            stream.seek(self._offset)
            while raw := stream.readline(MAX_LINE):
                if not raw.endswith(b"\n") and len(raw) < MAX_LINE:
                    return  # Still being written.
                self._offset += len(raw)
                yield from self._unseen(iter([_parse(raw)]))

    def _unseen(self, found: Iterator[JsonRecord | None]) -> Iterator[JsonRecord]:
        for record in found:
            if record is not None and _sequence(record) > self._sequence:
                self._sequence = _sequence(record)
                yield record


def _chain(audit_dir: Path, process: str) -> Iterator[JsonRecord]:
    for file in place.chain_files(audit_dir, process):
        for line in read_lines(file):
            record = _parse(line.content)
            if record is not None:
                yield record


def _parse(content: bytes) -> JsonRecord | None:
    try:
        record = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _time(record: JsonRecord) -> str:
    return str(record.get("time", ""))


def _sequence(record: JsonRecord) -> int:
    sequence = record.get("sequence")
    return sequence if isinstance(sequence, int) else 0
