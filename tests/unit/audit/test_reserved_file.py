"""appliance.audit.reserved_file: all of a line or nothing."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from appliance.audit.reserved_file import ReservedFile, free_share


def test_a_failed_append_leaves_nothing_of_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = ReservedFile(tmp_path / "f")
    file.append(b"first\n")
    really_write = os.write

    def half_then_fail(descriptor: int, data: bytes) -> int:
        if len(data) < 7:
            raise OSError(errno.EIO, "input/output error")
        return really_write(descriptor, data[:3])

    monkeypatch.setattr(os, "write", half_then_fail)
    with pytest.raises(OSError, match="input/output error"):
        file.append(b"second\n")
    monkeypatch.undo()
    file.append(b"third\n")
    file.close()
    assert (tmp_path / "f").read_bytes() == b"first\nthird\n"


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = ReservedFile(tmp_path / "f")
    really_write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: really_write(descriptor, data[:2]))
    file.append(b"whole line\n")
    monkeypatch.undo()
    file.close()
    assert (tmp_path / "f").read_bytes() == b"whole line\n"


def test_reserving_is_not_repeated_while_enough_is_left(tmp_path: Path) -> None:
    calls: list[int] = []
    file = ReservedFile(tmp_path / "f", lambda _descriptor, _offset, length: calls.append(length))
    file.reserve_ahead(1000)
    file.append(b"x" * 400)
    file.reserve_ahead(600)
    file.reserve_ahead(601)
    assert calls == [1000, 601]
    file.close()


def test_the_free_share_of_a_file_system(tmp_path: Path) -> None:
    assert 0 <= free_share(tmp_path) <= 1
    assert free_share(Path("/proc")) == 0
