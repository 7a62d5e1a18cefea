"""appliance.broker.private_file: whole or not at all, and nobody else's."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.broker.private_file import MAX_FILE, PrivateFileError, publish, read_given, read_private


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


OWNER, USER, GROUP, NAMED_GROUP, MASK, OTHERS = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
NOBODY = 0xFFFFFFFF
ME = os.geteuid()
MADE_BY_SYSTEMD = (
    (OWNER, 4, NOBODY),
    (USER, 4, ME),
    (GROUP, 0, NOBODY),
    (MASK, 4, NOBODY),
    (OTHERS, 0, NOBODY),
)


def credential(folder: Path, mode: int, *entries: tuple[int, int, int]) -> Path:
    """A file with this mode, or with this ACL, whose mask is then the group's part of the mode."""
    file = folder / "credential"
    file.write_bytes(b"words at random")
    file.chmod(mode)
    if entries:
        octets = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
        os.setxattr(file, "system.posix_acl_access", octets)
    return file


def test_what_systemd_gives_is_read_with_an_acl_and_without(tmp_path: Path) -> None:
    assert read_given(credential(tmp_path, 0o400)) == b"words at random"
    (tmp_path / "credential").unlink()
    given = credential(tmp_path, 0o400, *MADE_BY_SYSTEMD)
    assert stat.S_IMODE(given.stat().st_mode) == 0o440
    assert read_given(given) == b"words at random"


@pytest.mark.parametrize("mode", [0o600, 0o440, 0o404, 0o444, 0o640, 0o500])
def test_a_credential_with_more_rights_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(PrivateFileError, match=f"mode {mode:04o}.; start the broker by its unit"):
        read_given(credential(tmp_path, mode))


def altered(number: int, *entry: int) -> list[tuple[int, ...]]:
    return [entry if at == number else found for at, found in enumerate(MADE_BY_SYSTEMD)]


@pytest.mark.parametrize(
    "entries",
    [
        altered(0, OWNER, 6, NOBODY),
        altered(1, USER, 4, ME + 1),
        altered(1, USER, 6, ME),
        altered(2, GROUP, 4, NOBODY),
        altered(3, MASK, 6, NOBODY),
        altered(4, OTHERS, 4, NOBODY),
        [*MADE_BY_SYSTEMD[:2], (USER, 4, ME + 1), *MADE_BY_SYSTEMD[2:]],
        [*MADE_BY_SYSTEMD[:3], (NAMED_GROUP, 4, ME), *MADE_BY_SYSTEMD[3:]],
    ],
)
def test_a_credential_that_another_may_use_is_refused(
    tmp_path: Path, entries: list[tuple[int, int, int]]
) -> None:
    with pytest.raises(PrivateFileError, match="not what systemd makes for the broker alone"):
        read_given(credential(tmp_path, 0o400, *entries))


def test_a_credential_of_another_owner_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = credential(tmp_path, 0o400)
    os.chown(file, 1234, -1) if ME == 0 else monkeypatch.setattr(os, "geteuid", lambda: ME + 1)
    with pytest.raises(PrivateFileError, match="not what systemd makes"):
        read_given(file)
