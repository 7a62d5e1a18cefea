"""How long full files are kept: nobody writes out of the log what others did before (F7)."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import pytest

from appliance.audit import place
from appliance.audit.log import AuditUnavailable
from appliance.audit.record import MAX_RECORD
from appliance.audit.sink import Limits, Sink
from tests.unit.audit.written import EVENT, Disk, checked, lines

DAY = 24 * 3600.0


class Retention:
    """A sink whose files are small; `later` seconds have passed since they were written, `free` is of the disk."""

    def __init__(self, audit_dir: Path, **limits: int) -> None:
        self.later = 0.0
        self.free = 0.5
        self._audit_dir = audit_dir
        self.disk = Disk()
        self.sink = Sink(
            audit_dir,
            "p",
            clock=lambda: time.time() + self.later,
            limits=Limits(**{"file_bytes": 2000, "retained_files": 2, "reserve_bytes": MAX_RECORD} | limits),
            free=lambda path: self.free,
            reserve=self.disk,
        )

    @property
    def files(self) -> int:
        return len(place.full_files(self._audit_dir, "p"))

    def rotate(self, times: int) -> None:
        for _ in range(times):
            before = place.full_files(self._audit_dir, "p")[-1:]
            while place.full_files(self._audit_dir, "p")[-1:] == before:
                self.sink.write(EVENT)

    def removals(self) -> list[tuple[object, object]]:
        self.sink.write(EVENT)
        found = [line for line in lines(self._audit_dir) if line["event"] == "audit-file-removed"]
        return [(line["outcome"], line["reason"]) for line in found]


def test_old_files_are_removed_but_for_some_and_that_is_recorded(tmp_path: Path) -> None:
    kept = Retention(tmp_path)
    kept.rotate(5)
    assert kept.files == 5
    kept.later = DAY
    kept.rotate(1)
    assert kept.files == 2
    assert kept.removals() == [("allowed", "retention")] * 4
    (first, *_) = [line for line in lines(tmp_path) if line["event"] == "audit-file-removed"]
    assert str(first["detail"]).endswith("of p are no longer kept; the last of them is 24.0 hours old")
    report = checked(tmp_path)
    assert report.intact
    assert report.first > 1


def test_who_writes_much_pushes_nothing_out_that_is_younger_than_a_day_f7(tmp_path: Path) -> None:
    kept = Retention(tmp_path)
    kept.later = DAY - 60
    kept.rotate(20)
    assert kept.files == 20
    assert checked(tmp_path).first == 1


def test_of_young_files_there_is_a_greatest_number(tmp_path: Path) -> None:
    kept = Retention(tmp_path, most_files=4)
    kept.rotate(6)
    assert kept.files == 4
    assert kept.removals() == [("failed", "too-many-files")] * 2


def test_young_files_go_when_the_disk_is_nearly_full_but_for_some(tmp_path: Path) -> None:
    kept = Retention(tmp_path)
    kept.rotate(6)
    kept.free = 0.19
    kept.rotate(1)
    assert kept.files == 2
    assert set(kept.removals()) == {("failed", "disk-nearly-full")}
    assert checked(tmp_path).intact


def test_a_full_disk_gets_young_files_back_without_a_rotation(tmp_path: Path) -> None:
    kept = Retention(tmp_path, file_bytes=100_000)
    kept.rotate(4)
    kept.free, kept.disk.error = 0.0, errno.ENOSPC
    claims = []
    with pytest.raises(AuditUnavailable):
        while True:
            claims.append(kept.sink.claim())
    assert kept.files == 2
    kept.disk.error = None
    kept.sink.write(EVENT)
    for claim in claims:
        claim.write(EVENT)
    assert kept.removals() == [("failed", "disk-nearly-full")] * 2
    assert checked(tmp_path).intact


def test_a_file_that_cannot_be_removed_hinders_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Retention(tmp_path)
    kept.rotate(4)
    kept.later = DAY
    (_, stuck), *_ = place.full_files(tmp_path, "p")
    unlink = Path.unlink

    def refuse(path: Path) -> None:
        if path == stuck:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        unlink(path)

    monkeypatch.setattr(Path, "unlink", refuse)
    kept.rotate(1)
    assert kept.files == 3
    assert stuck.exists()
    assert kept.removals() == [("allowed", "retention")] * 2
