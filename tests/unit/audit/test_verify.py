"""appliance.audit.verify: the first record that is not as it was written, by file and line."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from appliance.audit.chain import Head
from appliance.audit.verify import verify
from tests.unit.audit.written import seal


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    head = Head()
    paths = []
    for name in ("p.000000000003.jsonl", "p.jsonl"):
        path = tmp_path / name
        for _ in range(3):
            line, head = seal({"kind": "lifecycle", "event": "x"}, head)
            with path.open("ab") as stream:
                stream.write(line)
        paths.append(path)
    return paths


def edit(path: Path, number: int, replacement: list[bytes]) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number - 1 : number] = replacement
    path.write_bytes(b"".join(lines))


def test_an_untouched_chain_is_intact_across_files(files: list[Path]) -> None:
    report = verify(files)
    assert report.intact
    assert (report.records, report.first, report.head.sequence) == (6, 1, 6)


def test_a_changed_record_is_named_by_file_and_line(files: list[Path]) -> None:
    line = files[1].read_bytes().splitlines(keepends=True)[1]
    edit(files[1], 2, [line.replace(b'"x"', b'"y"')])
    assert str(verify(files).broken).startswith("p.jsonl:2: its digest does not match")


def test_a_removed_record_is_noticed_at_the_next(files: list[Path]) -> None:
    edit(files[0], 2, [])
    assert str(verify(files).broken) == "p.000000000003.jsonl:2: record 3 does not follow record 1"


def test_a_record_computed_anew_is_noticed_at_the_next(files: list[Path]) -> None:
    first = seal({"kind": "lifecycle", "event": "x"}, Head())[1]
    edit(files[0], 2, [seal({"kind": "lifecycle", "event": "forged"}, first)[0]])
    assert str(verify(files).broken) == "p.000000000003.jsonl:3: record 3 does not follow record 2"


def test_exchanged_and_repeated_records_are_noticed(files: list[Path]) -> None:
    first, second, _ = files[0].read_bytes().splitlines(keepends=True)
    edit(files[0], 2, [first, second])
    assert verify(files).broken is not None


def test_a_missing_file_in_the_middle_is_noticed(files: list[Path]) -> None:
    edit(files[1], 1, [])
    assert str(verify(files).broken) == "p.jsonl:1: record 5 does not follow record 3"


def test_missing_oldest_files_are_said(files: list[Path]) -> None:
    report = verify(files[1:])
    assert (report.intact, report.first) == (True, 4)


def test_a_first_record_that_follows_something_is_noticed(files: list[Path]) -> None:
    edit(files[0], 1, [seal({"kind": "lifecycle"}, Head(0, "1" * 64))[0]])
    assert str(verify(files).broken) == "p.000000000003.jsonl:1: claims to be the first record and is not"


def test_a_damaged_line_is_accepted_only_with_its_own_mark(files: list[Path]) -> None:
    with files[1].open("ab") as stream:
        stream.write(b"{half\n")
    assert str(verify(files).broken) == "p.jsonl:4: not a complete record"
    last = verify([*files[:1]]).head
    for _ in range(3):
        last = seal({"kind": "lifecycle", "event": "x"}, last)[1]
    with files[1].open("ab") as stream:
        stream.write(seal({"event": "tail-truncated", "subject": "sha256:" + "0" * 64}, last)[0])
    assert str(verify(files).broken) == "p.jsonl:4: not a complete record"


def test_a_line_being_written_is_unfinished_and_not_broken(files: list[Path]) -> None:
    with files[1].open("ab") as stream:
        stream.write(b'{"kind"')
    report = verify(files)
    assert (report.intact, report.unfinished) == (True, True)


def test_every_line_matters(files: list[Path]) -> None:
    whole = files[0].read_bytes()
    ends = [0, *(index + 1 for index, octet in enumerate(whole) if octet == 10)]
    for number, (start, end) in enumerate(pairwise(ends), start=1):
        changed = bytearray(whole)
        changed[(start + end) // 2] ^= 1
        files[0].write_bytes(changed)
        broken = verify(files).broken
        assert broken is not None
        assert broken.line == number


def test_no_file_is_an_empty_report() -> None:
    report = verify([])
    assert (report.intact, report.records, report.first) == (True, 0, 0)
