"""appliance.audit.sink: records that are held are written together, in the order of the chain, or said to be lost."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from appliance.audit import place, reserved_file
from appliance.audit.log import AuditUnavailable
from appliance.audit.record import MAX_RECORD
from appliance.audit.sink import Limits, Sink
from tests.unit.audit.written import EVENT, checked, lines


def held(sink: Sink, *subjects: str) -> None:
    for subject in subjects:
        sink.claim().hold(replace(EVENT, subject=subject))


def subjects(directory: Path) -> list[object]:
    return [line["subject"] for line in lines(directory)]


def broken(*_: object) -> int:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_one_write_for_all_that_are_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = Sink(tmp_path, "p")
    held(sink, "a", "b", "c")
    assert subjects(tmp_path) == []
    assert sink.head.sequence == 0
    sizes: list[int] = []
    write = os.write
    monkeypatch.setattr(
        reserved_file.os, "write", lambda file, data: sizes.append(len(data)) or write(file, data)
    )
    sink.flush()
    assert len(sizes) == 1
    assert subjects(tmp_path) == ["a", "b", "c"]
    assert checked(tmp_path).intact
    assert sink.head == checked(tmp_path).head


def test_a_record_that_is_written_at_once_comes_behind_those_that_are_held(tmp_path: Path) -> None:
    sink = Sink(tmp_path, "p")
    held(sink, "a")
    sink.write(replace(EVENT, subject="b"))
    held(sink, "c")
    sink.close()
    assert subjects(tmp_path) == ["a", "b", "c"]
    assert checked(tmp_path).intact


def test_room_is_claimed_until_a_held_record_is_written(tmp_path: Path) -> None:
    sink = Sink(tmp_path, "p")
    before = sink._needed()
    held(sink, "a", "b")
    assert sink._needed() == before + 2 * MAX_RECORD
    sink.flush()
    assert sink._needed() == before


@pytest.mark.parametrize("first", ["flush", "write"])
def test_lost_ones_are_said_to_who_flushes_and_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    sink = Sink(tmp_path, "p")
    sink.write(EVENT)
    held(sink, "a", "b")
    with monkeypatch.context() as device:
        device.setattr(reserved_file.os, "write", broken)
        if first == "write":  # whoever it is that finds the device broken
            with pytest.raises(AuditUnavailable):
                sink.write(EVENT)
        with pytest.raises(AuditUnavailable, match="Input/output error"):
            sink.flush()
    sink.flush()
    sink.write(EVENT)
    report = checked(tmp_path)
    assert report.intact
    (loss,) = [line for line in lines(tmp_path) if line["event"] == "records-lost"]
    assert str(loss["detail"]).endswith(": 2" if first == "flush" else ": 3")
    assert not {"a", "b"} & set(subjects(tmp_path))


def test_files_rotate_by_what_is_held(tmp_path: Path) -> None:
    sink = Sink(tmp_path, "p", limits=Limits(file_bytes=1000, retained_files=100))
    for number in range(20):
        held(sink, f"{number}-a", f"{number}-b")
        sink.flush()
    sink.close()
    report = checked(tmp_path)
    assert (report.intact, report.records) == (True, 40)


def test_held_once(tmp_path: Path) -> None:
    sink = Sink(tmp_path, "p")
    claim = sink.claim()
    claim.hold(EVENT)
    claim.hold(EVENT)
    claim.write(EVENT)
    claim.release()
    sink.flush()
    assert len(lines(tmp_path)) == 1
    assert sink._claims == 0


def test_a_full_file_goes_to_the_disk_beside_the_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    went_on, waited = Event(), []
    monkeypatch.setattr(reserved_file.os, "fsync", lambda _: waited.append(went_on.wait(10)))
    sink = Sink(tmp_path, "p", limits=Limits(file_bytes=1))
    sink.write(EVENT)  # fills the file
    went_on.set()
    sink.close()
    assert waited[0]
    assert checked(tmp_path).intact


def test_all_that_is_lost_is_owned_up_to_whoever_finds_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Sink(tmp_path, "p")
    first = sink.claim()
    claims = [sink.claim() for _ in range(3)]
    with monkeypatch.context() as device:
        device.setattr(reserved_file.os, "write", broken)
        with pytest.raises(AuditUnavailable):
            first.write(EVENT)
        for claim in claims:
            claim.hold(EVENT)
        with pytest.raises(AuditUnavailable):
            sink.claim()  # which owns up to the first, and loses the held ones with that
    sink.write(EVENT)
    (loss,) = [line for line in lines(tmp_path) if line["event"] == "records-lost"]
    assert str(loss["detail"]).endswith(": 4")


def test_a_directory_that_cannot_be_read_loses_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Sink(tmp_path, "p", limits=Limits(file_bytes=1))
    held(sink, "a")
    monkeypatch.setattr(place, "full_files", broken)
    sink.flush()
    monkeypatch.undo()
    sink.close()
    assert subjects(tmp_path) == ["a"]
