"""appliance.audit.lines: reading what a taken-over process may have put in its directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.audit.lines import open_audit_file, read_lines


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_reader_is_not_led_elsewhere_by_the_owner_of_the_directory(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "p.jsonl"
    if kind == "link":
        (tmp_path / "secret").write_bytes(b"{}\n")
        path.symlink_to(tmp_path / "secret")
    else:
        os.mkfifo(path)
    with pytest.raises(OSError, match=r"p\.jsonl"):
        open_audit_file(path)


def test_an_endless_line_is_read_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(b"x" * 3_000_000)
    assert max(len(line.content) for line in read_lines(path)) <= 1024 * 1024
