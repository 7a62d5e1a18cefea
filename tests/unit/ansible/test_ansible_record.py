"""What was brought is kept until it is taken away, for root alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from plugin import load

RECORD = load("module_utils/record.py")


def test_sections_do_not_touch_each_other(record: Any) -> None:
    record.keep("packages", {"brought": ["nftables"]})
    record.keep("daemon_json", {"added": {"live-restore": True}})
    record.keep("packages", {})
    assert record.section("packages") == {}
    assert record.section("daemon_json") == {"added": {"live-restore": True}}


def test_it_is_for_root_alone_and_goes_with_its_last_section(record: Any, tmp_path: Path) -> None:
    record.keep("packages", {"brought": []})
    file = tmp_path / "record" / "role.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    record.keep("packages", {})
    assert list(file.parent.iterdir()) == []


@pytest.mark.parametrize("text", ["{", "[]", '{"packages": 1}'])
def test_a_broken_record_is_an_error_and_stays(record: Any, tmp_path: Path, text: str) -> None:
    file = tmp_path / "record" / "role.json"
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(RECORD.RecordError, match="restore"):
        record.section("packages")
    assert file.read_text() == text


def test_a_file_is_replaced_whole_and_keeps_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    if os.geteuid() == 0:
        os.chown(file, 1, 1)
    before = file.stat()
    RECORD.Record.replace(file, "new", mode=0o640)
    assert file.read_text() == "new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert (file.stat().st_uid, file.stat().st_gid) == (before.st_uid, before.st_gid)
    assert file.stat().st_ino != before.st_ino
    assert list(tmp_path.iterdir()) == [file]
