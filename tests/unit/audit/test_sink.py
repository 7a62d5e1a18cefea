"""appliance.audit.sink: a decision once taken is always recorded; no room, no decision (F7)."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.audit import place, reserved_file
from appliance.audit.log import AuditLog, AuditUnavailable
from appliance.audit.record import MAX_RECORD
from appliance.audit.sink import Limits, Sink
from tests.unit.audit.written import EVENT, Disk, checked, lines


def test_records_are_written_at_once_and_chained(tmp_path: Path) -> None:
    sink: AuditLog = Sink(tmp_path, "p", clock=lambda: 0.0)
    sink.write(EVENT)
    sink.write(EVENT)
    assert [line["sequence"] for line in lines(tmp_path)] == [1, 2]
    assert lines(tmp_path)[0]["time"] == "1970-01-01T00:00:00.000000Z"
    assert checked(tmp_path).intact


def test_the_chain_goes_on_after_a_restart(tmp_path: Path) -> None:
    for _ in range(3):
        sink = Sink(tmp_path, "p")
        sink.write(EVENT)
        head = sink.head
        sink.close()
    report = checked(tmp_path)
    assert (report.intact, report.records, report.head) == (True, 3, head)


def test_a_file_is_readable_by_its_owner_and_group_only(tmp_path: Path) -> None:
    Sink(tmp_path, "p").write(EVENT)
    assert place.current_file(tmp_path, "p").stat().st_mode & 0o137 == 0


def test_reserved_space_does_not_show_in_the_file(tmp_path: Path) -> None:
    sink = Sink(tmp_path, "p")
    sink.write(EVENT)
    file = place.current_file(tmp_path, "p").stat()
    assert file.st_size == len(json.dumps(lines(tmp_path)[0], separators=(",", ":"))) + 1
    assert file.st_blocks * 512 >= Limits().reserve_bytes
    sink.close()
    assert place.current_file(tmp_path, "p").stat().st_blocks * 512 < Limits().reserve_bytes


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EOPNOTSUPP, errno.EIO])
def test_no_room_means_not_ready_and_no_claim(tmp_path: Path, number: int) -> None:
    disk = Disk()
    disk.error = number
    sink = Sink(tmp_path, "p", reserve=disk)
    assert not sink.ready
    with pytest.raises(AuditUnavailable, match=str(place.current_file(tmp_path, "p"))):
        sink.claim()
    with pytest.raises(AuditUnavailable):
        sink.write(EVENT)
    assert lines(tmp_path) == []


def test_the_message_of_a_full_disk_says_what_to_do(tmp_path: Path) -> None:
    disk = Disk()
    disk.error = errno.ENOSPC
    with pytest.raises(AuditUnavailable, match=r"no space left for audit records; free some .*df "):
        Sink(tmp_path, "p", reserve=disk).claim()


def test_what_was_claimed_before_the_disk_filled_is_written_and_nothing_more(tmp_path: Path) -> None:
    disk = Disk()
    sink = Sink(tmp_path, "p", reserve=disk, limits=Limits(reserve_bytes=4 * MAX_RECORD))
    claims = [sink.claim() for _ in range(10)]
    disk.error = errno.ENOSPC
    while sink.ready and len(claims) < 1000:
        claims.append(sink.claim())
    assert len(claims) < 1000
    for claim in claims:
        claim.write(EVENT)
    assert len(lines(tmp_path)) == len(claims) >= 10
    assert checked(tmp_path).intact


def test_it_is_ready_again_when_there_is_space_again(tmp_path: Path) -> None:
    disk = Disk()
    disk.error = errno.ENOSPC
    sink = Sink(tmp_path, "p", reserve=disk)
    assert not sink.ready
    disk.error = None
    assert sink.ready
    sink.write(EVENT)
    assert checked(tmp_path).records == 1


def test_after_a_failed_write_nothing_is_promised_until_the_loss_is_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Sink(tmp_path, "p")
    earlier, failed = sink.claim(), sink.claim()

    def broken(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as device:
        device.setattr(reserved_file.os, "write", broken)
        with pytest.raises(AuditUnavailable, match="Input/output error"):
            failed.write(EVENT)
        assert not sink.ready
        with pytest.raises(AuditUnavailable):
            sink.claim()
    assert sink.ready
    earlier.write(EVENT)
    sink.write(EVENT)
    assert [line["event"] for line in lines(tmp_path)] == ["records-lost", "started", "started"]
    assert lines(tmp_path)[0]["detail"] == "records of p that could not be written: 1"
    assert checked(tmp_path).intact


def test_a_claim_ends_once(tmp_path: Path) -> None:
    sink = Sink(tmp_path, "p")
    written, released = sink.claim(), sink.claim()
    written.write(EVENT)
    written.write(EVENT)
    written.release()
    released.release()
    released.write(EVENT)
    assert len(lines(tmp_path)) == 1


def test_released_claims_do_not_use_room_up(tmp_path: Path) -> None:
    disk = Disk()
    sink = Sink(tmp_path, "p", reserve=disk, limits=Limits(reserve_bytes=2 * MAX_RECORD))
    sink.claim().release()
    disk.error = errno.ENOSPC
    for _ in range(100):
        sink.claim().release()


def test_a_really_full_file_system(tmp_path: Path) -> None:
    """A tmpfs of 1 MiB in a mount namespace of its own: real ENOSPC, and it vanishes with the child."""
    script = (
        "import sys, pathlib\n"
        "from appliance.audit.sink import Sink, Limits\n"
        "from appliance.audit.record import LifecycleRecord\n"
        "root = pathlib.Path(sys.argv[1])\n"
        "sink = Sink(root / 'audit', 'p', limits=Limits(reserve_bytes=65536))\n"
        "claims = [sink.claim() for _ in range(8)]\n"
        "assert sink.ready\n"
        "with (root / 'ballast').open('wb', buffering=0) as ballast:\n"
        "    try:\n"
        "        while True: ballast.write(bytes(4096))\n"
        "    except OSError as error: assert error.errno == 28\n"
        "while sink.ready and len(claims) < 1000: claims.append(sink.claim())\n"
        "assert len(claims) < 1000\n"
        "for claim in claims: claim.write(LifecycleRecord(event='e', detail='d' * 2000, subject='s' * 2000))\n"
        "(root / 'ballast').unlink()\n"
        "assert sink.ready\n"
        "print(sink.head.sequence == len(claims))\n"
    )
    shell = 'mount -t tmpfs -o size=1m tmpfs "$1" && exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", shell, "sh", tmp_path, sys.executable, script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr


def test_a_cut_last_line_is_kept_marked_and_verified(tmp_path: Path) -> None:
    sink = Sink(tmp_path, "p")
    sink.write(EVENT)
    sink.write(EVENT)
    sink.close()
    file = place.current_file(tmp_path, "p")
    os.truncate(file, file.stat().st_size - 10)
    sink = Sink(tmp_path, "p")
    sink.write(EVENT)
    report = checked(tmp_path)
    assert report.intact
    assert [str(each) for each in report.marked] == ["p.jsonl:2: not a complete record"]
    raw = file.read_bytes().splitlines()
    assert json.loads(raw[2])["event"] == "tail-truncated"
    assert [json.loads(line)["sequence"] for line in (raw[0], raw[2], raw[3])] == [1, 2, 3]


def test_damage_after_the_mark_is_noticed_even_in_the_damaged_line(tmp_path: Path) -> None:
    file = place.current_file(tmp_path, "p")
    Sink(tmp_path, "p").close()
    file.write_bytes(b"{half")
    Sink(tmp_path, "p").close()
    assert checked(tmp_path).intact
    file.write_bytes(file.read_bytes().replace(b"{half", b"{HALF"))
    assert str(checked(tmp_path).broken) == "p.jsonl:1: not a complete record"


def test_a_crash_while_marking_is_marked_in_turn(tmp_path: Path) -> None:
    file = place.current_file(tmp_path, "p")
    Sink(tmp_path, "p").close()
    file.write_bytes(b"{half")
    Sink(tmp_path, "p").close()
    os.truncate(file, file.stat().st_size - 5)
    Sink(tmp_path, "p").write(EVENT)
    report = checked(tmp_path)
    assert (report.intact, report.records) == (True, 2)


def test_a_line_without_its_newline_is_ended(tmp_path: Path) -> None:
    sink = Sink(tmp_path, "p")
    sink.write(EVENT)
    sink.close()
    file = place.current_file(tmp_path, "p")
    os.truncate(file, file.stat().st_size - 1)
    Sink(tmp_path, "p").write(EVENT)
    assert [line["sequence"] for line in lines(tmp_path)] == [1, 2]


def test_a_log_with_a_broken_end_that_no_crash_explains_is_refused(tmp_path: Path) -> None:
    Sink(tmp_path, "p").close()
    place.current_file(tmp_path, "p").write_bytes(b"x\n" * 10)
    with pytest.raises(AuditUnavailable, match="egress log --verify"):
        Sink(tmp_path, "p")


def test_two_writers_of_one_log_are_refused(tmp_path: Path) -> None:
    first = Sink(tmp_path, "p")
    with pytest.raises(AuditUnavailable, match="another process writes this log"):
        Sink(tmp_path, "p")
    first.close()
    Sink(tmp_path, "p").close()


def test_rotation_keeps_the_chain_and_gives_reserved_space_back(tmp_path: Path) -> None:
    sink = Sink(tmp_path, "p", limits=Limits(file_bytes=2000))
    held = [sink.claim() for _ in range(3)]
    for _ in range(20):
        sink.write(EVENT)
    for claim in held:
        claim.write(EVENT)
    full = place.full_files(tmp_path, "p")
    assert len(full) >= 3
    assert all(path.stat().st_blocks * 512 <= 8192 for _, path in full)
    report = checked(tmp_path)
    assert (report.intact, report.records) == (True, 23)
    sink.close()
    Sink(tmp_path, "p").write(EVENT)
    assert checked(tmp_path).records == 24


def test_a_crash_between_the_two_renames_of_a_rotation_loses_nothing(tmp_path: Path) -> None:
    sink = Sink(tmp_path, "p")
    sink.write(EVENT)
    sink.close()
    place.current_file(tmp_path, "p").rename(place.full_file(tmp_path, "p", 1))
    Sink(tmp_path, "p").write(EVENT)
    report = checked(tmp_path)
    assert (report.intact, report.records) == (True, 2)


def test_no_space_to_rotate_goes_on_in_the_old_file(tmp_path: Path) -> None:
    disk = Disk()
    sink = Sink(tmp_path, "p", limits=Limits(file_bytes=2000), reserve=disk)
    claims = [sink.claim() for _ in range(30)]
    disk.error = errno.ENOSPC
    for claim in claims:
        claim.write(EVENT)
    assert place.full_files(tmp_path, "p") == []
    assert checked(tmp_path).records == 30


def test_a_link_in_place_of_the_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    target = tmp_path / "target"
    target.touch()
    place.current_file(tmp_path, "p").symlink_to(target)
    with pytest.raises(AuditUnavailable):
        Sink(tmp_path, "p")
    assert target.read_bytes() == b""
