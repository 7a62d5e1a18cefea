"""appliance.broker.private_file: whole or not at all, and nobody else's."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.broker.private_file import MAX_FILE, PrivateFileError, publish, read_private


def test_what_was_published_is_read_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        publish(tmp_path, "key", b"\x00octets", 0o600)
    finally:
        os.umask(before)
    assert read_private(tmp_path / "key") == b"\x00octets"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_nothing_is_replaced(tmp_path: Path) -> None:
    publish(tmp_path, "key", b"first", 0o600)
    with pytest.raises(FileExistsError):
        publish(tmp_path, "key", b"second", 0o600)
    assert read_private(tmp_path / "key") == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        publish(tmp_path, "key", b"first", 0o600)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o777])
def test_a_mode_for_others_is_refused_with_the_mend(tmp_path: Path, mode: int) -> None:
    publish(tmp_path, "key", b"octets", 0o600)
    (tmp_path / "key").chmod(mode)
    with pytest.raises(PrivateFileError, match=f"mode {mode:04o} lets others read it; run: chmod 600"):
        read_private(tmp_path / "key")


def test_another_owner_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path, "key", b"octets", 0o600)
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    with pytest.raises(PrivateFileError, match=f"owned by uid {mine}; run: chown {mine + 1}"):
        read_private(tmp_path / "key")


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: os.mkfifo(path, 0o600),
        lambda path: path.mkdir(),
    ],
    ids=["link", "pipe", "folder"],
)
def test_what_is_no_file_is_not_read(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "key")
    with pytest.raises((PrivateFileError, OSError)):
        read_private(tmp_path / "key")


def test_no_more_is_read_than_a_key_has(tmp_path: Path) -> None:
    publish(tmp_path, "key", bytes(MAX_FILE + 1), 0o600)
    assert len(read_private(tmp_path / "key")) == MAX_FILE
