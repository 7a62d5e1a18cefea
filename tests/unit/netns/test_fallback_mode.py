"""An operator's word is kept over netd's end; what nobody of ours wrote counts as `off`."""

import os

import pytest

from netns.fallback_mode import FILE, LONGEST, Kept, ModeFile
from netns.shares import Mode


@pytest.fixture
def file(tmp_path):
    return ModeFile(tmp_path, os.getuid())


@pytest.mark.parametrize("mode", [Mode.ON, Mode.OFF])
def test_what_was_said_is_there_at_the_next_start(file, tmp_path, mode):
    file.keep(mode)
    assert ModeFile(tmp_path, os.getuid()).read() == Kept(mode)
    assert [entry.name for entry in tmp_path.iterdir()] == [FILE]
    assert (tmp_path / FILE).stat().st_mode & 0o022 == 0


def test_nothing_said_is_auto_and_auto_leaves_nothing(file, tmp_path):
    assert file.read() == Kept(Mode.AUTO)
    file.keep(Mode.ON)
    file.keep(Mode.AUTO)
    assert list(tmp_path.iterdir()) == []
    file.forget()
    assert file.read() == Kept()


def test_the_last_word_counts_also_over_a_draft_of_a_netd_that_died(file, tmp_path):
    (tmp_path / f".{FILE}.draft").write_text("half")
    file.keep(Mode.OFF)
    file.keep(Mode.ON)
    assert file.read() == Kept(Mode.ON)


@pytest.mark.parametrize(
    "content", [b"", b"on", b"On\n", b"on\n\n", b" on\n", b"maybe\n", b"\xff\n", b"auto\n" + b"x" * 5]
)
def test_a_broken_file_is_off_with_the_reason(file, tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    kept = file.read()
    assert kept.mode is Mode.OFF
    assert "holds no mode" in kept.problem
    assert "egress fallback" in kept.problem
    (tmp_path / FILE).write_bytes(b"on\n" + b"x" * LONGEST)
    assert file.read().mode is Mode.OFF


def test_a_file_that_others_may_write_is_not_believed(file, tmp_path):
    file.keep(Mode.ON)
    (tmp_path / FILE).chmod(0o664)
    assert file.read().mode is Mode.OFF
    (tmp_path / FILE).chmod(0o644)
    assert file.read() == Kept(Mode.ON)
    assert "others than uid" in ModeFile(tmp_path, os.getuid() + 1).read().problem


def test_a_link_a_pipe_and_a_directory_are_not_believed(file, tmp_path):
    other = tmp_path / "other"
    other.write_bytes(b"auto\n")
    for make in (lambda at: at.symlink_to(other), os.mkfifo, os.mkdir):
        make(tmp_path / FILE)
        assert file.read().mode is Mode.OFF
        if (tmp_path / FILE).is_dir() and not (tmp_path / FILE).is_symlink():
            (tmp_path / FILE).rmdir()
        else:
            (tmp_path / FILE).unlink()


def test_a_word_that_cannot_be_kept_is_an_error(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        ModeFile(tmp_path / "nowhere").keep(Mode.ON)
