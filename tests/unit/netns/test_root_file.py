"""Files by which netd goes on: who may have written them, and that none is ever there by half."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netns.root_file import NotBelieved, read, replace

OURS = os.getuid()


def test_what_was_put_there_is_read(tmp_path: Path) -> None:
    file = tmp_path / "file"
    assert read(file, OURS, 5) is None
    replace(file, b"first", 0o600)
    replace(file, b"then", 0o600)
    assert read(file, OURS, 5) == b"then"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_draft_of_one_that_died_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / ".file.draft").symlink_to(tmp_path / "victim")
    replace(tmp_path / "file", b"x", 0o640)
    assert not (tmp_path / "victim").exists()
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_the_directory_is_written_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a name that was given just before a loss of power is gone after it."""
    synced = []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
    )
    replace(tmp_path / "file", b"x", 0o600)
    assert synced == [str(tmp_path / ".file.draft"), str(tmp_path)]


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_what_others_may_have_written_is_not_believed(tmp_path: Path, mode: int) -> None:
    replace(tmp_path / "file", b"x", 0o600)
    (tmp_path / "file").chmod(mode)
    with pytest.raises(NotBelieved, match="others than uid"):
        read(tmp_path / "file", OURS, 5)


def test_anothers_file_is_not_believed(tmp_path: Path) -> None:
    replace(tmp_path / "file", b"x", 0o600)
    with pytest.raises(NotBelieved, match="others than uid"):
        read(tmp_path / "file", OURS + 1, 5)


def test_what_is_no_file_or_too_long_is_not_believed(tmp_path: Path) -> None:
    replace(tmp_path / "file", b"123456", 0o600)
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, why in {
        "file": "longer",
        "link": "symbolic",
        "pipe": "no regular",
        "folder": "no regular",
    }.items():
        with pytest.raises(NotBelieved, match=why):
            read(tmp_path / name, OURS, 5)
